//! What is known of one anycast service.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::Anycast;
use vrrp::TrackerRule;
use wire::{AnycastCounters, AnycastState, AnycastStatus, TransitionRecord};

use super::times::{self, Times};
use super::{Marks, Sheet, hangs, millis};

/// What has been decided of one service. Times are kept as moments; [`AnycastStatus`] has their ages.
#[derive(Clone, Debug)]
pub struct ServiceRecord {
    /// All but the ages.
    pub status: AnycastStatus,
    /// When the state ends by itself.
    pub ends: Option<Instant>,
    times: Times,
}

impl ServiceRecord {
    /// Takes over what is configured. Trackers that stay keep what they said.
    pub fn configure(&mut self, config: &Anycast, trackers: &[TrackerRule]) {
        self.status.interface.clone_from(&config.interface);
        self.status.addresses = config.addresses.iter().map(ToString::to_string).collect();
        self.status.trackers = times::configured(&self.status.trackers, trackers);
    }

    /// The state has changed.
    pub fn transition(&mut self, to: AnycastState, cause: &str, reason: String, began: Instant) {
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

impl Sheet for ServiceRecord {
    type Status = AnycastStatus;

    fn new(service: &str) -> Self {
        let status = AnycastStatus {
            service: service.to_owned(),
            state: AnycastState::Init,
            since_ms: 0,
            reason: "not started yet".to_owned(),
            holding: false,
            interface: String::new(),
            addresses: Vec::new(),
            trackers: Vec::new(),
            ends_in_ms: None,
            history: Vec::new(),
            stale_ms: None,
            notify_failing: false,
            counters: AnycastCounters::default(),
        };
        Self { status, ends: None, times: Times::new() }
    }

    fn report(&mut self, tracker: &str, good: bool, text: &str) -> bool {
        self.times.report(&mut self.status.trackers, tracker, good, text)
    }

    fn tracker_text(&self, name: &str) -> Option<&str> {
        times::text(&self.status.trackers, name)
    }

    fn status(&self, marks: &Marks, now: Instant) -> AnycastStatus {
        let mut status = self.status.clone();
        status.since_ms = self.times.state_age(now);
        status.ends_in_ms = self.ends.map(|ends| millis(ends.saturating_duration_since(now)));
        self.times.age(&mut status.trackers, &mut status.history, now);
        let takeovers = marks.takeovers.load();
        self.times.took(&mut status.history, takeovers.last, |to| *to == AnycastState::Announced);
        status.holding = marks.holding.load(Relaxed);
        status.notify_failing = marks.notify_failing.load(Relaxed);
        status.counters.announce.clone_from(&takeovers.times);
        status.counters.addresses_restored = marks.restored.load(Relaxed);
        status.counters.connections_reset = marks.reset.load(Relaxed);
        status.counters.notify_failures = marks.notify_failures.load(Relaxed);
        status
    }

    fn become_stale(status: &mut AnycastStatus, silence: Duration) {
        status.stale_ms = Some(millis(silence));
        status.reason = format!("stale: {}; before that: {}", hangs(silence), status.reason);
    }
}
