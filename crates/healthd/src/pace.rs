//! When checks begin: some together, since each wake-up of this thread and of a server's host costs as much as a part of a check,
//! and not too many, since whoever shares the processor, such as lbd, waits until they have begun.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use health::{Moment, Timing};

/// How many checks begin together, on average: more save little.
const GROUP: f64 = 20.0;
/// Checks are late by this part of their shortest interval at most, and by that time.
const PART: u32 = 50;
const LONGEST: Duration = Duration::from_millis(40);

/// The steps that checks begin in.
#[derive(Debug)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// That of no checks.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(nanos(LONGEST)))
    }

    /// From now on these are the intervals of all checks.
    pub(crate) fn set(&self, intervals: impl Iterator<Item = Duration>) {
        let rate: f64 = intervals.map(|interval| interval.as_secs_f64().recip()).sum();
        let step = Duration::try_from_secs_f64(GROUP / rate).unwrap_or(LONGEST);
        self.0.store(nanos(step.min(LONGEST)), Ordering::Relaxed);
    }

    /// The next moment from `deadline` on at which checks begin.
    pub(crate) fn round(&self, deadline: Moment, timing: &Timing) -> Moment {
        let shortest = timing.interval.min(timing.fast_interval).min(timing.down_interval);
        let step = nanos(shortest / PART).min(self.0.load(Ordering::Relaxed)).max(1);
        Duration::from_nanos(nanos(deadline).div_ceil(step).saturating_mul(step))
    }
}

/// Moments and intervals are far below the 584 years that this holds.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(interval: Duration) -> Timing {
        Timing {
            interval,
            fast_interval: interval,
            down_interval: interval,
            timeout: interval,
            rise: 2,
            fall: 3,
        }
    }

    /// The step for so many checks.
    fn step(checks: usize, interval: Duration) -> Duration {
        let pace = Pace::new();
        pace.set(std::iter::repeat_n(interval, checks));
        pace.round(Duration::from_nanos(1), &timing(interval))
    }

    #[test]
    fn about_twenty_checks_begin_together() {
        let second = Duration::from_secs(1);
        assert_eq!(step(2500, second), Duration::from_millis(8));
        assert_eq!(step(1250, second), Duration::from_millis(16));
    }

    #[test]
    fn no_check_is_late_by_much() {
        assert_eq!(step(0, Duration::from_secs(2)), LONGEST);
        assert_eq!(step(1, Duration::from_secs(3600)), LONGEST);
        assert_eq!(step(1, Duration::from_secs(1)), Duration::from_millis(20));
    }

    #[test]
    fn a_deadline_on_a_step_is_kept() {
        let pace = Pace::new();
        let timing = timing(Duration::from_secs(2));
        assert_eq!(pace.round(LONGEST * 7, &timing), LONGEST * 7);
        assert_eq!(pace.round(LONGEST * 7 + Duration::from_nanos(1), &timing), LONGEST * 8);
        assert!(pace.round(Duration::MAX, &timing) > Duration::from_secs(1 << 33));
    }
}
