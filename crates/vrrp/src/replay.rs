//! Adverts are accepted once: the highest sequence of each sender is remembered.

use std::net::IpAddr;
use std::time::Duration;

use crate::packet::Sequence;

/// Senders remembered. A virtual router has a handful; the one heard longest ago makes room.
const SENDERS: usize = 16;

/// The memory of sequences. Ask it only about what an HMAC has verified, so that forgeries cannot fill it.
#[derive(Clone, Debug, Default)]
pub struct ReplayGuard {
    /// The latest heard sender last.
    marks: Vec<(IpAddr, Sequence)>,
}

impl ReplayGuard {
    /// Whether `sequence` is new from this sender, and remembers it if so.
    ///
    /// With a `window`, a mark that is further than that from `clock` is forgotten: the window already refuses what it would
    /// refuse, and a sender whose clock was corrected is heard again.
    pub fn accept(
        &mut self,
        sender: IpAddr,
        sequence: Sequence,
        clock: Sequence,
        window: Option<Duration>,
    ) -> bool {
        let known = self.marks.iter().position(|(known, _)| *known == sender);
        if let Some(index) = known {
            let mark = self.marks[index].1;
            let expired = window.is_some_and(|window| mark.seconds_apart(clock) > window.as_secs());
            if !expired && !sequence.is_after(mark) {
                return false;
            }
            self.marks.remove(index);
        } else if self.marks.len() >= SENDERS {
            self.marks.remove(0);
        }
        self.marks.push((sender, sequence));
        true
    }
}
