//! Names and their addresses: one task a name asks for it again and again, and everybody who uses the name watches the
//! outcome.
//!
//! A name that does not resolve is a state with a reason, never an end: the last known addresses stay in use until there
//! are others, or until the name servers have said for `hold` that there are none. A name is asked for when its TTL ends, and
//! sooner when a check of one of its servers fails, but never more often than `min_ttl`; one question a name at a time, and a
//! bounded number in all.
//!
//! | module | for |
//! |---|---|
//! | `files` | /etc/hosts and /etc/resolv.conf |
//! | `lookup` | one lookup: the hosts file, the search list, both families |
//! | `ask`, `reply` | one question to the name servers, and what their replies say (pure) |
//! | `held`, `slots` | what is held of a name, and who of its users has which address (pure) |
//! | `told` | what was logged of it (pure) |

mod ask;
mod files;
mod held;
mod lookup;
mod reply;
mod slots;
mod told;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use config::Resolvers;
use prometheus::IntCounterVec;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};
use wire::Resolution;

use held::Held;
use lookup::Lookup;

pub use files::SystemFiles;
pub(crate) use reply::Service;
pub(crate) use told::Told;

/// Questions under way at once, over all names.
const LOOKUPS_AT_ONCE: usize = 16;

/// The longest pause after a failed question, unless `min_ttl` is longer.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// The most addresses that a line of the log shows.
const SHOWN: usize = 16;

/// All names in use.
pub struct Names {
    files: SystemFiles,
    shared: Arc<Shared>,
    /// By the name in lower case.
    names: Mutex<HashMap<String, Weak<Name>>>,
    /// The number of the next watch.
    next: AtomicU64,
}

struct Shared {
    settings: Mutex<Arc<Settings>>,
    at_once: Semaphore,
    queries: IntCounterVec,
}

struct Settings {
    config: Resolvers,
    lookup: Lookup,
}

/// A name in use. Its task ends with its last user.
struct Name {
    core: Arc<Core>,
    task: JoinHandle<()>,
}

/// What the users of a name and its task share.
struct Core {
    name: String,
    held: watch::Sender<Held>,
    /// Somebody has reason to doubt the addresses.
    doubted: Notify,
}

/// The servers of a backend that have the same name and port: they have different addresses, as far as the name's go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The backend.
    pub backend: Arc<str>,
    /// The port.
    pub port: u16,
}

/// One user's view of a name.
pub struct NameWatch {
    name: Arc<Name>,
    group: Group,
    slot: u64,
    changes: watch::Receiver<Held>,
}

/// What a name means to one of its users now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The address to use; none before the first answer, and when the name has been gone for too long.
    pub address: Option<IpAddr>,
    /// Why there is no address, or why the one given is the last known.
    pub error: Option<Arc<str>>,
    /// Whether the name servers say that it has no address: then the one given may be somebody else's by now.
    pub denied: bool,
    /// Whether the first question has ended.
    pub asked: bool,
}

/// How a question ended that is not asked again by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    /// There is what was asked for.
    Found {
        found: T,
        /// The name servers that say so.
        by: BTreeSet<SocketAddr>,
        /// There may be more, which nobody could be asked for.
        truncated: bool,
    },
    /// There is none, or nobody knows.
    Failed {
        /// Why, for people.
        text: String,
        /// The name servers that deny it, if some do and no other knows better.
        denied_by: Option<BTreeSet<SocketAddr>>,
        /// All that were asked.
        asked: BTreeSet<SocketAddr>,
    },
}

impl Resolved {
    /// Whether the name is known to lead nowhere.
    pub fn is_gone(&self) -> bool {
        self.denied && self.address.is_none()
    }
}

