//! Anycast services in the terminal: whether this node announces them, and why.

use wire::{AnycastStatus, Tone, human};

use super::instances::is;
use super::screen::{ALWAYS, left, right};
use super::table::{Cell, Table};

/// One line about a service: `web is ANNOUNCED for 3 min: started`.
pub(super) fn headline(status: &AnycastStatus) -> (Tone, String) {
    let (tone, headline) = status.headline();
    match tone == Tone::from(status.state) {
        true => (tone, format!("{headline} for {}: {}", human::duration(status.since_ms), status.reason)),
        // Something else is more important than since when.
        false => (tone, headline),
    }
}

/// Every service, with what its trackers say below it.
pub(super) fn table(services: &[AnycastStatus]) -> Table {
    let mut table = Table::new(&[
        left("ANYCAST", ALWAYS),
        left("STATE", ALWAYS),
        right("SINCE", 5),
        left("ADDRESSES", ALWAYS),
        left("HERE", 9),
        left("INTERFACE", 4),
        right("TRANSITIONS", 3),
    ]);
    for status in services {
        table.row(vec![
            Cell::plain(&status.service),
            Cell::toned(status.state.word().to_uppercase(), status.headline().0),
            Cell::plain(human::short_duration(status.since_ms)),
            Cell::plain(status.addresses.join(", ")),
            Cell::plain(if status.holding { "yes" } else { "no" }),
            Cell::plain(&status.interface),
            Cell::plain(human::short_count(status.counters.transitions.values().sum())),
        ]);
        if let Some(ms) = status.ends_in_ms {
            table.note(&format!("for {} more", human::duration(ms)), Tone::Warning);
        }
        for tracker in &status.trackers {
            let (word, tone) = tracker.word();
            let effect = match tracker.good {
                Some(true) => String::new(),
                _ => format!(" ({})", AnycastStatus::EFFECT),
            };
            let since = human::duration(tracker.since_ms);
            table.note(
                &format!("tracker {} {} for {since}: {}{effect}", tracker.name, is(word), tracker.text),
                tone,
            );
        }
    }
    table
}
