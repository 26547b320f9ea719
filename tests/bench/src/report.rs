//! What was measured, as tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::work::{Sample, Work};

/// All samples of a run.
#[derive(Debug)]
pub(crate) struct Report {
    peers: Vec<String>,
    rounds: usize,
    seconds: u64,
    /// By work and proxy, one a round.
    samples: BTreeMap<(&'static str, String), Vec<Sample>>,
}

impl Report {
    pub(crate) fn new(peers: &[String], rounds: usize, seconds: u64) -> Self {
        Self { peers: peers.to_vec(), rounds, seconds, samples: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, work: &Work, peer: &str, sample: Sample) {
        self.samples.entry((work.name, peer.to_owned())).or_default().push(sample);
    }

    /// A table for each kind of work.
    pub(crate) fn markdown(&self, works: &[&Work]) -> String {
        let mut text = format!(
            "Medians of {} interleaved rounds of {} s; the proxy has one processor, load and servers another. \
             \"Ratio\" is the median of each round's processor time by that of {} in the same round.\n",
            self.rounds,
            self.seconds,
            self.peers.first().map_or("nobody", String::as_str)
        );
        for work in works {
            self.table(work, &mut text);
        }
        text
    }

    fn table(&self, work: &Work, text: &mut String) {
        let samples =
            |peer: &String| self.samples.get(&(work.name, peer.clone())).map_or(&[][..], Vec::as_slice);
        let first = self.peers.first().map_or(&[][..], samples);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n### {}\n\n`{}`\n\n| proxy | CPU a request, us | user + system | ratio | requests/s | median, ms | p99, ms | memory, MiB |\n\
             |---|---|---|---|---|---|---|---|\n",
            work.about, work.name
        );
        for peer in &self.peers {
            let samples = samples(peer);
            if samples.is_empty() {
                continue;
            }
            let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
            let ratio =
                median(samples.iter().zip(first).map(|(one, other)| cost(one) / cost(other)).collect());
            let _ = writeln!(
                text,
                "| {peer} | {:.1} | {:.1} + {:.1} | {ratio:.2} | {:.0} | {:.2} | {:.2} | {:.1} |",
                of(cost),
                of(|sample| a_request(sample, sample.used.user)),
                of(|sample| a_request(sample, sample.used.system)),
                of(|sample| sample.outcome.per_second),
                of(|sample| sample.outcome.median.as_secs_f64() * 1e3),
                of(|sample| sample.outcome.p99.as_secs_f64() * 1e3),
                of(|sample| sample.resident_kib as f64 / 1024.0),
            );
        }
    }
}

/// Processor time of a request, in microseconds.
fn cost(sample: &Sample) -> f64 {
    a_request(sample, sample.used.user + sample.used.system)
}

fn a_request(sample: &Sample, time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / sample.outcome.requests.max(1) as f64
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!(median(Vec::new()).is_nan());
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