impl Names {
    /// No names yet. `queries` counts questions by their outcome (label `outcome`).
    pub fn new(config: &Resolvers, files: SystemFiles, queries: IntCounterVec) -> Self {
        let settings = Mutex::new(Arc::new(Settings::new(config, &files)));
        let shared = Arc::new(Shared { settings, at_once: Semaphore::new(LOOKUPS_AT_ONCE), queries });
        Self { files, shared, names: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Uses other settings from now on. Names keep their addresses, and are asked for again soon if the servers changed.
    pub fn configure(&self, config: &Resolvers) {
        if self.shared.settings().config == *config {
            return;
        }
        *self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Settings::new(config, &self.files));
        for name in self.in_use() {
            name.core.doubted.notify_one();
        }
    }

    /// Watches a name, from now on in use.
    pub fn watch(&self, name: &str, group: Group) -> NameWatch {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, name| name.strong_count() > 0);
        let key = name.to_ascii_lowercase();
        let known = names.get(&key).and_then(Weak::upgrade);
        let name = known.unwrap_or_else(|| {
            let held = watch::Sender::new(Held::default());
            let core = Arc::new(Core { name: name.to_owned(), held, doubted: Notify::new() });
            let task = tokio::spawn(keep_resolved(Arc::clone(&core), Arc::clone(&self.shared)));
            let started = Arc::new(Name { core, task });
            names.insert(key, Arc::downgrade(&started));
            started
        });
        let slot = self.next.fetch_add(1, Relaxed);
        // Who comes later takes no address from others: it is no news to them.
        name.core.quietly(|held| held.add(&group, slot));
        let changes = name.core.held.subscribe();
        NameWatch { name, group, slot, changes }
    }

    /// The addresses of a name now, and when to ask again.
    pub(crate) async fn addresses(
        &self,
        name: &str,
        failures: u32,
    ) -> (Outcome<[Option<Vec<IpAddr>>; 2]>, Duration) {
        let (permit, settings) = self.turn().await;
        let asked = settings.lookup.lookup(name).await;
        drop(permit);
        let answer = |lookup::Answer { families, ttl, by, truncated }| (families, ttl, by, truncated);
        self.settle(&settings, asked.map(answer), failures)
    }

    /// The services of a name now, and when to ask again.
    pub(crate) async fn services(&self, name: &str, failures: u32) -> (Outcome<Vec<Service>>, Duration) {
        let (permit, settings) = self.turn().await;
        let asked = settings.lookup.services(name).await;
        drop(permit);
        let answer = |lookup::Services { services, ttl, by, truncated }| (services, ttl, by, truncated);
        self.settle(&settings, asked.map(answer), failures)
    }

    /// Waits until it is a question's turn.
    async fn turn(&self) -> (Option<SemaphorePermit<'_>>, Arc<Settings>) {
        // The semaphore is never closed; without a permit there would just be no bound.
        (self.shared.at_once.acquire().await.ok(), self.shared.settings())
    }

    /// Counts how a question ended, before which `failures` in a row had failed. Also when to ask again.
    fn settle<T>(
        &self,
        settings: &Settings,
        asked: Result<(T, Duration, BTreeSet<SocketAddr>, bool), lookup::Failure>,
        failures: u32,
    ) -> (Outcome<T>, Duration) {
        let word = asked.as_ref().map_or_else(|failure| failure.kind.word(), |_| "resolved");
        self.shared.queries.with_label_values(&[word]).inc();
        match asked {
            Ok((found, ttl, by, truncated)) => {
                let wait = ttl.max(settings.config.min_ttl).min(settings.config.max_ttl);
                (Outcome::Found { found, by, truncated }, wait)
            }
            Err(lookup::Failure { text, absent, by, asked, .. }) => {
                let denied_by = (absent == [true, true]).then_some(by);
                (Outcome::Failed { text, denied_by, asked }, settings.retry(failures))
            }
        }
    }

