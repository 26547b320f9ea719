//! healthd's metrics for Prometheus: every name, with its help, and where its value comes from.
//!
//! What happens is counted as it happens; how servers stand is read at each scrape, so that no series outlives its server.
//! Labels are those of lbd's metrics: `proxy` is the backend. `docs/metrics.md` documents all of them, and a test compares
//! the two.

use health::{CheckResult, Status};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};
use wire::{LastCheck, LifeState, Observation};

use crate::view::{Seen, ServerSeen};

/// A metric family: name, help, labels.
type Family = (&'static str, &'static str, &'static [&'static str]);

const DURATION: Family = ("tandem_health_check_duration_seconds", "How long checks took.", &["proxy"]);
const RUNNING: Family = ("tandem_health_checks_running", "Checks under way.", &[]);
const STARVED: Family = (
    "tandem_health_checks_starved_total",
    "Checks for which this host lacked a descriptor, a port or memory; they decide nothing.",
    &[],
);
const OBSERVATIONS: Family =
    ("tandem_health_observations_total", "Failures on the data path that lbd reported, by kind.", &["kind"]);
const QUERIES: Family =
    ("tandem_health_resolver_queries_total", "Questions about names, by outcome.", &["outcome"]);

/// A family that is read at each scrape.
struct Reading {
    family: Family,
    kind: MetricType,
    samples: fn(&Seen) -> Samples<'_>,
}

/// Values and the labels of each.
type Samples<'a> = Vec<(Vec<&'a str>, f64)>;

const SERVER: &[&str] = &["proxy", "server"];

const READINGS: &[Reading] = &[
    gauge(
        (
            "tandem_health_server_status",
            "1 for the status that the server has.",
            &["proxy", "server", "state"],
        ),
        |seen| by_server(seen, |server| one_of(STATUSES.map(Status::word), server.verdict.status.word())),
    ),
    gauge(("tandem_health_server_last_change_seconds", "Since the last change of status.", SERVER), |seen| {
        by_server(seen, |server| one(seconds(server.verdict.since_ms)))
    }),
    counter(("tandem_health_server_downtime_seconds_total", "Time spent down.", SERVER), |seen| {
        by_server(seen, |server| one(seconds(server.verdict.downtime_ms)))
    }),
    counter(
        (
            "tandem_health_transitions_total",
            "Times that the server came up or went down, its first verdict included.",
            &["proxy", "server", "to"],
        ),
        |seen| {
            by_server(seen, |server| {
                vec![(vec!["up"], number(server.ups)), (vec!["down"], number(server.verdict.downs))]
            })
        },
    ),
    counter(
        ("tandem_health_checks_total", "Checks that ended, by how.", &["proxy", "server", "code"]),
        |seen| {
            by_server(seen, |server| {
                server.checks.iter().map(|(code, count)| (vec![code.word()], number(*count))).collect()
            })
        },
    ),
    counter(
        ("tandem_health_check_failures_total", "Checks that failed while the server was up.", SERVER),
        |seen| by_server(seen, |server| one(number(server.verdict.failed_checks))),
    ),
    gauge(("tandem_health_last_check_duration_seconds", "How long the last check took.", SERVER), |seen| {
        by_check(seen, |check| seconds(check.duration_ms))
    }),
    gauge(("tandem_health_last_check_age_seconds", "Since the last check ended.", SERVER), |seen| {
        by_check(seen, |check| seconds(check.age_ms))
    }),
    gauge(
        ("tandem_health_names", "Names in use, by whether the last question had an answer.", &["state"]),
        |seen| {
            let failing = seen.names.iter().filter(|name| name.error.is_some()).count();
            vec![(vec!["resolved"], size(seen.names.len() - failing)), (vec!["failing"], size(failing))]
        },
    ),
    gauge(("tandem_health_subscribers", "Connections that follow the verdicts.", &[]), |seen| {
        one(size(seen.subscribers))
    }),
    gauge(("tandem_healthd_state", "1 for the state that healthd is in.", &["state"]), |seen| {
        one_of(STATES.map(LifeState::word), seen.info.state.word())
    }),
    gauge(
        (
            "tandem_healthd_config_generation",
            "Successful loads of the configuration, the first included.",
            &[],
        ),
        |seen| one(number(seen.info.generation)),
    ),
    gauge(("tandem_healthd_config_reload_ok", "1 unless the last reload was refused.", &[]), |seen| {
        one(f64::from(u8::from(seen.info.reload_error.is_none())))
    }),
];

const fn gauge(family: Family, samples: fn(&Seen) -> Samples<'_>) -> Reading {
    Reading { family, kind: MetricType::GAUGE, samples }
}

const fn counter(family: Family, samples: fn(&Seen) -> Samples<'_>) -> Reading {
    Reading { family, kind: MetricType::COUNTER, samples }
}

/// Upper bounds of the durations' buckets, in seconds.
const BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What is counted as it happens.
pub struct Metrics {
    duration: HistogramVec,
    running: IntGauge,
    starved: IntCounter,
    observations: IntCounterVec,
    queries: IntCounterVec,
}

impl Metrics {
    /// Nothing has happened yet.
    ///
    /// # Errors
    /// Never, as the names follow Prometheus's rules.
    pub fn new() -> prometheus::Result<Self> {
        let duration = HistogramOpts::new(DURATION.0, DURATION.1).buckets(BUCKETS.to_vec());
        Ok(Self {
            duration: HistogramVec::new(duration, DURATION.2)?,
            running: IntGauge::new(RUNNING.0, RUNNING.1)?,
            starved: IntCounter::new(STARVED.0, STARVED.1)?,
            observations: IntCounterVec::new(opts(OBSERVATIONS), OBSERVATIONS.2)?,
            queries: IntCounterVec::new(opts(QUERIES), QUERIES.2)?,
        })
    }

