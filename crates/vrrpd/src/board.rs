//! What there is to see of each instance. The election writes it; pages, metrics and subscribers read it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use config::Instance;
use vrrp::Received;
use wire::topic::Topic;
use wire::{
    ClaimStatus, Histogram, InstanceCounters, InstanceState, InstanceStatus, Item, PeerStatus, RefusedStatus,
    TopicName, TrackerStatus, TransitionRecord,
};

use crate::net::Bell;
use crate::sequences::{Kept, Sequences};

/// Transitions that are remembered.
const HISTORY: usize = 16;
/// Other routers that are remembered.
const PEERS: usize = 16;

/// Without a sign of the election for so long, what it has told last is stale.
pub(crate) const STALE: Duration = Duration::from_secs(3);

/// What is told of an advert that counts only together with an answer for a virtual address.
const DOUBTFUL: &str = "it may be a recording, or clocks differ";

/// A place for each instance. The real-time threads write there without waiting for anybody: they hand over whole values
/// (arc-swap), and ring for whoever tells subscribers. Readers put the parts together.
pub struct Board {
    shown: Arc<Shown>,
    topic: Arc<Topic<String>>,
    bell: Bell,
    /// What an earlier vrrpd has sent and accepted.
    kept: Kept,
    /// Instances have come or gone.
    others: AtomicBool,
}

struct Shown {
    /// Written by the election alone.
    entries: ArcSwap<BTreeMap<String, Arc<Entry>>>,
    /// When the election last showed that it goes on, as the main thread sees it.
    refreshed: Mutex<Instant>,
}

/// An instance's place on the board. What is swapped as a whole has one writer.
#[derive(Debug)]
pub struct Entry {
    /// The election's.
    record: ArcSwap<Record>,
    /// Whether all addresses are on the interface, as the addresses' thread sees it.
    pub(crate) holding: AtomicBool,
    /// Gratuitous ARP packets and neighbour advertisements that it has sent.
    pub(crate) announcements: AtomicU64,
    /// Addresses that it has put back.
    pub(crate) restored: AtomicU64,
    takeovers: ArcSwap<Takeovers>,
    /// Whether the hook could not be told.
    pub(crate) notify_failing: AtomicBool,
    /// How often it could not.
    pub(crate) notify_failures: AtomicU64,
    /// Subscribers are to be told.
    news: AtomicBool,
}

/// How long it took until all addresses were there.
#[derive(Clone, Debug, Default)]
struct Takeovers {
    times: Histogram,
    /// The last one: when the event came that made this node master, and how long after it.
    last: Option<(Instant, Duration)>,
}

