//! An immutable picture of a backend, made by whoever knows of changes and shared by all workers.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::ring::Ring;
use crate::turn::phases;
use crate::{AdminState, Algorithm, BackupLevel, LoadFactor, Throttle, Weight};

/// A backend as it is now: its servers and what was computed from them once.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendView {
    /// How the next server is chosen.
    pub algorithm: Algorithm,
    /// The servers, in the order of the configuration. Names are unique.
    pub servers: Vec<ServerView>,
    /// Bounds the loads of servers of a ring.
    pub(crate) factor: Option<LoadFactor>,
    /// Empty unless the algorithm chooses by key.
    pub(crate) ring: Arc<Ring>,
    /// How often each server's turns come.
    pub(crate) paces: Arc<[Pace]>,
    usable: usize,
    backups: usize,
    last_resort: bool,
}

/// How often a server's turns come, and where they lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// The server's share of the requests, relative to the others': its weight, in a unit so fine that throttled weights
    /// are whole, too.
    pub(crate) share: u16,
    pub(crate) phase: u32,
}

/// A server as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerView {
    /// Its name, by which everything about it is carried from one view to the next.
    pub name: Arc<str>,
    /// Where it listens; none while its name does not resolve.
    pub address: Option<SocketAddr>,
    /// Its share.
    pub weight: Weight,
    /// How much of that counts at the moment.
    pub throttle: Throttle,
    /// What its operator wants.
    pub admin: AdminState,
    /// What its checks say.
    pub health: Health,
    /// Whether it is a backup server, and of which level.
    pub backup: Option<BackupLevel>,
    /// Whether it takes no requests because enough others do. Only a backup server stands by.
    pub stands_by: bool,
}

/// What checks say of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is well, or taken as well without checks.
    Up,
    /// It is not.
    Down,
    /// It is not, and is used all the same, since no other is.
    LastResort,
    /// Nobody has said yet. It is used: routing must work without health checks.
    Unknown,
    /// Nobody has said yet, but somebody is about to, and others will do until then. It is not used.
    Awaited,
}

impl BackendView {
    /// A picture of these servers. What their names, weights and order imply is computed here, once for all workers.
    pub fn new(algorithm: Algorithm, servers: Vec<ServerView>) -> Self {
        let ring = if algorithm.asks_for_key() { Ring::new(&servers) } else { Ring::default() };
        // The unit is the weight itself as long as nothing is throttled: then rounds are short.
        let is_fine = servers.iter().any(|server| server.throttle < Throttle::NONE);
        let share = |server: &ServerView| {
            let weight = server.weight.get();
            // At most 256 x 100.
            if is_fine { weight * u16::from(server.throttle.get()) } else { weight }
        };
        let shares: Vec<u16> = servers.iter().map(share).collect();
        let paces = shares.iter().zip(phases(&shares)).map(|(share, phase)| Pace { share: *share, phase });
        Self::of(algorithm, servers, Arc::new(ring), paces.collect())
    }

    /// The same with bounded loads, which only an algorithm that chooses by key heeds.
    #[must_use]
    pub fn bounded(self, factor: Option<LoadFactor>) -> Self {
        Self { factor, ..self }
    }

    /// The picture after this one. What the changes do not concern is taken over from this one.
    pub fn next(&self, servers: Vec<ServerView>) -> Self {
        let weighs_as = |(old, new): (&ServerView, &ServerView)| {
            old.weight == new.weight && old.throttle == new.throttle && old.is_same(new)
        };
        if self.servers.len() != servers.len() || !self.servers.iter().zip(&servers).all(weighs_as) {
            return Self::new(self.algorithm, servers).bounded(self.factor);
        }
        Self::of(self.algorithm, servers, self.ring.clone(), self.paces.clone()).bounded(self.factor)
    }

    fn of(algorithm: Algorithm, servers: Vec<ServerView>, ring: Arc<Ring>, paces: Arc<[Pace]>) -> Self {
        let is_well = |server: &&ServerView| server.is_usable() && !server.is_last_resort();
        let usable = servers.iter().filter(is_well).count();
        let is_used = |server: &&ServerView| is_well(server) && server.backup.is_some();
        let backups = servers.iter().filter(is_used).count();
        let last_resort = servers.iter().any(|server| server.is_usable() && server.is_last_resort());
        debug_assert!(servers.iter().all(|server| server.backup.is_some() || !server.stands_by));
        Self { algorithm, servers, factor: None, ring, paces, usable, backups, last_resort }
    }

    /// How many servers take new requests, but for those that are only a last resort.
    pub fn usable(&self) -> usize {
        self.usable
    }

    /// How many of those are backup servers.
    pub fn backups(&self) -> usize {
        self.backups
    }

    /// Whether requests go to servers that are down, since no other is left.
    pub fn is_last_resort(&self) -> bool {
        self.last_resort
    }

    /// The places of the servers that are not as in another picture; none if it shows others, or in another order.
    pub(crate) fn changes_since(&self, before: &Self) -> Option<Vec<usize>> {
        let is_chosen_alike = self.algorithm == before.algorithm && self.factor == before.factor;
        if !is_chosen_alike || self.servers.len() != before.servers.len() {
            return None;
        }
        let is_paced_alike = |place: usize| self.paces.get(place) == before.paces.get(place);
        let same_paces = Arc::ptr_eq(&self.paces, &before.paces);
        let mut changed = Vec::new();
        for (place, (old, new)) in before.servers.iter().zip(&self.servers).enumerate() {
            if !old.is_same(new) {
                return None;
            }
            if old != new || !same_paces && !is_paced_alike(place) {
                changed.push(place);
            }
        }
        Some(changed)
    }
}

impl ServerView {
    /// Whether it takes new requests: it could, and does not stand by.
    pub fn is_usable(&self) -> bool {
        self.is_fit() && !self.stands_by
    }

    /// Whether it could take new requests: its address is known, its operator wants it, its weight is not zero, and nobody says
    /// that it is down.
    pub fn is_fit(&self) -> bool {
        self.address.is_some()
            && self.admin == AdminState::Ready
            && self.weight > Weight::ZERO
            && !matches!(self.health, Health::Down | Health::Awaited)
    }

    /// Whether it takes the requests of clients that belong to it, whether it takes others or not: also in drain, with a weight of
    /// zero, and while it stands by; not when it is down or out.
    pub fn takes_its_own(&self) -> bool {
        let is_well = matches!(self.health, Health::Up | Health::Unknown) && self.admin != AdminState::Maint;
        self.is_usable() || self.address.is_some() && is_well
    }

    /// Whether two pictures show one server.
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.name, &other.name) || self.name == other.name
    }

    fn is_last_resort(&self) -> bool {
        self.health == Health::LastResort
    }

    /// The part of its weight that counts, rounded up.
    pub fn effective_weight(&self) -> u64 {
        (u64::from(self.weight.get()) * u64::from(self.throttle.get())).div_ceil(100)
    }
}
