//! Every metric of lbd: its name, its help, and where its values come from.

use std::time::Duration;

use health::CheckCode;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use wire::{Condition, LifeState, RowKind, StatRow};

use super::{BackendLatency, Sample};
use crate::view::HealthdLink;

/// A metric family.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    source: Source,
}

/// Where a family's values come from.
enum Source {
    /// A number that only grows, of each row of a kind; none where it has no meaning.
    Counter(RowKind, fn(&StatRow) -> Option<f64>),
    /// A number of each row of a kind; none where it has no meaning.
    Gauge(RowKind, fn(&StatRow) -> Option<f64>),
    /// Responses of each row of a kind, by class.
    Responses(RowKind),
    /// 1 for the state that each row of a kind is in, 0 for the others.
    State(RowKind, &'static [&'static str]),
    /// 1 for the code of each server's last check, 0 for the others.
    CheckCode,
    /// Response times of each backend.
    Latency,
    /// A number of the process that only grows.
    ProcessCounter(fn(&Sample) -> Option<f64>),
    /// A number of the process.
    ProcessGauge(fn(&Sample) -> Option<f64>),
    /// 1 for the state that the process is in, 0 for the others.
    ProcessState,
    /// Refused requests by reason.
    Refusals,
}

use RowKind::{Backend, Frontend, Server};
use Source::{Counter as Counts, Gauge as Shows};

const fn family(name: &'static str, help: &'static str, source: Source) -> Family {
    Family { name, help, source }
}

