//! Every metric of lbd: its name, its help, and where its values come from.

use std::borrow::Cow;

use daemon::families::{Family, Samples, counter, flag, gauge, histogram, life, number, one, seconds};
use health::CheckCode;
use wire::RowKind::{Backend, Frontend, Server};
use wire::{Condition, Histogram, RowKind, StatRow, StickyCounts};

use super::{CertificateRow, HandshakeRow, Sample};
use crate::view::HealthdLink;
use crate::view::http2::Http2Row;

/// The labels of a frontend or a backend, and those of a server.
const PROXY: &[&str] = &["proxy"];
const SERVER: &[&str] = &["proxy", "server"];

/// Every metric of lbd.
pub const FAMILIES: &[Family<Sample>] = &[
    gauge("tandem_frontend_status", "1 for the state that the frontend is in.", &["proxy", "state"], |s| {
        states(s, Frontend, &["UP", "DOWN"])
    }),
    gauge("tandem_frontend_current_sessions", "Client connections now.", PROXY, |s| {
        rows(s, Frontend, |r| number(r.sessions))
    }),
    gauge("tandem_frontend_max_sessions", "The most client connections at once.", PROXY, |s| {
        rows(s, Frontend, |r| number(r.sessions_max))
    }),
    gauge(
        "tandem_frontend_limit_sessions",
        "How many client connections there may be at once.",
        PROXY,
        |s| rows(s, Frontend, |r| r.sessions_limit.map(number)),
    ),
    counter("tandem_frontend_connections_total", "Client connections accepted.", PROXY, |s| {
        rows(s, Frontend, |r| number(r.sessions_total))
    }),
    gauge(
        "tandem_frontend_connections_rate_max",
        "The most client connections accepted in a second.",
        PROXY,
        |s| rows(s, Frontend, |r| number(r.rate_max)),
    ),
    counter("tandem_frontend_http_requests_total", "Requests received.", PROXY, |s| {
        rows(s, Frontend, |r| number(r.requests))
    }),
    gauge("tandem_frontend_http_requests_rate_max", "The most requests received in a second.", PROXY, |s| {
        rows(s, Frontend, |r| number(r.request_rate_max))
    }),
    counter(
        "tandem_frontend_http_responses_total",
        "Responses sent to clients, by class, those of lbd itself included.",
        &["proxy", "code"],
        |s| responses(s, Frontend),
    ),
    counter(
        "tandem_frontend_request_errors_total",
        "Requests refused as malformed, too large or too slow.",
        PROXY,
        |s| rows(s, Frontend, |r| number(r.request_errors)),
    ),
    counter(
        "tandem_frontend_route_requests_total",
        "Requests, or sessions, that took a route; none those that no route fitted.",
        &["proxy", "route"],
        routes,
    ),
    counter(
        "tandem_frontend_tls_handshakes_total",
        "TLS handshakes: full ones, those of sessions that went on, and those that failed.",
        &["proxy", "result"],
        |s| handshakes(s, false),
    ),
    counter(
        "tandem_frontend_tls_versions_total",
        "TLS handshakes that succeeded, by the version that they agreed on.",
        &["proxy", "version"],
        |s| versions(s, false),
    ),
    counter("tandem_frontend_http2_connections_total", "Client connections that speak HTTP/2.", PROXY, |s| {
        http2(s, |row| row.connections)
    }),
    counter(
        "tandem_frontend_http2_streams_total",
        "Streams of such connections: each is a request.",
        PROXY,
        |s| http2(s, |row| row.streams),
    ),
    counter(
        "tandem_frontend_http2_resets_total",
        "Streams that were reset before their end.",
        &["proxy", "reason"],
        resets,
    ),
    gauge(
        "tandem_frontend_certificate_expiry_timestamp_seconds",
        "Until when a certificate that is presented is valid.",
        &["proxy", "address", "name", "file"],
        |s| certificates(s, |row| Some(row.not_after)),
    ),
    gauge(
        "tandem_frontend_staple_expiry_timestamp_seconds",
        "Until when the OCSP staple counts that is presented with a certificate.",
        &["proxy", "address", "name", "file"],
        |s| certificates(s, |row| row.staple),
    ),
    counter("tandem_frontend_bytes_in_total", "Bytes received from clients.", PROXY, |s| {
        rows(s, Frontend, |r| number(r.bytes_in))
    }),
    counter("tandem_frontend_bytes_out_total", "Bytes sent to clients.", PROXY, |s| {
        rows(s, Frontend, |r| number(r.bytes_out))
    }),
    //
    gauge("tandem_backend_status", "1 for the state that the backend is in.", &["proxy", "state"], |s| {
        states(s, Backend, &["UP", "DOWN"])
    }),
    gauge("tandem_backend_active_servers", "Servers that take new requests.", PROXY, |s| {
        rows(s, Backend, |r| number(r.active))
    }),
    gauge(
        "tandem_backend_backup_servers",
        "Backup servers that could take new requests, whether they do or stand by.",
        PROXY,
        |s| rows(s, Backend, |r| r.backups.map(|all| number(all.fit))),
    ),
    gauge(
        "tandem_backend_backup_servers_used",
        "Backup servers that take new requests, because too few others can.",
        PROXY,
        |s| rows(s, Backend, |r| r.backups.map(|all| number(all.used))),
    ),
    gauge("tandem_backend_weight", "The sum of the usable servers' weights.", PROXY, |s| {
        rows(s, Backend, |r| number(r.weight))
    }),
    gauge(
        "tandem_backend_last_resort",
        "1 while requests go to servers that are down, because no other is left.",
        PROXY,
        |s| rows(s, Backend, |r| flag(r.last_resort)),
    ),
    gauge("tandem_backend_current_queue", "Requests that wait for a server below its maxconn.", PROXY, |s| {
        rows(s, Backend, |r| r.queue.map(|queue| number(queue.now)))
    }),
    gauge("tandem_backend_max_queue", "The most requests that waited at once.", PROXY, |s| {
        rows(s, Backend, |r| r.queue.map(|queue| number(queue.max)))
    }),
    gauge("tandem_backend_queue_limit", "How many requests may wait.", PROXY, |s| {
        rows(s, Backend, |r| r.queue.map(|queue| number(queue.limit)))
    }),
    counter(
        "tandem_backend_queue_refused_total",
        "Requests answered 503 because too many waited, or they had waited for too long.",
        PROXY,
        |s| rows(s, Backend, |r| r.queue.map(|queue| number(queue.refused))),
    ),
    gauge(
        "tandem_backend_queue_time_average_seconds",
        "Average time that requests waited for a server, over about the last 1,024 requests.",
        PROXY,
        |s| rows(s, Backend, |r| seconds(r.times_ms[0])),
    ),
    counter(
        "tandem_backend_sticky_requests_total",
        "Requests by what their sticky cookie said.",
        &["proxy", "cookie"],
        sticky_requests,
    ),
    counter(
        "tandem_backend_sticky_cookies_total",
        "Responses that set a sticky cookie, a new one or one with a new date.",
        &["proxy", "kind"],
        sticky_cookies,
    ),
    gauge("tandem_backend_current_sessions", "Requests in flight.", PROXY, |s| {
        rows(s, Backend, |r| number(r.sessions))
    }),
    gauge("tandem_backend_max_sessions", "The most requests in flight at once.", PROXY, |s| {
        rows(s, Backend, |r| number(r.sessions_max))
    }),
    gauge("tandem_backend_max_session_rate", "The most requests in a second.", PROXY, |s| {
        rows(s, Backend, |r| number(r.rate_max))
    }),
    counter("tandem_backend_http_requests_total", "Requests for this backend.", PROXY, |s| {
        rows(s, Backend, |r| number(r.sessions_total))
    }),
    counter("tandem_backend_http_responses_total", "Responses by class.", &["proxy", "code"], |s| {
        responses(s, Backend)
    }),
    counter(
        "tandem_backend_loadbalanced_total",
        "Times that a server was chosen, retries included.",
        PROXY,
        |s| rows(s, Backend, |r| number(r.chosen)),
    ),
    counter("tandem_backend_connection_errors_total", "Connections to servers that failed.", PROXY, |s| {
        rows(s, Backend, |r| number(r.connect_errors))
    }),
    counter(
        "tandem_backend_response_errors_total",
        "Responses that were malformed, late or broken off.",
        PROXY,
        |s| rows(s, Backend, |r| number(r.response_errors)),
    ),
    counter("tandem_backend_retry_warnings_total", "Attempts that were repeated.", PROXY, |s| {
        rows(s, Backend, |r| number(r.retries))
    }),
    counter(
        "tandem_backend_retries_refused_total",
        "Attempts that were not repeated because the budget of retries was used up.",
        PROXY,
        |s| rows(s, Backend, |r| number(r.retries_refused)),
    ),
    counter(
        "tandem_backend_redispatch_warnings_total",
        "Requests that went to another server than the first chosen.",
        PROXY,
        |s| rows(s, Backend, |r| number(r.redispatches)),
    ),
    counter("tandem_backend_client_aborts_total", "Transfers that the client broke off.", PROXY, |s| {
        rows(s, Backend, |r| number(r.client_aborts))
    }),
    counter("tandem_backend_server_aborts_total", "Transfers that the server broke off.", PROXY, |s| {
        rows(s, Backend, |r| number(r.server_aborts))
    }),
    counter("tandem_backend_bytes_in_total", "Bytes sent to servers.", PROXY, |s| {
        rows(s, Backend, |r| number(r.bytes_in))
    }),
    counter("tandem_backend_bytes_out_total", "Bytes received from servers.", PROXY, |s| {
        rows(s, Backend, |r| number(r.bytes_out))
    }),
    counter(
        "tandem_backend_check_up_down_total",
        "Times that the backend lost its last usable server.",
        PROXY,
        |s| rows(s, Backend, |r| number(r.downs)),
    ),
    gauge("tandem_backend_check_last_change_seconds", "Since the last change of state.", PROXY, |s| {
        rows(s, Backend, |r| seconds(r.since_ms))
    }),
    counter("tandem_backend_downtime_seconds_total", "Time without a usable server.", PROXY, |s| {
        rows(s, Backend, |r| seconds(r.downtime_ms))
    }),
    gauge("tandem_backend_last_session_seconds", "Since the last request.", PROXY, |s| {
        rows(s, Backend, |r| r.last_session_ms.map(seconds))
    }),
    histogram(
        "tandem_backend_response_time_seconds",
        "From the whole request head to the response head.",
        PROXY,
        latency,
    ),
    gauge(
        "tandem_backend_connect_time_average_seconds",
        "Average time to connect, over about the last 1,024 requests.",
        PROXY,
        |s| rows(s, Backend, |r| seconds(r.times_ms[1])),
    ),
    gauge(
        "tandem_backend_response_time_average_seconds",
        "Average time to the first byte of the response, over about the last 1,024 requests.",
        PROXY,
        |s| rows(s, Backend, |r| seconds(r.times_ms[2])),
    ),
    gauge(
        "tandem_backend_total_time_average_seconds",
        "Average time of a whole request, over about the last 1,024 requests.",
        PROXY,
        |s| rows(s, Backend, |r| seconds(r.times_ms[3])),
    ),
    //
    gauge(
        "tandem_server_status",
        "1 for the state that the server is in.",
        &["proxy", "server", "state"],
        |s| states(s, Server, &["UP", "DOWN", "DRAIN", "MAINT", "no check"]),
    ),
    gauge("tandem_server_weight", "Effective weight.", SERVER, |s| rows(s, Server, |r| number(r.weight))),
    gauge(
        "tandem_server_current_throttle",
        "Per cent of its weight that the server has while it warms up.",
        SERVER,
        |s| rows(s, Server, |r| r.throttle.map(f64::from)),
    ),
    gauge("tandem_server_limit_sessions", "How many requests there may be at once.", SERVER, |s| {
        rows(s, Server, |r| r.sessions_limit.map(number))
    }),
    gauge("tandem_server_current_sessions", "Requests in flight.", SERVER, |s| {
        rows(s, Server, |r| number(r.sessions))
    }),
    gauge("tandem_server_max_sessions", "The most requests in flight at once.", SERVER, |s| {
        rows(s, Server, |r| number(r.sessions_max))
    }),
    gauge("tandem_server_max_session_rate", "The most requests in a second.", SERVER, |s| {
        rows(s, Server, |r| number(r.rate_max))
    }),
    counter("tandem_server_sessions_total", "Requests sent to this server.", SERVER, |s| {
        rows(s, Server, |r| number(r.sessions_total))
    }),
    counter("tandem_server_http_responses_total", "Responses by class.", &["proxy", "server", "code"], |s| {
        responses(s, Server)
    }),
    counter(
        "tandem_server_loadbalanced_total",
        "Times that this server was chosen, retries included.",
        SERVER,
        |s| rows(s, Server, |r| number(r.chosen)),
    ),
    counter("tandem_server_connection_errors_total", "Connections that failed.", SERVER, |s| {
        rows(s, Server, |r| number(r.connect_errors))
    }),
    counter(
        "tandem_server_tls_handshakes_total",
        "TLS handshakes: full ones, those of sessions that went on, and those that failed.",
        &["proxy", "server", "result"],
        |s| handshakes(s, true),
    ),
    counter(
        "tandem_server_tls_versions_total",
        "TLS handshakes that succeeded, by the version that they agreed on.",
        &["proxy", "server", "version"],
        |s| versions(s, true),
    ),
    counter(
        "tandem_server_response_errors_total",
        "Responses that were malformed, late or broken off.",
        SERVER,
        |s| rows(s, Server, |r| number(r.response_errors)),
    ),
    counter("tandem_server_retry_warnings_total", "Attempts that were repeated.", SERVER, |s| {
        rows(s, Server, |r| number(r.retries))
    }),
    counter(
        "tandem_server_redispatch_warnings_total",
        "Requests that were first meant for this server and went to another.",
        SERVER,
        |s| rows(s, Server, |r| number(r.redispatches)),
    ),
    counter("tandem_server_client_aborts_total", "Transfers that the client broke off.", SERVER, |s| {
        rows(s, Server, |r| number(r.client_aborts))
    }),
    counter("tandem_server_server_aborts_total", "Transfers that the server broke off.", SERVER, |s| {
        rows(s, Server, |r| number(r.server_aborts))
    }),
    counter("tandem_server_bytes_in_total", "Bytes sent to the server.", SERVER, |s| {
        rows(s, Server, |r| number(r.bytes_in))
    }),
    counter("tandem_server_bytes_out_total", "Bytes received from the server.", SERVER, |s| {
        rows(s, Server, |r| number(r.bytes_out))
    }),
    gauge("tandem_server_idle_connections_current", "Idle connections kept for reuse.", SERVER, |s| {
        rows(s, Server, |r| number(r.idle))
    }),
    gauge(
        "tandem_server_check_status",
        "1 for the code of the last check.",
        &["proxy", "server", "state"],
        check_codes,
    ),
    gauge("tandem_server_check_code", "The HTTP status of the last check's answer.", SERVER, |s| {
        rows(s, Server, |r| r.check.as_ref().and_then(|check| check.http_status).map(f64::from))
    }),
    gauge("tandem_server_check_duration_seconds", "How long the last check took.", SERVER, |s| {
        rows(s, Server, |r| r.check.as_ref().map(|check| seconds(check.duration_ms)))
    }),
    gauge("tandem_server_check_age_seconds", "Since the last check ended.", SERVER, |s| {
        rows(s, Server, |r| r.check.as_ref().map(|check| seconds(check.age_ms)))
    }),
    counter(
        "tandem_server_check_failures_total",
        "Checks that failed while the server was up.",
        SERVER,
        |s| rows(s, Server, |r| number(r.failed_checks)),
    ),
    counter("tandem_server_check_up_down_total", "Times that the server went down.", SERVER, |s| {
        rows(s, Server, |r| number(r.downs))
    }),
    gauge("tandem_server_check_last_change_seconds", "Since the last change of state.", SERVER, |s| {
        rows(s, Server, |r| seconds(r.since_ms))
    }),
    counter("tandem_server_downtime_seconds_total", "Time spent down.", SERVER, |s| {
        rows(s, Server, |r| seconds(r.downtime_ms))
    }),
    gauge("tandem_server_last_session_seconds", "Since the last request.", SERVER, |s| {
        rows(s, Server, |r| r.last_session_ms.map(seconds))
    }),
    gauge(
        "tandem_server_response_time_average_seconds",
        "Average time to the first byte of the response, over about the last 1,024 requests.",
        SERVER,
        |s| rows(s, Server, |r| seconds(r.times_ms[2])),
    ),
    //
    gauge("tandem_lbd_state", "1 for the state that lbd is in.", &["state"], |s| life(s.info.state)),
    gauge(
        "tandem_lbd_config_generation",
        "Successful loads of the configuration, the start included.",
        &[],
        |s| one(number(s.info.generation)),
    ),
    gauge("tandem_lbd_config_reload_ok", "1 unless the last reload was refused.", &[], |s| {
        one(flag(s.info.reload_error.is_none()))
    }),
    gauge(
        "tandem_lbd_healthd_connected",
        "1 while lbd receives healthd's verdicts, 0 while it uses the last ones.",
        &[],
        |s| one(flag(matches!(s.healthd, HealthdLink::Connected | HealthdLink::Differs(_)))),
    ),
    gauge(
        "tandem_lbd_healthd_config_differs",
        "1 while healthd runs another configuration than lbd.",
        &[],
        |s| one(flag(matches!(s.healthd, HealthdLink::Differs(_)))),
    ),
    gauge("tandem_lbd_verdict_age_seconds", "Since healthd last said anything.", &[], |s| {
        s.verdict_age.map_or_else(Vec::new, |age| one(age.as_secs_f64()))
    }),
    gauge("tandem_lbd_current_connections", "Client connections now.", &[], |s| one(number(s.connections))),
    gauge("tandem_lbd_predecessors", "Earlier lbd that finish what they have beside this one.", &[], |s| {
        one(number(s.predecessors.0))
    }),
    gauge("tandem_lbd_predecessor_connections", "Client connections that they still have.", &[], |s| {
        one(number(s.predecessors.1))
    }),
    gauge("tandem_lbd_max_connections", "How many client connections there may be at once.", &[], |s| {
        one(number(s.maxconn))
    }),
    gauge("tandem_lbd_max_fds", "How many descriptors lbd may have open.", &[], |s| {
        one(number(s.descriptors))
    }),
    gauge("tandem_lbd_workers", "Worker threads.", &[], |s| one(number(s.workers))),
    gauge(
        "tandem_lbd_worker_tick_age_seconds",
        "How long the slowest worker has been at work without a sign.",
        &[],
        |s| one(s.tick_age.as_secs_f64()),
    ),
    counter(
        "tandem_lbd_access_log_dropped_total",
        "Access log lines dropped because their reader was too slow.",
        &[],
        |s| one(number(s.log_dropped)),
    ),
    counter(
        "tandem_lbd_refused_requests_total",
        "Requests that lbd refused, by reason.",
        &["reason"],
        refusals,
    ),
];

