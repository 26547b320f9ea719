//! When the network is told where the virtual addresses are: a burst at a takeover, another a while later, and refreshes.

use std::time::{Duration, Instant};

use config::Gratuitous;

/// The schedule of announcements of one virtual router. Pure: moments come in, and whether to announce goes out.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcer {
    /// When to announce next, and how often still in this burst.
    burst: Option<(Instant, u8)>,
    /// When the second burst begins.
    again: Option<Instant>,
    refresh: Option<Instant>,
}

impl Announcer {
    /// A takeover, or a contradiction: a burst begins now.
    pub(super) fn start(&mut self, plan: &Gratuitous, now: Instant) {
        self.burst = (plan.repeat > 0).then_some((now, plan.repeat));
        self.again = plan.delay.map(|delay| now + delay);
        self.refresh = plan.refresh.map(|refresh| now + refresh);
    }

    /// The addresses are elsewhere.
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }

    /// When [`Announcer::is_due`] is to be asked.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.burst.map(|(at, _)| at), self.again, self.refresh].into_iter().flatten().min()
    }

    /// Whether each address is to be announced once now.
    pub(super) fn is_due(&mut self, plan: &Gratuitous, now: Instant) -> bool {
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
            self.burst = (plan.repeat > 0).then_some((now, plan.repeat));
        }
        let refresh = self.refresh.is_some_and(|at| at <= now);
        if refresh {
            // A clock that stood still is not made up for.
            self.refresh = plan.refresh.map(|refresh| now + refresh);
        }
        match self.burst {
            Some((at, left)) if at <= now => {
                self.burst =
                    (left > 1).then(|| (now + plan.interval.max(Duration::from_millis(1)), left - 1));
                true
            }
            _ => refresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(plan: &Gratuitous, seconds: u64) -> Vec<u128> {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.start(plan, start);
        let mut announced = Vec::new();
        while let Some(at) = announcer.next().filter(|at| *at < start + Duration::from_secs(seconds)) {
            if announcer.is_due(plan, at) {
                announced.push((at - start).as_millis());
            }
        }
        announced
    }

    #[test]
    fn a_burst_now_and_one_later() {
        let plan = Gratuitous {
            repeat: 3,
            interval: Duration::from_millis(100),
            delay: Some(Duration::from_secs(5)),
            refresh: None,
        };
        assert_eq!(run(&plan, 60), [0, 100, 200, 5000, 5100, 5200]);
    }

    #[test]
    fn refreshes_go_on() {
        let plan = Gratuitous {
            repeat: 1,
            interval: Duration::ZERO,
            delay: None,
            refresh: Some(Duration::from_secs(10)),
        };
        assert_eq!(run(&plan, 35), [0, 10_000, 20_000, 30_000]);
    }
}
