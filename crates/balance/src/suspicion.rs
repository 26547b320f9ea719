//! Passive detection: a server that connections fail to is left alone for a while.
//!
//! The first failure starts a period of a second in which the server is skipped. Then one request goes there to find out: its
//! success ends the suspicion, its failure starts a period twice as long, up to ten seconds. Until it is known, the
//! server is skipped for another period, so that a server that swallows connections costs one request a period.

use crate::Tick;

const PERIOD_MS: u64 = 1_000;
const PERIOD_MAX_MS: u64 = 10_000;

/// That connections to a server failed, and since then none succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suspicion {
    /// Until then the server is skipped.
    until: Tick,
    period_ms: u64,
    /// Whether a request is out to find out.
    probing: bool,
}

impl Suspicion {
    /// What a failure makes of it. Requests that were already on their way when the period started say nothing new.
    pub(crate) fn after_failure(held: Option<Self>, now: Tick) -> Self {
        match held {
            None => Self::starting(PERIOD_MS, now),
            Some(held) if held.probing || held.is_over(now) => {
                Self::starting((held.period_ms * 2).min(PERIOD_MAX_MS), now)
            }
            Some(held) => held,
        }
    }

    /// The period is over and a request goes there to find out.
    pub(crate) fn probe(&mut self, now: Tick) {
        self.until = now.after(self.period_ms);
        self.probing = true;
    }

    /// The end of the period.
    pub(crate) fn until(&self) -> Tick {
        self.until
    }

    /// Whether the server need not be skipped any more.
    pub(crate) fn is_over(&self, now: Tick) -> bool {
        self.until <= now
    }

    fn starting(period_ms: u64, now: Tick) -> Self {
        Self { until: now.after(period_ms), period_ms, probing: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    #[test]
    fn periods_double_while_probes_fail() {
        let mut now = at(0);
        let mut held = Suspicion::after_failure(None, now);
        let mut periods = Vec::new();
        for _ in 0..6 {
            periods.push(held.period_ms);
            now = held.until();
            held.probe(now);
            held = Suspicion::after_failure(Some(held), now);
        }
        assert_eq!(periods, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    }

    #[test]
    fn failures_of_one_moment_count_once() {
        let first = Suspicion::after_failure(None, at(0));
        let second = Suspicion::after_failure(Some(first), at(999));
        assert_eq!(first, second);
        assert!(!second.is_over(at(999)) && second.is_over(at(1_000)));
    }

    #[test]
    fn a_failure_after_the_period_counts_though_nothing_probed() {
        let first = Suspicion::after_failure(None, at(0));
        let second = Suspicion::after_failure(Some(first), at(5_000));
        assert_eq!(second.until(), at(7_000));
    }

    #[test]
    fn a_silent_probe_is_followed_by_another_after_the_period() {
        let mut held = Suspicion::after_failure(None, at(0));
        held.probe(at(1_500));
        assert!(!held.is_over(at(2_499)) && held.is_over(at(2_500)));
        held.probe(at(2_500));
        // The first probe fails late; a further failure then says nothing new.
        let held = Suspicion::after_failure(Some(held), at(2_600));
        assert_eq!(held.until(), at(4_600));
        assert_eq!(Suspicion::after_failure(Some(held), at(2_700)), held);
    }
}
