//! The columns of HAProxy's statistics: their names, their order, and what lbd has to say in each.
//!
//! Scripts address columns by number, so that columns are only ever added, at the end.

use std::collections::HashMap;

use health::CheckCode;
use wire::{Condition, RowKind, StatRow};

/// A field of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// Unused in rows of this kind.
    Empty,
    /// A number.
    Number(u64),
    /// An age of something that has not happened: HAProxy writes -1.
    Never,
    /// A word or a sentence.
    Text(&'a str),
}

/// A row with the numbers that HAProxy gives to proxies and servers.
pub(crate) struct Numbered<'a> {
    pub(crate) row: &'a StatRow,
    /// Of the frontend or backend, from 1.
    pub(crate) proxy_id: u64,
    /// Of the server within its backend, from 1; 0 for the frontend or backend itself.
    pub(crate) server_id: u64,
}

/// Numbers the rows: proxies in the order of their first row, servers in order within their backend.
pub(crate) fn number(rows: &[StatRow]) -> Vec<Numbered<'_>> {
    let mut proxies: HashMap<(bool, &str), (u64, u64)> = HashMap::new();
    let mut numbered = Vec::with_capacity(rows.len());
    for row in rows {
        let next_proxy = u64::try_from(proxies.len()).unwrap_or(u64::MAX).saturating_add(1);
        let key = (row.kind == RowKind::Frontend, row.proxy.as_str());
        let (proxy_id, servers) = proxies.entry(key).or_insert((next_proxy, 0));
        let server_id = match row.kind {
            RowKind::Server => {
                *servers += 1;
                *servers
            }
            RowKind::Frontend | RowKind::Backend => 0,
        };
        numbered.push(Numbered { row, proxy_id: *proxy_id, server_id });
    }
    numbered
}

/// A column: its name, and its field in a row.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) value: for<'a> fn(&Numbered<'a>) -> Value<'a>,
}

const fn column(name: &'static str, value: for<'a> fn(&Numbered<'a>) -> Value<'a>) -> Column {
    Column { name, value }
}

/// A column that lbd has nothing to say in.
const fn unused(name: &'static str) -> Column {
    column(name, |_| Value::Empty)
}

/// HAProxy's columns 0 to 76.
pub(crate) const COLUMNS: [Column; 77] = [
    column("pxname", |n| Value::Text(&n.row.proxy)),
    column("svname", |n| Value::Text(&n.row.name)),
    column("qcur", |n| service(n, n.row.queue.map_or(0, |queue| queue.now))),
    column("qmax", |n| service(n, n.row.queue.map_or(0, |queue| queue.max))),
    column("scur", |n| Value::Number(n.row.sessions)),
    column("smax", |n| Value::Number(n.row.sessions_max)),
    column("slim", |n| n.row.sessions_limit.map_or(Value::Empty, Value::Number)),
    column("stot", |n| Value::Number(n.row.sessions_total)),
    column("bin", |n| Value::Number(n.row.bytes_in)),
    column("bout", |n| Value::Number(n.row.bytes_out)),
    column("dreq", |n| proxy(n, 0)),
    column("dresp", |_| Value::Number(0)),
    column("ereq", |n| frontend(n, n.row.request_errors)),
    column("econ", |n| service(n, n.row.connect_errors)),
    column("eresp", |n| service(n, n.row.response_errors)),
    column("wretr", |n| service(n, n.row.retries)),
    column("wredis", |n| service(n, n.row.redispatches)),
    column("status", |n| Value::Text(&n.row.status)),
    column("weight", |n| service(n, n.row.weight)),
    column("act", |n| service(n, n.row.active.saturating_sub(used_backups(n.row)))),
    column("bck", |n| service(n, n.row.backups.map_or(u64::from(n.row.backup.is_some()), |all| all.fit))),
    column("chkfail", |n| checked(n, n.row.failed_checks)),
    column("chkdown", |n| {
        if is(n, RowKind::Backend) { Value::Number(n.row.downs) } else { checked(n, n.row.downs) }
    }),
    column("lastchg", |n| service(n, n.row.since_ms / 1000)),
    column("downtime", |n| service(n, n.row.downtime_ms / 1000)),
    // Here the queue is the backend's.
    column("qlimit", |n| n.row.queue.map_or(Value::Empty, |queue| Value::Number(queue.limit))),
    column("pid", |_| Value::Number(1)),
    column("iid", |n| Value::Number(n.proxy_id)),
    column("sid", |n| Value::Number(n.server_id)),
    column("throttle", |n| n.row.throttle.map_or(Value::Empty, |percent| Value::Number(percent.into()))),
    column("lbtot", |n| service(n, n.row.chosen)),
    unused("tracked"),
    column("type", |n| {
        Value::Number(match n.row.kind {
            RowKind::Frontend => 0,
            RowKind::Backend => 1,
            RowKind::Server => 2,
        })
    }),
    column("rate", |n| Value::Number(n.row.rate)),
    column("rate_lim", |n| frontend(n, 0)),
    column("rate_max", |n| Value::Number(n.row.rate_max)),
    column("check_status", |n| {
        n.row.check.as_ref().map_or(Value::Empty, |check| Value::Text(check.code.word()))
    }),
    column("check_code", |n| {
        n.row
            .check
            .as_ref()
            .and_then(|check| check.http_status)
            .map_or(Value::Empty, |code| Value::Number(code.into()))
    }),
    column("check_duration", |n| {
        n.row.check.as_ref().map_or(Value::Empty, |check| Value::Number(check.duration_ms))
    }),
    column("hrsp_1xx", |n| Value::Number(n.row.responses[0])),
    column("hrsp_2xx", |n| Value::Number(n.row.responses[1])),
    column("hrsp_3xx", |n| Value::Number(n.row.responses[2])),
    column("hrsp_4xx", |n| Value::Number(n.row.responses[3])),
    column("hrsp_5xx", |n| Value::Number(n.row.responses[4])),
    column("hrsp_other", |n| Value::Number(n.row.responses[5])),
    unused("hanafail"),
    column("req_rate", |n| frontend(n, n.row.request_rate)),
    column("req_rate_max", |n| frontend(n, n.row.request_rate_max)),
    column("req_tot", |n| match n.row.kind {
        RowKind::Frontend => Value::Number(n.row.requests),
        RowKind::Backend | RowKind::Server => Value::Number(n.row.sessions_total),
    }),
    column("cli_abrt", |n| service(n, n.row.client_aborts)),
    column("srv_abrt", |n| service(n, n.row.server_aborts)),
    column("comp_in", |n| proxy(n, 0)),
    column("comp_out", |n| proxy(n, 0)),
    column("comp_byp", |n| proxy(n, 0)),
    column("comp_rsp", |n| proxy(n, 0)),
    column("lastsess", |n| match (n.row.kind, n.row.last_session_ms) {
        (RowKind::Frontend, _) => Value::Empty,
        (_, Some(ms)) => Value::Number(ms / 1000),
        (_, None) => Value::Never,
    }),
    column("last_chk", |n| match &n.row.check {
        Some(check) => Value::Text(&check.text),
        None if n.row.reason.is_empty() => Value::Empty,
        None => Value::Text(&n.row.reason),
    }),
    unused("last_agt"),
    column("qtime", |n| service(n, n.row.times_ms[0])),
    column("ctime", |n| service(n, n.row.times_ms[1])),
    column("rtime", |n| service(n, n.row.times_ms[2])),
    column("ttime", |n| service(n, n.row.times_ms[3])),
    unused("agent_status"),
    unused("agent_code"),
    unused("agent_duration"),
    column("check_desc", |n| {
        n.row.check.as_ref().map_or(Value::Empty, |check| Value::Text(description(check.code)))
    }),
    unused("agent_desc"),
    column("check_rise", |n| checked(n, n.row.rise.into())),
    column("check_fall", |n| checked(n, n.row.fall.into())),
    column("check_health", |n| checked(n, check_health(n.row))),
    unused("agent_rise"),
    unused("agent_fall"),
    unused("agent_health"),
    column("addr", |n| if n.row.address.is_empty() { Value::Empty } else { Value::Text(&n.row.address) }),
    unused("cookie"),
    column("mode", |n| Value::Text(if n.row.mode.is_empty() { "http" } else { &n.row.mode })),
    column("algo", |n| if n.row.algorithm.is_empty() { Value::Empty } else { Value::Text(&n.row.algorithm) }),
];

fn is(n: &Numbered<'_>, kind: RowKind) -> bool {
    n.row.kind == kind
}

fn frontend<'a>(n: &Numbered<'a>, value: u64) -> Value<'a> {
    if is(n, RowKind::Frontend) { Value::Number(value) } else { Value::Empty }
}

