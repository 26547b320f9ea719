//! The statistics page: every frontend, backend and server, for a person who wants to know at a glance.

mod certificates;

use std::time::Duration;

use daemon::page::{LINE, Page, badge, banner, class, facts};
use maud::{Markup, html};
use wire::{Condition, Info, RowKind, StatRow, StickyCounts, Tally, Tone, headline, human, latest};

use super::HealthdLink;
use super::certificates::CertificateRow;
use super::routes::RouteRow;

/// What there is to be seen.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// About lbd.
    pub info: &'a Info,
    /// About all that requests go through.
    pub rows: &'a [StatRow],
    /// Where they go.
    pub routes: &'a [RouteRow],
    /// What clients are presented.
    pub certificates: &'a [CertificateRow],
    /// Where verdicts are from.
    pub healthd: HealthdLink,
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// The page. Serve it with [`daemon::page::CONTENT_SECURITY_POLICY`].
pub fn render(view: &View<'_>) -> String {
    let View { info, rows, routes, certificates, healthd, now } = *view;
    let (tone, headline) = headline(rows, wire::doubt(&healthd.to_string()));
    let body = html! {
        (facts(info))
        @if let Some((tone, text)) = doubt(healthd) { (banner(tone, &text)) }
        (certificates::warning(certificates, now))
        @for backend in rows.iter().filter(|row| row.kind == RowKind::Backend) { (backend_section(backend, rows)) }
        (frontends_section(rows))
        @if !certificates.is_empty() { (certificates::section(certificates, now)) }
        @if !routes.is_empty() { (routes_section(routes)) }
    };
    Page {
        daemon: "lbd",
        headline: &headline,
        tone,
        links: &[("CSV", "/;csv"), ("JSON", "/;json"), ("metrics", "/metrics"), ("ready", "/ready")],
        body,
    }
    .render()
}

