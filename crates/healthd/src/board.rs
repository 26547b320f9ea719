//! The records of all servers, for everybody who wants to see them, and the topic that followers subscribe to.
//!
//! A record is held once, and rendered when somebody looks: most changes only tell of another good check.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use balance::AdminState;
use health::{Moment, Status};
use tokio::sync::watch;
use wire::topic::{Feed, News, Position};
use wire::{Discovery, Item, Left, TopicName};

use crate::discover::Report;
use crate::kept::Standing;
use crate::record::{Clock, Record, ServerKey};
use crate::view::ServerSeen;

/// So many servers that have left are told of one by one; with more, followers get everything anew.
const LEFT_MAX: usize = 1024;

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
    /// Who has left, and the number of that change.
    left: Vec<(u64, ServerKey)>,
    /// Where servers are found, by their backend, with the number of the last change.
    reports: BTreeMap<Arc<str>, (u64, Report)>,
    /// What was reached: the servers themselves, and their records.
    position: Position,
}

impl Board {
    /// An empty board.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default(), changed: watch::Sender::new(()) })
    }

    /// These are all servers from now on. Those that stay keep their records, others are forgotten.
    pub(crate) fn set_servers(
        &self,
        order: Vec<ServerKey>,
        new: impl IntoIterator<Item = Record>,
        reports: impl IntoIterator<Item = (Arc<str>, Report)>,
    ) {
        let mut state = self.lock();
        state.arrange(order, new);
        state.changes = vec![0; state.servers.len()];
        state.reports = reports.into_iter().map(|(backend, report)| (backend, (0, report))).collect();
        state.left.clear();
        state.position.generation += 1;
        drop(state);
        self.changed.send_replace(());
    }

    /// These are the servers of a backend from now on, which were found as the report says. Others stay as they are.
    pub(crate) fn set_found(
        &self,
        backend: &Arc<str>,
        found: Vec<ServerKey>,
        new: Vec<Record>,
        report: Report,
    ) {
        let mut state = self.lock();
        state.position.change += 1;
        let change = state.position.change;
        let changes: HashMap<ServerKey, u64> = state
            .places
            .iter()
            .filter_map(|(key, place)| Some((key.clone(), *state.changes.get(*place)?)))
            .collect();
        let stay: HashSet<&ServerKey> = found.iter().collect();
        let is_its = |key: &ServerKey| key.0 == *backend;
        let keys: Vec<ServerKey> = state.servers.iter().map(|record| record.key.clone()).collect();
        let gone: Vec<_> = keys
            .iter()
            .filter(|key| is_its(key) && !stay.contains(key))
            .map(|key| (change, key.clone()))
            .collect();
        // The servers of a backend stand together.
        let start = keys.iter().position(is_its).unwrap_or(keys.len());
        let (before, after): (Vec<_>, Vec<_>) = keys
            .into_iter()
            .enumerate()
            .filter(|(_, key)| !is_its(key))
            .partition(|(place, _)| *place < start);
        let order = before
            .into_iter()
            .map(|(_, key)| key)
            .chain(found)
            .chain(after.into_iter().map(|(_, key)| key))
            .collect();
        state.arrange(order, new);
        state.changes =
            state.servers.iter().map(|record| changes.get(&record.key).copied().unwrap_or(change)).collect();
        let places = state.places.clone();
        state.left.retain(|(_, key)| !places.contains_key(key));
        state.left.extend(gone);
        if state.left.len() > LEFT_MAX {
            state.left.clear();
            state.position.generation += 1;
        }
        state.reports.insert(Arc::clone(backend), (change, report));
        drop(state);
        self.changed.send_replace(());
    }

    /// Where a backend's servers are found is as reported from now on.
    pub(crate) fn report(&self, backend: &Arc<str>, report: Report) {
        if self.lock().report(backend, report) && self.followers() > 0 {
            self.changed.send_replace(());
        }
    }

    /// Where servers are found, with the ages as of now.
    pub fn discoveries(&self) -> Vec<Discovery> {
        let now = self.clock.now();
        self.lock().reports.values().map(|(_, report)| report.at(now)).collect()
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
    /// These are all servers, in this order: those that there are, and new ones.
    fn arrange(&mut self, order: Vec<ServerKey>, new: impl IntoIterator<Item = Record>) {
        let before = std::mem::take(&mut self.servers).into_iter();
        let mut records: HashMap<_, _> =
            before.chain(new).map(|record| (record.key.clone(), record)).collect();
        self.servers = order.into_iter().filter_map(|key| records.remove(&key)).collect();
        self.places =
            self.servers.iter().enumerate().map(|(place, record)| (record.key.clone(), place)).collect();
    }

    /// Whether followers are to hear of it at once: the backend is known, and something has changed.
    fn report(&mut self, backend: &Arc<str>, report: Report) -> bool {
        let Some((change, known)) = self.reports.get_mut(backend) else { return false };
        self.position.change += 1;
        *change = self.position.change;
        let is_news = !known.discovery.says_the_same(&report.discovery);
        *known = report;
        is_news
    }

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
        let discovery = |(_, report): &(u64, Report)| Item::Discovery(report.at(now));
        let news = match position {
            Some(position) if position.generation == state.position.generation => {
                let servers = state.servers.iter().zip(&state.changes);
                let changed = servers.filter(|(_, change)| **change > position.change);
                let left = state.left.iter().filter(|(change, _)| *change > position.change);
                let left = left.map(|(_, (backend, server))| {
                    Item::Left(Left { backend: backend.to_string(), server: server.to_string() })
                });
                // That members are known is told when they are.
                let reports = state.reports.values().filter(|(change, _)| *change > position.change);
                let verdicts = changed.map(|(record, _)| item(record));
                News::Changes(left.chain(verdicts).chain(reports.map(discovery)).collect())
            }
            _ => {
                let reports = state.reports.values().map(discovery);
                News::Snapshot(state.servers.iter().map(item).chain(reports).collect())
            }
        };
        (news, state.position)
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