/// Every metric of lbd.
pub const FAMILIES: &[Family] = &[
    family(
        "tandem_frontend_status",
        "1 for the state that the frontend is in.",
        Source::State(Frontend, &["UP", "DOWN"]),
    ),
    family("tandem_frontend_current_sessions", "Client connections now.", Shows(Frontend, |r| n(r.sessions))),
    family(
        "tandem_frontend_max_sessions",
        "The most client connections at once.",
        Shows(Frontend, |r| n(r.sessions_max)),
    ),
    family(
        "tandem_frontend_connections_total",
        "Client connections accepted.",
        Counts(Frontend, |r| n(r.sessions_total)),
    ),
    family(
        "tandem_frontend_connections_rate_max",
        "The most client connections accepted in a second.",
        Shows(Frontend, |r| n(r.rate_max)),
    ),
    family("tandem_frontend_http_requests_total", "Requests received.", Counts(Frontend, |r| n(r.requests))),
    family(
        "tandem_frontend_http_requests_rate_max",
        "The most requests received in a second.",
        Shows(Frontend, |r| n(r.request_rate_max)),
    ),
    family(
        "tandem_frontend_http_responses_total",
        "Responses sent to clients, by class, those of lbd itself included.",
        Source::Responses(Frontend),
    ),
    family(
        "tandem_frontend_request_errors_total",
        "Requests refused as malformed, too large or too slow.",
        Counts(Frontend, |r| n(r.request_errors)),
    ),
    family(
        "tandem_frontend_bytes_in_total",
        "Bytes received from clients.",
        Counts(Frontend, |r| n(r.bytes_in)),
    ),
    family("tandem_frontend_bytes_out_total", "Bytes sent to clients.", Counts(Frontend, |r| n(r.bytes_out))),
    //
    family(
        "tandem_backend_status",
        "1 for the state that the backend is in.",
        Source::State(Backend, &["UP", "DOWN"]),
    ),
    family(
        "tandem_backend_active_servers",
        "Servers that take new requests.",
        Shows(Backend, |r| n(r.active)),
    ),
    family(
        "tandem_backend_weight",
        "The sum of the usable servers' weights.",
        Shows(Backend, |r| n(r.weight)),
    ),
    family("tandem_backend_current_sessions", "Requests in flight.", Shows(Backend, |r| n(r.sessions))),
    family(
        "tandem_backend_max_sessions",
        "The most requests in flight at once.",
        Shows(Backend, |r| n(r.sessions_max)),
    ),
    family(
        "tandem_backend_max_session_rate",
        "The most requests in a second.",
        Shows(Backend, |r| n(r.rate_max)),
    ),
    family(
        "tandem_backend_http_requests_total",
        "Requests for this backend.",
        Counts(Backend, |r| n(r.sessions_total)),
    ),
    family("tandem_backend_http_responses_total", "Responses by class.", Source::Responses(Backend)),
    family(
        "tandem_backend_loadbalanced_total",
        "Times that a server was chosen, retries included.",
        Counts(Backend, |r| n(r.chosen)),
    ),
    family(
        "tandem_backend_connection_errors_total",
        "Connections to servers that failed.",
        Counts(Backend, |r| n(r.connect_errors)),
    ),
    family(
        "tandem_backend_response_errors_total",
        "Responses that were malformed, late or broken off.",
        Counts(Backend, |r| n(r.response_errors)),
    ),
    family(
        "tandem_backend_retry_warnings_total",
        "Attempts that were repeated.",
        Counts(Backend, |r| n(r.retries)),
    ),
    family(
        "tandem_backend_redispatch_warnings_total",
        "Requests that went to another server than the first chosen.",
        Counts(Backend, |r| n(r.redispatches)),
    ),
    family(
        "tandem_backend_client_aborts_total",
        "Transfers that the client broke off.",
        Counts(Backend, |r| n(r.client_aborts)),
    ),
    family(
        "tandem_backend_server_aborts_total",
        "Transfers that the server broke off.",
        Counts(Backend, |r| n(r.server_aborts)),
    ),
    family("tandem_backend_bytes_in_total", "Bytes sent to servers.", Counts(Backend, |r| n(r.bytes_in))),
    family(
        "tandem_backend_bytes_out_total",
        "Bytes received from servers.",
        Counts(Backend, |r| n(r.bytes_out)),
    ),
    family(
        "tandem_backend_check_up_down_total",
        "Times that the backend lost its last usable server.",
        Counts(Backend, |r| n(r.downs)),
    ),
    family(
        "tandem_backend_check_last_change_seconds",
        "Since the last change of state.",
        Shows(Backend, |r| seconds(r.since_ms)),
    ),
    family(
        "tandem_backend_downtime_seconds_total",
        "Time without a usable server.",
        Counts(Backend, |r| seconds(r.downtime_ms)),
    ),
    family(
        "tandem_backend_last_session_seconds",
        "Since the last request.",
        Shows(Backend, |r| r.last_session_ms.and_then(seconds)),
    ),
    family(
        "tandem_backend_response_time_seconds",
        "From the whole request head to the response head.",
        Source::Latency,
    ),
    family(
        "tandem_backend_connect_time_average_seconds",
        "Average time to connect, over about the last 1,024 requests.",
        Shows(Backend, |r| seconds(r.times_ms[1])),
    ),
    family(
        "tandem_backend_response_time_average_seconds",
        "Average time to the first byte of the response, over about the last 1,024 requests.",
        Shows(Backend, |r| seconds(r.times_ms[2])),
    ),
    family(
        "tandem_backend_total_time_average_seconds",
        "Average time of a whole request, over about the last 1,024 requests.",
        Shows(Backend, |r| seconds(r.times_ms[3])),
    ),
    //
    family(
        "tandem_server_status",
        "1 for the state that the server is in.",
        Source::State(Server, &["UP", "DOWN", "DRAIN", "MAINT", "NOLB", "no check"]),
    ),
    family("tandem_server_weight", "Effective weight.", Shows(Server, |r| n(r.weight))),
    family("tandem_server_current_sessions", "Requests in flight.", Shows(Server, |r| n(r.sessions))),
    family(
        "tandem_server_max_sessions",
        "The most requests in flight at once.",
        Shows(Server, |r| n(r.sessions_max)),
    ),
    family(
        "tandem_server_max_session_rate",
        "The most requests in a second.",
        Shows(Server, |r| n(r.rate_max)),
    ),
    family(
        "tandem_server_sessions_total",
        "Requests sent to this server.",
        Counts(Server, |r| n(r.sessions_total)),
    ),
    family("tandem_server_http_responses_total", "Responses by class.", Source::Responses(Server)),
    family(
        "tandem_server_loadbalanced_total",
        "Times that this server was chosen, retries included.",
        Counts(Server, |r| n(r.chosen)),
    ),
    family(
        "tandem_server_connection_errors_total",
        "Connections that failed.",
        Counts(Server, |r| n(r.connect_errors)),
    ),
    family(
        "tandem_server_response_errors_total",
        "Responses that were malformed, late or broken off.",
        Counts(Server, |r| n(r.response_errors)),
    ),
    family(
        "tandem_server_retry_warnings_total",
        "Attempts that were repeated.",
        Counts(Server, |r| n(r.retries)),
    ),
    family(
        "tandem_server_redispatch_warnings_total",
        "Requests that were first meant for this server and went to another.",
        Counts(Server, |r| n(r.redispatches)),
    ),
    family(
        "tandem_server_client_aborts_total",
        "Transfers that the client broke off.",
        Counts(Server, |r| n(r.client_aborts)),
    ),
    family(
        "tandem_server_server_aborts_total",
        "Transfers that the server broke off.",
        Counts(Server, |r| n(r.server_aborts)),
    ),
    family("tandem_server_bytes_in_total", "Bytes sent to the server.", Counts(Server, |r| n(r.bytes_in))),
    family(
        "tandem_server_bytes_out_total",
        "Bytes received from the server.",
        Counts(Server, |r| n(r.bytes_out)),
    ),
    family(
        "tandem_server_idle_connections_current",
        "Idle connections kept for reuse.",
        Shows(Server, |r| n(r.idle)),
    ),
    family("tandem_server_check_status", "1 for the code of the last check.", Source::CheckCode),
    family(
        "tandem_server_check_code",
        "The HTTP status of the last check's answer.",
        Shows(Server, |r| r.check.as_ref()?.http_status.map(f64::from)),
    ),
    family(
        "tandem_server_check_duration_seconds",
        "How long the last check took.",
        Shows(Server, |r| seconds(r.check.as_ref()?.duration_ms)),
    ),
    family(
        "tandem_server_check_age_seconds",
        "Since the last check ended.",
        Shows(Server, |r| seconds(r.check.as_ref()?.age_ms)),
    ),
    family(
        "tandem_server_check_failures_total",
        "Checks that failed while the server was up.",
        Counts(Server, |r| n(r.failed_checks)),
    ),
    family(
        "tandem_server_check_up_down_total",
        "Times that the server went down.",
        Counts(Server, |r| n(r.downs)),
    ),
    family(
        "tandem_server_check_last_change_seconds",
        "Since the last change of state.",
        Shows(Server, |r| seconds(r.since_ms)),
    ),
    family(
        "tandem_server_downtime_seconds_total",
        "Time spent down.",
        Counts(Server, |r| seconds(r.downtime_ms)),
    ),
    family(
        "tandem_server_last_session_seconds",
        "Since the last request.",
        Shows(Server, |r| r.last_session_ms.and_then(seconds)),
    ),
    family(
        "tandem_server_response_time_average_seconds",
        "Average time to the first byte of the response, over about the last 1,024 requests.",
        Shows(Server, |r| seconds(r.times_ms[2])),
    ),
    //
    family("tandem_lbd_state", "1 for the state that lbd is in.", Source::ProcessState),
    family(
        "tandem_lbd_config_generation",
        "Successful loads of the configuration, the start included.",
        Source::ProcessGauge(|s| n(s.info.generation)),
    ),
    family(
        "tandem_lbd_config_reload_ok",
        "1 unless the last reload was refused.",
        Source::ProcessGauge(|s| flag(s.info.reload_error.is_none())),
    ),
    family(
        "tandem_lbd_healthd_connected",
        "1 while lbd receives healthd's verdicts, 0 while it uses the last ones.",
        Source::ProcessGauge(|s| flag(s.healthd == HealthdLink::Connected)),
    ),
    family(
        "tandem_lbd_verdict_age_seconds",
        "Since healthd last said anything.",
        Source::ProcessGauge(|s| s.verdict_age.map(|age| age.as_secs_f64())),
    ),
    family("tandem_lbd_workers", "Worker threads.", Source::ProcessGauge(|s| n(s.workers))),
    family(
        "tandem_lbd_worker_tick_age_seconds",
        "Since the slowest worker's last tick.",
        Source::ProcessGauge(|s| Some(s.tick_age.as_secs_f64())),
    ),
    family(
        "tandem_lbd_access_log_dropped_total",
        "Access log lines dropped because their reader was too slow.",
        Source::ProcessCounter(|s| n(s.log_dropped)),
    ),
    family("tandem_lbd_refused_requests_total", "Requests that lbd refused, by reason.", Source::Refusals),
];

