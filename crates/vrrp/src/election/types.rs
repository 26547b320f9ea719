//! What the election hears and what it orders.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trackers::TrackerRule;
use crate::receive::Received;
use crate::units::{AdvertInterval, Priority, Version};

/// How an instance takes part in the election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The version that all routers of the virtual router speak.
    pub version: Version,
    /// The address that adverts are sent from. Between equal priorities the higher address is master.
    pub own_address: IpAddr,
    /// The configured priority; trackers may move it.
    pub priority: Priority,
    /// Advertisement_Interval: that of this router's adverts.
    pub interval: AdvertInterval,
    /// Preempt_Mode: whether to take over from a working master of lower priority.
    pub preemption: Preemption,
    /// Wait the skew of the RFC after a priority-0 advert, see [`Version::release_skew`].
    pub strict: bool,
    /// What else the right to be master depends on.
    pub trackers: Vec<TrackerRule>,
}

/// Whether to take over from a working master of lower priority. The address owner always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// Never. Addresses move only when they have to.
    Off,
    /// When the lower priority was first heard this long ago.
    After(Duration),
}

impl Default for Preemption {
    /// At once, as RFC 9568 section 6.1 has it.
    fn default() -> Self {
        Self::After(Duration::ZERO)
    }
}

/// Where an instance stands: the states of RFC 9568 section 6.4, whose Active is the master, and FAULT, which is keepalived's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not started, or stopped.
    Init,
    /// Listens to a master, or for its silence.
    Backup,
    /// Holds the virtual addresses. RFC 9568 calls it Active.
    Master,
    /// Takes no part, because a tracker says that it could not serve.
    Fault,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Init, Self::Backup, Self::Master, Self::Fault];

    /// The word in messages and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Master => "master",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What happens to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin to take part.
    Start {
        /// Whether the interface still has virtual addresses that a crashed run of this router had added. They stay while
        /// nobody else is heard, so that a quick restart loses nothing.
        holding: bool,
    },
    /// Leave in good order.
    Stop,
    /// A master gives the addresses to another router and stays, as a backup. It does not preempt its successor, unless its
    /// priority rises; if nobody takes over, it resumes.
    Release,
    /// Another station says that a virtual address is its own, by ARP or neighbour discovery.
    Claimed,
    /// An advert that the receive checks believe.
    Advert(Heard),
    /// A signed advert that may be a recording: see [`Doubt`](crate::Doubt).
    Doubted(Heard),
    /// The deadline has come. Hand over every advert that waits in the socket first: it may tell that nothing is to be done.
    Woken,
    /// A tracker reports.
    Tracker {
        /// Which one.
        name: String,
        /// Whether it is good.
        good: bool,
        /// Whether it fails because what it looks at was told to end, and serves on until then.
        planned: bool,
    },
    /// The configuration has changed. The driver keeps the addresses of a master that stays master in step.
    Reload(Settings),
}

/// What an advert says to the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who sent it, or is said to have.
    pub source: IpAddr,
    /// With which priority.
    pub priority: Priority,
    /// The sender's interval.
    pub interval: AdvertInterval,
}

impl From<&Received> for Input {
    fn from(received: &Received) -> Self {
        let crate::packet::Advert { priority, interval, .. } = received.advert;
        let heard = Heard { source: received.source, priority, interval };
        if received.signed.is_some_and(|signed| signed.doubt.is_some()) {
            Self::Doubted(heard)
        } else {
            Self::Advert(heard)
        }
    }
}

/// What the driver has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advert with this priority and the configured interval. One that follows a removal says that it has happened.
    SendAdvert(Priority),
    /// Add the virtual addresses to the interface. Those that are there stay.
    AddAddresses,
    /// Remove the virtual addresses from the interface.
    RemoveAddresses,
    /// Tell the network where the addresses are: gratuitous ARP, or unsolicited neighbour advertisements. Something has
    /// happened after which a neighbour may believe somebody else. Repeating them, and no more often than the network can
    /// bear, is the driver's.
    SendGratuitous,
    /// Ask the network who has the addresses: an answer is [`Input::Claimed`].
    Probe,
    /// The doubtful adverts of this router were believed, because somebody answers for its addresses: hand it to
    /// [`Receiver::vouch`](crate::Receiver::vouch).
    Vouch(IpAddr),
    /// Tell the world.
    Transition(Transition),
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state from now on.
    pub to: State,
    /// The one reason.
    pub cause: Cause,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.from, self.to, self.cause)
    }
}

/// Why a state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The instance was started.
    Started,
    /// The instance was stopped.
    Stopped,
    /// No master was heard for the master-down time.
    MasterSilent,
    /// The master said that it leaves.
    MasterReleased,
    /// The master's priority is lower, and this router preempts.
    Preempted {
        /// The master that was.
        master: IpAddr,
        /// Its priority.
        priority: Priority,
    },
    /// After a crash the addresses were still here, and nobody had taken over.
    Resumed,
    /// The addresses were given to another router on request.
    Released,
    /// After that nobody took them.
    Unclaimed,
    /// Another master has a better right.
    Outranked {
        /// Who.
        by: IpAddr,
        /// With which priority. If equal to ours, its address is higher.
        priority: Priority,
    },
    /// This tracker fails.
    TrackerFailed(String),
    /// What this tracker looks at was told to end.
    TrackerEnds(String),
    /// No tracker forbids to take part any more.
    TrackersRecovered,
}

impl Cause {
    /// The word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::MasterSilent => "master_silent",
            Self::MasterReleased => "master_released",
            Self::Preempted { .. } => "preempted",
            Self::Resumed => "resumed",
            Self::Released => "released",
            Self::Unclaimed => "unclaimed",
            Self::Outranked { .. } => "outranked",
            Self::TrackerFailed(_) => "tracker_failed",
            Self::TrackerEnds(_) => "tracker_ends",
            Self::TrackersRecovered => "trackers_recovered",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Stopped => f.write_str("stopped"),
            Self::MasterSilent => f.write_str("no master was heard in time"),
            Self::MasterReleased => f.write_str("the master left"),
            Self::Preempted { master, priority } => {
                write!(f, "the master {master} has a lower priority, {priority}")
            }
            Self::Resumed => f.write_str("the addresses were still here, and nobody had taken over"),
            Self::Released => f.write_str("handed over on request"),
            Self::Unclaimed => f.write_str("handed over, but nobody took over"),
            Self::Outranked { by, priority } => {
                write!(f, "{by} is master with priority {priority}")
            }
            Self::TrackerFailed(name) | Self::TrackerEnds(name) => write!(f, "tracker {name} fails"),
            Self::TrackersRecovered => f.write_str("the trackers recovered"),
        }
    }
}
