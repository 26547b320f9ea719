//! When a server is checked and what the results decide: pure, without sockets, clock or randomness of its own.

mod checker;
mod types;

pub use checker::{Checker, Moment, Transition};
pub use types::{CheckCode, CheckResult, Status, Timing};
