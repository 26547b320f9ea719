//! Whether the workers move, without waking those that rest.
//!
//! A worker that waits for events is well by the kernel's word: it says that it sleeps before it waits, and since when it is
//! awake after it. One that is awake is asked for a sign, which it gives as soon as it comes to its next event. What hangs
//! gives none, and has been awake for longer and longer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::Notify;

use crate::shared::millis;

/// The signs of life of all workers.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    workers: Box<[Beat]>,
}

/// One worker's, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Beat {
    /// Milliseconds from the start to its last sign while it is awake.
    sign: AtomicU64,
    asked: Notify,
}

/// Instead of a sign: it waits for events.
const ASLEEP: u64 = u64::MAX;

impl Pulse {
    /// Of that many workers, which have not begun yet.
    pub fn new(workers: usize, start: Instant) -> Self {
        Self { start, workers: (0..workers).map(|_| Beat::default()).collect() }
    }

    /// The worker begins to wait for events.
    pub fn sleep(&self, worker: usize) {
        if let Some(beat) = self.workers.get(worker) {
            beat.sign.store(ASLEEP, Relaxed);
        }
    }

    /// The worker is at work.
    pub fn beat(&self, worker: usize) {
        if let Some(beat) = self.workers.get(worker) {
            beat.sign.store(millis(self.start.elapsed()), Relaxed);
        }
    }

    /// Waits until somebody wants a sign of the worker. Cancel safe.
    pub async fn asked(&self, worker: usize) {
        match self.workers.get(worker) {
            Some(beat) => beat.asked.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Asks those that are awake for a sign.
    pub fn ask(&self) {
        for beat in self.workers.iter().filter(|beat| beat.sign.load(Relaxed) != ASLEEP) {
            beat.asked.notify_one();
        }
    }

    /// For how long the slowest worker has been awake without a sign, in ms.
    pub fn age(&self) -> u64 {
        let now = millis(self.start.elapsed());
        let signs = self.workers.iter().map(|beat| beat.sign.load(Relaxed));
        let ages = signs.filter(|sign| *sign != ASLEEP).map(|sign| now.saturating_sub(sign));
        ages.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_sleeps_is_well_and_who_is_awake_is_asked() {
        let start = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        let pulse = Pulse::new(2, start);
        assert!(pulse.age() >= 5_000, "neither has begun");
        pulse.beat(0);
        assert!(pulse.age() >= 5_000, "the slowest counts");
        pulse.sleep(1);
        assert!(pulse.age() < 5_000);
        pulse.sleep(0);
        assert_eq!(pulse.age(), 0);
        pulse.beat(1);
        pulse.ask();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let is_asked = |worker| {
            let asked = async { tokio::time::timeout(Duration::ZERO, pulse.asked(worker)).await.is_ok() };
            runtime.block_on(asked)
        };
        assert_eq!([is_asked(0), is_asked(1)], [false, true]);
    }
}
