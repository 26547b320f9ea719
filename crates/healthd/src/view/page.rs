//! The admin page: every server's verdict, its last check, and the names, for a person who wants to know at a glance.

use daemon::page::{LINE, Page, badge, class, facts};
use health::Status;
use maud::{Markup, html};
use wire::{Discovery, Resolution, Tone, human};

use super::{Seen, ServerSeen};

/// The page. Serve it with [`daemon::page::CONTENT_SECURITY_POLICY`].
pub fn render(seen: &Seen) -> String {
    let (tone, headline) = headline(seen);
    let body = html! {
        (facts(&seen.info))
        @for backend in seen.backends() { (backend_section(backend, seen)) }
        @if !seen.discoveries.is_empty() { (discoveries_section(&seen.discoveries)) }
        @if !seen.names.is_empty() { (names_section(&seen.names)) }
    };
    let links = [("metrics", "/metrics"), ("ready", "/ready")];
    Page { daemon: "healthd", headline: &headline, tone, links: &links, body }.render()
}

/// What a person should know first. What operators have taken out is no fault, whatever its checks say.
fn headline(seen: &Seen) -> (Tone, String) {
    let (paused, wanted): (Vec<_>, Vec<_>) = seen.servers.iter().partition(|server| server.is_paused());
    let count = |status| wanted.iter().filter(|server| server.verdict.status == status).count();
    let (all, used) = (seen.servers.len(), wanted.len());
    let of_all = |n| human::part(n, all, "server");
    let falling = wanted.iter().filter(|server| server.is_falling()).count();
    let (tone, line) = match (count(Status::Down), count(Status::Unknown), falling) {
        (down, ..) if down > 0 && down == all => {
            (Tone::Bad, format!("all {} DOWN", human::things(all, "server")))
        }
        (0, 0, 0) => (Tone::Good, format!("no server of {all} is down")),
        (0, 0, falling) => (Tone::Warning, format!("{} fail checks", of_all(falling))),
        (0, unknown, _) => (Tone::Warning, format!("{} not checked yet", of_all(unknown))),
        (down, ..) => {
            let tone = if down == used { Tone::Bad } else { Tone::Warning };
            (tone, format!("{} DOWN", of_all(down)))
        }
    };
    match paused.len() {
        0 => (tone, line),
        paused => (tone.max(Tone::Paused), format!("{line}, {paused} in drain or maint")),
    }
}

impl ServerSeen {
    fn is_falling(&self) -> bool {
        self.verdict.status == Status::Up && self.verdict.streak > 0
    }

    /// Whether its checks fail, and it should not be so.
    fn is_failing(&self) -> bool {
        !self.is_paused() && (self.is_falling() || self.verdict.status == Status::Down)
    }
}

fn backend_section(backend: &str, seen: &Seen) -> Markup {
    let servers: Vec<&ServerSeen> = seen.servers_of(backend).collect();
    let up = servers
        .iter()
        .filter(|server| matches!(server.verdict.status, Status::Up | Status::Unchecked))
        .count();
    let tone = servers.iter().map(|server| server.tone()).max().unwrap_or(Tone::Good);
    let is_paused = servers.iter().all(|server| server.is_paused());
    let tone = if up == 0 && !is_paused { Tone::Bad } else { tone.min(Tone::Warning) };
    html! {
        section data-tone=(class(tone)) aria-labelledby={ "backend-" (backend) } {
            header {
                h2 #{ "backend-" (backend) } { "Backend " (backend) }
                (badge(tone, &format!("{up} of {} up", servers.len())))
            }
            table .wide role="table" {
                caption .unseen { "Servers of backend " (backend) }
                thead role="rowgroup" {
                    tr role="row" {
                        th scope="col" { "Server" }
                        th .text scope="col" { "Status" }
                        th .text scope="col" { "Last check" }
                        th .text scope="col" { "In a row" }
                        @for column in ["Checks", "Failed while up", "Downtime"] { th scope="col" { (column) } }
                    }
                }
                (LINE)
                tbody role="rowgroup" { @for server in servers { (server_row(server)) (LINE) } }
            }
        }
        (LINE)
    }
}

