//! The report as a person reads it in a terminal.

use std::io::IsTerminal;

use wire::{
    Condition, Info, LifeState, RowKind, StatRow, Tally, Tone, Troubles, doubt, headline, human, latest,
};

use super::other::Other;
use super::report::Report;
use super::table::{Align, Cell, Column, Table, printable, toned};
use super::{instances, services};
use crate::failure::Failure;

/// The width where there is no terminal to ask.
const WIDTH_UNKNOWN: usize = 120;

/// How to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Columns of the terminal.
    pub(crate) width: usize,
    /// Whether it shows colours.
    pub(crate) colour: bool,
}

impl Style {
    /// What suits standard output: the terminal's width unless `COLUMNS` says otherwise; colours on a terminal unless
    /// `NO_COLOR` is set.
    pub(crate) fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            width: columns.or(terminal).unwrap_or(WIDTH_UNKNOWN),
            colour: std::io::stdout().is_terminal() && !is_set("NO_COLOR"),
        }
    }
}

/// The whole screen: both nodes, where the other one is known.
pub(crate) fn render(here: &Report, other: &Other, style: Style) -> String {
    let mut parts = Vec::new();
    let there = other.report();
    if let Some(there) = there {
        let host = there.host.as_deref().unwrap_or_default();
        let both = instances::of_both(here.instances(), there.instances(), host);
        parts.extend((!both.is_empty()).then(|| lines(&both, style)));
    }
    parts.extend(there.map(|_| "This node\n".to_owned()));
    parts.extend(node(here, style));
    if let Some(there) = there {
        parts.push(format!("Node {}\n", printable(there.host.as_deref().unwrap_or_default())));
        parts.extend(node(there, style));
    }
    parts.extend(
        other.excuse().map(|excuse| format!("{}\n", toned(&printable(&excuse), Tone::Warning, style.colour))),
    );
    parts.join("\n")
}

/// A node: what matters most, tables of all that it has, and what failed.
fn node(report: &Report, style: Style) -> Vec<String> {
    let rows = report.rows();
    let mut headlines: Vec<(Tone, String)> = report.instances().iter().map(instances::headline).collect();
    headlines.extend(report.services.iter().map(services::headline));
    if let Ok((lbd, _)) = &report.lbd {
        headlines.push(headline(&rows, lbd.details.get("healthd").and_then(|link| doubt(link))));
    }
    let mut tables = vec![daemons(report)];
    if !report.instances().is_empty() {
        tables.push(instances::table(report.instances()));
    }
    if !report.services.is_empty() {
        tables.push(services::table(&report.services));
    }
    if rows.iter().any(|row| row.kind == RowKind::Frontend) {
        tables.push(frontends(&rows));
    }
    if rows.iter().any(|row| row.kind == RowKind::Server) {
        tables.push(servers(&rows, report.lbd.is_ok()));
    }
    let mut parts: Vec<String> =
        (!headlines.is_empty()).then(|| lines(&headlines, style)).into_iter().collect();
    parts.extend(tables.iter().map(|table| table.render(style.width, style.colour)));
    for failure in report.daemons().into_iter().filter_map(|(_, info)| info.err()) {
        parts.push(format!("{}\n", toned(&explain(failure), Tone::Bad, style.colour)));
    }
    parts
}

fn lines(headlines: &[(Tone, String)], style: Style) -> String {
    let line = |(tone, line): &(Tone, String)| format!("{}\n", toned(&printable(line), *tone, style.colour));
    headlines.iter().map(line).collect()
}

/// A failure's lines, none of which can command the terminal.
fn explain(failure: &Failure) -> String {
    failure.to_string().lines().map(printable).collect::<Vec<_>>().join("\n")
}

pub(super) const fn left(title: &'static str, rank: u8) -> Column {
    Column { title, align: Align::Left, rank }
}

pub(super) const fn right(title: &'static str, rank: u8) -> Column {
    Column { title, align: Align::Right, rank }
}

/// The rank of columns that are never left out.
pub(super) const ALWAYS: u8 = u8::MAX;
/// The rank of columns in which something stands that has to be seen.
pub(super) const NOTABLE: u8 = 12;

