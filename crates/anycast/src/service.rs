//! The state machine: one line for each state and input.

use std::time::Duration;

use vrrp::{Moment, Priority, Standing, TrackerRule, Trackers, Weight};

use crate::types::{Action, Cause, Input, Settings, State, Transition};

/// A fault within so long of the one before is flapping. Routers that damp routes (RFC 2439) forget at this pace.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// How often a hold-down is doubled at most.
const DOUBLINGS: u32 = 5;

/// One service on this node.
#[derive(Clone, Debug)]
pub struct Service {
    settings: Settings,
    trackers: Trackers,
    state: State,
    /// Until when routers may not have learned of the last withdrawal.
    learned: Moment,
    /// For how long the trackers have to be good before the addresses come back.
    wait: Duration,
    /// In [`State::Waiting`]: when that has been long enough.
    until: Moment,
    /// The last fault that took the addresses, and how many came in a row.
    fault: Option<(Moment, u32)>,
}

impl Service {
    /// A service that has not started.
    pub fn new(settings: Settings) -> Self {
        Self {
            trackers: Trackers::new(rules(&settings)),
            settings,
            state: State::Init,
            learned: Moment::ZERO,
            wait: Duration::ZERO,
            until: Moment::ZERO,
            fault: None,
        }
    }

    /// The state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// When to hand in [`Input::Woken`], if nothing happens before.
    pub const fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Leaving => Some(self.learned),
            State::Waiting => Some(self.until),
            State::Init | State::Announced | State::Withdrawn | State::Fault => None,
        }
    }

    /// Takes one input at `now`, and says what to do in which order.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        match (self.state, input) {
            (_, Input::Tracker { name, good, planned }) => {
                self.trackers.report(&name, good);
                self.reassess(planned, now, &mut actions);
            }
            (_, Input::Reload(settings)) => self.reload(settings, now, &mut actions),

            (State::Init, Input::Start { holding }) => self.start(holding, now, &mut actions),
            (State::Init, _) => {}

            (State::Announced, Input::Withdraw) => {
                self.withdraw(now, &mut actions);
                self.retire(now, &mut actions);
            }
            (State::Announced, Input::Stop) => {
                self.withdraw(now, &mut actions);
                self.go(State::Init, Cause::Stopped, &mut actions);
            }

            (State::Waiting | State::Fault, Input::Withdraw) => self.retire(now, &mut actions),
            (State::Leaving, Input::Woken) if now >= self.learned => {
                self.go(State::Withdrawn, Cause::Learned, &mut actions);
            }
            (State::Waiting, Input::Woken) if now >= self.until => {
                actions.push(Action::Announce);
                self.go(State::Announced, Cause::Lasted, &mut actions);
            }
            (State::Leaving | State::Withdrawn, Input::Announce) => {
                self.wait = Duration::ZERO;
                self.come_back(&Cause::Requested, now, &mut actions);
            }
            // Whoever asks knows better than the count of faults.
            (State::Waiting, Input::Announce) => {
                (self.wait, self.fault) = (Duration::ZERO, None);
                self.until = self.until.min(self.learned.max(now));
                if self.until <= now {
                    self.come_back(&Cause::Requested, now, &mut actions);
                }
            }
            (State::Leaving | State::Withdrawn | State::Waiting | State::Fault, Input::Stop) => {
                self.go(State::Init, Cause::Stopped, &mut actions);
            }

            // It is there, or cannot be there yet.
            (State::Announced | State::Fault, Input::Announce) => {}
            (State::Leaving | State::Withdrawn, Input::Withdraw) => {}
            (_, Input::Woken | Input::Start { .. }) => {}
        }
        self.check_invariants(now);
        actions
    }

    /// What fails takes the addresses away, and what waits is fit.
    fn check_invariants(&self, now: Moment) {
        let is_fit = self.failing().is_none();
        debug_assert!(!matches!(self.state, State::Announced | State::Waiting) || is_fit, "{self:?}");
        debug_assert!(self.state != State::Fault || !is_fit, "{self:?}");
        debug_assert!(self.state != State::Announced || now >= self.learned, "{self:?}");
    }

    /// The first tracker that fails.
    fn failing(&self) -> Option<String> {
        match self.trackers.standing(Priority::DEFAULT) {
            Standing::Fault(tracker) => Some(tracker),
            Standing::Fit(_) => None,
        }
    }

    fn start(&mut self, holding: bool, now: Moment, actions: &mut Vec<Action>) {
        if holding && self.failing().is_some() {
            self.withdraw(now, actions);
        }
        self.come_back(if holding { &Cause::Resumed } else { &Cause::Started }, now, actions);
    }

    fn reload(&mut self, settings: Settings, now: Moment, actions: &mut Vec<Action>) {
        self.trackers.reload(rules(&settings));
        self.settings = settings;
        // Who configures a tracker that fails knows what he does.
        self.reassess(true, now, actions);
    }

    /// Trackers may not say what they said.
    fn reassess(&mut self, planned: bool, now: Moment, actions: &mut Vec<Action>) {
        match (self.state, self.failing()) {
            (State::Announced, Some(tracker)) => {
                self.withdraw(now, actions);
                self.wait = if planned { Duration::ZERO } else { self.hold_down(now) };
                self.go(State::Fault, Cause::TrackerFailed(tracker), actions);
            }
            (State::Waiting, Some(tracker)) => self.go(State::Fault, Cause::TrackerFailed(tracker), actions),
            (State::Fault, None) => {
                let wait = self.wait.max(self.learned.saturating_sub(now));
                self.come_back(&Cause::TrackersRecovered(wait), now, actions);
            }
            _ => {}
        }
    }

    /// Announces again: now, or when the wait is over.
    fn come_back(&mut self, cause: &Cause, now: Moment, actions: &mut Vec<Action>) {
        self.until = now.saturating_add(self.wait).max(self.learned);
        if let Some(tracker) = self.failing() {
            self.go(State::Fault, Cause::TrackerFailed(tracker), actions);
        } else if self.until > now {
            self.go(State::Waiting, cause.clone(), actions);
        } else {
            actions.push(Action::Announce);
            self.go(State::Announced, cause.clone(), actions);
        }
    }

    fn withdraw(&mut self, now: Moment, actions: &mut Vec<Action>) {
        actions.push(Action::Withdraw);
        self.learned = now.saturating_add(self.settings.withdraw);
    }

    /// Stays away until it is asked for.
    fn retire(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let to = if now < self.learned { State::Leaving } else { State::Withdrawn };
        self.go(to, Cause::Requested, actions);
    }

    /// The wait after another fault: twice that of the last one, if that was not long ago.
    fn hold_down(&mut self, now: Moment) -> Duration {
        let doublings = match self.fault {
            Some((last, doublings)) if now.saturating_sub(last) < REMEMBERED => {
                (doublings + 1).min(DOUBLINGS)
            }
            _ => 0,
        };
        self.fault = Some((now, doublings));
        self.settings.hold_down.saturating_mul(1 << doublings)
    }

    fn go(&mut self, to: State, cause: Cause, actions: &mut Vec<Action>) {
        let from = std::mem::replace(&mut self.state, to);
        actions.push(Action::Transition(Transition { from, to, cause }));
    }
}

/// There is no priority that a weight could move.
fn rules(settings: &Settings) -> Vec<TrackerRule> {
    let rule = |rule: &TrackerRule| TrackerRule { name: rule.name.clone(), weight: Weight::Fault };
    settings.trackers.iter().map(rule).collect()
}