fn server_row(server: &ServerSeen) -> Markup {
    let verdict = &server.verdict;
    let address = verdict.address.map_or_else(|| "no address".to_owned(), |address| address.to_string());
    let checks: u64 = server.checks.iter().map(|(_, count)| count).sum();
    html! {
        tr role="row" data-tone=(class(server.tone())) {
            th role="rowheader" scope="row" {
                (verdict.server)
                small { (server.configured) @if server.configured != address { " → " (address) } }
            }
            td .text role="cell" data-label="Status" {
                (badge(server.tone(), &server.status())) small {
                    "for " (human::duration(verdict.since_ms))
                    @if server.is_paused() { ", in " (server.admin_state()) }
                }
            }
            td .text .calm role="cell" data-label="Last check" { (last_check(server)) }
            td .text .calm role="cell" data-label="In a row" {
                @match verdict.status {
                    Status::Down => { (verdict.streak) " of " (verdict.rise) " passed" }
                    Status::Up | Status::Unknown => { (verdict.streak) " of " (verdict.fall) " failed" }
                    Status::Unchecked => {}
                }
                @if verdict.status != Status::Unchecked { small { "rise " (verdict.rise) ", fall " (verdict.fall) } }
            }
            td .more role="cell" data-label="Checks" { (human::count(checks)) }
            td .more role="cell" data-label="Failed while up" {
                (count_of(verdict.failed_checks, server.is_failing()))
            }
            td .calm role="cell" data-label="Downtime" {
                @if verdict.downtime_ms == 0 { span .zero { "none" } }
                @else { (human::duration(verdict.downtime_ms)) }
                @if verdict.downs > 0 { small { (human::count(verdict.downs)) "×" } }
            }
        }
    }
}

/// The code, the HTTP status and the duration of a server's last check; then its text and age, and what is wrong with its
/// name.
fn last_check(server: &ServerSeen) -> Markup {
    html! {
        @if let Some(check) = &server.verdict.check {
            span .(if check.code.is_good() { "good" } else { "bad" }) {
                (check.code) @if let Some(status) = check.http_status { " " (status) }
            }
            " in " (human::duration(check.duration_ms))
            small { (check.text) " · " (human::duration(check.age_ms)) " ago" }
        } @else {
            span .zero { "none" }
        }
        @if let Some(error) = server.verdict.name_trouble() { small { (error) } }
    }
}