/// A number of each row of a kind; none where it has no meaning.
fn rows<V: Into<Option<f64>>>(sample: &Sample, kind: RowKind, value: impl Fn(&StatRow) -> V) -> Samples<'_> {
    let of_kind = sample.rows.iter().filter(|row| row.kind == kind);
    of_kind.filter_map(|row| value(row).into().map(|value| (labels(row, None), value))).collect()
}

/// The values of each row of a kind, each with a word.
fn each<'a, I>(sample: &'a Sample, kind: RowKind, values: impl Fn(&'a StatRow) -> I) -> Samples<'a>
where
    I: IntoIterator<Item = (&'a str, f64)>,
{
    let of_kind = sample.rows.iter().filter(|row| row.kind == kind);
    of_kind
        .flat_map(|row| values(row).into_iter().map(move |(word, value)| (labels(row, Some(word)), value)))
        .collect()
}

/// The labels of a row, and a word beside them.
fn labels<'a>(row: &'a StatRow, word: Option<&'a str>) -> Vec<Cow<'a, str>> {
    let name = (row.kind == Server).then_some(row.name.as_str());
    [Some(row.proxy.as_str()), name, word].into_iter().flatten().map(Cow::from).collect()
}

/// Responses of each row of a kind, by class.
fn responses(sample: &Sample, kind: RowKind) -> Samples<'_> {
    each(sample, kind, |row| {
        ["1xx", "2xx", "3xx", "4xx", "5xx", "other"].into_iter().zip(row.responses.map(number))
    })
}

/// 1 for the state that each row of a kind is in, 0 for the others. A frontend that is open is `UP`, as in HAProxy's exporter.
fn states<'a>(sample: &'a Sample, kind: RowKind, states: &'static [&'static str]) -> Samples<'a> {
    each(sample, kind, |row| {
        let state = match (kind, Condition::of(&row.status)) {
            (Frontend, Condition::Open) => "UP",
            (Frontend, _) => "DOWN",
            (_, condition) => condition.word(),
        };
        states.iter().map(move |word| (*word, flag(*word == state)))
    })
}

