//! What there is to see of each instance and service. The election writes it; pages, metrics and subscribers read it.

mod instance;
mod pen;
mod service;
mod times;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use wire::topic::Topic;
use wire::{AnycastStatus, Histogram, InstanceStatus, Item, TopicName};

use crate::net::Bell;
use crate::sequences::{Kept, Sequences};
pub use instance::Record;
pub(crate) use pen::Pen;
pub use service::ServiceRecord;

/// Transitions that are remembered.
const HISTORY: usize = 16;

/// Without a sign of the election for so long, what it has told last is stale.
pub(crate) const STALE: Duration = Duration::from_secs(3);

/// A place for each instance and service. The real-time threads write there without waiting for anybody: they hand over whole
/// values (arc-swap), and ring for whoever tells subscribers. Readers put the parts together.
pub struct Board {
    shown: Arc<Shown>,
    instances: Arc<Topic<String>>,
    services: Arc<Topic<String>>,
    bell: Bell,
    /// What an earlier vrrpd has sent and accepted.
    kept: Kept,
}

struct Shown {
    instances: Shelf<Record>,
    services: Shelf<ServiceRecord>,
    /// When the election last showed that it goes on, as the main thread sees it.
    refreshed: Mutex<Instant>,
}

/// What is known of one kind, by name.
struct Shelf<R> {
    /// Written by the election alone.
    entries: ArcSwap<BTreeMap<String, Arc<Entry<R>>>>,
    /// Some have come or gone.
    others: AtomicBool,
}

/// What the election writes of one instance or service.
pub trait Sheet: Clone {
    /// What others are told.
    type Status;

    /// One of which nothing is known.
    fn new(name: &str) -> Self;

    /// A tracker has reported. Whether its result has changed.
    fn report(&mut self, tracker: &str, good: bool, text: &str) -> bool;

    /// What a tracker said last.
    fn tracker_text(&self, name: &str) -> Option<&str>;

    /// How things are, as of now.
    fn status(&self, marks: &Marks, now: Instant) -> Self::Status;

    /// They were so before the election began to hang.
    fn become_stale(status: &mut Self::Status, silence: Duration);
}

/// A place on the board. What is swapped as a whole has one writer.
#[derive(Debug)]
pub struct Entry<R> {
    /// The election's.
    record: ArcSwap<R>,
    /// What other threads write.
    pub marks: Marks,
    /// Subscribers are to be told.
    news: AtomicBool,
}

/// What the threads beside the election's know of an instance or service.
#[derive(Debug, Default)]
pub struct Marks {
    /// Whether all addresses are on the interface, as the addresses' thread sees it.
    pub(crate) holding: AtomicBool,
    /// Gratuitous ARP packets and neighbour advertisements that it has sent.
    pub(crate) announcements: AtomicU64,
    /// Addresses that it has put back.
    pub(crate) restored: AtomicU64,
    /// Connections that it has had reset.
    pub(crate) reset: AtomicU64,
    takeovers: ArcSwap<Takeovers>,
    /// Whether the hook could not be told.
    pub(crate) notify_failing: AtomicBool,
    /// How often it could not.
    pub(crate) notify_failures: AtomicU64,
}

/// How long it took until all addresses were there.
#[derive(Clone, Debug, Default)]
struct Takeovers {
    times: Histogram,
    /// The last one: when the event came that made this node have them, and how long after it.
    last: Option<(Instant, Duration)>,
}

impl Marks {
    /// All addresses are there, so long after what made this node have them.
    pub fn took_over(&self, since: Instant, took: Duration) {
        let mut takeovers = Takeovers::clone(&self.takeovers.load());
        takeovers.times.observe(took);
        takeovers.last = Some((since, took));
        self.takeovers.store(Arc::new(takeovers));
    }
}

impl<R: Sheet> Shelf<R> {
    fn new() -> Self {
        Self { entries: ArcSwap::default(), others: AtomicBool::new(false) }
    }

    fn entry(&self, name: &str) -> Option<Arc<Entry<R>>> {
        self.entries.load().get(name).cloned()
    }

    /// The place of that name, which is made if there is none.
    fn place(&self, name: &str, new: impl FnOnce(&str) -> R) -> Arc<Entry<R>> {
        if let Some(entry) = self.entry(name) {
            return entry;
        }
        let mut entries = BTreeMap::clone(&self.entries.load());
        let entry = Arc::new(Entry::new(new(name)));
        entries.insert(name.to_owned(), entry.clone());
        self.entries.store(Arc::new(entries));
        entry
    }

    fn retain(&self, is_meant: impl Fn(&str) -> bool) {
        let mut entries = BTreeMap::clone(&self.entries.load());
        entries.retain(|name, _| is_meant(name));
        self.entries.store(Arc::new(entries));
        self.others.store(true, Release);
    }

    fn tell(&self, topic: &Topic<String>) {
        let entries = self.entries.load();
        if self.others.swap(false, AcqRel) {
            topic.replace_all(entries.keys().cloned());
        }
        for (name, _) in entries.iter().filter(|(_, entry)| entry.news.swap(false, AcqRel)) {
            topic.set(name.clone());
        }
    }

