//! Time as workers count it: from lbd's start.

use std::time::Duration;

use balance::Tick;
use tokio::time::Instant;

use crate::shared::millis;

/// Counts from lbd's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new(start: std::time::Instant) -> Self {
        Self { start: Instant::from_std(start) }
    }

    /// Time since lbd's start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The same, for counters.
    pub(crate) fn millis(&self) -> u64 {
        millis(self.elapsed())
    }

    /// When something was, in the same count.
    pub(crate) fn millis_at(&self, then: Instant) -> u64 {
        millis(then.saturating_duration_since(self.start))
    }

    /// The same, for the balancing engine.
    pub(crate) fn tick(&self) -> Tick {
        Tick::from_millis(self.millis())
    }
}
