//! The admin page: who has the virtual addresses, why, and what has happened.

use daemon::page::{LINE, Page, badge, banner, facts};
use maud::{Markup, html};
use wire::{Info, InstanceState, InstanceStatus, Tone, TrackerStatus, human};

/// The page. Serve it with [`daemon::page::CONTENT_SECURITY_POLICY`].
pub fn render(info: &Info, instances: &[InstanceStatus]) -> String {
    let (tone, headline) = headline(instances);
    let body = html! {
        (facts(info))
        @for instance in instances { (section(instance)) }
    };
    let links = [("metrics", "/metrics"), ("ready", "/ready")];
    Page { daemon: "vrrpd", headline: &headline, tone, links: &links, body }.render()
}

/// What a person should know first.
fn headline(instances: &[InstanceStatus]) -> (Tone, String) {
    let lines = instances.iter().map(InstanceStatus::headline);
    if let [only] = instances {
        return only.headline();
    }
    let bad: Vec<String> = lines.filter(|(tone, _)| *tone == Tone::Bad).map(|(_, line)| line).collect();
    if bad.is_empty() {
        let masters = instances.iter().filter(|instance| instance.state == InstanceState::Master).count();
        (Tone::Good, format!("master of {masters} of {} instances", instances.len()))
    } else {
        (Tone::Bad, bad.join("; "))
    }
}

fn section(status: &InstanceStatus) -> Markup {
    let name = &status.instance;
    let unknown = || "unknown".to_owned();
    html! {
        section aria-labelledby={ "instance-" (name) } {
            header {
                h2 #{ "instance-" (name) } { "Instance " (name) }
                (badge(status.headline().0, &status.state.word().to_uppercase()))
            }
            p { (status.reason) ", for " (human::duration(status.since_ms)) }
            (LINE)
            @if let Some(other) = status.other_master() {
                (banner(Tone::Bad, &format!("{other} is master, too: its adverts come in.")))
            }
            @if let Some((tone, claims)) = status.claims() { (banner(tone, &claims)) }
            @for trouble in status.peers.iter().filter_map(|peer| peer.clock_trouble(status.interval_ms)) {
                (banner(Tone::Warning, &trouble))
            }
            table role="table" {
                caption .unseen { "What instance " (name) " is about" }
                tbody role="rowgroup" {
                    (row("Addresses", &status.addresses.join(", "), if status.holding { "on this node" } else { "not on this node" }))
                    (row("Master", &status.master.map_or_else(unknown, |master| master.to_string()),
                        &status.master_priority.map_or_else(String::new, |priority| format!("priority {priority}"))))
                    (row("Priority", &status.priority.to_string(), &format!("{} configured", status.configured_priority)))
                    (row("Interface", &status.interface.clone().unwrap_or_else(|| "none".to_owned()),
                        &status.source.map_or_else(String::new, |source| format!("from {source}"))))
                    (row("Virtual router", &format!("id {}, VRRPv{}", status.virtual_router_id, status.version),
                        &format!("an advert every {}", human::duration(status.interval_ms))))
                    (row("Adverts", &format!("{} sent", human::count(status.counters.adverts_sent)),
                        &format!("{} received", human::count(status.counters.adverts_received))))
                }
            }
            (LINE)
            (trackers(&status.trackers))
            (peers(status))
            (history(status))
            (refused(status))
        }
        (LINE)
    }
}

fn row(name: &str, value: &str, more: &str) -> Markup {
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (name) }
            td .text role="cell" data-label=(name) { (value) @if !more.is_empty() { small { (more) } } }
        }
        (LINE)
    }
}

fn table(caption: &str, columns: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        @if !rows.is_empty() {
            table role="table" {
                caption { (caption) }
                thead role="rowgroup" {
                    tr role="row" { @for column in columns { th .text scope="col" { (column) } } }
                }
                (LINE)
                tbody role="rowgroup" {
                    @for cells in rows {
                        tr role="row" {
                            @for (column, cell) in columns.iter().zip(cells) {
                                td .text role="cell" data-label=(column) { (cell) }
                            }
                        }
                        (LINE)
                    }
                }
            }
            (LINE)
        }
    }
}

fn trackers(trackers: &[TrackerStatus]) -> Markup {
    let rows: Vec<_> = trackers
        .iter()
        .map(|tracker| {
            let (word, tone) = tracker.word();
            vec![
                html! { (tracker.name) },
                html! { (badge(tone, word)) small { "for " (human::duration(tracker.since_ms)) } },
                html! { (tracker.text) },
                html! { (tracker.effect()) },
            ]
        })
        .collect();
    table("Trackers", &["Tracker", "State", "Why", "Effect"], &rows)
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
    table("Other routers heard", &["Router", "Priority", "Last heard", "Adverts"], &rows)
}

fn history(status: &InstanceStatus) -> Markup {
    let rows: Vec<_> = status
        .history
        .iter()
        .map(|transition| {
            vec![
                html! { (human::duration(transition.age_ms)) " ago" },
                html! { (transition.from.word()) " → " (badge(transition.to.into(), transition.to.word())) },
                html! { (transition.reason) },
                html! { (format!("{:.1} ms", std::time::Duration::from_micros(transition.took_us).as_secs_f64() * 1000.0)) },
            ]
        })
        .collect();
    table("Latest transitions", &["When", "Transition", "Why", "Took"], &rows)
}

fn refused(status: &InstanceStatus) -> Markup {
    let rows: Vec<_> = status
        .counters
        .receive_errors
        .iter()
        .map(|(label, count)| vec![html! { (label.replace('_', " ")) }, html! { (human::count(*count)) }])
        .collect();
    table("Packets not believed", &["Check that failed", "Packets"], &rows)
}