    fn publish_all(&self) {
        self.entries.load().values().for_each(|entry| entry.news.store(true, Release));
    }
}

impl Board {
    /// A board on which nothing stands. Instances to come go on where `kept` ends.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new(kept: Kept) -> io::Result<Self> {
        let (instances, services) = (Shelf::new(), Shelf::new());
        let shown = Arc::new(Shown { instances, services, refreshed: Mutex::new(Instant::now()) });
        let key = |name: &String| (name.as_str().into(), "".into());
        let rendered = shown.clone();
        let instances = Topic::new(TopicName::Instances, key, move |name: &String| {
            Item::Instance(Box::new(rendered.of(&rendered.instances, name)))
        });
        let rendered = shown.clone();
        let services = Topic::new(TopicName::Anycast, key, move |name: &String| {
            Item::Anycast(Box::new(rendered.of(&rendered.services, name)))
        });
        let (instances, services) = (Arc::new(instances), Arc::new(services));
        Ok(Self { shown, instances, services, bell: Bell::new()?, kept })
    }

    /// The place of an instance, which is made if there is none. For the election alone.
    pub fn place(&self, instance: &str) -> Arc<Entry<Record>> {
        self.shown.instances.place(instance, |name| {
            let sequences = self.kept.get(name).cloned().unwrap_or_default();
            Record::resuming(name, sequences)
        })
    }

    /// The place of a service, which is made if there is none. For the election alone.
    pub fn service(&self, service: &str) -> Arc<Entry<ServiceRecord>> {
        self.shown.services.place(service, ServiceRecord::new)
    }

    /// Writes at the place of an instance or service, if it has one.
    pub fn amend(&self, name: &str, write: impl FnOnce(&Marks)) {
        if let Some(entry) = self.shown.instances.entry(name) {
            write(&entry.marks);
        } else if let Some(entry) = self.shown.services.entry(name) {
            write(&entry.marks);
        }
    }

    /// Has subscribers told of an instance or service.
    pub fn publish<R>(&self, entry: &Entry<R>) {
        entry.news.store(true, Release);
        self.bell.ring();
    }

    /// Forgets instances and services that are not configured any more. For the election alone.
    pub fn retain(&self, is_instance: impl Fn(&str) -> bool, is_service: impl Fn(&str) -> bool) {
        self.shown.instances.retain(is_instance);
        self.shown.services.retain(is_service);
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
                board.shown.instances.tell(&board.instances);
                board.shown.services.tell(&board.services);
            }
        });
        Ok(())
    }

    /// What the next vrrpd has to know of signed adverts. Before the election begins it is what the last one knew.
    pub fn sequences(&self) -> Kept {
        let entries = self.shown.instances.entries.load();
        if entries.is_empty() && self.shown.services.entries.load().is_empty() {
            return self.kept.clone();
        }
        let known = entries.iter().map(|(name, entry)| (name.clone(), entry.record.load().sequences.clone()));
        known.filter(|(_, sequences)| *sequences != Sequences::default()).collect()
    }

    /// All instances, by name.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        self.shown.all(&self.shown.instances)
    }

    /// All anycast services, by name.
    pub fn services(&self) -> Vec<AnycastStatus> {
        self.shown.all(&self.shown.services)
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

    /// Has subscribers told of everything.
    pub fn publish_all(&self) {
        self.shown.instances.publish_all();
        self.shown.services.publish_all();
        self.bell.ring();
    }

    /// Where subscribers follow transitions of instances.
    pub fn topic(&self) -> Arc<Topic<String>> {
        self.instances.clone()
    }

    /// Where subscribers follow transitions of services.
    pub fn services_topic(&self) -> Arc<Topic<String>> {
        self.services.clone()
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

    fn all<R: Sheet>(&self, shelf: &Shelf<R>) -> Vec<R::Status> {
        let now = Instant::now();
        shelf.entries.load().values().map(|entry| self.status(entry, now)).collect()
    }

    /// The one of that name: as good as new if it has just gone.
    fn of<R: Sheet>(&self, shelf: &Shelf<R>, name: &str) -> R::Status {
        let now = Instant::now();
        match shelf.entry(name) {
            Some(entry) => self.status(&entry, now),
            None => R::new(name).status(&Marks::default(), now),
        }
    }

    /// One as of now; if the election does not move, it says so.
    fn status<R: Sheet>(&self, entry: &Entry<R>, now: Instant) -> R::Status {
        let mut status = entry.record.load().status(&entry.marks, now);
        if let Some(silence) = self.stale(now) {
            R::become_stale(&mut status, silence);
        }
        status
    }
}

/// An election that has not moved for so long, in words.
pub(crate) fn hangs(silence: Duration) -> String {
    format!("the election has not moved for {} s", silence.as_secs())
}

impl<R> Entry<R> {
    fn new(record: R) -> Self {
        Self { record: ArcSwap::from_pointee(record), marks: Marks::default(), news: AtomicBool::default() }
    }

    /// What the election has written last.
    pub fn record(&self) -> Arc<R> {
        self.record.load_full()
    }

    /// The election has written this.
    pub fn show(&self, record: R) {
        self.record.store(Arc::new(record));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
