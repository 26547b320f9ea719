//! What a service hears and what it orders.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vrrp::TrackerRule;

/// When a service is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the service depends on. All of them have to be good, whatever their weight.
    pub trackers: Vec<TrackerRule>,
    /// How long routers take to learn that the addresses are gone. They do not come back before.
    pub withdraw: Duration,
    /// How long the trackers have to be good after a fault before the addresses come back. Longer where faults repeat.
    pub hold_down: Duration,
}

/// Where a service stands on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not started, or stopped.
    Init,
    /// The addresses are here, for the routing daemon to announce.
    Announced,
    /// Withdrawn on request: the addresses are gone, and routers learn it.
    Leaving,
    /// Withdrawn on request, until it is asked for again.
    Withdrawn,
    /// Fit, and not yet for long enough.
    Waiting,
    /// A tracker says that it could not serve.
    Fault,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Init, Self::Announced, Self::Leaving, Self::Withdrawn, Self::Waiting, Self::Fault];

    /// The word in messages and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Announced => "announced",
            Self::Leaving => "leaving",
            Self::Withdrawn => "withdrawn",
            Self::Waiting => "waiting",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What happens to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin, with what the trackers have reported so far.
    Start {
        /// Whether addresses are here that a killed run of this node has left: they stay if the service is fit.
        holding: bool,
    },
    /// Leave for good.
    Stop,
    /// An operator wants the addresses gone, until he asks for them.
    Withdraw,
    /// An operator wants them back: no hold-down is waited for.
    Announce,
    /// The deadline has come.
    Woken,
    /// A tracker reports.
    Tracker {
        /// Which one.
        name: String,
        /// Whether it is good.
        good: bool,
        /// Whether it fails because somebody ends it in good order: that is no flapping.
        planned: bool,
    },
    /// The configuration has changed.
    Reload(Settings),
}

/// What the driver has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Have the addresses on the interface.
    Announce,
    /// Take them away.
    Withdraw,
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
    /// The service was started.
    Started,
    /// It was started, and the addresses were here still.
    Resumed,
    /// It was stopped.
    Stopped,
    /// An operator wanted it.
    Requested,
    /// Routers have had the time to learn of the withdrawal.
    Learned,
    /// This tracker fails.
    TrackerFailed(String),
    /// No tracker fails any more; for how long that has to last.
    TrackersRecovered(Duration),
    /// It has lasted long enough.
    Lasted,
}

impl Cause {
    /// The word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Resumed => "resumed",
            Self::Stopped => "stopped",
            Self::Requested => "requested",
            Self::Learned => "learned",
            Self::TrackerFailed(_) => "tracker_failed",
            Self::TrackersRecovered(_) => "trackers_recovered",
            Self::Lasted => "lasted",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Resumed => f.write_str("the addresses were still here, and the trackers are good"),
            Self::Stopped => f.write_str("stopped"),
            Self::Requested => f.write_str("on request"),
            Self::Learned => f.write_str("routers have had the time to learn it"),
            Self::TrackerFailed(name) => write!(f, "tracker {name} fails"),
            Self::TrackersRecovered(Duration::ZERO) => f.write_str("the trackers recovered"),
            Self::TrackersRecovered(wait) => {
                write!(f, "the trackers recovered, which has to last for {:.1} s", wait.as_secs_f64())
            }
            Self::Lasted => f.write_str("the trackers have been good for long enough"),
        }
    }
}
