//! Instances in the terminal: where the virtual addresses are, and why.

use wire::{InstanceState, InstanceStatus, Tone, TrackerStatus, human, latest};

use super::screen::{ALWAYS, NOTABLE, left, right};
use super::table::{Cell, Table};

/// One line about an instance: `web is MASTER for 3 min: no master was heard in time`.
pub(super) fn headline(status: &InstanceStatus) -> (Tone, String) {
    let (tone, headline) = status.headline();
    let InstanceStatus { reason, since_ms, .. } = status;
    match tone == Tone::from(status.state) {
        true => (tone, format!("{headline} for {}: {reason}", human::duration(*since_ms))),
        // Something else is more important than since when.
        false => (tone, headline),
    }
}

/// What neither of two nodes can know alone: that both are master of the same, or none is.
pub(super) fn of_both(here: &[InstanceStatus], there: &[InstanceStatus], host: &str) -> Vec<(Tone, String)> {
    let pairs = here.iter().filter_map(|one| Some((one, there.iter().find(|other| is_same(one, other))?)));
    let told = |(one, other): (&InstanceStatus, &InstanceStatus)| {
        let name = &one.instance;
        match [one, other].map(|status| status.state == InstanceState::Master) {
            [true, true] => Some((
                Tone::Bad,
                format!("{name} is MASTER on both nodes: they do not hear, or do not believe, each other"),
            )),
            [false, false] => Some((Tone::Bad, format!("{name} has no master, neither here nor on {host}"))),
            _ => None,
        }
    };
    pairs.filter_map(told).collect()
}

/// Whether two nodes mean the same virtual router.
fn is_same(one: &InstanceStatus, other: &InstanceStatus) -> bool {
    one.virtual_router_id == other.virtual_router_id
        && one.addresses.iter().any(|address| other.addresses.contains(address))
}

/// Every instance, with what its trackers say and whom it hears below it.
pub(super) fn table(instances: &[InstanceStatus]) -> Table {
    let refused = instances.iter().any(|status| refused(status) > 0);
    let mut table = Table::new(&[
        left("INSTANCE", ALWAYS),
        left("STATE", ALWAYS),
        right("SINCE", 5),
        left("ADDRESSES", ALWAYS),
        left("HERE", 9),
        left("MASTER", 8),
        right("PRIO", 7),
        left("INTERFACE", 4),
        right("TRANSITIONS", 3),
        right("REFUSED", if refused { NOTABLE } else { 2 }),
    ]);
    for status in instances {
        table.row(row(status));
        for tracker in &status.trackers {
            let (text, tone) = tell(tracker);
            table.note(&text, tone);
        }
        let others: Vec<String> = status.peers.iter().map(heard).collect();
        match (others.is_empty(), status.state) {
            (false, _) => table.note(&others.join("\n"), Tone::Paused),
            (true, InstanceState::Master) => {
                table.note("no other router heard: backups are silent", Tone::Paused);
            }
            (true, _) => table.note("no other router heard", Tone::Warning),
        }
        for trouble in status.peers.iter().filter_map(|peer| peer.clock_trouble(status.interval_ms)) {
            table.note(&trouble, Tone::Warning);
        }
        for kept in status.kept() {
            table.note(&kept, Tone::Paused);
        }
        if let Some(other) = status.other_master() {
            table.note(&format!("{other} is master, too: its adverts come in"), Tone::Bad);
        }
        if let Some((tone, claims)) = status.claims() {
            table.note(&claims, tone);
        }
        if let Some((tone, refusal)) = status.refusal() {
            table.note(&refusal, tone);
        }
    }
    table
}

/// Adverts that were not believed.
fn refused(status: &InstanceStatus) -> u64 {
    status.counters.receive_errors.values().sum()
}

fn row(status: &InstanceStatus) -> Vec<Cell> {
    let counters = &status.counters;
    let priority = match status.priority == status.configured_priority {
        true => status.priority.to_string(),
        false => format!("{} of {}", status.priority, status.configured_priority),
    };
    let last = status.refused.as_ref().map(|refused| refused.age_ms);
    let refused = human::short_count(refused(status));
    let refused = match latest(last, Tone::Warning) {
        Some(tone) => Cell::toned(refused, tone),
        None => Cell::plain(refused),
    };
    vec![
        Cell::plain(&status.instance),
        Cell::toned(status.state.word().to_uppercase(), status.headline().0),
        Cell::plain(human::short_duration(status.since_ms)),
        Cell::plain(status.addresses.join(", ")),
        Cell::plain(if status.holding { "yes" } else { "no" }),
        Cell::plain(status.master.map_or_else(|| "unknown".to_owned(), |master| master.to_string())),
        Cell::plain(priority),
        Cell::plain(status.interface.as_deref().unwrap_or("none")),
        Cell::plain(human::short_count(counters.transitions.values().sum())),
        refused,
    ]
}

fn tell(tracker: &TrackerStatus) -> (String, Tone) {
    let TrackerStatus { name, text, since_ms, .. } = tracker;
    let (word, tone) = tracker.word();
    let effect = match tracker.good {
        Some(true) => String::new(),
        _ => format!(" ({})", tracker.effect()),
    };
    (format!("tracker {name} {} for {}: {text}{effect}", is(word), human::duration(*since_ms)), tone)
}

/// `good` and `unknown` are adjectives, `fails` is a verb.
pub(super) fn is(word: &str) -> String {
    if word == "fails" { word.to_owned() } else { format!("is {word}") }
}

fn heard(peer: &wire::PeerStatus) -> String {
    let heard = human::duration(peer.heard_ms);
    match peer.priority {
        0 => format!("{} left, {heard} ago", peer.address),
        priority => format!("heard {} with priority {priority}, {heard} ago", peer.address),
    }
}
