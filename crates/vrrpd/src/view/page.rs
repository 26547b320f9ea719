//! The admin page: who has the virtual addresses, why, and what has happened.

use std::fmt::Display;

use daemon::page::{LINE, Page, badge, banner, class, facts};
use maud::{Markup, html};
use wire::{
    AnycastState, AnycastStatus, Info, InstanceState, InstanceStatus, Tone, TrackerStatus, TransitionRecord,
    human,
};

/// The page. Serve it with [`daemon::page::CONTENT_SECURITY_POLICY`].
pub fn render(info: &Info, instances: &[InstanceStatus], services: &[AnycastStatus]) -> String {
    let (tone, headline) = headline(instances, services);
    let body = html! {
        (facts(info))
        @for instance in instances { (section(instance)) }
        @for service in services { (service_section(service)) }
    };
    let links = [("metrics", "/metrics"), ("ready", "/ready")];
    Page { daemon: "vrrpd", headline: &headline, tone, links: &links, body }.render()
}

/// What a person should know first.
fn headline(instances: &[InstanceStatus], services: &[AnycastStatus]) -> (Tone, String) {
    let of_services = services.iter().map(AnycastStatus::headline);
    let lines: Vec<(Tone, String)> =
        instances.iter().map(InstanceStatus::headline).chain(of_services).collect();
    if let [only] = &lines[..] {
        return only.clone();
    }
    // The worst are named; the others are well.
    match lines.iter().map(|(tone, _)| *tone).max() {
        Some(worst @ (Tone::Warning | Tone::Bad)) => {
            let worst_lines = lines.into_iter().filter(|(tone, _)| *tone == worst).map(|(_, line)| line);
            (worst, worst_lines.collect::<Vec<_>>().join("; "))
        }
        Some(Tone::Good | Tone::Paused) | None => {
            let masters = instances.iter().filter(|instance| instance.state == InstanceState::Master).count();
            let masters = format!("master of {}", human::part(masters, instances.len(), "instance"));
            let announced =
                services.iter().filter(|service| service.state == AnycastState::Announced).count();
            let announced = format!("announces {}", human::part(announced, services.len(), "service"));
            let parts = [(instances.is_empty(), masters), (services.is_empty(), announced)];
            let parts = parts.into_iter().filter(|(is_empty, _)| !is_empty).map(|(_, part)| part);
            (Tone::Good, parts.collect::<Vec<_>>().join(", "))
        }
    }
}

fn section(status: &InstanceStatus) -> Markup {
    let name = &status.instance;
    let tone = status.headline().0;
    html! {
        section data-tone=(class(tone)) aria-labelledby={ "instance-" (name) } {
            header {
                h2 #{ "instance-" (name) } { "Instance " (name) }
                (badge(tone, &status.state.word().to_uppercase()))
                span .note { "for " (human::duration(status.since_ms)) }
            }
            p .reason { (status.reason) }
            (LINE)
            @if let Some(other) = status.other_master() {
                (banner(Tone::Bad, &format!("{other} is master, too: its adverts come in.")))
            }
            @for kept in status.kept() { (banner(Tone::Paused, &kept)) }
            @if let Some((tone, claims)) = status.claims() { (banner(tone, &claims)) }
            @if let Some((tone, refusal)) = status.refusal().filter(|(tone, _)| *tone != Tone::Paused) {
                (banner(if status.unbelieved_master().is_some() { Tone::Bad } else { tone }, &refusal))
            }
            @for trouble in status.peers.iter().filter_map(|peer| peer.clock_trouble(status.interval_ms)) {
                (banner(Tone::Warning, &trouble))
            }
            (about(status))
            (trackers(&status.trackers, TrackerStatus::effect))
            (peers(status))
            (history(&status.history))
            (refused(status))
        }
        (LINE)
    }
}

fn service_section(status: &AnycastStatus) -> Markup {
    let name = &status.service;
    let tone = status.headline().0;
    let here = if status.holding { "on this node" } else { "not on this node" };
    let ends = status.ends_in_ms.map(|ms| format!("for {} more", human::duration(ms)));
    html! {
        section data-tone=(class(tone)) aria-labelledby={ "service-" (name) } {
            header {
                h2 #{ "service-" (name) } { "Anycast " (name) }
                (badge(tone, &status.state.word().to_uppercase()))
                span .note { "for " (human::duration(status.since_ms)) @if let Some(ends) = &ends { ", " (ends) } }
            }
            p .reason { (status.reason) }
            (LINE)
            dl .about {
                (fact("Addresses", &status.addresses.join(", "), here))
                (fact("Interface", &status.interface, "for a routing daemon to announce"))
            }
            (LINE)
            (trackers(&status.trackers, |_| AnycastStatus::EFFECT.to_owned()))
            (history(&status.history))
        }
        (LINE)
    }
}