/// 1 for the code of each server's last check, 0 for the others.
fn check_codes(sample: &Sample) -> Samples<'_> {
    each(sample, Server, |row| {
        let codes = row.check.iter().flat_map(|check| CheckCode::ALL.map(|code| (code, check.code)));
        codes.map(|(code, last)| (code.word(), flag(code == last)))
    })
}

/// Requests of each sticky backend, by what their cookie said.
fn sticky_requests(sample: &Sample) -> Samples<'_> {
    each(sample, Backend, |row| {
        let counts = row.sticky.map(|StickyCounts { followed, dead, expired, unknown, absent, .. }| {
            ["followed", "dead", "expired", "unknown", "absent"]
                .into_iter()
                .zip([followed, dead, expired, unknown, absent].map(number))
        });
        counts.into_iter().flatten()
    })
}

/// Cookies that each sticky backend set.
fn sticky_cookies(sample: &Sample) -> Samples<'_> {
    each(sample, Backend, |row| {
        let counts =
            row.sticky.map(|sticky| [("new", number(sticky.new)), ("renewed", number(sticky.renewed))]);
        counts.into_iter().flatten()
    })
}

/// Response times of each backend.
fn latency(sample: &Sample) -> Samples<'_, Histogram> {
    sample.latency.iter().map(|latency| (vec![(&latency.backend).into()], latency.times.clone())).collect()
}