/// A field of backends and servers.
fn service<'a>(n: &Numbered<'a>, value: u64) -> Value<'a> {
    if is(n, RowKind::Frontend) { Value::Empty } else { Value::Number(value) }
}

/// A field of frontends and backends.
fn proxy<'a>(n: &Numbered<'a>, value: u64) -> Value<'a> {
    if is(n, RowKind::Server) { Value::Empty } else { Value::Number(value) }
}

/// Those of the servers that take requests which are backup servers: HAProxy counts these apart.
fn used_backups(row: &StatRow) -> u64 {
    match row.kind {
        RowKind::Server if row.backup.is_some() => row.active,
        _ => row.backups.map_or(0, |all| all.used),
    }
}

/// A field of servers that are checked.
fn checked<'a>(n: &Numbered<'a>, value: u64) -> Value<'a> {
    let is_checked = is(n, RowKind::Server) && Condition::of(&n.row.status) != Condition::NoCheck;
    if is_checked { Value::Number(value) } else { Value::Empty }
}

/// HAProxy's single number for the progress of checks: 0 to `rise - 1` while down, `rise` to `rise + fall - 1` while up.
pub(crate) fn check_health(row: &StatRow) -> u64 {
    let (rise, fall) = (u64::from(row.rise), u64::from(row.fall));
    match Condition::of(&row.status) {
        Condition::Down => 0,
        Condition::Rising { good, .. } => u64::from(good),
        Condition::Falling { left, .. } => (rise + u64::from(left)).saturating_sub(1),
        _ => (rise + fall).saturating_sub(1),
    }
}

/// HAProxy's sentence for a check's code.
fn description(code: CheckCode) -> &'static str {
    match code {
        CheckCode::Ini => "Initializing",
        CheckCode::SockErr => "Socket error",
        CheckCode::L4Ok => "Layer4 check passed",
        CheckCode::L4Tout => "Layer4 timeout",
        CheckCode::L4Con => "Layer4 connection problem",
        CheckCode::L6Ok => "Layer6 check passed",
        CheckCode::L6Tout => "Layer6 timeout",
        CheckCode::L6Rsp => "Layer6 invalid response",
        CheckCode::L7Ok => "Layer7 check passed",
        CheckCode::L7Tout => "Layer7 timeout",
        CheckCode::L7Rsp => "Layer7 invalid response",
        CheckCode::L7Sts => "Layer7 wrong status",
    }
}
