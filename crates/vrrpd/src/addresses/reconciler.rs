//! The thread that makes wishes come true: it alone adds, removes, restores and announces addresses.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use config::VirtualAddress;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant as TokioInstant, sleep_until};

use super::announcer::Announcer;
use super::ledger::Ledger;
use super::plan::{Step, has, leaving, steps};
use super::resetter::{Parting, Resetter};
use super::rulebook::Rulebook;
use super::withdraw::remove;
use super::{Hold, Links, Wishes};
use crate::board::Board;
use crate::net::{Changes, Link, LinkAddress, Mac, Neighbours, Netlink};

/// When what the kernel refused is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Runs until nobody wishes any more.
pub(super) fn run(
    board: Arc<Board>,
    books: (Ledger, Rulebook),
    wishes: watch::Receiver<Wishes>,
    truth: watch::Sender<u64>,
    opened: oneshot::Sender<anyhow::Result<Links>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nobody listens only if the election has ended.
            let _ = opened.send(Err(error).context("cannot start the runtime of the addresses"));
            return;
        }
    };
    runtime.block_on(async {
        match Reconciler::open(board, books, wishes, truth).await {
            Ok(reconciler) => {
                let _ = opened.send(Ok(reconciler.publish.subscribe()));
                reconciler.run().await;
            }
            Err(error) => _ = opened.send(Err(error)),
        }
    });
}

struct Reconciler {
    netlink: Netlink,
    changes: Changes,
    board: Arc<Board>,
    ledger: Ledger,
    rulebook: Rulebook,
    resetter: Resetter,
    /// What was added since the last listing, which is to show whether it got its mark.
    unproven: Vec<(u32, VirtualAddress)>,
    wishes: watch::Receiver<Wishes>,
    truth: watch::Sender<u64>,
    publish: watch::Sender<Arc<[Link]>>,
    /// The interfaces: as they were listed, and as they were changed from here since.
    links: Vec<Link>,
    /// The last listing failed.
    outdated: bool,
    /// What is wanted and has been there: if it is missing, somebody else has removed it.
    established: BTreeSet<(u32, VirtualAddress)>,
    instances: BTreeMap<String, Seen>,
    /// For announcements, on each interface that needs some.
    sockets: BTreeMap<u32, (Mac, Neighbours)>,
    retry: Option<Instant>,
}

/// What has become of an instance's wish.
#[derive(Default)]
struct Seen {
    announcer: Announcer,
    /// How many announcements had been wished for.
    announcements: u64,
    /// Whether all addresses were there.
    whole: bool,
    /// What neighbours saw of the interface: its hardware address, and how often it got carrier.
    face: Option<(Option<Mac>, u32)>,
}

impl Reconciler {
    async fn open(
        board: Arc<Board>,
        (ledger, rulebook): (Ledger, Rulebook),
        wishes: watch::Receiver<Wishes>,
        truth: watch::Sender<u64>,
    ) -> anyhow::Result<Self> {
        let (netlink, changes) = Netlink::open()?;
        let mut links = netlink.links().await.context("cannot list interfaces")?;
        ledger.mark(&mut links);
        let (publish, _) = watch::channel(Arc::from(links.clone()));
        Ok(Self {
            netlink,
            changes,
            board,
            ledger,
            rulebook,
            resetter: Resetter::default(),
            unproven: Vec::new(),
            wishes,
            truth,
            publish,
            links,
            outdated: false,
            established: BTreeSet::new(),
            instances: BTreeMap::new(),
            sockets: BTreeMap::new(),
            retry: None,
        })
    }

    async fn run(mut self) {
        let far = Duration::from_secs(3600);
        // Before the first wish nobody knows what is to be kept.
        let mut wished = self.wishes.changed().await;
        while wished.is_ok() {
            self.reconcile().await;
            let next = self.instances.values().filter_map(|seen| seen.announcer.next());
            let wake = next
                .chain(self.retry)
                .chain(self.rulebook.next())
                .min()
                .unwrap_or_else(|| Instant::now() + far);
            tokio::select! {
                changed = self.wishes.changed() => wished = changed,
                () = self.changes.next() => self.list().await,
                () = sleep_until(TokioInstant::from_std(wake)) => {
                    if self.outdated {
                        self.list().await;
                    }
                }
            }
        }
    }

