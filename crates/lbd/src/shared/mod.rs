//! What the control thread and the workers both know.

pub mod access_log;
pub mod attention;
pub mod command;
pub mod counters;
pub mod descriptors;
pub mod limits;
pub mod listen;
pub mod pulse;
pub mod queue;
pub mod routing;
pub mod sessions;
pub mod spare;
pub mod sticky;
pub mod tls;

use std::time::Duration;

/// Whole milliseconds; a duration beyond half a billion years counts as that.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
