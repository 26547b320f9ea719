//! What is known of one instance.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::Instance;
use vrrp::Received;
use wire::{
    ClaimStatus, InstanceCounters, InstanceState, InstanceStatus, PeerStatus, RefusedStatus, TransitionRecord,
};

use super::times::{self, Times};
use super::{Marks, Sheet, hangs, millis};
use crate::sequences::Sequences;

/// Other routers that are remembered.
const PEERS: usize = 16;

/// What is told of an advert that counts only together with an answer for a virtual address.
const DOUBTFUL: &str = "it may be a recording, or clocks differ";

/// What the election knows of one instance. Times are kept as moments; [`InstanceStatus`] has their ages.
#[derive(Clone, Debug)]
pub struct Record {
    /// All but the ages.
    pub status: InstanceStatus,
    /// What was sent and accepted of signed adverts.
    pub sequences: Sequences,
    times: Times,
    peers: BTreeMap<IpAddr, Instant>,
    claimed: Option<Instant>,
    refused: Option<Instant>,
}

impl Record {
    /// One of which is known only what the vrrpd before has sent and accepted.
    pub(super) fn resuming(instance: &str, sequences: Sequences) -> Self {
        Self { sequences, ..Self::new(instance) }
    }

    /// Takes over what is configured. Trackers that stay keep what they said.
    pub fn configure(&mut self, config: &Instance, trackers: &[vrrp::TrackerRule]) {
        let status = &mut self.status;
        status.version = config.version.number();
        status.virtual_router_id = config.virtual_router_id.get();
        status.configured_priority = config.priority.get();
        status.addresses = config.addresses.iter().chain(&config.excluded).map(ToString::to_string).collect();
        status.trackers = times::configured(&status.trackers, trackers);
    }

    /// An advert was believed, or is doubtful. How long after the last one of the same router it came, if that is known.
    pub fn heard(&mut self, received: &Received) -> Option<Duration> {
        let now = Instant::now();
        let advert = &received.advert;
        let release = advert.priority == vrrp::Priority::RELEASE;
        let doubt = received.signed.and_then(|signed| signed.doubt);
        match doubt {
            Some(doubt) => self.refused(doubt.label(), DOUBTFUL.to_owned(), received.source),
            None => self.status.counters.adverts_received += 1,
        }
        let status = &mut self.status;
        status.counters.address_mismatches += u64::from(received.addresses_differ);
        let before = self.peers.insert(received.source, now);
        if self.peers.len() > PEERS
            && let Some((longest_silent, _)) = self.peers.iter().min_by_key(|(_, heard)| **heard)
        {
            let address = *longest_silent;
            self.peers.remove(&address);
            status.peers.retain(|peer| peer.address != address);
        }
        let index = match status.peers.iter().position(|peer| peer.address == received.source) {
            Some(index) => index,
            None => {
                status.peers.push(PeerStatus {
                    address: received.source,
                    priority: 0,
                    heard_ms: 0,
                    adverts: 0,
                    releases: 0,
                    checksum: String::new(),
                    clock_ahead_ms: None,
                    doubt: None,
                });
                status.peers.len() - 1
            }
        };
        let peer = &mut status.peers[index];
        peer.priority = advert.priority.get();
        peer.adverts += u64::from(doubt.is_none());
        peer.releases += u64::from(release && doubt.is_none());
        peer.clock_ahead_ms = received.signed.map(|signed| signed.clock_ahead_ms);
        peer.doubt = doubt;
        if peer.checksum != received.checksum.label() {
            received.checksum.label().clone_into(&mut peer.checksum);
        }
        before.map(|before| now - before)
    }

    /// A packet is not believed: the check that failed, and what is wrong with it.
    pub fn refused(&mut self, error: &str, text: String, source: IpAddr) {
        *self.status.counters.receive_errors.entry(error.to_owned()).or_default() += 1;
        self.refused = Some(Instant::now());
        self.status.refused = Some(RefusedStatus { error: error.to_owned(), text, source, age_ms: 0 });
    }

    /// Another station has claimed an address that is here.
    pub fn claimed(&mut self, address: IpAddr, mac: String) {
        self.claimed = Some(Instant::now());
        self.status.claim = Some(ClaimStatus { address, mac, age_ms: 0 });
        self.status.counters.conflicts += 1;
    }

    /// The state has changed.
    pub fn transition(&mut self, to: InstanceState, cause: &str, reason: String, began: Instant) {
        let status = &mut self.status;
        *status.counters.transitions.entry(format!("{} {cause}", to.word())).or_default() += 1;
        let record = TransitionRecord {
            from: status.state,
            to,
            cause: cause.to_owned(),
            reason: reason.clone(),
            age_ms: 0,
            took_us: 0,
        };
        self.times.pass(&mut status.history, record, began);
        (status.state, status.reason) = (to, reason);
    }
}

impl Sheet for Record {
    type Status = InstanceStatus;

    fn new(instance: &str) -> Self {
        let status = InstanceStatus {
            instance: instance.to_owned(),
            state: InstanceState::Init,
            since_ms: 0,
            reason: "not started yet".to_owned(),
            version: 0,
            virtual_router_id: 0,
            priority: 0,
            configured_priority: 0,
            interval_ms: 0,
            holding: false,
            interface: None,
            source: None,
            addresses: Vec::new(),
            master: None,
            master_priority: None,
            trackers: Vec::new(),
            peers: Vec::new(),
            history: Vec::new(),
            claim: None,
            refused: None,
            keeps: None,
            passes_to: Vec::new(),
            stale_ms: None,
            notify_failing: false,
            counters: InstanceCounters::default(),
        };
        Self {
            status,
            sequences: Sequences::default(),
            times: Times::new(),
            peers: BTreeMap::new(),
            claimed: None,
            refused: None,
        }
    }

    fn report(&mut self, tracker: &str, good: bool, text: &str) -> bool {
        self.times.report(&mut self.status.trackers, tracker, good, text)
    }

    fn tracker_text(&self, name: &str) -> Option<&str> {
        times::text(&self.status.trackers, name)
    }

    fn status(&self, marks: &Marks, now: Instant) -> InstanceStatus {
        let age = |moment: Option<&Instant>| moment.map_or(0, |moment| millis(now - *moment));
        let mut status = self.status.clone();
        status.since_ms = self.times.state_age(now);
        self.times.age(&mut status.trackers, &mut status.history, now);
        for peer in &mut status.peers {
            peer.heard_ms = age(self.peers.get(&peer.address));
        }
        if let Some(claim) = &mut status.claim {
            claim.age_ms = age(self.claimed.as_ref());
        }
        if let Some(refused) = &mut status.refused {
            refused.age_ms = age(self.refused.as_ref());
        }
        let takeovers = marks.takeovers.load();
        self.times.took(&mut status.history, takeovers.last, |to| *to == InstanceState::Master);
        status.holding = marks.holding.load(Relaxed);
        status.notify_failing = marks.notify_failing.load(Relaxed);
        let counters = &mut status.counters;
        counters.takeover.clone_from(&takeovers.times);
        counters.announcements = marks.announcements.load(Relaxed);
        counters.addresses_restored = marks.restored.load(Relaxed);
        counters.connections_reset = marks.reset.load(Relaxed);
        counters.notify_failures = marks.notify_failures.load(Relaxed);
        status
    }

    fn become_stale(status: &mut InstanceStatus, silence: Duration) {
        status.stale_ms = Some(millis(silence));
        status.reason = format!("stale: {}; before that: {}", hangs(silence), status.reason);
    }
}
