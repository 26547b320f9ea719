//! What there is to see of each instance. The election writes it; pages, metrics and subscribers read it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::Instance;
use vrrp::Received;
use wire::topic::Topic;
use wire::{
    InstanceCounters, InstanceState, InstanceStatus, Item, PeerStatus, TopicName, TrackerStatus,
    TransitionRecord,
};

/// Transitions that are remembered.
const HISTORY: usize = 16;
/// Other routers that are remembered.
const PEERS: usize = 16;

/// Without a sign of the election for so long, what it has told last is stale.
pub(crate) const STALE: Duration = Duration::from_secs(3);

/// The records of all instances. The lock is held for a moment at a time.
pub struct Board {
    shown: Arc<Shown>,
    topic: Arc<Topic<String>>,
}

struct Shown {
    records: Mutex<BTreeMap<String, Record>>,
    /// When the election last showed that it goes on.
    refreshed: Mutex<Instant>,
}

impl Board {
    /// A board without records.
    pub fn new() -> Self {
        let shown = Arc::new(Shown { records: Mutex::default(), refreshed: Mutex::new(Instant::now()) });
        let rendered = shown.clone();
        let key = |name: &String| (name.as_str().into(), "".into());
        let topic = Topic::new(TopicName::Instances, key, move |name: &String| {
            let status = match rendered.records().get(name) {
                Some(record) => rendered.status(record, Instant::now()),
                None => Record::new(name).status,
            };
            Item::Instance(Box::new(status))
        });
        Self { shown, topic: Arc::new(topic) }
    }

    /// Writes the record of an instance, which is made if there is none.
    pub fn write<T>(&self, instance: &str, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut records = self.shown.records();
        change(records.entry(instance.to_owned()).or_insert_with(|| Record::new(instance)))
    }

    /// Writes the record of an instance, if there is one.
    pub fn amend(&self, instance: &str, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.shown.records().get_mut(instance) {
            change(record);
        }
    }

    /// Tells subscribers of an instance's record.
    pub fn publish(&self, instance: &str) {
        self.topic.set(instance.to_owned());
    }

    /// Forgets instances that are not configured any more.
    pub fn retain(&self, instances: &[Instance]) {
        let names: Vec<String> = {
            let mut records = self.shown.records();
            records.retain(|name, _| instances.iter().any(|instance| instance.name == *name));
            records.keys().cloned().collect()
        };
        self.topic.replace_all(names);
    }

    /// All instances, by name.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        let now = Instant::now();
        self.shown.records().values().map(|record| self.shown.status(record, now)).collect()
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

    /// Tells subscribers of every record.
    pub fn publish_all(&self) {
        let names: Vec<String> = self.shown.records().keys().cloned().collect();
        for name in names {
            self.topic.set(name);
        }
    }

    /// Where subscribers follow transitions.
    pub fn topic(&self) -> Arc<Topic<String>> {
        self.topic.clone()
    }
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

impl Shown {
    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refreshed(&self) -> MutexGuard<'_, Instant> {
        self.refreshed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stale(&self, now: Instant) -> Option<Duration> {
        let silence = now - *self.refreshed();
        (silence >= STALE).then_some(silence)
    }

    /// A record as of now; if the election does not move, it says so.
    fn status(&self, record: &Record, now: Instant) -> InstanceStatus {
        let mut status = record.status(now);
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

/// What is known of one instance. Times are kept as moments; [`InstanceStatus`] has their ages.
#[derive(Clone, Debug)]
pub struct Record {
    /// All but the ages.
    pub status: InstanceStatus,
    since: Instant,
    trackers: BTreeMap<String, Instant>,
    peers: BTreeMap<IpAddr, Instant>,
    history: VecDeque<Instant>,
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
            stale_ms: None,
            notify_failing: false,
            counters: InstanceCounters::default(),
        };
        Self {
            status,
            since: Instant::now(),
            trackers: BTreeMap::new(),
            peers: BTreeMap::new(),
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

    /// An advert was believed. How long after the last one of the same router it came, if that is known.
    pub fn heard(&mut self, received: &Received) -> Option<Duration> {
        let now = Instant::now();
        let advert = &received.advert;
        let release = advert.priority == vrrp::Priority::RELEASE;
        let status = &mut self.status;
        status.counters.adverts_received += 1;
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
                });
                status.peers.len() - 1
            }
        };
        let peer = &mut status.peers[index];
        peer.priority = advert.priority.get();
        peer.adverts += 1;
        peer.releases += u64::from(release);
        if peer.checksum != received.checksum.label() {
            received.checksum.label().clone_into(&mut peer.checksum);
        }
        before.map(|before| now - before)
    }

    /// The state has changed.
    pub fn transition(&mut self, to: InstanceState, cause: &str, reason: String, took: Duration) {
        let now = Instant::now();
        let status = &mut self.status;
        *status.counters.transitions.entry(format!("{} {cause}", to.word())).or_default() += 1;
        self.history.push_front(now);
        self.history.truncate(HISTORY);
        status.history.insert(
            0,
            TransitionRecord {
                from: status.state,
                to,
                cause: cause.to_owned(),
                reason: reason.clone(),
                age_ms: 0,
                took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            },
        );
        status.history.truncate(HISTORY);
        status.state = to;
        status.reason = reason;
        self.since = now;
    }

    /// All addresses of a new master are there, so long after what made it one.
    pub fn took_over(&mut self, took: Duration) {
        self.status.counters.takeover.observe(took);
        if let Some(last) = self.status.history.first_mut().filter(|last| last.to == InstanceState::Master) {
            last.took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        }
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
        for (record, moment) in status.history.iter_mut().zip(&self.history) {
            record.age_ms = millis(now - *moment);
        }
        status
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