impl Family {
    /// The kind in the exposition format.
    pub fn kind(&self) -> &'static str {
        match self.source {
            Source::Counter(..) | Source::Responses(_) | Source::ProcessCounter(_) | Source::Refusals => {
                "counter"
            }
            Source::Latency => "histogram",
            _ => "gauge",
        }
    }

    /// The names of its labels.
    pub fn labels(&self) -> &'static [&'static str] {
        match self.source {
            Source::Counter(Server, _) | Source::Gauge(Server, _) => &["proxy", "server"],
            Source::Counter(..) | Source::Gauge(..) | Source::Latency => &["proxy"],
            Source::Responses(Server) => &["proxy", "server", "code"],
            Source::Responses(_) => &["proxy", "code"],
            Source::State(Server, _) | Source::CheckCode => &["proxy", "server", "state"],
            Source::State(..) => &["proxy", "state"],
            Source::ProcessCounter(_) | Source::ProcessGauge(_) => &[],
            Source::ProcessState => &["state"],
            Source::Refusals => &["reason"],
        }
    }

    /// The family with its values in a sample.
    pub(super) fn collect(&self, sample: &Sample) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.into());
        family.set_help(self.help.into());
        family.set_field_type(match self.kind() {
            "counter" => MetricType::COUNTER,
            "histogram" => MetricType::HISTOGRAM,
            _ => MetricType::GAUGE,
        });
        family.set_metric(self.metrics(sample));
        family
    }

    fn metrics(&self, sample: &Sample) -> Vec<Metric> {
        let rows = |kind| sample.rows.iter().filter(move |row| row.kind == kind);
        match self.source {
            Source::Counter(kind, value) => {
                rows(kind).filter_map(|row| Some(counter(row_labels(row), value(row)?))).collect()
            }
            Source::Gauge(kind, value) => {
                rows(kind).filter_map(|row| Some(gauge(row_labels(row), value(row)?))).collect()
            }
            Source::Responses(kind) => rows(kind).flat_map(responses).collect(),
            Source::State(kind, states) => rows(kind)
                .flat_map(|row| one_of(row_labels(row), states.iter().copied(), state(row)))
                .collect(),
            Source::CheckCode => rows(Server)
                .filter_map(|row| {
                    let code = row.check.as_ref()?.code.word();
                    Some(one_of(row_labels(row), CHECK_CODES.iter().map(|code| code.word()), code))
                })
                .flatten()
                .collect(),
            Source::Latency => sample.latency.iter().map(histogram).collect(),
            Source::ProcessCounter(value) => {
                value(sample).map(|value| counter(Vec::new(), value)).into_iter().collect()
            }
            Source::ProcessGauge(value) => {
                value(sample).map(|value| gauge(Vec::new(), value)).into_iter().collect()
            }
            Source::ProcessState => {
                let states =
                    [LifeState::Starting, LifeState::Ready, LifeState::Draining, LifeState::Stopping];
                one_of(Vec::new(), states.into_iter().map(LifeState::word), sample.info.state.word())
            }
            Source::Refusals => sample
                .refusals
                .iter()
                .map(|(reason, count)| counter(vec![label("reason", reason)], to_f64(*count)))
                .collect(),
        }
    }
}

