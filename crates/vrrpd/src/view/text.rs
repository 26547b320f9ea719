//! Answers of the socket as text.

use std::fmt::Write;

use serde::Serialize;
use wire::text::{self, Command};
use wire::{AnycastStatus, Info, InstanceStatus, LifeState, TrackerStatus, human};

/// Every command, as `help` shows it.
const COMMANDS: &[Command] = &[
    Command { usage: "help", help: "This list." },
    Command { usage: "show info", help: "vrrpd itself." },
    Command {
        usage: "show vrrp [INSTANCE]",
        help: "Every instance: state, reason, addresses, trackers, peers.",
    },
    Command { usage: "show vrrp json", help: "The same as JSON, with all counters." },
    Command {
        usage: "show anycast [SERVICE]",
        help: "Every anycast service: state, reason, addresses, trackers.",
    },
    Command { usage: "show anycast json", help: "The same as JSON, with all counters." },
    Command {
        usage: "handover [NAME]",
        help: "Give the virtual addresses to another node, and withdraw anycast services, without losing a request.",
    },
    Command { usage: "announce [SERVICE]", help: "Announce anycast services again." },
    Command { usage: "reload", help: "Read the configuration again." },
];

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Something to read: here it is.
    Answered(String),
    /// A planned handover, of one instance or service, or of all.
    Handover(Option<String>),
    /// Services, or one of them, are to be announced again.
    Announce(Option<String>),
    /// A reload.
    Reload,
}

/// Answers a command that only asks, and understands one that changes something.
pub fn answer(command: &str, info: &Info, instances: &[InstanceStatus], services: &[AnycastStatus]) -> Asked {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    Asked::Answered(match words.as_slice() {
        ["help"] => text::help(COMMANDS),
        ["show", "info"] => show_info(info),
        ["show", "vrrp"] => instances.iter().map(show).collect(),
        ["show", "vrrp", "json"] => json(instances),
        ["show", "vrrp", name] => match instances.iter().find(|instance| instance.instance == *name) {
            Some(instance) => show(instance),
            None => unknown("instance", name, instances.iter().map(|one| one.instance.as_str())),
        },
        ["show", "anycast"] => services.iter().map(show_service).collect(),
        ["show", "anycast", "json"] => json(services),
        ["show", "anycast", name] => match services.iter().find(|service| service.service == *name) {
            Some(service) => show_service(service),
            None => unknown("service", name, services.iter().map(|one| one.service.as_str())),
        },
        ["handover"] => return Asked::Handover(None),
        ["handover", name] => return Asked::Handover(Some((*name).to_owned())),
        ["announce"] => return Asked::Announce(None),
        ["announce", name] => return Asked::Announce(Some((*name).to_owned())),
        ["reload"] => return Asked::Reload,
        _ => text::unknown(command, COMMANDS),
    })
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = known.collect();
    let hint = config::nearest(name, names.iter().copied())
        .map(|word| format!(" (did you mean `{word}`?)"))
        .unwrap_or_default();
    format!("No such {kind}{hint}; there are: {}.\n", names.join(", "))
}

fn json<T: Serialize>(instances: &[T]) -> String {
    // Plain data with text keys: writing it cannot fail.
    serde_json::to_string_pretty(instances).map_or_else(|error| format!("{error}\n"), |json| json + "\n")
}

fn show_info(info: &Info) -> String {
    let mut lines = vec![
        ("Name", info.daemon.clone()),
        ("Version", info.version.clone()),
        ("Pid", info.pid.to_string()),
        ("Uptime_sec", (info.uptime_ms / 1000).to_string()),
        ("Stopping", u8::from(info.state == LifeState::Stopping).to_string()),
        ("State", info.state.word().to_owned()),
        ("Config", info.config.clone()),
        ("Config_generation", info.generation.to_string()),
    ];
    lines.extend(info.reload_error.clone().map(|error| ("Reload_error", error)));
    lines.extend(info.details.iter().map(|(name, value)| (name.as_str(), value.clone())));
    // A value of several lines would look like several values.
    let line = |(name, value): (&str, String)| {
        format!("{name}: {}\n", value.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    lines.into_iter().map(line).collect()
}

fn show(status: &InstanceStatus) -> String {
    let mut text = String::new();
    let InstanceStatus { instance, state, reason, .. } = status;
    let nothing = || "-".to_owned();
    let _ = writeln!(
        text,
        "{instance}: {} for {}: {reason}",
        state.word().to_uppercase(),
        human::duration(status.since_ms)
    );
    let mut line = |name: &str, value: String| _ = writeln!(text, "  {name:14} {value}");
    line(
        "addresses",
        format!("{}{}", status.addresses.join(", "), if status.holding { " (here)" } else { "" }),
    );
    line(
        "virtual router",
        format!("id {}, VRRPv{}, every {} ms", status.virtual_router_id, status.version, status.interval_ms),
    );
    line("priority", format!("{} ({} configured)", status.priority, status.configured_priority));
    let source = status.source.map_or_else(nothing, |source| source.to_string());
    line("interface", format!("{} from {source}", status.interface.clone().unwrap_or_else(nothing)));
    let priority =
        status.master_priority.map(|priority| format!(" (priority {priority})")).unwrap_or_default();
    line(
        "master",
        status.master.map_or_else(|| "unknown".to_owned(), |master| format!("{master}{priority}")),
    );
    for tracker in &status.trackers {
        let word = said(tracker);
        line("tracker", format!("{}: {word} (weight {}): {}", tracker.name, tracker.weight, tracker.text));
    }
    for kept in status.kept() {
        line("connections", kept);
    }
    if let Some(other) = status.other_master() {
        line("MASTER, TOO", other.to_string());
    }
    if let Some((_, claims)) = status.claims() {
        line("claimed", claims);
    }
    if status.notify_failing {
        line("notify", "FAILS: nobody could be told of this state".to_owned());
    }
    for peer in &status.peers {
        let heard = human::duration(peer.heard_ms);
        line("peer", format!("{}: priority {}, heard {heard} ago", peer.address, peer.priority));
        if let Some(trouble) = peer.clock_trouble(status.interval_ms) {
            line("", trouble);
        }
    }
    for (label, count) in &status.counters.receive_errors {
        line("refused", format!("{count} packets: {label}"));
    }
    if let Some((_, refusal)) = status.refusal() {
        line("", refusal);
    }
    text
}

const fn said(tracker: &TrackerStatus) -> &'static str {
    match tracker.good {
        Some(true) => "good",
        Some(false) => "FAILS",
        None => "unknown",
    }
}

fn show_service(status: &AnycastStatus) -> String {
    let AnycastStatus { service, state, reason, .. } = status;
    let since = human::duration(status.since_ms);
    let mut text = format!("{service}: {} for {since}: {reason}\n", state.word().to_uppercase());
    let mut line = |name: &str, value: String| _ = writeln!(text, "  {name:14} {value}");
    let here = if status.holding { " (here)" } else { "" };
    line("addresses", format!("{}{here}", status.addresses.join(", ")));
    line("interface", status.interface.clone());
    if let Some(ms) = status.ends_in_ms {
        line("ends", format!("in {}", human::duration(ms)));
    }
    for tracker in &status.trackers {
        line("tracker", format!("{}: {}: {}", tracker.name, said(tracker), tracker.text));
    }
    if status.notify_failing {
        line("notify", "FAILS: nobody could be told of this state".to_owned());
    }
    text
}