impl Board {
    /// A board without instances. Those to come go on where `kept` ends.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new(kept: Kept) -> io::Result<Self> {
        let shown = Arc::new(Shown { entries: ArcSwap::default(), refreshed: Mutex::new(Instant::now()) });
        let rendered = shown.clone();
        let key = |name: &String| (name.as_str().into(), "".into());
        let topic = Topic::new(TopicName::Instances, key, move |name: &String| {
            let status = match rendered.entries.load().get(name) {
                Some(entry) => rendered.status(entry, Instant::now()),
                None => Record::new(name).status,
            };
            Item::Instance(Box::new(status))
        });
        Ok(Self { shown, topic: Arc::new(topic), bell: Bell::new()?, kept, others: AtomicBool::new(false) })
    }

    /// The place of an instance, which is made if there is none. For the election alone.
    pub fn place(&self, instance: &str) -> Arc<Entry> {
        if let Some(entry) = self.entry(instance) {
            return entry;
        }
        let mut entries = BTreeMap::clone(&self.shown.entries.load());
        let kept = self.kept.get(instance).cloned().unwrap_or_default();
        let entry = Arc::new(Entry::new(Record { sequences: kept, ..Record::new(instance) }));
        entries.insert(instance.to_owned(), entry.clone());
        self.shown.entries.store(Arc::new(entries));
        entry
    }

    /// Writes at the place of an instance, if it has one.
    pub fn amend(&self, instance: &str, write: impl FnOnce(&Entry)) {
        if let Some(entry) = self.entry(instance) {
            write(&entry);
        }
    }

    fn entry(&self, instance: &str) -> Option<Arc<Entry>> {
        self.shown.entries.load().get(instance).cloned()
    }

    /// Has subscribers told of an instance.
    pub fn publish(&self, entry: &Entry) {
        entry.news.store(true, Release);
        self.bell.ring();
    }

    /// Forgets instances that are not configured any more. For the election alone.
    pub fn retain(&self, instances: &[Instance]) {
        let mut entries = BTreeMap::clone(&self.shown.entries.load());
        entries.retain(|name, _| instances.iter().any(|instance| instance.name == *name));
        self.shown.entries.store(Arc::new(entries));
        self.others.store(true, Release);
        self.bell.ring();
    }

    /// Tells subscribers what real-time threads have published. On the runtime that calls it, as long as that lives.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn relay(self: &Arc<Self>) -> io::Result<()> {
        let (board, listener) = (self.clone(), self.bell.listen()?);
        tokio::spawn(async move {
            // It fails only when the runtime ends, and the task with it.
            while listener.rung().await.is_ok() {
                board.tell();
            }
        });
        Ok(())
    }

    fn tell(&self) {
        let entries = self.shown.entries.load();
        if self.others.swap(false, AcqRel) {
            self.topic.replace_all(entries.keys().cloned());
        }
        for (name, _) in entries.iter().filter(|(_, entry)| entry.news.swap(false, AcqRel)) {
            self.topic.set(name.clone());
        }
    }

    /// What the next vrrpd has to know of signed adverts.
    pub fn sequences(&self) -> Kept {
        let entries = self.shown.entries.load();
        if entries.is_empty() {
            // The election has not begun.
            return self.kept.clone();
        }
        let known = entries.iter().map(|(name, entry)| (name.clone(), entry.record.load().sequences.clone()));
        known.filter(|(_, sequences)| *sequences != Sequences::default()).collect()
    }

    /// All instances, by name.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        let now = Instant::now();
        self.shown.entries.load().values().map(|entry| self.shown.status(entry, now)).collect()
    }

    /// The election goes on: what it has told is how things are.
    pub fn refresh(&self) {
        let silence = std::mem::replace(&mut *self.shown.refreshed(), Instant::now()).elapsed();
        if silence >= STALE {
            self.publish_all();
        }
    }

    /// For how long the election has not moved, if that is long enough for all to be stale.
    pub fn stale(&self) -> Option<Duration> {
        self.shown.stale(Instant::now())
    }

    /// Has subscribers told of every instance.
    pub fn publish_all(&self) {
        for entry in self.shown.entries.load().values() {
            self.publish(entry);
        }
    }

    /// Where subscribers follow transitions.
    pub fn topic(&self) -> Arc<Topic<String>> {
        self.topic.clone()
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

impl Shown {
    fn refreshed(&self) -> MutexGuard<'_, Instant> {
        self.refreshed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stale(&self, now: Instant) -> Option<Duration> {
        let silence = now - *self.refreshed();
        (silence >= STALE).then_some(silence)
    }

    /// An instance as of now; if the election does not move, it says so.
    fn status(&self, entry: &Entry, now: Instant) -> InstanceStatus {
        let mut status = entry.status(now);
        if let Some(silence) = self.stale(now) {
            status.stale_ms = Some(millis(silence));
            let reason = &status.reason;
            status.reason = format!("stale: {}; before that: {reason}", hangs(silence));
        }
        status
    }
}

/// An election that has not moved for so long, in words.
pub(crate) fn hangs(silence: Duration) -> String {
    format!("the election has not moved for {} s", silence.as_secs())
}

impl Entry {
    fn new(record: Record) -> Self {
        Self {
            record: ArcSwap::from_pointee(record),
            holding: AtomicBool::default(),
            announcements: AtomicU64::default(),
            restored: AtomicU64::default(),
            takeovers: ArcSwap::default(),
            notify_failing: AtomicBool::default(),
            notify_failures: AtomicU64::default(),
            news: AtomicBool::default(),
        }
    }

    /// What the election has written last.
    pub fn record(&self) -> Arc<Record> {
        self.record.load_full()
    }

    /// The election has written this.
    pub fn show(&self, record: Record) {
        self.record.store(Arc::new(record));
    }

    /// All addresses of a new master are there, so long after what made it one.
    pub fn took_over(&self, since: Instant, took: Duration) {
        let mut takeovers = Takeovers::clone(&self.takeovers.load());
        takeovers.times.observe(took);
        takeovers.last = Some((since, took));
        self.takeovers.store(Arc::new(takeovers));
    }

    fn status(&self, now: Instant) -> InstanceStatus {
        let record = self.record.load();
        let mut status = record.status(now);
        let takeovers = self.takeovers.load();
        if let Some((since, took)) = takeovers.last
            && let Some(index) = record.history.iter().position(|event| event.began == since)
            && let Some(told) = status.history.get_mut(index).filter(|told| told.to == InstanceState::Master)
        {
            told.took_us = micros(took);
        }
        status.holding = self.holding.load(Relaxed);
        status.notify_failing = self.notify_failing.load(Relaxed);
        let counters = &mut status.counters;
        counters.takeover.clone_from(&takeovers.times);
        counters.announcements = self.announcements.load(Relaxed);
        counters.addresses_restored = self.restored.load(Relaxed);
        counters.notify_failures = self.notify_failures.load(Relaxed);
        status
    }
}

/// What the election knows of one instance. Times are kept as moments; [`InstanceStatus`] has their ages.
#[derive(Clone, Debug)]
pub struct Record {
    /// All but the ages.
    pub status: InstanceStatus,
    /// What was sent and accepted of signed adverts.
    pub sequences: Sequences,
    since: Instant,
    trackers: BTreeMap<String, Instant>,
    peers: BTreeMap<IpAddr, Instant>,
    claimed: Option<Instant>,
    refused: Option<Instant>,
    history: VecDeque<Event>,
}

/// When a transition was, and when what made it came.
#[derive(Clone, Copy, Debug)]
struct Event {
    began: Instant,
    ended: Instant,
}

impl Record {
    fn new(instance: &str) -> Self {
        let status = InstanceStatus {
            instance: instance.to_owned(),
            state: InstanceState::Init,
            since_ms: 0,
            reason: "not started yet".to_owned(),
            version: 0,
            virtual_router_id: 0,
            priority: 0,
            configured_priority: 0,
            interval_ms: 0,
            holding: false,
            interface: None,
            source: None,
            addresses: Vec::new(),
            master: None,
            master_priority: None,
            trackers: Vec::new(),
            peers: Vec::new(),
            history: Vec::new(),
            claim: None,
            refused: None,
            stale_ms: None,
            notify_failing: false,
            counters: InstanceCounters::default(),
        };
        Self {
            status,
            sequences: Sequences::default(),
            since: Instant::now(),
            trackers: BTreeMap::new(),
            peers: BTreeMap::new(),
            claimed: None,
            refused: None,
            history: VecDeque::new(),
        }
    }

    /// Takes over what is configured. Trackers that stay keep what they said.
    pub fn configure(&mut self, config: &Instance, trackers: &[vrrp::TrackerRule]) {
        let status = &mut self.status;
        status.version = config.version.number();
        status.virtual_router_id = config.virtual_router_id.get();
        status.configured_priority = config.priority.get();
        status.addresses = config.addresses.iter().chain(&config.excluded).map(ToString::to_string).collect();
        let before = std::mem::take(&mut status.trackers);
        status.trackers = trackers
            .iter()
            .map(|rule| {
                let known = before.iter().find(|tracker| tracker.name == rule.name).cloned();
                let new = || TrackerStatus {
                    name: rule.name.clone(),
                    good: None,
                    text: "has not reported yet".to_owned(),
                    weight: 0,
                    since_ms: 0,
                    failures: 0,
                };
                TrackerStatus { weight: rule.weight.number(), ..known.unwrap_or_else(new) }
            })
            .collect();
    }

    /// A tracker has reported. Whether its result has changed.
    pub fn tracker(&mut self, name: &str, good: bool, text: &str) -> bool {
        let Some(tracker) = self.status.trackers.iter_mut().find(|tracker| tracker.name == name) else {
            return false;
        };
        let changed = tracker.good != Some(good);
        if changed {
            self.trackers.insert(name.to_owned(), Instant::now());
            tracker.failures += u64::from(tracker.good == Some(true));
        }
        tracker.good = Some(good);
        text.clone_into(&mut tracker.text);
        changed
    }

    /// What a tracker said last.
    pub fn tracker_text(&self, name: &str) -> Option<&str> {
        self.status.trackers.iter().find(|tracker| tracker.name == name).map(|tracker| &*tracker.text)
    }

    /// An advert was believed, or is doubtful. How long after the last one of the same router it came, if that is known.
    pub fn heard(&mut self, received: &Received) -> Option<Duration> {
        let now = Instant::now();
        let advert = &received.advert;
        let release = advert.priority == vrrp::Priority::RELEASE;
        let doubt = received.signed.and_then(|signed| signed.doubt);
        match doubt {
            Some(doubt) => self.refused(doubt.label(), DOUBTFUL.to_owned(), received.source),
            None => self.status.counters.adverts_received += 1,
        }
        let status = &mut self.status;
        status.counters.address_mismatches += u64::from(received.addresses_differ);
        let before = self.peers.insert(received.source, now);
        if self.peers.len() > PEERS
            && let Some((longest_silent, _)) = self.peers.iter().min_by_key(|(_, heard)| **heard)
        {
            let address = *longest_silent;
            self.peers.remove(&address);
            status.peers.retain(|peer| peer.address != address);
        }
        let index = match status.peers.iter().position(|peer| peer.address == received.source) {
            Some(index) => index,
            None => {
                status.peers.push(PeerStatus {
                    address: received.source,
                    priority: 0,
                    heard_ms: 0,
                    adverts: 0,
                    releases: 0,
                    checksum: String::new(),
                    clock_ahead_ms: None,
                    doubt: None,
                });
                status.peers.len() - 1
            }
        };
        let peer = &mut status.peers[index];
        peer.priority = advert.priority.get();
        peer.adverts += u64::from(doubt.is_none());
        peer.releases += u64::from(release && doubt.is_none());
        peer.clock_ahead_ms = received.signed.map(|signed| signed.clock_ahead_ms);
        peer.doubt = doubt;
        if peer.checksum != received.checksum.label() {
            received.checksum.label().clone_into(&mut peer.checksum);
        }
        before.map(|before| now - before)
    }

    /// A packet is not believed: the check that failed, and what is wrong with it.
    pub fn refused(&mut self, error: &str, text: String, source: IpAddr) {
        *self.status.counters.receive_errors.entry(error.to_owned()).or_default() += 1;
        self.refused = Some(Instant::now());
        self.status.refused = Some(RefusedStatus { error: error.to_owned(), text, source, age_ms: 0 });
    }

    /// Another station has claimed an address that is here.
    pub fn claimed(&mut self, address: IpAddr, mac: String) {
        self.claimed = Some(Instant::now());
        self.status.claim = Some(ClaimStatus { address, mac, age_ms: 0 });
        self.status.counters.conflicts += 1;
    }

    /// The state has changed.
    pub fn transition(&mut self, to: InstanceState, cause: &str, reason: String, began: Instant) {
        let now = Instant::now();
        let status = &mut self.status;
        *status.counters.transitions.entry(format!("{} {cause}", to.word())).or_default() += 1;
        self.history.push_front(Event { began, ended: now });
        self.history.truncate(HISTORY);
        status.history.insert(
            0,
            TransitionRecord {
                from: status.state,
                to,
                cause: cause.to_owned(),
                reason: reason.clone(),
                age_ms: 0,
                took_us: micros(now - began),
            },
        );
        status.history.truncate(HISTORY);
        status.state = to;
        status.reason = reason;
        self.since = now;
    }

    fn status(&self, now: Instant) -> InstanceStatus {
        let age = |moment: Option<&Instant>| moment.map_or(0, |moment| millis(now - *moment));
        let mut status = self.status.clone();
        status.since_ms = millis(now - self.since);
        for tracker in &mut status.trackers {
            tracker.since_ms = age(self.trackers.get(&tracker.name));
        }
        for peer in &mut status.peers {
            peer.heard_ms = age(self.peers.get(&peer.address));
        }
        if let Some(claim) = &mut status.claim {
            claim.age_ms = age(self.claimed.as_ref());
        }
        if let Some(refused) = &mut status.refused {
            refused.age_ms = age(self.refused.as_ref());
        }
        for (record, event) in status.history.iter_mut().zip(&self.history) {
            record.age_ms = millis(now - event.ended);
        }
        status
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