    /// Registers everything: what is counted here, and what `seen` shows at each scrape.
    ///
    /// # Errors
    /// Never, as no name is there twice.
    pub fn register(
        &self,
        registry: &Registry,
        seen: impl Fn() -> Seen + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        registry.register(Box::new(self.duration.clone()))?;
        registry.register(Box::new(self.running.clone()))?;
        registry.register(Box::new(self.starved.clone()))?;
        registry.register(Box::new(self.observations.clone()))?;
        registry.register(Box::new(self.queries.clone()))?;
        registry.register(Box::new(SeenCollector::new(seen)?))
    }

    /// Counts questions about names, by `outcome`.
    pub(crate) fn queries(&self) -> IntCounterVec {
        self.queries.clone()
    }

    /// A check is under way until the guard is dropped.
    pub(crate) fn running(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    /// A check of a server of `backend` has ended.
    pub(crate) fn checked(&self, backend: &str, result: &CheckResult) {
        self.duration.with_label_values(&[backend]).observe(result.duration.as_secs_f64());
    }

    /// A check could not be made.
    pub(crate) fn starved(&self) {
        self.starved.inc();
    }

    /// lbd saw a server fail.
    pub(crate) fn observed(&self, observation: &Observation) {
        self.observations.with_label_values(&["connect_failure"]).inc_by(observation.connect_failures);
        self.observations.with_label_values(&["bad_response"]).inc_by(observation.bad_responses);
    }

    /// The configuration has no such backend any more.
    pub(crate) fn forget_backend(&self, backend: &str) {
        // One that was never checked has no series.
        let _ = self.duration.remove_label_values(&[backend]);
    }
}

/// A check under way.
pub(crate) struct Running(IntGauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Takes a look at each scrape.
struct SeenCollector<F> {
    seen: F,
    descriptions: Vec<Desc>,
}

impl<F: Fn() -> Seen + Send + Sync> SeenCollector<F> {
    fn new(seen: F) -> prometheus::Result<Self> {
        let describe = |reading: &Reading| {
            let (name, help, labels) = reading.family;
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, Default::default())
        };
        Ok(Self { seen, descriptions: READINGS.iter().map(describe).collect::<prometheus::Result<_>>()? })
    }
}

impl<F: Fn() -> Seen + Send + Sync> Collector for SeenCollector<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let seen = (self.seen)();
        READINGS.iter().flat_map(|reading| reading.collect(&seen)).collect()
    }
}

impl Reading {
    fn collect(&self, seen: &Seen) -> Vec<MetricFamily> {
        let (_, _, labels) = self.family;
        let samples = (self.samples)(seen);
        if self.kind == MetricType::COUNTER {
            let Ok(counters) = CounterVec::new(opts(self.family), labels) else { return Vec::new() };
            for (labels, value) in samples {
                if let Ok(counter) = counters.get_metric_with_label_values(&labels) {
                    counter.inc_by(value);
                }
            }
            return counters.collect();
        }
        let Ok(gauges) = GaugeVec::new(opts(self.family), labels) else { return Vec::new() };
        for (labels, value) in samples {
            if let Ok(gauge) = gauges.get_metric_with_label_values(&labels) {
                gauge.set(value);
            }
        }
        gauges.collect()
    }
}

const STATUSES: [Status; 4] = [Status::Unknown, Status::Up, Status::Down, Status::Unchecked];
const STATES: [LifeState; 4] =
    [LifeState::Starting, LifeState::Ready, LifeState::Draining, LifeState::Stopping];

/// The samples of each server, with its labels before theirs.
fn by_server<'a>(seen: &'a Seen, samples: fn(&'a ServerSeen) -> Samples<'a>) -> Samples<'a> {
    let labelled = |server: &'a ServerSeen| {
        samples(server).into_iter().map(|(labels, value)| {
            let mut all = vec![server.verdict.backend.as_str(), server.verdict.server.as_str()];
            all.extend(labels);
            (all, value)
        })
    };
    seen.servers.iter().flat_map(labelled).collect()
}

/// A value of each server that has been checked.
fn by_check<'a>(seen: &'a Seen, value: fn(&LastCheck) -> f64) -> Samples<'a> {
    let labelled = |server: &'a ServerSeen| {
        let labels = vec![server.verdict.backend.as_str(), server.verdict.server.as_str()];
        Some((labels, value(server.verdict.check.as_ref()?)))
    };
    seen.servers.iter().filter_map(labelled).collect()
}

fn one(value: f64) -> Samples<'static> {
    vec![(Vec::new(), value)]
}

/// 1 for `current`, 0 for the other words.
fn one_of<const N: usize>(words: [&'static str; N], current: &str) -> Samples<'static> {
    words.into_iter().map(|word| (vec![word], f64::from(u8::from(word == current)))).collect()
}

fn opts((name, help, _): Family) -> Opts {
    Opts::new(name, help)
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

/// Prometheus knows only floating-point numbers: above 2^53 the last digits are lost.
fn number(count: u64) -> f64 {
    count as f64
}

fn size(length: usize) -> f64 {
    length as f64
}

#[cfg(test)]
mod tests;