/// What took each route.
fn routes(sample: &Sample) -> Samples<'_> {
    let rows = sample.routes.iter();
    rows.map(|row| (vec![(&row.frontend).into(), (&row.route).into()], number(row.taken))).collect()
}

/// TLS handshakes of frontends, or with servers, by how they ended.
fn handshakes(sample: &Sample, with_servers: bool) -> Samples<'_> {
    by_handshakes(sample, with_servers, |row| {
        vec![("full", row.full), ("resumed", row.resumed), ("failed", row.failed)]
    })
}

/// Those that succeeded, by version.
fn versions(sample: &Sample, with_servers: bool) -> Samples<'_> {
    by_handshakes(sample, with_servers, |row| row.versions.to_vec())
}

fn by_handshakes(
    sample: &Sample,
    with_servers: bool,
    counts: impl Fn(&HandshakeRow) -> Vec<(&'static str, u64)>,
) -> Samples<'_> {
    let mut all = Vec::new();
    for row in sample.handshakes.iter().filter(|row| row.server.is_some() == with_servers) {
        for (what, count) in counts(row) {
            let whose = [Some(&row.proxy), row.server.as_ref()].into_iter().flatten();
            all.push((whose.map(Into::into).chain([what.into()]).collect(), number(count)));
        }
    }
    all
}

fn http2(sample: &Sample, value: impl Fn(&Http2Row) -> u64) -> Samples<'_> {
    sample.http2.iter().map(|row| (vec![(&row.frontend).into()], number(value(row)))).collect()
}

/// Streams that were reset, by why.
fn resets(sample: &Sample) -> Samples<'_> {
    let rows = sample.http2.iter().flat_map(|row| {
        row.resets.map(|(reason, count)| (vec![(&row.frontend).into(), reason.into()], number(count)))
    });
    rows.collect()
}

/// The ends of certificates, or of what belongs to them, by their first names.
fn certificates(sample: &Sample, end: impl Fn(&CertificateRow) -> Option<i64>) -> Samples<'_> {
    let rows = sample.certificates.iter().filter_map(|row| {
        let end = end(row)?;
        let name = row.names.first().cloned().unwrap_or_default();
        let labels =
            vec![(&row.frontend).into(), row.address.to_string().into(), name.into(), (&row.file).into()];
        Some((labels, number(u64::try_from(end).unwrap_or_default())))
    });
    rows.collect()
}

/// Refused requests by reason.
fn refusals(sample: &Sample) -> Samples<'_> {
    sample.refusals.iter().map(|(reason, count)| (vec![reason.into()], number(*count))).collect()
}