/// Why verdicts may be out of date.
fn doubt(healthd: HealthdLink) -> Option<(Tone, String)> {
    let ago = |age: Duration| human::duration(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    match healthd {
        HealthdLink::Connected => None,
        HealthdLink::Differs(age) => Some((
            Tone::Warning,
            format!(
                "healthd has been running another configuration for {}: servers that it does not check keep their last \
                 verdicts. `tandemctl reload` has both read the file.",
                ago(age)
            ),
        )),
        HealthdLink::Lost(age) => Some((
            Tone::Warning,
            format!(
                "No connection to healthd: using its last verdicts, which are {} old. Is healthd running?",
                ago(age)
            ),
        )),
        HealthdLink::Never(age) => Some((
            Tone::Warning,
            format!(
                "healthd has not answered for {}: servers are used unchecked. Is healthd running?",
                ago(age)
            ),
        )),
    }
}

fn backend_section(backend: &StatRow, rows: &[StatRow]) -> Markup {
    let name = &backend.proxy;
    let tally = Tally::of(name, rows);
    let tone = match tally {
        Tally { usable: 0, .. } => Tone::Bad,
        Tally { down: 1.., .. } | Tally { falling: 1.., .. } => Tone::Warning,
        Tally { paused: 1.., .. } => Tone::Paused,
        _ => Tone::Good,
    };
    let columns =
        ["Last check", "Weight", "In flight", "Per second", "Requests", "4xx", "5xx", "Errors", "Retries"];
    html! {
        section data-tone=(class(tone)) aria-labelledby={ "backend-" (name) } {
            header {
                h2 #{ "backend-" (name) } { "Backend " (name) }
                (badge(tone, &format!("{} of {} usable", tally.usable, tally.servers)))
                @if tally.backups_used > 0 { (badge(Tone::Warning, "backup servers serve")) }
                @if tally.standing_by > 0 { span .note { (tally.standing_by) " standing by" } }
                @if backend.last_resort { (badge(Tone::Bad, "every server is DOWN, and used all the same")) }
                @if let Some(queue) = backend.queue {
                    span .note {
                        (human::count(queue.now)) " of at most " (human::count(queue.limit)) " waiting, "
                        (human::count(queue.refused)) " refused"
                    }
                }
                @if let Some(sticky) = backend.sticky { (stickiness(sticky)) }
                @if let Some(found) = &backend.discovery {
                    @let tone = if found.trouble.is_some() { Tone::Warning } else { Tone::Good };
                    span .note.(class(tone)) { "servers: " (found.summary()) }
                }
                span .note { (backend.algorithm) }
                span .note { "for " (human::duration(backend.since_ms)) }
            }
            table .wide role="table" {
                caption .unseen { "Servers of backend " (name) }
                thead role="rowgroup" {
                    tr role="row" {
                        th scope="col" { "Server" }
                        th .text scope="col" { "Status" }
                        @for (index, column) in columns.iter().enumerate() {
                            th .text[index == 0] scope="col" { (column) }
                        }
                        th scope="col" { "Traffic" }
                        th scope="col" { "Downtime" }
                    }
                }
                (LINE)
                tbody role="rowgroup" {
                    @for server in rows.iter().filter(|row| row.kind == RowKind::Server && row.proxy == *name) {
                        (server_row(server, backend.sessions_total)) (LINE)
                    }
                }
                tfoot role="rowgroup" { (total_row(backend)) (LINE) }
            }
        }
        (LINE)
    }
}

/// What became of those who belong to a server.
fn stickiness(sticky: StickyCounts) -> Markup {
    let of = |count: u64, what: &str| format!("{} {what}", human::count(count));
    html! {
        span .note {
            "sticky: " (of(sticky.followed, "followed")) ", " (of(sticky.renewed, "renewed")) ", "
            (of(sticky.new, "new")) ", " (of(sticky.dead, "to servers out of service"))
        }
    }
}

fn server_row(server: &StatRow, total: u64) -> Markup {
    let address = if server.address.is_empty() { "no address" } else { &server.address };
    let tone = Condition::of(&server.status).tone();
    html! {
        tr role="row" data-tone=(class(tone)) {
            th role="rowheader" scope="row" {
                (server.name) small { (address) }
                @if let Some(level) = server.backup { small { (wire::backup(level, server.stands_by)) } }
            }
            td .text role="cell" data-label="Status" {
                (badge(tone, &server.status))
                small { "for " (human::duration(server.since_ms)) }
            }
            td .text .calm role="cell" data-label="Last check" { (last_check(server)) }
            td .more role="cell" data-label="Weight" {
                (server.weight)
                @if let Some(percent) = server.throttle { small { "warming up, " (percent) "%" } }
            }
            (traffic_cells(server))
            td .more role="cell" data-label="Requests" {
                (human::count(server.sessions_total))
                small { (percent(server.sessions_total, total)) "%" }
                (share_bar(percent(server.sessions_total, total)))
            }
            (outcome_cells(server))
        }
    }
}

/// The sum of a backend's servers, in the columns of its servers.
fn total_row(backend: &StatRow) -> Markup {
    html! {
        tr .more role="row" {
            th role="rowheader" scope="row" { "All servers" }
            td .text role="cell" {}
            td .text role="cell" {}
            td role="cell" data-label="Weight" { (backend.weight) }
            (traffic_cells(backend))
            td role="cell" data-label="Requests" { (human::count(backend.sessions_total)) }
            (outcome_cells(backend))
        }
    }
}

/// Requests in flight and per second.
fn traffic_cells(row: &StatRow) -> Markup {
    html! {
        td role="cell" data-label="In flight" {
            (human::count(row.sessions))
            @if let Some(limit) = row.sessions_limit { " of " (human::count(limit)) }
            small { "max\u{a0}" (human::count(row.sessions_max)) }
        }
        td role="cell" data-label="Per second" {
            (human::count(row.rate)) small { "max\u{a0}" (human::count(row.rate_max)) }
        }
    }
}

/// What became of the requests of a server or backend.
fn outcome_cells(row: &StatRow) -> Markup {
    html! {
        td .more role="cell" data-label="4xx" { (events(row.responses[3], row.troubles.responses_4xx, Tone::Warning)) }
        td .more role="cell" data-label="5xx" { (events(row.responses[4], row.troubles.responses_5xx, Tone::Bad)) }
        td .more role="cell" data-label="Errors" {
            (events(row.connect_errors + row.response_errors, row.troubles.errors, Tone::Bad))
            @if row.connect_errors > 0 { small { (human::count(row.connect_errors)) " connecting" } }
            @if row.response_errors > 0 { small { (human::count(row.response_errors)) " responding" } }
        }
        td .more role="cell" data-label="Retries" {
            (events(row.retries, row.troubles.retries, Tone::Warning))
            @if row.retries_refused > 0 { small { (human::count(row.retries_refused)) " beyond the budget" } }
            @if row.redispatches > 0 { small { (human::count(row.redispatches)) " elsewhere" } }
        }
        td .more role="cell" data-label="Traffic" {
            (human::bytes(row.bytes_out)) " out" small { (human::bytes(row.bytes_in)) " in" }
        }
        td .calm role="cell" data-label="Downtime" {
            @if row.downtime_ms == 0 { span .zero { "none" } }
            @else { (human::duration(row.downtime_ms)) }
            @if row.downs > 0 { small { (human::count(row.downs)) "×" } }
        }
    }
}

/// The code, the HTTP status and the duration of a server's last check; then its text and age, or what is wrong.
fn last_check(server: &StatRow) -> Markup {
    html! {
        @if let Some(check) = &server.check {
            span .(if check.code.is_good() { "good" } else { "bad" }) {
                (check.code) @if let Some(status) = check.http_status { " " (status) }
            }
            " in " (human::duration(check.duration_ms))
            small { (check.text) " · " (human::duration(check.age_ms)) " ago" }
        } @else {
            span .zero { "none" }
        }
        @if !server.reason.is_empty() { small { (server.reason) } }
    }
}

fn frontends_section(rows: &[StatRow]) -> Markup {
    html! {
        section aria-labelledby="frontends" {
            header { h2 #frontends { "Frontends" } }
            table .wide role="table" {
                caption .unseen { "Frontends" }
                thead role="rowgroup" {
                    tr role="row" {
                        th scope="col" { "Frontend" }
                        th .text scope="col" { "Status" }
                        @for column in ["Connections", "Requests per second", "Requests", "2xx", "3xx", "4xx", "5xx"] {
                            th scope="col" { (column) }
                        }
                        th scope="col" { "Refused" }
                        th scope="col" { "Traffic" }
                    }
                }
                (LINE)
                tbody role="rowgroup" {
                    @for row in rows.iter().filter(|row| row.kind == RowKind::Frontend) { (frontend_row(row)) (LINE) }
                }
            }
        }
        (LINE)
    }
}

fn frontend_row(row: &StatRow) -> Markup {
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (row.proxy) small { (row.address) } }
            td .text role="cell" data-label="Status" { (badge(Condition::of(&row.status).tone(), &row.status)) }
            td role="cell" data-label="Connections" {
                (human::count(row.sessions))
                small { "max\u{a0}" (human::count(row.sessions_max)) ", " (human::count(row.sessions_total)) " in all" }
            }
            td role="cell" data-label="Requests per second" {
                (human::count(row.request_rate)) small { "max\u{a0}" (human::count(row.request_rate_max)) }
            }
            td .more role="cell" data-label="Requests" { (human::count(row.requests)) }
            td .more role="cell" data-label="2xx" { (human::count(row.responses[1])) }
            td .more role="cell" data-label="3xx" { (human::count(row.responses[2])) }
            td .more role="cell" data-label="4xx" { (events(row.responses[3], row.troubles.responses_4xx, Tone::Warning)) }
            td .more role="cell" data-label="5xx" { (events(row.responses[4], row.troubles.responses_5xx, Tone::Bad)) }
            td .more role="cell" data-label="Refused" { (events(row.request_errors, row.troubles.refused, Tone::Warning)) }
            td .more role="cell" data-label="Traffic" {
                (human::bytes(row.bytes_out)) " out" small { (human::bytes(row.bytes_in)) " in" }
            }
        }
    }
}