const CHECK_CODES: [CheckCode; 9] = [
    CheckCode::Ini,
    CheckCode::SockErr,
    CheckCode::L4Ok,
    CheckCode::L4Tout,
    CheckCode::L4Con,
    CheckCode::L7Ok,
    CheckCode::L7Tout,
    CheckCode::L7Rsp,
    CheckCode::L7Sts,
];

/// The state of a row in metrics, where a frontend that is open is `UP` as in HAProxy's exporter.
fn state(row: &StatRow) -> &'static str {
    match (row.kind, Condition::of(&row.status)) {
        (Frontend, Condition::Open) => "UP",
        (Frontend, _) => "DOWN",
        (_, condition) => condition.word(),
    }
}

fn row_labels(row: &StatRow) -> Vec<LabelPair> {
    let mut labels = vec![label("proxy", &row.proxy)];
    if row.kind == Server {
        labels.push(label("server", &row.name));
    }
    labels
}

fn responses(row: &StatRow) -> impl Iterator<Item = Metric> {
    ["1xx", "2xx", "3xx", "4xx", "5xx", "other"].into_iter().zip(row.responses).map(move |(class, count)| {
        let mut labels = row_labels(row);
        labels.push(label("code", class));
        counter(labels, to_f64(count))
    })
}

/// A gauge for each of `states`: 1 for `current`, 0 for the others.
fn one_of<'a>(labels: Vec<LabelPair>, states: impl Iterator<Item = &'a str>, current: &str) -> Vec<Metric> {
    states
        .map(|state| {
            let mut labels = labels.clone();
            labels.push(label("state", state));
            gauge(labels, f64::from(u8::from(state == current)))
        })
        .collect()
}

fn histogram(latency: &BackendLatency) -> Metric {
    let mut cumulative = 0;
    let mut buckets = Vec::with_capacity(latency.bounds.len());
    for (bound, count) in latency.bounds.iter().zip(&latency.counts) {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(Duration::as_secs_f64(bound));
        bucket.set_cumulative_count(cumulative);
        buckets.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(latency.counts.iter().sum());
    histogram.set_sample_sum(latency.sum.as_secs_f64());
    let mut metric = Metric::default();
    metric.set_label(vec![label("proxy", &latency.backend)]);
    metric.set_histogram(histogram);
    metric
}

fn counter(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::default();
    metric.set_label(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::default();
    metric.set_label(labels);
    metric.set_gauge(gauge);
    metric
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.into());
    label.set_value(value.into());
    label
}

fn n(count: u64) -> Option<f64> {
    Some(to_f64(count))
}

fn seconds(ms: u64) -> Option<f64> {
    Some(Duration::from_millis(ms).as_secs_f64())
}

fn flag(is_set: bool) -> Option<f64> {
    Some(f64::from(u8::from(is_set)))
}

/// Prometheus knows only floating-point numbers: above 2^53 the last digits are lost.
fn to_f64(count: u64) -> f64 {
    count as f64
}
