//! healthd's metrics for Prometheus: every name, with its help, and where its value comes from.
//!
//! What happens is counted as it happens; how servers stand is read at each scrape, so that no series outlives its server.
//! Labels are those of lbd's metrics: `proxy` is the backend. `docs/metrics.md` documents all of them, and a test compares
//! the two.

use std::borrow::Cow;

use daemon::families::{Family, Samples, counter, flag, gauge, life, number, one, one_of, seconds};
use daemon::metrics::Exposition;
use health::{CheckResult, Status};
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use wire::{Discovery, LastCheck, Observation};

use crate::view::{Seen, ServerSeen};

/// What is counted as it happens: name, help, labels.
type Counted = (&'static str, &'static str, &'static [&'static str]);

const DURATION: Counted = ("tandem_health_check_duration_seconds", "How long checks took.", &["proxy"]);
const RUNNING: Counted = ("tandem_health_checks_running", "Checks under way.", &[]);
const STARVED: Counted = (
    "tandem_health_checks_starved_total",
    "Checks for which this host lacked a descriptor, a port or memory; they decide nothing.",
    &[],
);
const OBSERVATIONS: Counted =
    ("tandem_health_observations_total", "Failures on the data path that lbd reported, by kind.", &["kind"]);
const QUERIES: Counted =
    ("tandem_health_resolver_queries_total", "Questions about names, by outcome.", &["outcome"]);

const SERVER: &[&str] = &["proxy", "server"];