    /// What is known of each name in use, in alphabetical order.
    pub fn resolutions(&self) -> Vec<Resolution> {
        let mut all: Vec<Resolution> = self.in_use().iter().map(|name| name.core.resolution()).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// A name server's answer about a name in use, without the name server.
    #[cfg(test)]
    pub(crate) fn answer(&self, name: &str, addresses: &[IpAddr]) {
        let known = self.names.lock().unwrap().get(name).and_then(Weak::upgrade);
        let now = Instant::now();
        known.unwrap().core.learn(Ok(lookup::Answer::of_hosts(addresses.to_vec())), now, now, Duration::MAX);
    }

    /// The word of the name servers that there is no such name, for longer than `hold`.
    #[cfg(test)]
    pub(crate) fn deny(&self, name: &str) {
        let known = self.names.lock().unwrap().get(name).and_then(Weak::upgrade);
        let now = Instant::now();
        known.unwrap().core.learn(Err(lookup::Failure::denial(name)), now, now, Duration::ZERO);
    }

    fn in_use(&self) -> Vec<Arc<Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade).collect()
    }
}

impl NameWatch {
    /// What the name means now.
    pub fn resolved(&self) -> Resolved {
        self.changes.borrow().resolved_for(&self.group, self.slot)
    }

    /// Waits until the name means something else than `known`, and returns that. What counts is the state and not the event:
    /// it does not matter when the name changed, nor who has looked since. Cancel safe.
    pub async fn other_than(&mut self, known: &Resolved) -> Resolved {
        let Self { group, slot, changes, .. } = self;
        let other = changes.wait_for(|held| held.resolved_for(group, *slot) != *known).await;
        match other.map(|held| held.resolved_for(group, *slot)) {
            Ok(resolved) => resolved,
            // The sender lives in `self.name`, so this is never reached; waiting is the harmless answer.
            Err(_) => std::future::pending().await,
        }
    }

    /// The addresses that may be tried: the one in use first, then those of the name that nobody of the group has.
    pub fn candidates(&self) -> Vec<IpAddr> {
        self.changes.borrow().candidates(&self.group, self.slot)
    }

    /// Uses another of the candidates from now on, until the name changes.
    pub fn choose(&self, address: IpAddr) {
        self.name.core.quietly(|held| held.choose(&self.group, self.slot, address));
    }

    /// Asks for the name again as soon as `min_ttl` allows: its address does not work.
    pub fn doubt(&self) {
        self.name.core.doubted.notify_one();
    }
}

impl Drop for NameWatch {
    fn drop(&mut self) {
        self.name.core.quietly(|held| held.remove(&self.group, self.slot));
    }
}

