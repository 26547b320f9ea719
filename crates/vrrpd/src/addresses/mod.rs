//! The virtual addresses of this node: who should have them is the election's to say; a thread of its own makes it so.
//!
//! The kernel changes addresses while it holds a lock of all its networking, and whoever asks it to waits for that lock. So
//! nothing of it is done on the election's thread, whose adverts must not be late. What is wished for is a state, not a
//! command: it is compared with what the kernel has, at every change of either, until both are the same.

mod announcer;
mod ledger;
mod plan;
mod reconciler;
mod resetter;
mod rulebook;
pub mod withdraw;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use config::{Anycast, Gratuitous, Instance, VirtualAddress};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::board::Board;
use crate::election::virtual_addresses;
use crate::net::Link;
use crate::net::rules::Rule;
use ledger::Ledger;
use rulebook::Rulebook;

/// How long a farewell waits for the addresses to be gone where this node cannot serve. It takes less than a millisecond, unless
/// somebody holds the kernel's lock; then others may take over before.
pub(crate) const FAREWELL: Duration = Duration::from_millis(100);
/// The same where it can, and leaves of its own will: nobody waits for its successor.
pub(crate) const PLANNED: Duration = Duration::from_secs(1);

/// Addresses that leave as planned, if they leave: what is left of their connections is reset before. Where something has failed nothing
/// waits for that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// How long the resets may take, where another node has the addresses already.
    pub(crate) beside_another: Option<Duration>,
}

impl Departure {
    /// How long the resets may take. Who waits for the addresses to be gone waits longer.
    fn within(&self) -> Duration {
        self.beside_another.unwrap_or(PLANNED / 2)
    }
}

/// How long the resets may take beside a node that has won the election, and tells neighbours so when it hears that this one is gone:
/// half of a farewell's patience.
pub(crate) const OUTRANKED: Duration = Duration::from_millis(50);

/// The same beside a successor, which is taken to announce the addresses as this node would. While both have them, both answer for
/// them: what neighbours have learned from this one has to be put right by an announcement after that.
pub(crate) fn beside_successor(gratuitous: &Gratuitous) -> Duration {
    let first_round = gratuitous.interval.saturating_mul(u32::from(gratuitous.repeat).saturating_sub(1));
    (first_round / 2).clamp(OUTRANKED, PLANNED / 2)
}

/// What an instance or service wants of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The interface.
    pub(crate) index: u32,
    pub(crate) addresses: Vec<VirtualAddress>,
    pub(crate) hold: Hold,
    /// How the network is told where the addresses are.
    pub(crate) gratuitous: Gratuitous,
    /// Grows with each event after which a neighbour may believe somebody else.
    pub(crate) announcements: u64,
    /// When the event began that made this instance want them.
    pub(crate) since: Instant,
}

impl Wish {
    /// A wish for all addresses of an instance, for which nothing has happened yet.
    pub(crate) fn new(instance: &Instance, index: u32, hold: Hold) -> Self {
        let addresses = virtual_addresses(instance).collect();
        let gratuitous = instance.gratuitous;
        Self { index, addresses, hold, gratuitous, announcements: 0, since: Instant::now() }
    }

    /// A wish for addresses of an instance that another node has, on `lo`: neighbours are told nothing.
    pub(crate) fn for_kept(addresses: &[IpAddr], lo: u32, hold: Hold) -> Self {
        let whole = |ip: IpAddr| VirtualAddress { ip, prefix: if ip.is_ipv4() { 32 } else { 128 } };
        let addresses = addresses.iter().copied().map(whole).collect();
        let gratuitous = Gratuitous { repeat: 0, interval: Duration::ZERO, delay: None, refresh: None };
        Self { index: lo, addresses, hold, gratuitous, announcements: 0, since: Instant::now() }
    }

    /// A wish for all addresses of a service. Neighbours are told nothing: the address is every node's, and routing daemons say where
    /// it is.
    pub(crate) fn of_service(service: &Anycast, index: u32, hold: Hold) -> Self {
        let addresses = service.addresses.clone();
        let gratuitous = Gratuitous { repeat: 0, interval: Duration::ZERO, delay: None, refresh: None };
        Self { index, addresses, hold, gratuitous, announcements: 0, since: Instant::now() }
    }
}

/// How much an address is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It has to be there.
    Have,
    /// It may stay if it is there: nobody knows yet whose it is.
    Keep,
}

