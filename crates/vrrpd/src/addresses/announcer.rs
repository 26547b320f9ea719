//! When the network is told where the virtual addresses are: a burst at a takeover, another a while later, and refreshes.

use std::time::{Duration, Instant};

use config::Gratuitous;

/// Between two announcements, however many events ask for some: a flood must not become a flood.
const SPACING: Duration = Duration::from_millis(20);

/// The schedule of announcements of one instance. Pure: moments come in, and whether to announce goes out.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcer {
    /// When to announce next, and how often still in this burst.
    burst: Option<(Instant, u8)>,
    /// When the second burst begins.
    again: Option<Instant>,
    refresh: Option<Instant>,
    /// When the last announcement was due.
    last: Option<Instant>,
}

impl Announcer {
    /// A takeover, or an event after which neighbours may believe somebody else: a burst begins now.
    pub(super) fn start(&mut self, plan: &Gratuitous, now: Instant) {
        let begin = self.last.map_or(now, |last| now.max(last + SPACING));
        self.burst = (plan.repeat > 0).then_some((begin, plan.repeat));
        self.again = plan.delay.map(|delay| now + delay);
        self.refresh = plan.refresh.map(|refresh| now + refresh);
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
        let burst = self.burst.filter(|(at, _)| *at <= now);
        if let Some((_, left)) = burst {
            self.burst = (left > 1).then(|| (now + plan.interval.max(Duration::from_millis(1)), left - 1));
        }
        let is_due = refresh || burst.is_some();
        if is_due {
            self.last = Some(now);
        }
        is_due
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
    fn what_happens_in_a_burst_begins_it_anew_and_a_flood_is_bounded() {
        let plan = Gratuitous { repeat: 2, interval: Duration::from_millis(100), delay: None, refresh: None };
        let start = Instant::now();
        let mut announcer = Announcer::default();
        let mut announced = Vec::new();
        for millisecond in 0..400 {
            let now = start + Duration::from_millis(millisecond);
            if millisecond == 50 || (200..240).contains(&millisecond) || millisecond == 0 {
                announcer.start(&plan, now);
            }
            if announcer.is_due(&plan, now) {
                announced.push(millisecond);
            }
        }
        assert_eq!(announced, [0, 50, 150, 200, 220, 240, 340]);
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
