//! Signed adverts are accepted once: the highest sequence of each sender is remembered.

use std::net::IpAddr;
use std::time::Duration;

use crate::packet::Sequence;

/// Senders remembered. A virtual router has a handful; the one heard longest ago makes room.
const SENDERS: usize = 16;

/// The memory of sequences. Ask it only about what an HMAC has verified, so that forgeries cannot fill it.
#[derive(Clone, Debug, Default)]
pub struct ReplayGuard {
    /// The latest heard sender last.
    senders: Vec<Sender>,
}

#[derive(Clone, Copy, Debug)]
struct Sender {
    address: IpAddr,
    accepted: Option<Sequence>,
    /// The latest that was not accepted since.
    doubtful: Option<Sequence>,
}

impl ReplayGuard {
    /// Whether `sequence` was made just now by this sender, and has not been here before. `clock` is this router's; without a
    /// `window` it does not matter.
    pub fn accept(
        &mut self,
        address: IpAddr,
        sequence: Sequence,
        clock: Sequence,
        window: Option<Duration>,
    ) -> bool {
        let sender = self.latest(address);
        let is_in_window = window.is_none_or(|window| sequence.seconds_apart(clock) <= window.as_secs());
        let is_fresh = is_in_window && sender.accepted.is_none_or(|mark| sequence.is_after(mark));
        if is_fresh {
            *sender = Sender { address, accepted: Some(sequence), doubtful: None };
        } else {
            sender.doubtful = Some(sequence);
        }
        is_fresh
    }

    /// What was not accepted of this sender has turned out to be its own: what comes after it is new.
    pub fn vouch(&mut self, address: IpAddr) {
        if let Some(sender) = self.senders.iter_mut().find(|sender| sender.address == address) {
            sender.accepted = sender.doubtful.take().or(sender.accepted);
        }
    }

    /// The latest sequence that was accepted of each sender, the sender heard latest last.
    pub fn marks(&self) -> impl Iterator<Item = (IpAddr, Sequence)> + '_ {
        self.senders.iter().filter_map(|sender| Some((sender.address, sender.accepted?)))
    }

    /// Remembers what an earlier run has accepted, in the order of [`marks`](Self::marks).
    pub fn recall(&mut self, marks: impl IntoIterator<Item = (IpAddr, Sequence)>) {
        for (address, mark) in marks {
            self.latest(address).accepted = Some(mark);
        }
    }

    /// What is known of a sender, which is the latest heard from now on.
    fn latest(&mut self, address: IpAddr) -> &mut Sender {
        let known = self.senders.iter().position(|sender| sender.address == address);
        let sender = match known {
            Some(index) => self.senders.remove(index),
            None => Sender { address, accepted: None, doubtful: None },
        };
        if self.senders.len() >= SENDERS {
            self.senders.remove(0);
        }
        self.senders.push(sender);
        let last = self.senders.len() - 1;
        &mut self.senders[last]
    }
}