fn daemons(report: &Report) -> Table {
    let mut table = Table::new(&[
        left("DAEMON", ALWAYS),
        left("STATE", ALWAYS),
        left("VERSION", 3),
        left("UPTIME", 4),
        right("PID", 1),
        right("GENERATION", 2),
        left("CONFIGURATION", 5),
    ]);
    for (daemon, info) in report.daemons() {
        match info {
            Ok(info) => daemon_row(&mut table, daemon, info),
            Err(failure) => {
                let is_absent = matches!(failure, Failure::Unreachable(_) | Failure::Remote(_));
                let word = if is_absent { "unreachable" } else { "failed" };
                table.row(without_info(daemon, Cell::toned(word, Tone::Bad)));
            }
        }
    }
    if report.vrrpd.is_none() {
        table.row(without_info("vrrpd", Cell::toned("not running", Tone::Paused)));
    }
    table
}

/// A daemon that says nothing.
fn without_info(daemon: &str, state: Cell) -> Vec<Cell> {
    let mut cells = vec![Cell::plain(daemon), state];
    cells.resize(7, Cell::plain(""));
    cells
}

fn daemon_row(table: &mut Table, daemon: &str, info: &Info) {
    let tone = if info.state == LifeState::Ready { Tone::Good } else { Tone::Warning };
    table.row(vec![
        Cell::plain(daemon),
        Cell::toned(info.state.word(), tone),
        Cell::plain(&info.version),
        Cell::plain(human::duration(info.uptime_ms)),
        Cell::plain(info.pid.to_string()),
        Cell::plain(info.generation.to_string()),
        Cell::plain(&info.config),
    ]);
    if let Some(error) = &info.reload_error {
        table.note(&format!("the last reload was refused:\n{error}"), Tone::Bad);
    }
    if let Some(predecessors) = info.details.get("predecessors") {
        table.note(&format!("an earlier lbd finishes: {predecessors}"), Tone::Paused);
    }
    if let Some(link) = info.details.get("healthd").filter(|link| *link != "connected") {
        let advice = if link.starts_with("connected") {
            "`tandemctl reload`"
        } else {
            "the last verdicts are in force"
        };
        table.note(&format!("healthd {link}: {advice}"), Tone::Warning);
    }
}

fn frontends(rows: &[StatRow]) -> Table {
    let refused = rows.iter().any(|row| row.kind == RowKind::Frontend && row.request_errors > 0);
    let mut table = Table::new(&[
        left("FRONTEND", ALWAYS),
        left("STATUS", ALWAYS),
        right("CONNS", 9),
        right("MAX", 4),
        right("REQ/S", 8),
        right("REQS", 7),
        right("2XX", 2),
        right("4XX", 5),
        right("5XX", 6),
        right("REFUSED", if refused { NOTABLE } else { 3 }),
        left("ADDRESS", 1),
    ]);
    for row in rows.iter().filter(|row| row.kind == RowKind::Frontend) {
        table.row(vec![
            Cell::plain(&row.proxy),
            status(row),
            count(row.sessions),
            count(row.sessions_max),
            count(row.request_rate),
            count(row.requests),
            count(row.responses[1]),
            events(row.responses[3], row.troubles.responses_4xx, Tone::Warning),
            events(row.responses[4], row.troubles.responses_5xx, Tone::Bad),
            events(row.request_errors, row.troubles.refused, Tone::Warning),
            Cell::plain(&row.address),
        ]);
    }
    table
}

