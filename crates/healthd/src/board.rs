//! The records of all servers, for everybody who wants to see them, and the topic that followers subscribe to.
//!
//! A record is held once, and rendered when somebody looks: most changes only tell of another good check.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use balance::AdminState;
use health::{Moment, Status};
use tokio::sync::watch;
use wire::topic::{Feed, News, Position};
use wire::{Item, TopicName};

use crate::kept::Standing;
use crate::record::{Clock, Record, ServerKey};
use crate::view::ServerSeen;

/// The records of all servers.
pub struct Board {
    clock: Clock,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// The servers of the configuration, in its order.
    servers: Vec<Record>,
    places: HashMap<ServerKey, usize>,
    /// The number of each server's last change, by its place: looked through as a whole, which is quick, and seldom.
    changes: Vec<u64>,
    /// What was reached: the servers themselves, and their records.
    position: Position,
}

impl Board {
    /// An empty board.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default(), changed: watch::Sender::new(()) })
    }

    /// These are all servers from now on. Those that stay keep their records, others are forgotten.
    pub fn set_servers(&self, order: Vec<ServerKey>, new: impl IntoIterator<Item = Record>) {
        let mut state = self.lock();
        let before = std::mem::take(&mut state.servers).into_iter();
        let mut records: HashMap<_, _> =
            before.chain(new).map(|record| (record.key.clone(), record)).collect();
        state.servers = order.into_iter().filter_map(|key| records.remove(&key)).collect();
        state.changes = vec![0; state.servers.len()];
        state.places =
            state.servers.iter().enumerate().map(|(place, record)| (record.key.clone(), place)).collect();
        state.position.generation += 1;
        drop(state);
        self.changed.send_replace(());
    }

    /// A server's record is as given from now on, unless the server is gone.
    pub fn update(&self, record: &Record) {
        // What only tells of another check like the one before goes with the next ping.
        if self.lock().update(record) && self.followers() > 0 {
            self.changed.send_replace(());
        }
    }

    /// Every server as it is shown, in the order of the configuration. Those that operators want to be `ready` are left out of
    /// `admin_states`.
    pub fn seen(&self, admin_states: &HashMap<ServerKey, AdminState>) -> Vec<ServerSeen> {
        let now = self.clock.now();
        let seen = |record: &Record| {
            let admin_state = admin_states.get(&record.key).copied().unwrap_or(AdminState::Ready);
            record.seen(admin_state, now)
        };
        self.lock().servers.iter().map(seen).collect()
    }

    /// How every server stands, and the moment of that.
    pub fn standing(&self) -> (Standing, Moment) {
        let standing = |record: &Record| {
            let (status, since) = record.standing();
            (record.key.clone(), status, since)
        };
        (self.lock().servers.iter().map(standing).collect(), self.clock.now())
    }

    /// How many connections follow the verdicts.
    pub fn followers(&self) -> usize {
        self.changed.receiver_count()
    }

    /// How many servers have each status.
    pub fn tally(&self) -> HashMap<Status, usize> {
        let mut tally = HashMap::new();
        for record in &self.lock().servers {
            *tally.entry(record.status()).or_default() += 1;
        }
        tally
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether followers are to hear of it at once: the server is known, and something has changed.
    fn update(&mut self, record: &Record) -> bool {
        let Some(place) = self.places.get(&record.key) else { return false };
        let (Some(known), Some(change)) = (self.servers.get_mut(*place), self.changes.get_mut(*place)) else {
            return false;
        };
        self.position.change += 1;
        *change = self.position.change;
        let is_news = !known.says_the_same(record);
        known.clone_from(record);
        is_news
    }
}

impl Feed for Board {
    fn name(&self) -> TopicName {
        TopicName::Verdicts
    }

    fn since(&self, position: Option<Position>) -> (News, Position) {
        let now = self.clock.now();
        let state = self.lock();
        let item = |record: &Record| Item::Verdict(record.verdict(now));
        let news = match position {
            Some(position) if position.generation == state.position.generation => {
                let servers = state.servers.iter().zip(&state.changes);
                let changed = servers.filter(|(_, change)| **change > position.change);
                News::Changes(changed.map(|(record, _)| item(record)).collect())
            }
            _ => News::Snapshot(state.servers.iter().map(item).collect()),
        };
        (news, state.position)
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
