//! What vrrpd tells of an anycast service: the source of its page, its metrics and `tandemctl status`.

use std::collections::BTreeMap;

/// Where a service stands.
pub use ::anycast::State as AnycastState;
use serde::{Deserialize, Serialize};

use crate::{Histogram, Tone, TrackerStatus, TransitionRecord, human};

/// A service that this node announces beside others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnycastStatus {
    /// Its key in the configuration.
    pub service: String,
    /// `init`, `announced`, `leaving`, `withdrawn`, `waiting` or `fault`.
    pub state: AnycastState,
    /// For how long.
    pub since_ms: u64,
    /// Why, in words.
    pub reason: String,
    /// Whether this node has the addresses on its interface.
    pub holding: bool,
    /// The interface that they belong on.
    pub interface: String,
    /// The addresses with their prefix lengths.
    pub addresses: Vec<String>,
    /// What being announced depends on.
    pub trackers: Vec<TrackerStatus>,
    /// When a state that ends by itself does so: `waiting` and `leaving`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_ms: Option<u64>,
    /// The latest transitions, the newest first, at most 16.
    pub history: Vec<TransitionRecord<AnycastState>>,
    /// For how long the thread that decides has not moved, where that is long enough for all of this to be stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_ms: Option<u64>,
    /// Whether the hook could not be told of this state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notify_failing: bool,
    /// Counters since vrrpd's start.
    pub counters: AnycastCounters,
}

/// Counters of a service since vrrpd's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnycastCounters {
    /// Transitions by `to` and cause, as `fault tracker_failed`.
    pub transitions: BTreeMap<String, u64>,
    /// Addresses that somebody else removed and vrrpd put back.
    pub addresses_restored: u64,
    /// Connections reset because their address left this node as planned.
    #[serde(default)]
    pub connections_reset: u64,
    /// Notifications that failed or were killed.
    pub notify_failures: u64,
    /// From the event that had the service announced to all addresses added.
    pub announce: Histogram,
}

impl AnycastStatus {
    /// Where the service stands, and how good or bad that is: `web is ANNOUNCED`.
    pub fn headline(&self) -> (Tone, String) {
        let name = &self.service;
        let state = self.state.word().to_uppercase();
        match self.stale_ms {
            Some(ms) => (
                Tone::Bad,
                format!("{name} was {state}, and the election has hung for {}", human::duration(ms)),
            ),
            None if self.state == AnycastState::Announced && !self.holding => {
                (Tone::Bad, format!("{name} is {state}, but its addresses are not on {}", self.interface))
            }
            None => (Tone::from(self.state), format!("{name} is {state}")),
        }
    }

    /// What a tracker of a service does.
    pub const EFFECT: &str = "not announced while it fails";
}

impl From<AnycastState> for Tone {
    fn from(state: AnycastState) -> Self {
        match state {
            AnycastState::Announced => Self::Good,
            AnycastState::Leaving | AnycastState::Withdrawn => Self::Paused,
            AnycastState::Init | AnycastState::Waiting => Self::Warning,
            AnycastState::Fault => Self::Bad,
        }
    }
}