/// All backends in one table, so that their columns stand in line: each backend, then its servers. Without lbd nobody counts.
fn servers(rows: &[StatRow], counted: bool) -> Table {
    let is_bad = |row: &StatRow| Condition::of(&row.status).tone() == Tone::Bad;
    let lost = rows.iter().any(|row| row.kind == RowKind::Server && is_bad(row));
    let mut table = Table::new(&[
        left("SERVER", ALWAYS),
        left("STATUS", ALWAYS),
        right("SINCE", 5),
        left("CHECK", 11),
        right("WT", 4),
        right("CUR", 9),
        right("REQ/S", 10),
        right("REQS", 7),
        right("5XX", 2),
        right("ERR", 8),
        right("RETR", 3),
        right("DOWN", 6),
        // Which machine it is that does not answer.
        left("ADDRESS", if lost { NOTABLE } else { 1 }),
    ]);
    let mut backends: Vec<&str> =
        rows.iter().filter(|r| r.kind != RowKind::Frontend).map(|r| r.proxy.as_str()).collect();
    backends.dedup();
    for name in backends {
        let backend = rows.iter().find(|row| row.kind == RowKind::Backend && row.proxy == name);
        if let Some(backend) = backend {
            let tally = Tally::of(name, rows);
            let usable = Cell::plain(format!("{}/{} usable", tally.usable, tally.servers));
            table.row(service(backend, name.to_owned(), usable, counted));
            if let Some((tone, why)) = why(backend) {
                table.note(&why, tone);
            }
            if let Some(found) = &backend.discovery {
                let tone = if found.trouble.is_some() { Tone::Warning } else { Tone::Good };
                table.note(&format!("servers: {}", found.summary()), tone);
            }
        }
        for server in rows.iter().filter(|row| row.kind == RowKind::Server && row.proxy == name) {
            let label = if backend.is_some() {
                format!("  {}", server.name)
            } else {
                format!("{name}/{}", server.name)
            };
            let label = match server.backup {
                Some(level) => format!("{label} ({})", wire::backup(level, server.stands_by)),
                None => label,
            };
            table.row(service(server, label, check(server), counted));
            if let Some((tone, why)) = why(server) {
                table.note(&why, tone);
            }
        }
    }
    table
}

/// A backend or server in the columns of [`servers`].
fn service(row: &StatRow, label: String, check: Cell, counted: bool) -> Vec<Cell> {
    let Troubles { responses_5xx, errors, retries, .. } = row.troubles;
    let counts = [
        Cell::plain(row.weight.to_string()),
        count(row.sessions),
        count(row.rate),
        count(row.sessions_total),
        events(row.responses[4], responses_5xx, Tone::Bad),
        events(row.connect_errors + row.response_errors, errors, Tone::Bad),
        events(row.retries, retries, Tone::Warning),
    ];
    let counts = counts.map(|cell| if counted { cell } else { Cell::plain("-") });
    let mut cells =
        vec![Cell::plain(label), status(row), Cell::plain(human::short_duration(row.since_ms)), check];
    cells.extend(counts);
    cells.extend([
        Cell::plain(if row.downtime_ms == 0 { "-".into() } else { human::short_duration(row.downtime_ms) }),
        Cell::plain(&row.address),
    ]);
    cells
}

fn status(row: &StatRow) -> Cell {
    Cell::toned(&row.status, Condition::of(&row.status).tone())
}

/// The last check of a server, in short: `L7OK 200 2ms`.
fn check(server: &StatRow) -> Cell {
    let Some(check) = &server.check else { return Cell::plain("-") };
    let status = check.http_status.map_or_else(String::new, |status| format!(" {status}"));
    let text = format!("{}{status} {}", check.code, human::short_duration(check.duration_ms));
    if check.code.is_good() { Cell::plain(text) } else { Cell::toned(text, Tone::Bad) }
}

/// Why a server or backend is as it is, if that is not plain.
fn why(server: &StatRow) -> Option<(Tone, String)> {
    let bad = server.check.as_ref().filter(|check| !check.code.is_good());
    let said = bad.map(|check| format!("{}, {} ago", check.text, human::duration(check.age_ms)));
    let reason = (!server.reason.is_empty()).then(|| server.reason.clone());
    let warming = server.throttle.map(|percent| format!("warms up, with {percent}% of its weight"));
    let queue = server.queue.filter(|queue| queue.now > 0 || queue.refused > 0).map(|queue| {
        format!(
            "{} waiting for a server, {} refused for it",
            human::things(queue.now, "request"),
            queue.refused
        )
    });
    let lines: Vec<String> = said.into_iter().chain(reason).chain(warming).chain(queue).collect();
    let tone = match Condition::of(&server.status).tone() {
        Tone::Bad => Tone::Bad,
        _ => Tone::Warning,
    };
    (!lines.is_empty()).then(|| (tone, lines.join("\n")))
}

fn count(n: u64) -> Cell {
    Cell::plain(human::short_count(n))
}

/// How often something unwelcome happened; it stands out if that was lately.
fn events(n: u64, age_ms: Option<u64>, tone: Tone) -> Cell {
    let text = human::short_count(n);
    latest(age_ms, tone).map_or_else(|| Cell::plain(&text), |tone| Cell::toned(&text, tone))
}

#[cfg(test)]
mod tests;
