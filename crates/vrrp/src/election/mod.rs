//! The election of one virtual router's master: RFC 9568 section 6, with keepalived's trackers.

mod instance;
mod trackers;
mod types;

pub use instance::Instance;
pub use trackers::{Standing, TrackerRule, Trackers, Weight};
pub use types::{Action, Cause, Heard, Input, Preemption, Settings, State, Transition};