/// What an instance is about: each fact with what belongs to it.
fn about(status: &InstanceStatus) -> Markup {
    let unknown = || "unknown".to_owned();
    let here = if status.holding { "on this node" } else { "not on this node" };
    let master = status.master.map_or_else(unknown, |master| master.to_string());
    let master_priority =
        status.master_priority.map_or_else(String::new, |priority| format!("priority {priority}"));
    let interface = status.interface.clone().unwrap_or_else(|| "none".to_owned());
    let source = status.source.map_or_else(String::new, |source| format!("from {source}"));
    let sent = format!("{} sent", human::count(status.counters.adverts_sent));
    let received = format!("{} received", human::count(status.counters.adverts_received));
    html! {
        dl .about {
            (fact("Addresses", &status.addresses.join(", "), here))
            (fact("Master", &master, &master_priority))
            (fact("Priority", &status.priority.to_string(), &format!("{} configured", status.configured_priority)))
            (fact("Interface", &interface, &source))
            (fact("Virtual router", &format!("id {}, VRRPv{}", status.virtual_router_id, status.version),
                &format!("an advert every {}", human::duration(status.interval_ms))))
            (fact("Adverts", &sent, &received))
        }
        (LINE)
    }
}

fn fact(name: &str, value: &str, more: &str) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { (value) @if !more.is_empty() { small { (more) } } }
        }
        (LINE)
    }
}

/// A column: its caption, and whether a telephone can do without it.
type Column = (&'static str, bool);

/// A table, and how many of its rows a telephone shows at first.
fn table(caption: &str, columns: &[Column], rows: &[Vec<Markup>], first: usize) -> Markup {
    html! {
        @if !rows.is_empty() {
            table .more[first == 0] {
                caption { (caption) }
                thead {
                    tr { @for (column, more) in columns { th .text .more[*more] scope="col" { (column) } } }
                }
                (LINE)
                tbody {
                    @for (index, cells) in rows.iter().enumerate() {
                        tr .more[index >= first] {
                            @for ((_, more), cell) in columns.iter().zip(cells) { td .text .more[*more] { (cell) } }
                        }
                        (LINE)
                    }
                }
            }
            (LINE)
        }
    }
}

fn trackers(trackers: &[TrackerStatus], effect: impl Fn(&TrackerStatus) -> String) -> Markup {
    let rows: Vec<_> = trackers
        .iter()
        .map(|tracker| {
            let (word, tone) = tracker.word();
            vec![
                html! { (tracker.name) },
                html! { (badge(tone, word)) small { "for " (human::duration(tracker.since_ms)) } },
                html! { (tracker.text) },
                html! { (effect(tracker)) },
            ]
        })
        .collect();
    table(
        "Trackers",
        &[("Tracker", false), ("State", false), ("Why", false), ("Effect", true)],
        &rows,
        usize::MAX,
    )
}

fn peers(status: &InstanceStatus) -> Markup {
    let rows: Vec<_> = status
        .peers
        .iter()
        .map(|peer| {
            vec![
                html! { (peer.address) },
                html! { (peer.priority) @if peer.priority == 0 { small { "left" } } },
                html! { (human::duration(peer.heard_ms)) " ago" },
                html! { (human::count(peer.adverts)) },
            ]
        })
        .collect();
    let columns = [("Router", false), ("Priority", false), ("Last heard", false), ("Adverts", true)];
    table("Other routers heard", &columns, &rows, usize::MAX)
}

/// Those that a telephone shows.
const TRANSITIONS_AT_FIRST: usize = 3;

fn history<S: Copy + Display + Into<Tone>>(transitions: &[TransitionRecord<S>]) -> Markup {
    let rows: Vec<_> = transitions
        .iter()
        .map(|transition| {
            vec![
                html! { (human::duration(transition.age_ms)) " ago" },
                html! { (transition.from) " → " (badge(transition.to.into(), &transition.to.to_string())) },
                html! { (transition.reason) },
                html! { (format!("{:.1} ms", std::time::Duration::from_micros(transition.took_us).as_secs_f64() * 1000.0)) },
            ]
        })
        .collect();
    let columns = [("When", false), ("Transition", false), ("Why", false), ("Took", true)];
    table("Latest transitions", &columns, &rows, TRANSITIONS_AT_FIRST)
}

fn refused(status: &InstanceStatus) -> Markup {
    let last = |label: &str| {
        let last = status.refused.as_ref().filter(|last| last.error == label)?;
        Some(html! {
            (last.text) small { "from " (last.source) ", " (human::duration(last.age_ms)) " ago" }
        })
    };
    let errors = status.counters.receive_errors.iter();
    let rows: Vec<_> = errors
        .map(|(label, count)| {
            let name = html! { (label.replace('_', " ")) };
            vec![name, html! { (human::count(*count)) }, last(label).unwrap_or_default()]
        })
        .collect();
    let columns = [("Check that failed", false), ("Packets", false), ("The last of all", false)];
    table("Packets not believed", &columns, &rows, 0)
}
