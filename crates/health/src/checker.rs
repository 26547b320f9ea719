//! One server's checks: when the next one starts, and what the results decide.

use std::fmt;
use std::time::Duration;

use crate::{CheckCode, CheckResult, Status, Timing};

/// The longest time after a start in which a backend's first checks are spread.
const SPREAD_MAX: Duration = Duration::from_secs(1);
/// The longest time after its turn at which a server's first check starts.
const DELAY_MAX: Duration = Duration::from_millis(100);
/// Intervals are cut by up to this part of themselves, so that checks of many servers do not stay in step. They are never
/// longer than configured: `fall` checks take at most `fall` intervals.
const JITTER_PART: u32 = 20;

/// A moment: the time since a start that the caller chose. It never goes back.
pub type Moment = Duration;

/// The state of one server's checks.
///
/// | status | good result | bad result |
/// |---|---|---|
/// | unknown | up at once: nothing speaks against it | down at once: nothing vouches for it |
/// | up | what was counted is forgotten | down after `fall` in a row |
/// | down | up after `rise` in a row | what was counted is forgotten |
///
/// Checks run `interval` apart, from start to start; `down_interval` apart while the server is down; and `fast_interval` apart
/// while results that contradict the status are being counted. One that outlasts its interval is followed at once.
///
/// The driver starts a check when [`Checker::next_deadline`] has come, says so with [`Checker::started`], and hands its result
/// to [`Checker::handle`]. There is no deadline while a check runs: two never run at once.
#[derive(Clone, Debug)]
pub struct Checker {
    timing: Timing,
    status: Status,
    /// Results in a row that contradict the status.
    streak: u32,
    /// Since when the status holds.
    since: Moment,
    /// What was so before the first check, if somebody remembers.
    remembered: Option<(Status, Moment)>,
    /// When the check that runs, or ran last, was started.
    last_start: Option<Moment>,
    running: bool,
    next: Moment,
    /// Whether the next check is wanted soon, asked for while one was running.
    hurried: bool,
    random: u64,
    failed_checks: u64,
    downs: u64,
    downtime: Duration,
}

/// A change of status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: Status,
    /// What it is.
    pub to: Status,
    /// The result that decided.
    pub code: CheckCode,
    /// How many results in a row it took.
    pub streak: u32,
    /// How many were needed.
    pub needed: u32,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} -> {} after {} of {} checks: {}",
            self.from, self.to, self.streak, self.needed, self.code
        )
    }
}

impl Checker {
    /// A server that has not been checked, the `place`-th of the `of` that its backend has. Their first checks come in this
    /// order, so that something is known of each backend at once, within the first interval, and within a second. The
    /// seed says when within a server's part of that time.
    pub fn new(timing: Timing, (place, of): (usize, usize), seed: u64, now: Moment) -> Self {
        let mut checker = Self {
            timing,
            status: Status::Unknown,
            streak: 0,
            since: now,
            remembered: None,
            last_start: None,
            running: false,
            next: now,
            hurried: false,
            random: seed,
            failed_checks: 0,
            downs: 0,
            downtime: Duration::ZERO,
        };
        let share = |all: usize| u32::try_from(all).unwrap_or(u32::MAX);
        let part = timing.interval.min(SPREAD_MAX) / share(of).max(1);
        let delay = checker.draw(part.min(DELAY_MAX));
        checker.next = now.saturating_add(part.saturating_mul(share(place))).saturating_add(delay);
        checker.check_invariants();
        checker
    }

    /// Remembers since when the server has had a status, from before there were checks here. It decides nothing: if the first
    /// check finds the same, that holds since then.
    pub fn remember(&mut self, status: Status, since: Moment) {
        if self.status == Status::Unknown {
            self.remembered = Some((status, since));
        }
    }

    /// When the next check is to start; none while one runs.
    pub fn next_deadline(&self) -> Option<Moment> {
        (!self.running).then_some(self.next)
    }

    /// A check was started.
    pub fn started(&mut self, now: Moment) {
        self.running = true;
        self.last_start = Some(now);
        self.check_invariants();
    }

    /// A check has ended. Returns the change of status, if this result decided one.
    pub fn handle(&mut self, result: &CheckResult, now: Moment) -> Option<Transition> {
        // A result of a check that was never started, as of a name that does not resolve, counts as one that took no time.
        let start = self.last_start.filter(|_| self.running).unwrap_or(now);
        let is_first = self.status == Status::Unknown;
        self.last_start = Some(start);
        self.running = false;
        let transition = self.count(result.code, now);
        let interval = self.interval();
        // First checks are close together. The second are spread over half of an interval.
        let part = if is_first { 2 } else { JITTER_PART };
        let early = self.draw(interval / part);
        self.next = start.saturating_add(interval.saturating_sub(early)).max(now);
        if std::mem::take(&mut self.hurried) {
            self.hurry(now);
        }
        self.check_invariants();
        transition
    }