/// What all instances and services want.
#[derive(Clone, Debug, Default)]
struct Wishes {
    /// Grows with each change.
    serial: u64,
    instances: BTreeMap<String, Wish>,
    /// Addresses that others have, and whose connections are here: they are to be on `lo`. By instance.
    kept: BTreeMap<String, Wish>,
    /// What becomes of packets, by instance.
    rules: BTreeMap<String, Vec<Rule>>,
    /// What leaves as planned, by instance or service.
    departures: BTreeMap<String, Departure>,
}

/// The election's end of the thread. Dropped, the thread ends.
#[derive(Debug)]
pub(crate) struct Addresses {
    wishes: watch::Sender<Wishes>,
    /// The latest serial that has come true.
    true_since: watch::Receiver<u64>,
    counts: Counts,
    thread: Option<JoinHandle<()>>,
}

/// The interfaces of this node, as they are now.
pub(crate) type Links = watch::Receiver<Arc<[Link]>>;

/// The connections of addresses that others have, as they were counted last.
pub(crate) type Counts = watch::Receiver<Arc<BTreeMap<IpAddr, u64>>>;

impl Addresses {
    /// Starts the thread. Nothing is changed before the first wish.
    ///
    /// # Errors
    /// When rtnetlink cannot be opened, or interfaces cannot be listed.
    pub(crate) async fn start(board: Arc<Board>, run_dir: &Path) -> anyhow::Result<(Self, Links)> {
        let (wishes, wished) = watch::channel(Wishes::default());
        let (truth, true_since) = watch::channel(0);
        let (opened, open) = oneshot::channel();
        let (ledger, rulebook) = (Ledger::open(run_dir), Rulebook::open(run_dir));
        let counts = rulebook.counts();
        let thread = thread::Builder::new()
            .name("addresses".to_owned())
            .spawn(move || reconciler::run(board, (ledger, rulebook), wished, truth, opened))
            .context("cannot start the thread of the addresses")?;
        let links = open.await.map_err(|_| anyhow!("the thread of the addresses has ended"))??;
        Ok((Self { wishes, true_since, counts, thread: Some(thread) }, links))
    }

    /// What a service wants from now on.
    pub(crate) fn wish(&self, service: &str, wish: Option<Wish>, departure: Departure) {
        self.wishes.send_modify(|wishes| {
            wishes.serial += 1;
            put(&mut wishes.instances, service, wish);
            put(&mut wishes.departures, service, Some(departure));
        });
    }

    /// What instances and services want at first: of their interfaces, and of `lo`.
    pub(crate) fn begin(
        &self,
        first: impl Iterator<Item = (String, Wish)>,
        kept: impl Iterator<Item = (String, Wish)>,
    ) {
        self.wishes.send_modify(|wishes| {
            wishes.serial += 1;
            wishes.instances.extend(first);
            wishes.kept.extend(kept);
        });
    }

    /// What an instance wants from now on of its interface, of `lo` and of packets.
    pub(crate) fn wish_with_rules(
        &self,
        instance: &str,
        wish: Option<Wish>,
        kept: Option<Wish>,
        rules: Vec<Rule>,
        departure: Departure,
    ) {
        self.wishes.send_modify(|wishes| {
            wishes.serial += 1;
            put(&mut wishes.instances, instance, wish);
            put(&mut wishes.kept, instance, kept);
            put(&mut wishes.rules, instance, Some(rules).filter(|rules| !rules.is_empty()));
            put(&mut wishes.departures, instance, Some(departure));
        });
    }

    /// The connections of addresses that others have, once a second.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Waits until all that has been wished for is true, but not for longer than that.
    pub(crate) async fn come_true(&self, patience: Duration) {
        let serial = self.wishes.borrow().serial;
        let mut truth = self.true_since.clone();
        // A thread that has ended does nothing that could be waited for.
        let _ = timeout(patience, truth.wait_for(|since| *since >= serial)).await;
    }
}

fn put<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => _ = map.insert(name.to_owned(), value),
        None => _ = map.remove(name),
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        // It ends when nobody wishes any more, and that is now.
        self.wishes = watch::channel(Wishes::default()).0;
        if let Some(thread) = self.thread.take() {
            // A panic has been reported where it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This one has stopped answering for the addresses before the last announcement of its successor.
    #[test]
    fn resets_beside_a_successor_end_before_its_last_announcement() {
        let within = |repeat, interval| {
            let interval = Duration::from_millis(interval);
            beside_successor(&Gratuitous { repeat, interval, delay: None, refresh: None }).as_millis()
        };
        assert_eq!(within(5, 100), 200);
        assert_eq!(within(3, 60), 60);
        // Nobody has more time than where the addresses are nowhere yet, nor less than beside a better node.
        assert_eq!(within(100, 3_600_000), 500);
        assert_eq!(within(1, 100), 50);
    }
}