/// What is read at each scrape.
const READINGS: &[Family<Seen>] = &[
    gauge(
        "tandem_health_server_status",
        "1 for the status that the server has.",
        &["proxy", "server", "state"],
        |seen| by_server(seen, |server| one_of(STATUSES.map(Status::word), server.verdict.status.word())),
    ),
    gauge("tandem_health_server_last_change_seconds", "Since the last change of status.", SERVER, |seen| {
        by_server(seen, |server| one(seconds(server.verdict.since_ms)))
    }),
    counter("tandem_health_server_downtime_seconds_total", "Time spent down.", SERVER, |seen| {
        by_server(seen, |server| one(seconds(server.verdict.downtime_ms)))
    }),
    counter(
        "tandem_health_transitions_total",
        "Times that the server came up or went down, its first verdict included.",
        &["proxy", "server", "to"],
        |seen| {
            by_server(seen, |server| {
                vec![
                    (vec!["up".into()], number(server.ups)),
                    (vec!["down".into()], number(server.verdict.downs)),
                ]
            })
        },
    ),
    counter(
        "tandem_health_checks_total",
        "Checks that ended, by how.",
        &["proxy", "server", "code"],
        |seen| {
            by_server(seen, |server| {
                server.checks.iter().map(|(code, count)| (vec![code.word().into()], number(*count))).collect()
            })
        },
    ),
    counter(
        "tandem_health_check_failures_total",
        "Checks that failed while the server was up.",
        SERVER,
        |seen| by_server(seen, |server| one(number(server.verdict.failed_checks))),
    ),
    gauge("tandem_health_last_check_duration_seconds", "How long the last check took.", SERVER, |seen| {
        by_check(seen, |check| seconds(check.duration_ms))
    }),
    gauge("tandem_health_last_check_age_seconds", "Since the last check ended.", SERVER, |seen| {
        by_check(seen, |check| seconds(check.age_ms))
    }),
    gauge(
        "tandem_health_server_certificate_expiry_timestamp_seconds",
        "Until when the certificate is valid that the server showed in its last check over TLS.",
        SERVER,
        |seen| {
            by_server(seen, |server| {
                server
                    .certificate
                    .map_or_else(Vec::new, |at| one(number(u64::try_from(at).unwrap_or_default())))
            })
        },
    ),
    gauge(
        "tandem_health_names",
        "Names in use, by whether the last question had an answer.",
        &["state"],
        |seen| {
            let failing = seen.names.iter().filter(|name| name.error.is_some()).count();
            vec![
                (vec!["resolved".into()], size(seen.names.len() - failing)),
                (vec!["failing".into()], size(failing)),
            ]
        },
    ),
    gauge(
        "tandem_health_discovered_servers",
        "Servers that were found for the backend, by whether the last answer named them.",
        &["proxy", "state"],
        |seen| {
            by_discovery(seen, |found| {
                let missing = found.missing.min(found.members);
                let named = (vec!["named".into()], number(found.members - missing));
                vec![named, (vec!["missing".into()], number(missing))]
            })
        },
    ),
    gauge(
        "tandem_health_discovery_surplus",
        "Servers that the last answer named beyond max.",
        &["proxy"],
        |seen| by_discovery(seen, |found| one(number(found.surplus))),
    ),
    gauge(
        "tandem_health_discovery_ok",
        "1 unless servers are not found as they should be.",
        &["proxy"],
        |seen| by_discovery(seen, |found| one(flag(found.trouble.is_none()))),
    ),
    gauge(
        "tandem_health_discovery_answer_age_seconds",
        "Since the last answer to where the backend's servers are.",
        &["proxy"],
        |seen| by_discovery(seen, |found| found.answer_age_ms.map_or_else(Vec::new, |age| one(seconds(age)))),
    ),
    counter(
        "tandem_health_discovery_answers_total",
        "Attempts to find the backend's servers, by whether there was an answer.",
        &["proxy", "outcome"],
        |seen| {
            by_discovery(seen, |found| {
                let answered = (vec!["answer".into()], number(found.answers));
                vec![answered, (vec!["failure".into()], number(found.failures))]
            })
        },
    ),
    gauge("tandem_health_subscribers", "Connections that follow the verdicts.", &[], |seen| {
        one(size(seen.subscribers))
    }),
    gauge("tandem_healthd_state", "1 for the state that healthd is in.", &["state"], |seen| {
        life(seen.info.state)
    }),
    gauge(
        "tandem_healthd_config_generation",
        "Successful loads of the configuration, the first included.",
        &[],
        |seen| one(number(seen.info.generation)),
    ),
    gauge("tandem_healthd_config_reload_ok", "1 unless the last reload was refused.", &[], |seen| {
        one(flag(seen.info.reload_error.is_none()))
    }),
];

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

    /// What healthd tells: of every daemon `registry`, what is counted here, and what `seen` shows at each scrape.
    ///
    /// # Errors
    /// Never, as no name is there twice.
    pub fn exposition(
        &self,
        registry: Registry,
        seen: impl Fn() -> Seen + Send + Sync + 'static,
    ) -> prometheus::Result<Exposition> {
        registry.register(Box::new(self.duration.clone()))?;
        registry.register(Box::new(self.running.clone()))?;
        registry.register(Box::new(self.starved.clone()))?;
        registry.register(Box::new(self.observations.clone()))?;
        registry.register(Box::new(self.queries.clone()))?;
        Ok(Exposition::new(registry, READINGS, seen))
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

const STATUSES: [Status; 4] = [Status::Unknown, Status::Up, Status::Down, Status::Unchecked];

/// The values of each server, with its labels before theirs.
fn by_server<'a>(seen: &'a Seen, values: impl Fn(&'a ServerSeen) -> Samples<'a>) -> Samples<'a> {
    let mut all = Vec::new();
    for server in &seen.servers {
        for (labels, value) in values(server) {
            let of_server = [&server.verdict.backend, &server.verdict.server].map(Cow::from);
            all.push((of_server.into_iter().chain(labels).collect(), value));
        }
    }
    all
}

/// The values of each backend whose servers are found, with its label before theirs.
fn by_discovery<'a>(seen: &'a Seen, values: impl Fn(&'a Discovery) -> Samples<'a>) -> Samples<'a> {
    let of_backend = |found: &'a Discovery| {
        let backend = Cow::from(&found.backend);
        let labelled = values(found).into_iter();
        labelled.map(move |(labels, value)| ([backend.clone()].into_iter().chain(labels).collect(), value))
    };
    seen.discoveries.iter().flat_map(of_backend).collect()
}

/// A value of each server that has been checked.
fn by_check(seen: &Seen, value: impl Fn(&LastCheck) -> f64) -> Samples<'_> {
    by_server(seen, |server| server.verdict.check.as_ref().map_or_else(Vec::new, |check| one(value(check))))
}

fn opts((name, help, _): Counted) -> Opts {
    Opts::new(name, help)
}

fn size(length: usize) -> f64 {
    number(length as u64)
}

#[cfg(test)]
mod tests;
