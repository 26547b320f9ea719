//! lbd's metrics for Prometheus.
//!
//! Names follow HAProxy's exporter after the prefix `tandem_`, so that what people know is where they look for it.
//! [`families`] holds every name; `docs/metrics.md` documents them, and a test compares the two.

pub mod families;

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use wire::{Info, StatRow};

use super::HealthdLink;
use families::FAMILIES;

/// Everything that is measured, at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// lbd itself.
    pub info: Info,
    /// Frontends, backends and servers.
    pub rows: Vec<StatRow>,
    /// How long backends took to answer.
    pub latency: Vec<BackendLatency>,
    /// How lbd stands with healthd.
    pub healthd: HealthdLink,
    /// Since healthd last said anything, pings included; none before it did.
    pub verdict_age: Option<Duration>,
    /// Worker threads.
    pub workers: u64,
    /// Since the slowest worker's last tick.
    pub tick_age: Duration,
    /// Access log lines dropped because their reader was too slow.
    pub log_dropped: u64,
    /// Requests that lbd refused, by reason.
    pub refusals: Vec<(String, u64)>,
}

/// How long a backend took, from the whole request head to the response head.
#[derive(Clone, Debug)]
pub struct BackendLatency {
    /// The backend.
    pub backend: String,
    /// The upper bounds of the buckets, ascending.
    pub bounds: &'static [Duration],
    /// Responses in each bucket alone (not cumulative); one more than `bounds`, for those beyond the last.
    pub counts: Vec<u64>,
    /// The sum of all times.
    pub sum: Duration,
}

/// The metric families of a sample, for the text encoder. Families without a value are left out.
pub fn gather(sample: &Sample) -> Vec<MetricFamily> {
    FAMILIES
        .iter()
        .map(|family| family.collect(sample))
        .filter(|family| !family.get_metric().is_empty())
        .collect()
}

/// A collector that takes a sample at each scrape.
pub struct SampleCollector<F> {
    sample: F,
    descriptions: Vec<Desc>,
}

impl<F: Fn() -> Sample + Send + Sync> SampleCollector<F> {
    /// A collector of what `sample` measures.
    ///
    /// # Errors
    /// If a family's name is no metric name; a test keeps that from happening.
    pub fn new(sample: F) -> prometheus::Result<Self> {
        let descriptions = FAMILIES
            .iter()
            .map(|family| {
                let labels = family.labels().iter().map(|label| (*label).to_owned()).collect();
                Desc::new(family.name.into(), family.help.into(), labels, Default::default())
            })
            .collect::<prometheus::Result<_>>()?;
        Ok(Self { sample, descriptions })
    }
}

impl<F: Fn() -> Sample + Send + Sync> Collector for SampleCollector<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        gather(&(self.sample)())
    }
}

#[cfg(test)]
mod tests;
