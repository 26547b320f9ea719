//! Names and their addresses: one task a name asks for it again and again, and everybody who uses the name watches the
//! outcome.
//!
//! A name that does not resolve is a state with a reason, never an end: the last known addresses stay in use until there
//! are others. A name is asked for when its TTL ends, and sooner when a check of one of its servers fails, but never more
//! often than `min_ttl`; one question a name at a time, and a bounded number in all.

mod lookup;
mod slots;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use config::Resolvers;
use prometheus::IntCounterVec;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};
use wire::Resolution;

use lookup::{Answer, Failure, FailureKind, Lookup};
use slots::Slots;

pub use lookup::SystemFiles;

/// Questions under way at once, over all names.
const LOOKUPS_AT_ONCE: usize = 16;

/// The longest pause after a failed question, unless `min_ttl` is longer.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// All names in use.
pub struct Names {
    files: SystemFiles,
    shared: Arc<Shared>,
    names: Mutex<HashMap<String, Weak<Name>>>,
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
    state: watch::Sender<State>,
    /// Somebody has reason to doubt the addresses.
    doubted: Notify,
}

#[derive(Default)]
struct State {
    /// The last answer; kept while questions fail.
    addresses: Vec<IpAddr>,
    slots: Slots,
    error: Option<Arc<str>>,
    /// Whether the last answer was that there is no such name, or no address of it.
    gone: bool,
    /// When the name is asked for next; none before the first question has ended.
    next: Option<Instant>,
    resolved: u64,
    failed: u64,
}

/// One user's view of a name.
pub struct NameWatch {
    name: Arc<Name>,
    slot: usize,
    changes: watch::Receiver<State>,
}

/// What a name means to one of its users now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The address to use; none before the first answer.
    pub address: Option<IpAddr>,
    /// Why there is no address, or why the one given is the last known.
    pub error: Option<Arc<str>>,
    /// Whether the name servers say that it has no address: then the one given may be somebody else's by now.
    pub gone: bool,
    /// Whether the first question has ended.
    pub asked: bool,
}

impl Names {
    /// No names yet. `queries` counts questions by their outcome (label `outcome`).
    pub fn new(config: &Resolvers, files: SystemFiles, queries: IntCounterVec) -> Self {
        let settings = Mutex::new(Arc::new(Settings::new(config, &files)));
        let shared = Arc::new(Shared { settings, at_once: Semaphore::new(LOOKUPS_AT_ONCE), queries });
        Self { files, shared, names: Mutex::default() }
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

    /// Watches a name, from now on in use. `slot` is 0, or the number of earlier users that must have another address if
    /// the name has enough.
    pub fn watch(&self, name: &str, slot: usize) -> NameWatch {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, name| name.strong_count() > 0);
        let known = names.get(name).and_then(Weak::upgrade);
        let name = known.unwrap_or_else(|| {
            let state = watch::Sender::new(State::default());
            let core = Arc::new(Core { name: name.to_owned(), state, doubted: Notify::new() });
            let task = tokio::spawn(keep_resolved(Arc::clone(&core), Arc::clone(&self.shared)));
            let started = Arc::new(Name { core, task });
            names.insert(name.to_owned(), Arc::downgrade(&started));
            started
        });
        name.core.state.send_if_modified(|state| {
            let State { slots, addresses, .. } = state;
            slots.grow(slot + 1, addresses);
            false
        });
        let changes = name.core.state.subscribe();
        NameWatch { name, slot, changes }
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
        let answer = Answer { addresses: addresses.to_vec(), ttl: Duration::ZERO, complete: true };
        known.unwrap().core.learn(Ok(answer), Instant::now());
    }

    fn in_use(&self) -> Vec<Arc<Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade).collect()
    }
}

impl NameWatch {
    /// What the name means now.
    pub fn resolved(&self) -> Resolved {
        self.changes.borrow().resolved_for(self.slot)
    }

    /// Waits until the name means something else than `known`, and returns that. What counts is the state and not the event:
    /// it does not matter when the name changed, nor who has looked since. Cancel safe.
    pub async fn other_than(&mut self, known: &Resolved) -> Resolved {
        let slot = self.slot;
        let other = self.changes.wait_for(|state| state.resolved_for(slot) != *known).await;
        match other.map(|state| state.resolved_for(slot)) {
            Ok(resolved) => resolved,
            // The sender lives in `self.name`, so this is never reached; waiting is the harmless answer.
            Err(_) => std::future::pending().await,
        }
    }

    /// Asks for the name again as soon as `min_ttl` allows: its address does not work.
    pub fn doubt(&self) {
        self.name.core.doubted.notify_one();
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
        let due = asked + wait;
        core.learn(outcome, due);
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = async {
                core.doubted.notified().await;
                tokio::time::sleep_until(asked + settings.config.min_ttl).await;
            } => {}
        }
    }
}

impl Core {
    /// Takes the outcome of a question, and tells the users if it changes anything for them.
    fn learn(&self, outcome: Result<Answer, Failure>, due: Instant) {
        self.state.send_if_modified(|state| {
            let first = state.next.replace(due).is_none();
            match outcome {
                Ok(answer) => state.resolved(&self.name, answer) || first,
                Err(failure) => state.failed(&self.name, failure) || first,
            }
        });
    }

    fn resolution(&self) -> Resolution {
        let state = self.state.borrow();
        let next = state.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()));
        Resolution {
            name: self.name.clone(),
            addresses: state.addresses.clone(),
            error: state.error.as_deref().map(str::to_owned),
            next_query_ms: u64::try_from(next.as_millis()).unwrap_or(u64::MAX),
            resolved: state.resolved,
            failed: state.failed,
        }
    }
}

impl State {
    fn resolved_for(&self, slot: usize) -> Resolved {
        Resolved {
            address: self.slots.get(slot),
            error: self.error.clone(),
            gone: self.gone,
            asked: self.next.is_some(),
        }
    }

    fn resolved(&mut self, name: &str, mut answer: Answer) -> bool {
        self.resolved += 1;
        let recovered = self.error.take().is_some();
        self.gone = false;
        if !answer.complete {
            // One address family was not answered: what was known of it still holds.
            answer.addresses.extend(&self.addresses);
            answer.addresses.sort_unstable();
            answer.addresses.dedup();
        }
        let changed = answer.addresses != self.addresses;
        if changed || recovered {
            info!(%name, addresses = %list(&answer.addresses), before = %list(&self.addresses), "name resolves");
        }
        self.slots.assign(&answer.addresses);
        self.addresses = answer.addresses;
        changed || recovered
    }

    fn failed(&mut self, name: &str, failure: Failure) -> bool {
        self.failed += 1;
        // Retries of a name that fails already are no news, even if they fail in another way.
        if self.error.is_none() {
            warn!(%name, reason = failure.text, last_known = %list(&self.addresses), "name does not resolve");
        }
        self.gone = matches!(failure.kind, FailureKind::NxDomain | FailureKind::NoData);
        let text = Some(Arc::from(failure.text));
        let changed = self.error != text;
        self.error = text;
        changed
    }
}

fn list(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "none".to_owned();
    }
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}
