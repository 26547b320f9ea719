//! A beat by the kernel's own timer, one wake-up each. A timer of the runtime that is more than 64 ms away, or often less,
//! wakes its thread once more on the way: for pings that would be most of what an idle daemon does.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::readiness::register;

/// Comes at once, and then each period; of beats that were missed, one comes.
pub(super) struct Beat(AsyncFd<OwnedFd>);

impl Beat {
    /// A beat of that period, which is not zero.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn new(period: Duration) -> io::Result<Self> {
        debug_assert!(!period.is_zero(), "a period of zero disarms the timer");
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let first = TimeSpec::from(Duration::from_nanos(1));
        timer.set(Expiration::IntervalDelayed(first, period.into()), TimerSetTimeFlags::empty())?;
        register(timer.into(), Interest::READABLE).map(Self)
    }

    /// The next beat. Cancel safe.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            // How many beats there were: eight bytes, which are not of interest.
            let read = ready.try_io(|timer| Ok(unistd::read(timer.get_ref(), &mut [0; 8])?));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_comes_at_once_and_then_not_before_its_period() {
        let period = Duration::from_millis(100);
        let start = Instant::now();
        let mut beat = Beat::new(period).unwrap();
        beat.next().await.unwrap();
        beat.next().await.unwrap();
        beat.next().await.unwrap();
        assert!(start.elapsed() >= 2 * period);
    }

    #[tokio::test]
    async fn beats_that_were_missed_come_as_one() {
        let period = Duration::from_millis(50);
        let mut beat = Beat::new(period).unwrap();
        // The thread is at something else.
        std::thread::sleep(5 * period);
        let before = Instant::now();
        for _ in 0..3 {
            beat.next().await.unwrap();
        }
        assert!(before.elapsed() >= period, "the third is at least a period behind the first");
    }
}
