//! When a server is checked and what the results decide: pure, without sockets, clock or randomness of its own.

mod types;

pub use types::{CheckCode, CheckResult, Status, Timing};
