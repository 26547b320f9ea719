//! What became of the requests, summed up.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::request::{Answered, Lost};

/// Titles beyond that many are counted together.
const TITLES_MAX: usize = 64;

/// What became of the requests so far.
#[derive(Debug)]
pub(crate) struct Tally {
    start: Instant,
    end: Instant,
    sent: u64,
    lost: BTreeMap<Lost, u64>,
    titles: BTreeMap<String, u64>,
    /// Of those that were answered.
    latencies: Vec<Duration>,
    /// The latest success, or the start.
    success: Instant,
    gap: Gap,
}

/// A time without a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) length: Duration,
    /// When it began, from the start of the load.
    pub(crate) at: Duration,
}

/// The figures of a load.
#[derive(Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    pub(crate) lost: BTreeMap<Lost, u64>,
    pub(crate) gap: Gap,
    /// Median, 99th percentile and maximum; none without an answer.
    pub(crate) latency: Option<[Duration; 3]>,
    pub(crate) titles: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            end: start,
            sent: 0,
            lost: BTreeMap::new(),
            titles: BTreeMap::new(),
            latencies: Vec::new(),
            success: start,
            gap: Gap::default(),
        }
    }

    /// A request was to begin at one time, and ended at another.
    pub(crate) fn count(&mut self, begun: Instant, ended: Instant, result: Result<Answered, Lost>) {
        self.sent += 1;
        match result {
            Ok(answered) => {
                self.latencies.push(ended.saturating_duration_since(begun));
                self.served_until(ended);
                if let Some(title) = answered.title {
                    self.count_title(title);
                }
            }
            Err(lost) => *self.lost.entry(lost).or_default() += 1,
        }
    }

    fn count_title(&mut self, title: String) {
        let known = self.titles.len() < TITLES_MAX || self.titles.contains_key(&title);
        *self.titles.entry(if known { title } else { "others".into() }).or_default() += 1;
    }

    fn served_until(&mut self, now: Instant) {
        let length = now.saturating_duration_since(self.success);
        if length > self.gap.length {
            self.gap = Gap { length, at: self.success - self.start };
        }
        self.success = self.success.max(now);
    }

    /// The load is over: a gap may have lasted to its end.
    pub(crate) fn end(&mut self, now: Instant) {
        self.end = now;
    }

    /// Whether no request was lost.
    pub(crate) fn is_complete(&self) -> bool {
        self.lost.is_empty()
    }

    pub(crate) fn summary(&self) -> Summary {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        // The nearest rank: the smallest latency that at least that many per cent do not exceed.
        let percentile = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        let last =
            Gap { length: self.end.saturating_duration_since(self.success), at: self.success - self.start };
        Summary {
            sent: self.sent,
            ok: self.latencies.len() as u64,
            lost: self.lost.clone(),
            gap: if last.length > self.gap.length { last } else { self.gap },
            latency: percentile(50)
                .zip(percentile(99))
                .zip(sorted.last().copied())
                .map(|((p50, p99), max)| [p50, p99, max]),
            titles: self.titles.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_longest_gap_is_between_successes_in_time() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        let mut at = |begun, ended, result| tally.count(start + ms(begun), start + ms(ended), result);
        at(0, 1, Ok(Answered::default()));
        at(10, 11, Err(Lost::Refused));
        // It was held for a second, in which others were served.
        at(30, 31, Ok(Answered::default()));
        at(40, 41, Ok(Answered::default()));
        at(20, 42, Ok(Answered::default()));
        tally.end(start + ms(50));
        let summary = tally.summary();
        assert_eq!((summary.sent, summary.ok), (5, 4));
        assert_eq!(summary.lost, BTreeMap::from([(Lost::Refused, 1)]));
        assert_eq!(summary.gap, Gap { length: ms(30), at: ms(1) });
        assert_eq!(summary.latency, Some([ms(1), ms(22), ms(22)]));
        assert!(!tally.is_complete());
    }

    #[test]
    fn an_outage_to_the_end_is_a_gap() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        tally.count(start, start + ms(2), Ok(Answered { title: Some("one".into()) }));
        tally.end(start + ms(1000));
        let summary = tally.summary();
        assert_eq!(summary.gap, Gap { length: ms(998), at: ms(2) });
        assert_eq!(summary.titles, BTreeMap::from([("one".into(), 1)]));
        assert_eq!(Tally::new(start).summary().latency, None);
    }
}