    /// The server is known not to be there, without a check: it is down at once, whatever was counted. Returns the change of
    /// status, if it was not down.
    pub fn condemn(&mut self, code: CheckCode, now: Moment) -> Option<Transition> {
        let from = self.status;
        if from == Status::Down {
            return None;
        }
        self.turn(Status::Down, now);
        self.running = false;
        self.hurried = false;
        self.next = now.saturating_add(self.interval());
        self.check_invariants();
        Some(Transition { from, to: Status::Down, code, streak: 1, needed: 1 })
    }

    /// Somebody saw the server fail: the next check is brought forward. Checks that were brought forward start at least half a
    /// fast interval after the one before, so that no number of observations can flood a server. An observation while a
    /// check runs is remembered, because it may be newer than what the check finds. Returns whether anything changed.
    pub fn hurry(&mut self, now: Moment) -> bool {
        if self.running {
            return !std::mem::replace(&mut self.hurried, true);
        }
        let rested = self.last_start.map(|start| start.saturating_add(self.timing.fast_interval / 2));
        let soon = rested.map_or(now, |rested| rested.max(now));
        let is_sooner = soon < self.next;
        self.next = self.next.min(soon);
        is_sooner
    }

    /// Goes on with another timing. Status, age and counts stay; what was counted towards a change begins anew.
    pub fn retime(&mut self, timing: Timing, now: Moment) {
        self.timing = timing;
        self.streak = 0;
        let interval = self.interval();
        self.next = self.next.min(self.last_start.unwrap_or(now).saturating_add(interval)).max(now);
        self.check_invariants();
    }

    /// Where the server stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Results in a row that contradict the status.
    pub fn streak(&self) -> u32 {
        self.streak
    }

    /// How long the status has held.
    pub fn held_for(&self, now: Moment) -> Duration {
        now.saturating_sub(self.since)
    }

    /// Where the server stands and since when; before its first check, as it is remembered.
    pub fn standing(&self) -> (Status, Moment) {
        self.remembered.unwrap_or((self.status, self.since))
    }

    /// The timing in force.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Checks that failed while the server was up.
    pub fn failed_checks(&self) -> u64 {
        self.failed_checks
    }

    /// Times that the server went down, a failed first check included.
    pub fn downs(&self) -> u64 {
        self.downs
    }

    /// Time spent down, in all.
    pub fn downtime(&self, now: Moment) -> Duration {
        let current = if self.status == Status::Down { self.held_for(now) } else { Duration::ZERO };
        self.downtime.saturating_add(current)
    }

    /// What is counted is not enough for a change yet, and nothing is counted where the first result decides. Only a check
    /// that runs was started, or can have been hurried. Whoever is down has gone down, and nobody else has been it for a
    /// while.
    fn check_invariants(&self) {
        let needed = match self.status {
            Status::Unknown | Status::Unchecked => 1,
            Status::Up => self.timing.fall,
            Status::Down => self.timing.rise,
        };
        debug_assert!(self.streak < needed.max(1), "{self:?}");
        debug_assert!(!self.running || self.last_start.is_some(), "{self:?}");
        debug_assert!(self.running || !self.hurried, "{self:?}");
        debug_assert!(self.remembered.is_none() || self.status == Status::Unknown, "{self:?}");
        debug_assert!(self.downs > 0 || self.status != Status::Down && self.downtime.is_zero(), "{self:?}");
    }

    /// Counts a result towards a change of status, or against one.
    fn count(&mut self, code: CheckCode, now: Moment) -> Option<Transition> {
        let (to, needed) = match (self.status, code.is_good()) {
            (Status::Unknown | Status::Unchecked, true) => (Status::Up, 1),
            (Status::Unknown | Status::Unchecked, false) => (Status::Down, 1),
            (Status::Up, false) => (Status::Down, self.timing.fall),
            (Status::Down, true) => (Status::Up, self.timing.rise),
            (Status::Up, true) | (Status::Down, false) => {
                self.streak = 0;
                return None;
            }
        };
        if self.status == Status::Up {
            self.failed_checks = self.failed_checks.saturating_add(1);
        }
        self.streak = self.streak.saturating_add(1);
        if self.streak < needed {
            return None;
        }
        let transition = Transition { from: self.status, to, code, streak: self.streak, needed };
        self.turn(to, now);
        Some(transition)
    }

    fn turn(&mut self, to: Status, now: Moment) {
        if self.status == Status::Down {
            self.downtime = self.downtime.saturating_add(self.held_for(now));
        }
        if to == Status::Down {
            self.downs = self.downs.saturating_add(1);
        }
        self.status = to;
        let remembered = self.remembered.take().filter(|(status, _)| *status == to);
        self.since = remembered.map_or(now, |(_, since)| since.min(now));
        self.streak = 0;
    }

    fn interval(&self) -> Duration {
        match self.status {
            _ if self.streak > 0 => self.timing.fast_interval,
            Status::Down => self.timing.down_interval,
            _ => self.timing.interval,
        }
    }

    /// A random time below `bound`, by splitmix64.
    fn draw(&mut self, bound: Duration) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.random;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let high = (u128::from(value) * u128::from(nanos)) >> 64;
        Duration::from_nanos(u64::try_from(high).unwrap_or(u64::MAX))
    }
}
