//! The last word to those who have a connection to an address that leaves: a reset.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wire::human::things;

use super::Departure;
use super::plan::Step;
use crate::board::Board;
use crate::net::connections::{self, Ended};

/// Addresses about to leave as planned, by who has had them, and how long their connections may take to end.
#[derive(Debug)]
pub(super) struct Parting<'a> {
    owners: BTreeMap<IpAddr, &'a str>,
    within: Duration,
}

impl<'a> Parting<'a> {
    /// Of these addresses, which leave, those that do so as planned.
    pub(super) fn of(leaving: &BTreeSet<IpAddr>, departures: &'a BTreeMap<String, Departure>) -> Self {
        let departs = |(_, departure): &(&String, &Departure)| !departure.addresses.is_disjoint(leaving);
        let departing: Vec<_> = departures.iter().filter(departs).collect();
        let within = departing.iter().map(|(_, departure)| departure.within()).min().unwrap_or_default();
        let owners = departing.iter().flat_map(|(owner, departure)| {
            departure.addresses.intersection(leaving).map(|address| (*address, owner.as_str()))
        });
        Self { owners: owners.collect(), within }
    }

    /// Whether a step takes one of them away.
    pub(super) fn has(&self, step: &Step) -> bool {
        matches!(step, Step::Remove { .. }) && self.owners.contains_key(&step.address().ip)
    }
}

/// Ends connections.
#[derive(Debug, Default)]
pub(super) struct Resetter {
    /// The kernel cannot, and has been complained about.
    is_refused: bool,
}

impl Resetter {
    /// Ends what is left of their connections, while the addresses are here.
    pub(super) fn reset(&mut self, parting: &Parting<'_>, board: &Board) {
        if self.is_refused || parting.owners.is_empty() {
            return;
        }
        let began = Instant::now();
        let addresses: Vec<IpAddr> = parting.owners.keys().copied().collect();
        let Ended { connections, are_all } = match connections::end(&addresses, parting.within) {
            Ok(ended) => ended,
            Err(error) => {
                self.is_refused = error.kind() == ErrorKind::Unsupported;
                let once = if self.is_refused { " (CONFIG_INET_DIAG_DESTROY)" } else { "" };
                tracing::warn!(
                    %error,
                    "the kernel does not end connections{once}: clients are not told that an address leaves in the middle of one"
                );
                return;
            }
        };
        for (address, owner) in &parting.owners {
            let ended = connections.get(address).copied().unwrap_or(0);
            board.amend(owner, |marks| _ = marks.reset.fetch_add(ended, Relaxed));
        }
        let with_some = connections.iter().filter(|(_, ended)| **ended > 0);
        let addresses: Vec<String> = with_some.map(|(address, _)| address.to_string()).collect();
        let took = format!("{:.1} ms", began.elapsed().as_secs_f64() * 1000.0);
        let all = things(connections.values().sum::<u64>(), "connection");
        if !are_all {
            tracing::warn!(addresses = addresses.join(", "), took, "reset {all}, and had no time for others");
        } else if !addresses.is_empty() {
            tracing::info!(addresses = addresses.join(", "), took, "reset {all} that had not ended");
        }
    }
}
