//! An immutable picture of a backend, made by whoever knows of changes and shared by all workers.

use std::net::SocketAddr;

use crate::ring::Ring;
use crate::turn::phases;
use crate::{AdminState, Algorithm, Weight};

/// A backend as it is now: its servers and what was computed from them once.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendView {
    /// How the next server is chosen.
    pub algorithm: Algorithm,
    /// The servers, in the order of the configuration. Names are unique.
    pub servers: Vec<ServerView>,
    /// Empty unless the algorithm is [`Algorithm::Source`].
    pub(crate) ring: Ring,
    /// Where each server's turns lie.
    pub(crate) phases: Vec<u32>,
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
    /// Nobody has said yet. It is used: routing must work without health checks.
    Unknown,
}

impl BackendView {
    /// A picture of these servers. What their names, weights and order imply is computed here, once for all workers.
    pub fn new(algorithm: Algorithm, servers: Vec<ServerView>) -> Self {
        let ring = if algorithm == Algorithm::Source { Ring::new(&servers) } else { Ring::default() };
        let weights: Vec<u16> = servers.iter().map(|server| server.weight.get()).collect();
        Self { algorithm, ring, phases: phases(&weights), servers }
    }

    /// How many servers take new requests.
    pub fn usable(&self) -> usize {
        self.servers.iter().filter(|server| server.is_usable()).count()
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
}
