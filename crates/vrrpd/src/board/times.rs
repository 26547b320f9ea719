//! When things were. Statuses have ages, and a board keeps moments.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use vrrp::TrackerRule;
use wire::{TrackerStatus, TransitionRecord};

use super::{HISTORY, micros, millis};

/// The moments of one instance or service.
#[derive(Clone, Debug)]
pub(super) struct Times {
    since: Instant,
    trackers: BTreeMap<String, Instant>,
    history: VecDeque<Event>,
}

/// When a transition was, and when what made it came.
#[derive(Clone, Copy, Debug)]
struct Event {
    began: Instant,
    ended: Instant,
}

impl Times {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), trackers: BTreeMap::new(), history: VecDeque::new() }
    }

    /// A tracker has reported. Whether its result has changed.
    pub(super) fn report(&mut self, all: &mut [TrackerStatus], name: &str, good: bool, text: &str) -> bool {
        let Some(tracker) = all.iter_mut().find(|tracker| tracker.name == name) else {
            return false;
        };
        let changed = tracker.good != Some(good);
        if changed {
            self.trackers.insert(name.to_owned(), Instant::now());
            tracker.failures += u64::from(tracker.good == Some(true));
        }
        tracker.good = Some(good);
        text.clone_into(&mut tracker.text);
        changed
    }

    /// The state has changed.
    pub(super) fn pass<S>(
        &mut self,
        history: &mut Vec<TransitionRecord<S>>,
        mut transition: TransitionRecord<S>,
        began: Instant,
    ) {
        let now = Instant::now();
        transition.took_us = micros(now - began);
        history.insert(0, transition);
        history.truncate(HISTORY);
        self.history.push_front(Event { began, ended: now });
        self.history.truncate(HISTORY);
        self.since = now;
    }

    /// For how long the state has held.
    pub(super) fn state_age(&self, now: Instant) -> u64 {
        millis(now - self.since)
    }

    /// Fills ages in.
    pub(super) fn age<S>(
        &self,
        trackers: &mut [TrackerStatus],
        history: &mut [TransitionRecord<S>],
        now: Instant,
    ) {
        for tracker in trackers {
            tracker.since_ms = self.trackers.get(&tracker.name).map_or(0, |since| millis(now - *since));
        }
        for (record, event) in history.iter_mut().zip(&self.history) {
            record.age_ms = millis(now - event.ended);
        }
    }

    /// That what began then took so long, all addresses included. Of a transition to a state that has none nothing is said.
    pub(super) fn took<S>(
        &self,
        history: &mut [TransitionRecord<S>],
        last: Option<(Instant, Duration)>,
        has_addresses: impl Fn(&S) -> bool,
    ) {
        if let Some((since, took)) = last
            && let Some(index) = self.history.iter().position(|event| event.began == since)
            && let Some(told) = history.get_mut(index).filter(|told| has_addresses(&told.to))
        {
            told.took_us = micros(took);
        }
    }
}

/// The trackers as configured. Those that stay keep what they said.
pub(super) fn configured(before: &[TrackerStatus], rules: &[TrackerRule]) -> Vec<TrackerStatus> {
    let status = |rule: &TrackerRule| {
        let known = before.iter().find(|tracker| tracker.name == rule.name).cloned();
        let new = || TrackerStatus {
            name: rule.name.clone(),
            good: None,
            text: "has not reported yet".to_owned(),
            weight: 0,
            since_ms: 0,
            failures: 0,
        };
        TrackerStatus { weight: rule.weight.number(), ..known.unwrap_or_else(new) }
    };
    rules.iter().map(status).collect()
}

/// What a tracker said last.
pub(super) fn text<'a>(all: &'a [TrackerStatus], name: &str) -> Option<&'a str> {
    all.iter().find(|tracker| tracker.name == name).map(|tracker| &*tracker.text)
}