    /// Looks at the interfaces, and tells the election. What was there and is missing now is looked for twice.
    async fn list(&mut self) {
        let mut listed = self.netlink.links().await;
        if let Ok(now) = &listed
            && lacks(now, &self.links)
        {
            listed = self.netlink.links().await;
        }
        self.outdated = listed.is_err();
        match listed {
            Ok(mut links) => {
                self.prove(&links);
                self.ledger.mark(&mut links);
                self.links = links;
                self.publish.send_replace(Arc::from(self.links.clone()));
            }
            Err(error) => {
                tracing::error!("cannot list interfaces: {error:#}; trying again");
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }

    /// Looks whether the kernel keeps marks. Where it does not, what was added is written down.
    fn prove(&mut self, listed: &[Link]) {
        for (index, address) in std::mem::take(&mut self.unproven) {
            let link = listed.iter().find(|link| link.index == index);
            let own = link.and_then(|link| link.addresses.iter().find(|own| own.ip == address.ip));
            if own.is_some_and(|own| !own.ours) {
                if !self.ledger.is_needed() {
                    tracing::warn!(
                        "this kernel keeps no marks on addresses, as Linux does since 5.18: a file of the run directory tells \
                         which are vrrpd's"
                    );
                }
                self.note_down(index, address);
            }
        }
    }

    fn note_down(&mut self, index: u32, address: VirtualAddress) {
        let name = self.name(index);
        if let Err(error) = self.ledger.note(&name, address) {
            tracing::error!(%address, %error, "cannot write down that the address is vrrpd's");
        }
    }

    async fn reconcile(&mut self) {
        let mut wishes = self.wishes.borrow_and_update().clone();
        // Before there is an address that they are for. Without them it would be on two nodes.
        if self.rulebook.prepare(wishes.rules.values().flatten()) {
            let kept = std::mem::take(&mut wishes.kept).into_iter();
            wishes.instances.extend(kept.map(|(name, wish)| (format!("{name} (kept)"), wish)));
        }
        let mut failed = self.outdated;
        let mut added = BTreeSet::new();
        let steps = steps(&self.links, &wishes.instances);
        let parting = Parting::of(&leaving(&self.links, &steps), &wishes.departures);
        // What others wait for comes first.
        let (last, first): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| parting.has(step));
        let resets = first.len();
        for (number, step) in first.into_iter().chain(last).enumerate() {
            if number == resets {
                self.resetter.reset(&parting, &self.board);
            }
            match self.take(step).await {
                Ok(()) => added.extend(step.added()),
                Err(error) => {
                    failed = true;
                    tracing::error!(interface = self.name(step.index()), "{error:#}; trying again");
                }
            }
        }
        if !failed {
            self.rulebook.set(wishes.rules.values().flatten());
        }
        self.retry = failed.then(|| Instant::now() + RETRY);
        self.note(&wishes, &added);
        self.announce(&wishes);
        self.rulebook.count();
        if !failed {
            self.truth.send_replace(wishes.serial);
        }
    }

    /// Takes a step, and says of what it is a surprise.
    async fn take(&mut self, step: Step) -> anyhow::Result<()> {
        let (index, address) = (step.index(), step.address());
        let interface = self.name(index);
        let is_known = self.established.contains(&(index, address));
        match step {
            Step::Remove { .. } => {
                if !is_known {
                    tracing::warn!(%address, interface, "removing an address that an earlier run left behind");
                }
                let link = self.links.iter().find(|link| link.index == index);
                if let Some(link) = link {
                    remove(&self.netlink, link, address).await?;
                }
                if let Err(error) = self.ledger.strike(&interface, address) {
                    tracing::error!(%address, %error, "cannot write down that the address is gone");
                }
            }
            Step::Add { .. } => {
                if is_known {
                    tracing::warn!(%address, interface, "somebody removed a virtual address; putting it back");
                }
                if self.ledger.is_needed() {
                    self.note_down(index, address);
                }
                self.netlink.add_address(index, address).await?;
                self.unproven.push((index, address));
            }
        }
        if let Some(link) = self.links.iter_mut().find(|link| link.index == index) {
            link.addresses.retain(|own| (own.ip, own.prefix) != (address.ip, address.prefix));
            let own = LinkAddress { ip: address.ip, prefix: address.prefix, ours: true, usable: false };
            link.addresses.extend(step.added().map(|_| own));
        }
        Ok(())
    }

    /// Looks at what has become of each wish, and begins to announce where neighbours may believe somebody else.
    fn note(&mut self, wishes: &Wishes, added: &BTreeSet<(u32, VirtualAddress)>) {
        let (now, links) = (Instant::now(), &self.links);
        let gone = |name: &String| !wishes.instances.contains_key(name);
        for name in self.instances.keys().filter(|name| gone(name)) {
            self.board.amend(name, |entry| entry.holding.store(false, Relaxed));
        }
        self.instances.retain(|name, _| !gone(name));
        let mut wanted = BTreeSet::new();
        for (name, wish) in &wishes.instances {
            let pairs = wish.addresses.iter().map(|address| (wish.index, *address));
            let whole = pairs.clone().all(|(index, address)| has(links, index, address));
            self.board.amend(name, |entry| entry.holding.store(whole, Relaxed));
            let seen = self.instances.entry(name.clone()).or_default();
            if wish.hold == Hold::Keep {
                // A master that hands over may be master again.
                let is_own = pairs.clone().all(|pair| self.established.contains(&pair));
                match is_own {
                    true => wanted.extend(pairs.filter(|(index, address)| has(links, *index, *address))),
                    false => *seen = Seen::default(),
                }
                continue;
            }
            let link = links.iter().find(|link| link.index == wish.index);
            let face = link.map(|link| (link.mac, link.carrier_ups));
            let has_come = pairs.clone().any(|pair| added.contains(&pair));
            if has_come || seen.announcements != wish.announcements || seen.face != face {
                seen.announcer.start(&wish.gratuitous, now);
            }
            if whole && !seen.whole {
                self.board.amend(name, |entry| entry.took_over(wish.since, wish.since.elapsed()));
            }
            let restored =
                pairs.clone().filter(|pair| added.contains(pair) && self.established.contains(pair));
            let restored = u64::try_from(restored.count()).unwrap_or(u64::MAX);
            self.board.amend(name, |entry| _ = entry.restored.fetch_add(restored, Relaxed));
            (seen.announcements, seen.whole, seen.face) = (wish.announcements, whole, face);
            wanted.extend(pairs.filter(|(index, address)| has(links, *index, *address)));
        }
        self.established = wanted;
        self.sockets.retain(|index, _| wishes.instances.values().any(|wish| wish.index == *index));
    }

    /// Announces what is due.
    fn announce(&mut self, wishes: &Wishes) {
        let now = Instant::now();
        for (name, wish) in &wishes.instances {
            if !self.instances.get_mut(name).is_some_and(|seen| seen.announcer.is_due(&wish.gratuitous, now))
            {
                continue;
            }
            let mut sent = 0;
            for address in &wish.addresses {
                if !has(&self.links, wish.index, *address) {
                    continue;
                }
                match self.tell_neighbours(wish.index, *address) {
                    Ok(()) => sent += 1,
                    Err(error) => {
                        tracing::warn!(instance = name, %address, %error, "cannot tell the network where the address is");
                    }
                }
            }
            self.board.amend(name, |entry| _ = entry.announcements.fetch_add(sent, Relaxed));
        }
    }

    /// An interface that was down has left an error in its socket, which the next packet meets. A new socket has none.
    fn tell_neighbours(&mut self, index: u32, address: VirtualAddress) -> io::Result<()> {
        self.try_to_tell(index, address).or_else(|_| {
            self.sockets.remove(&index);
            self.try_to_tell(index, address)
        })
    }

    fn try_to_tell(&mut self, index: u32, address: VirtualAddress) -> io::Result<()> {
        let link = self.links.iter().find(|link| link.index == index);
        // Nobody on a link without hardware addresses has a table of them.
        let Some((link, mac)) = link.and_then(|link| Some((link, link.mac?))) else { return Ok(()) };
        let socket = match self.sockets.entry(index) {
            Entry::Occupied(known) if known.get().0 == mac => known.into_mut(),
            Entry::Occupied(mut known) => {
                known.insert((mac, Neighbours::open(link)?));
                known.into_mut()
            }
            Entry::Vacant(new) => new.insert((mac, Neighbours::open(link)?)),
        };
        socket.1.announce(address.ip)
    }

    fn name(&self, index: u32) -> String {
        let link = self.links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }
}

/// Whether an interface or one of its addresses is missing that was there before.
fn lacks(now: &[Link], before: &[Link]) -> bool {
    before.iter().any(|before| match now.iter().find(|now| now.index == before.index) {
        None => true,
        Some(now) => {
            let is_missing = |was: &LinkAddress| !now.addresses.iter().any(|is| is.ip == was.ip);
            before.addresses.iter().any(is_missing)
        }
    })
}