impl Shared {
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Settings {
    fn new(config: &Resolvers, files: &SystemFiles) -> Self {
        let lookup = Lookup::new(&config.nameservers, config.timeout, files.clone());
        Self { config: config.clone(), lookup }
    }

    /// The pause after that many failures in a row.
    fn retry(&self, failures: u32) -> Duration {
        let floor = self.config.min_ttl.max(Duration::from_millis(100));
        let doubled = floor.saturating_mul(1 << failures.min(10));
        doubled.min(LONGEST_RETRY).max(floor)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks for a name again and again, until the task is aborted.
async fn keep_resolved(core: Arc<Core>, shared: Arc<Shared>) {
    let mut failures = 0;
    let mut log = Log::new();
    loop {
        let Ok(permit) = shared.at_once.acquire().await else { return };
        let settings = shared.settings();
        let asked = Instant::now();
        let outcome = settings.lookup.lookup(&core.name).await;
        drop(permit);
        let wait = match &outcome {
            Ok(answer) => {
                failures = 0;
                answer.ttl.max(settings.config.min_ttl).min(settings.config.max_ttl)
            }
            Err(_) => {
                failures += 1;
                settings.retry(failures - 1)
            }
        };
        let word = outcome.as_ref().map_or_else(|failure| failure.kind.word(), |_| "resolved");
        shared.queries.with_label_values(&[word]).inc();
        let hold = settings.config.hold;
        core.learn(outcome, Instant::now(), asked + wait, hold);
        let soonest = asked + settings.config.min_ttl;
        let due = core.held.borrow().due(asked, soonest, asked + wait, hold);
        let mut doubted = std::pin::pin!(async {
            core.doubted.notified().await;
            tokio::time::sleep_until(soonest).await;
        });
        loop {
            let tell = log.tell(&core).unwrap_or(due);
            tokio::select! {
                () = tokio::time::sleep_until(due) => break,
                () = &mut doubted => break,
                () = tokio::time::sleep_until(tell), if tell < due => {}
            }
        }
    }
}

impl Core {
    /// Takes the outcome of a lookup at `now`, the next of which is at `next`. Users look for themselves what it changes for them.
    fn learn(
        &self,
        outcome: Result<lookup::Answer, lookup::Failure>,
        now: Instant,
        next: Instant,
        hold: Duration,
    ) {
        self.held.send_modify(|held| held.learn(outcome, now, next, hold));
    }

    /// Changes what concerns one user alone, who knows of it.
    fn quietly(&self, change: impl FnOnce(&mut Held)) {
        self.held.send_if_modified(|held| {
            change(held);
            false
        });
    }

    fn resolution(&self) -> Resolution {
        let held = self.held.borrow();
        let next = held.next().map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()));
        let (resolved, failed) = held.counts();
        Resolution {
            name: self.name.clone(),
            addresses: held.addresses().clone(),
            error: held.error().map(|error| error.to_string()),
            next_query_ms: u64::try_from(next.as_millis()).unwrap_or(u64::MAX),
            resolved,
            failed,
        }
    }
}

/// What the log was told of a name.
struct Log {
    failing: Told<bool>,
    gone: Told<bool>,
    truncated: Told<bool>,
    addresses: Told<Vec<IpAddr>>,
}

impl Log {
    fn new() -> Self {
        let [failing, gone, truncated] = [(); 3].map(|()| Told::new(false));
        Self { failing, gone, truncated, addresses: Told::new(Vec::new()) }
    }

    /// Tells what may be told now, and when there is more to tell.
    fn tell(&mut self, core: &Core) -> Option<Instant> {
        let Self { failing, gone, truncated, addresses } = self;
        let (name, held, now) = (&core.name, core.held.borrow(), Instant::now());
        let error = held.error().map_or("", |error| &**error);
        // Retries of a name that fails already are no news, even if they fail in another way.
        if failing.tell(&held.error().is_some(), now).is_some() {
            if held.error().is_some() {
                warn!(%name, reason = error, last_known = %list(held.addresses()), "name does not resolve");
            } else {
                info!(%name, "name resolves again");
            }
        }
        if gone.tell(&held.is_gone(), now).is_some() && held.is_gone() {
            warn!(%name, reason = error, "name is gone; its address is used no more");
        }
        if truncated.tell(&held.is_truncated(), now).is_some() && held.is_truncated() {
            warn!(%name, "the answers about the name are cut off, and its name server takes no TCP: there may be more addresses");
        }
        if let Some(before) = addresses.tell(held.addresses(), now) {
            let only = |one: &[IpAddr], other: &[IpAddr]| {
                list(&one.iter().copied().filter(|address| !other.contains(address)).collect::<Vec<_>>())
            };
            let (added, removed) = (only(held.addresses(), &before), only(&before, held.addresses()));
            info!(%name, addresses = %list(held.addresses()), %added, %removed, "name resolves");
        }
        let due = [
            failing.due(&held.error().is_some(), now),
            gone.due(&held.is_gone(), now),
            truncated.due(&held.is_truncated(), now),
            addresses.due(held.addresses(), now),
        ];
        due.into_iter().flatten().min()
    }
}

fn list(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "none".to_owned();
    }
    let words: Vec<String> = addresses.iter().take(SHOWN).map(IpAddr::to_string).collect();
    match addresses.len().saturating_sub(SHOWN) {
        0 => words.join(","),
        more => format!("{} and {more} more", words.join(",")),
    }
}
