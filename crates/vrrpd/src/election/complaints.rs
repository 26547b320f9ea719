//! What is logged of packets that are not believed: each kind and sender once a minute, however many come.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Between two lines about the same.
const PAUSE: Duration = Duration::from_secs(60);
/// Kinds and senders that are remembered. A flood from forged addresses is one more line, not a flood of lines.
const REMEMBERED: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Complaints {
    last: BTreeMap<(&'static str, IpAddr), Instant>,
}

impl Complaints {
    /// Whether to say it now.
    pub(super) fn may_say(&mut self, what: &'static str, of: IpAddr, now: Instant) -> bool {
        self.last.retain(|_, said| now - *said < PAUSE);
        if self.last.contains_key(&(what, of)) || self.last.len() >= REMEMBERED {
            return false;
        }
        self.last.insert((what, of), now);
        true
    }
}