fn discoveries_section(discoveries: &[Discovery]) -> Markup {
    html! {
        section aria-labelledby="discoveries" {
            header { h2 #discoveries { "Where servers are found" } }
            table {
                caption .unseen { "Backends whose servers are found, and where" }
                thead {
                    tr {
                        th scope="col" { "Backend" }
                        th .text scope="col" { "Source" }
                        @for column in ["Servers", "Last answer"] { th scope="col" { (column) } }
                        @for column in ["Missing from it", "Too many", "Answers", "Failures"] {
                            th .more scope="col" { (column) }
                        }
                    }
                }
                (LINE)
                tbody { @for discovery in discoveries { (discovery_row(discovery)) (LINE) } }
            }
        }
        (LINE)
    }
}

fn discovery_row(discovery: &Discovery) -> Markup {
    html! {
        tr {
            th scope="row" { (discovery.backend) }
            td .text {
                (discovery.source)
                @if let Some(trouble) = &discovery.trouble { small .(class(Tone::Warning)) { (trouble) } }
            }
            td { (human::count(discovery.members)) small { "of at most " (human::count(discovery.max)) } }
            td {
                @match discovery.answer_age_ms {
                    Some(age) => { (human::duration(age)) " ago" }
                    None => span .zero { "none" }
                }
            }
            td .more { (count_of(discovery.missing, true)) }
            td .more { (count_of(discovery.surplus, true)) }
            td .more { (human::count(discovery.answers)) }
            td .more { (count_of(discovery.failures, discovery.trouble.is_some())) }
        }
    }
}

fn names_section(names: &[Resolution]) -> Markup {
    html! {
        section aria-labelledby="names" {
            header { h2 #names { "Names" } }
            table {
                caption .unseen { "Names and their addresses" }
                thead {
                    tr {
                        th scope="col" { "Name" }
                        th .text scope="col" { "Addresses" }
                        @for column in ["Asked again in", "Answers", "Failures"] { th .more scope="col" { (column) } }
                    }
                }
                (LINE)
                tbody { @for name in names { (name_row(name)) (LINE) } }
            }
        }
        (LINE)
    }
}

fn name_row(name: &Resolution) -> Markup {
    let addresses: Vec<String> = name.addresses.iter().map(ToString::to_string).collect();
    html! {
        tr {
            th scope="row" { (name.name) }
            td .text {
                @if addresses.is_empty() { span .bad { "none" } } @else { (addresses.join(", ")) }
                @if let Some(error) = &name.error {
                    small .(class(Tone::Warning)) {
                        (error) @if !addresses.is_empty() { "; the last known addresses stay in use" }
                    }
                }
            }
            td .more { (human::duration(name.next_query_ms)) }
            td .more { (human::count(name.resolved)) }
            td .more { (count_of(name.failed, name.error.is_some())) }
        }
    }
}

/// How often something unwelcome happened; it stands out while it goes on.
fn count_of(count: u64, goes_on: bool) -> Markup {
    match count {
        0 => html! { span .zero { "0" } },
        count if goes_on => html! { b .(class(Tone::Warning)) { (human::count(count)) } },
        count => html! { (human::count(count)) },
    }
}

#[cfg(test)]
mod tests {
    use balance::AdminState;

    use super::*;
    use crate::view::sample;

    #[test]
    fn each_server_stands_on_a_line_of_its_own() {
        let html = render(&sample::seen());
        for (server, wanted) in [
            ("nginx1<", ["UP", "10.0.0.11:80", "L7OK", "200 OK"]),
            ("nginx2<", ["UP 2/3", "L7STS", "1 of 3 failed", "503, expected 200"]),
            ("nginx3<", ["DOWN", "no address", "NXDOMAIN from 127.0.0.11", "1 min 30 s"]),
            ("nginx4<", ["DOWN 1/2", "1 of 2 passed", "connected", "nginx4:80"]),
            ("nginx5<", ["no check", "none", "nginx5:80", "10.0.0.11"]),
            ("db1<", ["INI", "none", "db1:80", "0 of 3 failed"]),
        ] {
            let line = html
                .lines()
                .find(|line| line.contains(server))
                .unwrap_or_else(|| panic!("no {server}: {html}"));
            for wanted in wanted {
                assert!(line.contains(wanted), "{wanted} is missing in {line}");
            }
        }
        assert!(html.contains("The last reload was refused"));
    }

    #[test]
    fn the_worst_is_said_first() {
        let mut seen = sample::seen();
        assert_eq!(headline(&seen), (Tone::Warning, "2 of 6 servers DOWN".to_owned()));
        seen.servers.retain(|server| server.verdict.status != Status::Down);
        assert_eq!(headline(&seen), (Tone::Warning, "1 of 4 servers not checked yet".to_owned()));
        seen.servers.retain(|server| server.verdict.status != Status::Unknown);
        assert_eq!(headline(&seen), (Tone::Warning, "1 of 3 servers fail checks".to_owned()));
        seen.servers.retain(|server| server.verdict.streak == 0);
        assert_eq!(headline(&seen), (Tone::Good, "no server of 2 is down".to_owned()));
        seen.servers.iter_mut().for_each(|server| server.verdict.status = Status::Down);
        assert_eq!(headline(&seen), (Tone::Bad, "all 2 servers DOWN".to_owned()));
        seen.servers.clear();
        assert_eq!(headline(&seen), (Tone::Good, "no server of 0 is down".to_owned()));
    }

    #[test]
    fn what_operators_have_taken_out_is_no_fault() {
        let mut seen = sample::seen();
        let pause = |seen: &mut Seen, server: &str| {
            let server = seen.servers.iter_mut().find(|seen| seen.verdict.server == server).unwrap();
            server.verdict.admin_state = Some(AdminState::Drain);
        };
        pause(&mut seen, "nginx3");
        let one = "1 of 6 servers DOWN, 1 in drain or maint".to_owned();
        assert_eq!(headline(&seen), (Tone::Warning, one));
        let html = render(&seen);
        let line = html.lines().find(|line| line.contains("nginx3<")).unwrap();
        assert!(line.contains("for 1 min 1 s, in drain"), "{line}");
        seen.servers.truncate(4);
        pause(&mut seen, "nginx1");
        pause(&mut seen, "nginx2");
        let rest = "1 of 4 servers DOWN, 3 in drain or maint".to_owned();
        assert_eq!(headline(&seen), (Tone::Bad, rest), "no other is left");
        pause(&mut seen, "nginx4");
        let none = "no server of 4 is down, 4 in drain or maint".to_owned();
        assert_eq!(headline(&seen), (Tone::Paused, none));
    }
}
