//! The records of all servers, for everybody who wants to see them, and the topic that followers subscribe to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use health::Status;
use wire::topic::{Feed, Topic};
use wire::{Item, TopicName, Verdict};

use crate::record::{Clock, Record, ServerKey};
use crate::view::ServerSeen;

/// The records of all servers.
pub struct Board {
    clock: Clock,
    state: Mutex<State>,
    topic: Arc<Topic<Arc<Record>>>,
}

#[derive(Default)]
struct State {
    /// The servers of the configuration in its order.
    order: Vec<ServerKey>,
    records: HashMap<ServerKey, Arc<Record>>,
}

impl Board {
    /// An empty board.
    pub fn new(clock: Clock) -> Self {
        let render = move |record: &Arc<Record>| Item::Verdict(record.verdict(clock.now()));
        let topic = Arc::new(Topic::new(TopicName::Verdicts, render));
        Self { clock, state: Mutex::default(), topic }
    }

    /// These are all servers from now on. Those that stay keep their records, others are forgotten.
    pub fn set_servers(&self, order: Vec<ServerKey>, new: impl IntoIterator<Item = Record>) {
        let mut state = self.lock();
        let mut known = std::mem::take(&mut state.records);
        known.extend(new.into_iter().map(|record| (record.key.clone(), Arc::new(record))));
        known.retain({
            let wanted: HashSet<&ServerKey> = order.iter().collect();
            move |key, _| wanted.contains(key)
        });
        state.records = known;
        state.order = order;
        // Under the lock, so that no update of a server that is gone comes after it.
        self.topic.replace_all(state.in_order().cloned());
    }

    /// A server's record is as given from now on, unless the server is gone.
    pub fn update(&self, record: Record) {
        let mut state = self.lock();
        if let Some(known) = state.records.get_mut(&record.key) {
            *known = Arc::new(record);
            self.topic.set(Arc::clone(known));
        }
    }

    /// Every verdict, in the order of the configuration.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let now = self.clock.now();
        self.lock().in_order().map(|record| record.verdict(now)).collect()
    }

    /// Every server as it is shown, in the order of the configuration.
    pub fn seen(&self) -> Vec<ServerSeen> {
        let now = self.clock.now();
        self.lock().in_order().map(|record| record.seen(now)).collect()
    }

    /// For followers.
    pub fn feed(&self) -> Arc<dyn Feed> {
        Arc::clone(&self.topic) as Arc<dyn Feed>
    }

    /// How many connections follow the verdicts.
    pub fn followers(&self) -> usize {
        self.topic.subscribers()
    }

    /// How many servers have each status.
    pub fn tally(&self) -> HashMap<Status, usize> {
        let mut tally = HashMap::new();
        for record in self.lock().records.values() {
            *tally.entry(record.status()).or_default() += 1;
        }
        tally
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn in_order(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.order.iter().filter_map(|key| self.records.get(key))
    }
}
