//! An immutable picture of a backend, made by whoever knows of changes and shared by all workers.

use std::net::SocketAddr;

use crate::ring::Ring;
use crate::turn::phases;
use crate::{AdminState, Algorithm, Throttle, Weight};

/// A backend as it is now: its servers and what was computed from them once.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendView {
    /// How the next server is chosen.
    pub algorithm: Algorithm,
    /// The servers, in the order of the configuration. Names are unique.
    pub servers: Vec<ServerView>,
    /// Empty unless the algorithm is [`Algorithm::Source`].
    pub(crate) ring: Ring,
    /// How often each server's turns come.
    pub(crate) paces: Vec<Pace>,
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
    pub name: String,
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
}

impl BackendView {
    /// A picture of these servers. What their names, weights and order imply is computed here, once for all workers.
    pub fn new(algorithm: Algorithm, servers: Vec<ServerView>) -> Self {
        let ring = if algorithm == Algorithm::Source { Ring::new(&servers) } else { Ring::default() };
        // The unit is the weight itself as long as nothing is throttled: then rounds are short.
        let is_fine = servers.iter().any(|server| server.throttle < Throttle::NONE);
        let share = |server: &ServerView| {
            let weight = server.weight.get();
            // At most 256 x 100.
            if is_fine { weight * u16::from(server.throttle.get()) } else { weight }
        };
        let shares: Vec<u16> = servers.iter().map(share).collect();
        let paces = shares.iter().zip(phases(&shares)).map(|(share, phase)| Pace { share: *share, phase });
        Self { algorithm, ring, paces: paces.collect(), servers }
    }

    /// How many servers take new requests, but for those that are only a last resort.
    pub fn usable(&self) -> usize {
        self.servers.iter().filter(|server| server.is_usable() && !server.is_last_resort()).count()
    }

    /// Whether requests go to servers that are down, since no other is left.
    pub fn is_last_resort(&self) -> bool {
        self.servers.iter().any(|server| server.is_usable() && server.is_last_resort())
    }
}

impl ServerView {
    /// Whether it takes new requests: its address is known, its operator wants it, its weight is not zero, and nobody says
    /// that it is down.
    pub fn is_usable(&self) -> bool {
        self.address.is_some()
            && self.admin == AdminState::Ready
            && self.weight > Weight::ZERO
            && self.health != Health::Down
    }

    fn is_last_resort(&self) -> bool {
        self.health == Health::LastResort
    }

    /// The part of its weight that counts, rounded up.
    pub fn effective_weight(&self) -> u64 {
        (u64::from(self.weight.get()) * u64::from(self.throttle.get())).div_ceil(100)
    }
}
