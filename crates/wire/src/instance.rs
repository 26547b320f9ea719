//! What vrrpd tells of an instance: the source of its page, its metrics and `tandemctl status`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
/// Where an instance stands.
pub use vrrp::State as InstanceState;

use crate::{Tone, human};

/// An instance: this node's part in one virtual router (RFC 9568).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its key in the configuration.
    pub instance: String,
    /// `init`, `backup`, `master` or `fault`.
    pub state: InstanceState,
    /// For how long.
    pub since_ms: u64,
    /// Why, in words.
    pub reason: String,
    /// `VRRPv2` is 2, `VRRPv3` 3.
    pub version: u8,
    /// VRID: which virtual router of the network.
    pub virtual_router_id: u8,
    /// As the trackers leave it.
    pub priority: u8,
    /// As configured.
    pub configured_priority: u8,
    /// Active_Adver_Interval, between two adverts: the master's, as far as it is known.
    pub interval_ms: u64,
    /// Whether this node has the addresses on its interface.
    pub holding: bool,
    /// The interface in use; none while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The address that adverts are sent from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The virtual addresses with their prefix lengths, the excluded ones last.
    pub addresses: Vec<String>,
    /// The master, as far as it is known; this node's own source address while it is master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<IpAddr>,
    /// The master's priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_priority: Option<u8>,
    /// What the right to be master depends on.
    pub trackers: Vec<TrackerStatus>,
    /// Other routers that were heard, at most 16.
    pub peers: Vec<PeerStatus>,
    /// The latest transitions, the newest first, at most 16.
    pub history: Vec<TransitionRecord>,
    /// For how long the election has not moved, where that is long enough for all of this to be stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_ms: Option<u64>,
    /// Whether the hook could not be told of this state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notify_failing: bool,
    /// Counters since vrrpd's start.
    pub counters: InstanceCounters,
}

impl From<InstanceState> for Tone {
    /// A backup is as well as a master, but has nothing to do.
    fn from(state: InstanceState) -> Self {
        match state {
            InstanceState::Master => Self::Good,
            InstanceState::Backup => Self::Paused,
            InstanceState::Init => Self::Warning,
            InstanceState::Fault => Self::Bad,
        }
    }
}

impl TrackerStatus {
    /// What it says, in a word, and how good or bad that is.
    pub const fn word(&self) -> (&'static str, Tone) {
        match self.good {
            Some(true) => ("good", Tone::Good),
            Some(false) => ("fails", Tone::Bad),
            None => ("unknown", Tone::Warning),
        }
    }

    /// What its weight does.
    pub fn effect(&self) -> String {
        match self.weight {
            0 => "no mastership while it fails".to_owned(),
            weight if weight > 0 => format!("priority +{weight} while good"),
            weight => format!("priority {weight} while it fails"),
        }
    }
}

/// A tracker and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackerStatus {
    /// Its name.
    pub name: String,
    /// Whether it is good; none before its first report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<bool>,
    /// Its last report, in words.
    pub text: String,
    /// keepalived's number: 0 forbids mastership while it fails, above is added while good, below while failing.
    pub weight: i16,
    /// For how long.
    pub since_ms: u64,
    /// Times that it began to fail.
    pub failures: u64,
}

/// Another router of the same virtual router, as it was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its address.
    pub address: IpAddr,
    /// Its last advert's priority; 0 when it left.
    pub priority: u8,
    /// Since its last advert.
    pub heard_ms: u64,
    /// Adverts believed.
    pub adverts: u64,
    /// Of these, with priority 0.
    pub releases: u64,
    /// What its checksums cover: `pseudo_header` or `message_only`.
    pub checksum: String,
    /// By how many milliseconds its clock is ahead of this node's; negative where it is behind. Known of signed adverts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
    /// Whether its last advert may be a recording: signed too far from now, or behind what it said before. It counts only
    /// together with an answer for a virtual address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubtful: bool,
}

impl PeerStatus {
    /// What is wrong with its clock, if something is. `interval_ms` is that of the adverts.
    pub fn clock_trouble(&self, interval_ms: u64) -> Option<String> {
        let ahead = self.clock_ahead_ms?;
        let apart = human::duration(ahead.unsigned_abs());
        let direction = if ahead < 0 { "behind" } else { "ahead" };
        if self.doubtful {
            Some(format!(
                "clocks differ: {} is {apart} {direction}; its adverts count only while somebody answers for the address",
                self.address
            ))
        } else if ahead.unsigned_abs() > (interval_ms * 3).max(KEEPALIVED_WINDOW_MS) {
            Some(format!(
                "clocks differ: {} is {apart} {direction}; a keepalived among the routers would not believe it",
                self.address
            ))
        } else {
            None
        }
    }
}

/// keepalived believes what was signed at most so long from now, or three intervals if that is longer.
const KEEPALIVED_WINDOW_MS: u64 = 5000;

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionRecord {
    /// The state before.
    pub from: InstanceState,
    /// The state after.
    pub to: InstanceState,
    /// The cause as metrics name it.
    pub cause: String,
    /// The cause in words.
    pub reason: String,
    /// How long ago.
    pub age_ms: u64,
    /// From the event to the last action done: addresses on the interface and announced, or removed.
    pub took_us: u64,
}

/// Counters of an instance since vrrpd's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceCounters {
    /// Adverts sent.
    pub adverts_sent: u64,
    /// Of these, with priority 0.
    pub releases_sent: u64,
    /// Adverts that could not be sent.
    pub send_errors: u64,
    /// Adverts believed.
    pub adverts_received: u64,
    /// Packets not believed, by the check that failed.
    pub receive_errors: BTreeMap<String, u64>,
    /// Adverts believed that list other addresses.
    pub address_mismatches: u64,
    /// Transitions by `to` and cause, as `master master_silent`.
    pub transitions: BTreeMap<String, u64>,
    /// Gratuitous ARP packets and neighbour advertisements sent.
    pub announcements: u64,
    /// Virtual addresses that somebody else removed and vrrpd put back.
    pub addresses_restored: u64,
    /// Packets in which another station claimed a virtual address while this node was master.
    pub conflicts: u64,
    /// Takeovers put off because somebody answered for the address.
    pub takeovers_delayed: u64,
    /// Notifications that failed or were killed.
    pub notify_failures: u64,
    /// From the end of the wait, or the advert that ended it, to addresses added and announced.
    pub takeover: Histogram,
    /// Between two adverts of the master, less its interval: how late they come.
    pub advert_lateness: Histogram,
    /// How late the election's loop wakes.
    pub loop_lag: Histogram,
}

/// How often a time was how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bounds in microseconds, and how many were at most that long.
    pub buckets: Vec<(u64, u64)>,
    /// All times together, in microseconds.
    pub sum_us: u64,
    /// How many.
    pub count: u64,
}

/// The upper bounds of every histogram, in microseconds: from what a takeover should take to what nobody should see.
const BOUNDS_US: [u64; 11] =
    [100, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

impl Histogram {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { buckets: BOUNDS_US.map(|bound| (bound, 0)).into(), sum_us: 0, count: 0 }
    }

    /// Counts one time.
    pub fn observe(&mut self, time: std::time::Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        for (_, count) in self.buckets.iter_mut().filter(|(bound, _)| us <= *bound) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us);
        self.count += 1;
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}