/// More of them are for `show routes`.
const MAX_ROUTES: usize = 200;

fn routes_section(routes: &[RouteRow]) -> Markup {
    let total = |of: &RouteRow| -> u64 {
        routes.iter().filter(|row| row.frontend == of.frontend).map(|row| row.taken).sum()
    };
    html! {
        section aria-labelledby="routes" {
            header {
                h2 #routes { "Routes" }
                @if routes.len() > MAX_ROUTES {
                    span .note { "the first " (MAX_ROUTES) " of " (routes.len()) "; `show routes` on the socket has all" }
                }
            }
            table role="table" {
                caption .unseen { "Routes of frontends" }
                thead role="rowgroup" {
                    tr role="row" {
                        th scope="col" { "Route" }
                        th .text scope="col" { "Leads to" }
                        th scope="col" { "Taken" }
                    }
                }
                (LINE)
                tbody role="rowgroup" {
                    @for row in routes.iter().take(MAX_ROUTES) {
                        tr role="row" {
                            th role="rowheader" scope="row" { (row.route) small { (row.frontend) } }
                            td .text role="cell" data-label="Leads to" { (row.action) }
                            td role="cell" data-label="Taken" {
                                (human::count(row.taken)) small { (percent(row.taken, total(row))) "%" }
                            }
                        }
                        (LINE)
                    }
                }
            }
        }
        (LINE)
    }
}

/// How often something unwelcome happened; it stands out if that was lately.
fn events(count: u64, age_ms: Option<u64>, tone: Tone) -> Markup {
    match latest(age_ms, tone) {
        _ if count == 0 => html! { span .zero { "0" } },
        Some(tone) => html! { b .(class(tone)) { (human::count(count)) } },
        None => html! { (human::count(count)) },
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 100 + u128::from(whole) / 2)
        .checked_div(u128::from(whole))
        .and_then(|percent| u64::try_from(percent).ok())
        .unwrap_or(0)
}

/// A server's share of its backend's requests, to compare at a glance; the number beside it says the same.
fn share_bar(percent: u64) -> Markup {
    html! {
        svg .share viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            rect width=(percent) height="4" {}
        }
    }
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
