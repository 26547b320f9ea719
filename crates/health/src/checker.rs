//! One server's checks: when the next one starts, and what the results decide.

use std::fmt;
use std::time::Duration;

use crate::{CheckCode, CheckResult, Status, Timing};

/// The longest time after a start in which first checks are spread.
const SPREAD_MAX: Duration = Duration::from_secs(1);
/// Intervals vary by up to this share of themselves, so that checks of many servers do not fall into step.
const JITTER_PER_MILLE: u64 = 50;

/// A moment: the time since a start that the caller chose. It never goes back.
pub type Moment = Duration;

/// The state of one server's checks.
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
    /// When the check that runs, or ran last, was started.
    last_start: Option<Moment>,
    running: bool,
    next: Moment,
    /// When a check was last brought forward.
    hurried: Option<Moment>,
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
    /// A server that has not been checked. Its first check comes within the first interval, and within a second; the seed
    /// says when.
    pub fn new(timing: Timing, seed: u64, now: Moment) -> Self {
        let mut checker = Self {
            timing,
            status: Status::Unknown,
            streak: 0,
            since: now,
            last_start: None,
            running: false,
            next: now,
            hurried: None,
            random: seed,
            failed_checks: 0,
            downs: 0,
            downtime: Duration::ZERO,
        };
        checker.next = now + checker.draw(timing.interval.min(SPREAD_MAX));
        checker
    }

    /// When the next check is to start; none while one runs.
    pub fn next_deadline(&self) -> Option<Moment> {
        (!self.running).then_some(self.next)
    }

    /// A check was started.
    pub fn started(&mut self, now: Moment) {
        self.running = true;
        self.last_start = Some(now);
    }

    /// A check has ended. The very first result decides at once, as in HAProxy: until then nothing vouches for a server, and
    /// nothing speaks against it.
    pub fn handle(&mut self, result: &CheckResult, now: Moment) -> Option<Transition> {
        self.running = false;
        let good = result.code.is_good();
        if self.status == Status::Up && !good {
            self.failed_checks += 1;
        }
        let (to, needed) = match (self.status, good) {
            (Status::Unknown | Status::Unchecked, true) => (Status::Up, 1),
            (Status::Unknown | Status::Unchecked, false) => (Status::Down, 1),
            (Status::Up, false) => (Status::Down, self.timing.fall),
            (Status::Down, true) => (Status::Up, self.timing.rise),
            (Status::Up, true) | (Status::Down, false) => (self.status, 0),
        };
        let mut transition = None;
        if needed == 0 {
            self.streak = 0;
        } else {
            self.streak = self.streak.saturating_add(1);
            if self.streak >= needed {
                transition = Some(Transition {
                    from: self.status,
                    to,
                    code: result.code,
                    streak: self.streak,
                    needed,
                });
                self.turn(to, now);
            }
        }
        let interval = self.interval();
        let half = interval.saturating_mul(u32::try_from(JITTER_PER_MILLE).unwrap_or(0)) / 1000;
        let jittered = interval.saturating_sub(half) + self.draw(half * 2);
        self.next = self.last_start.unwrap_or(now).saturating_add(jittered).max(now);
        transition
    }

    /// Somebody saw the server fail: the next check starts at once, but at most twice in a fast interval, so that no number of
    /// observations can flood a server. Returns whether it was brought forward.
    pub fn hurry(&mut self, now: Moment) -> bool {
        let rest = self.timing.fast_interval / 2;
        let recently =
            |moment: Option<Moment>| moment.is_some_and(|moment| now.saturating_sub(moment) < rest);
        if self.running || self.next <= now || recently(self.hurried) || recently(self.last_start) {
            return false;
        }
        self.hurried = Some(now);
        self.next = now;
        true
    }

    /// Goes on with another timing. Status, age and counts stay; what was counted towards a change begins anew.
    pub fn retime(&mut self, timing: Timing, now: Moment) {
        self.timing = timing;
        self.streak = 0;
        let interval = self.interval();
        self.next = self.next.min(self.last_start.unwrap_or(now).saturating_add(interval)).max(now);
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

    /// The timing in force.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Checks that failed while the server was up.
    pub fn failed_checks(&self) -> u64 {
        self.failed_checks
    }

    /// Times that the server went down.
    pub fn downs(&self) -> u64 {
        self.downs
    }

    /// Time spent down, in all.
    pub fn downtime(&self, now: Moment) -> Duration {
        let current = if self.status == Status::Down { self.held_for(now) } else { Duration::ZERO };
        self.downtime + current
    }

    fn turn(&mut self, to: Status, now: Moment) {
        if self.status == Status::Down {
            self.downtime += self.held_for(now);
        }
        if to == Status::Down {
            self.downs += 1;
        }
        self.status = to;
        self.since = now;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn result(good: bool) -> CheckResult {
        CheckResult {
            code: if good { CheckCode::L7Ok } else { CheckCode::L4Con },
            http_status: None,
            duration: Duration::from_millis(1),
            text: String::new(),
        }
    }

    /// Runs one check at its deadline.
    fn check(checker: &mut Checker, good: bool) -> (Moment, Option<Transition>) {
        let at = checker.next_deadline().expect("no check runs");
        checker.started(at);
        assert_eq!(checker.next_deadline(), None, "two checks never run at once");
        (at, checker.handle(&result(good), at + Duration::from_millis(1)))
    }

    #[test]
    fn every_status_and_result() {
        use Status::{Down, Unknown, Up};
        // status before, results, the statuses after each
        let table: [(Status, &[bool], &[Status]); 7] = [
            (Unknown, &[true], &[Up]),
            (Unknown, &[false], &[Down]),
            (Up, &[true, true], &[Up, Up]),
            (Up, &[false, false, false], &[Up, Up, Down]),
            (Up, &[false, false, true, false, false, false], &[Up, Up, Up, Up, Up, Down]),
            (Down, &[true, true], &[Down, Up]),
            (Down, &[true, false, true, true], &[Down, Down, Down, Up]),
        ];
        for (before, results, expected) in table {
            let mut checker = Checker::new(Timing::default(), 1, Duration::ZERO);
            match before {
                Up => drop(check(&mut checker, true)),
                Down => drop(check(&mut checker, false)),
                _ => {}
            }
            assert_eq!(checker.status(), before);
            for (good, after) in results.iter().zip(expected) {
                let from = checker.status();
                let (_, transition) = check(&mut checker, *good);
                assert_eq!(checker.status(), *after, "{before} {results:?}");
                assert_eq!(
                    transition.map(|transition| (transition.from, transition.to)),
                    (from != *after).then_some((from, *after))
                );
            }
        }
    }

    #[test]
    fn intervals_follow_the_state() {
        let timing = Timing {
            interval: Duration::from_secs(10),
            fast_interval: Duration::from_secs(1),
            down_interval: Duration::from_secs(5),
            ..Timing::default()
        };
        let mut checker = Checker::new(timing, 7, Duration::ZERO);
        let mut gap_after = |good: bool| {
            let (at, _) = check(&mut checker, good);
            (checker.next_deadline().unwrap() - at).as_millis()
        };
        for (good, expected) in [
            (true, 10_000),
            (true, 10_000),
            (false, 1_000),
            (false, 1_000),
            (false, 5_000),
            (false, 5_000),
            (true, 1_000),
            (true, 10_000),
        ] {
            let gap = gap_after(good);
            assert!(
                (expected * 95 / 100..=expected * 105 / 100).contains(&gap),
                "{gap} is not about {expected}"
            );
        }
    }

    #[test]
    fn a_slow_check_is_followed_at_once() {
        let mut checker = Checker::new(Timing::default(), 1, Duration::ZERO);
        checker.started(Duration::ZERO);
        let end = Duration::from_secs(7);
        checker.handle(&result(true), end);
        assert_eq!(checker.next_deadline(), Some(end));
    }

    #[test]
    fn observations_hurry_a_check_but_cannot_flood() {
        let mut checker = Checker::new(Timing::default(), 1, Duration::ZERO);
        let (at, _) = check(&mut checker, true);
        let mut hurried = 0;
        for ms in 0..20_000_u64 {
            let now = at + Duration::from_millis(ms);
            if checker.hurry(now) {
                hurried += 1;
            }
            if checker.next_deadline().is_some_and(|next| next <= now) {
                checker.started(now);
                checker.handle(&result(true), now);
            }
        }
        assert!((10..=21).contains(&hurried), "{hurried}");
    }

    #[test]
    fn downtime_is_the_time_spent_down() {
        let mut checker = Checker::new(Timing::default(), 1, Duration::ZERO);
        check(&mut checker, false);
        let down_since = checker.since;
        while checker.status() == Status::Down {
            check(&mut checker, true);
        }
        let down = checker.since - down_since;
        let later = checker.since + Duration::from_secs(60);
        assert_eq!((checker.downtime(later), checker.downs()), (down, 1));
    }

    proptest! {
        /// Against the shortest possible statement of the rules.
        #[test]
        fn the_status_is_what_the_last_results_say(results in prop::collection::vec(any::<bool>(), 1..200), rise in 1..5_u32, fall in 1..5_u32) {
            let mut checker = Checker::new(Timing { rise, fall, ..Timing::default() }, 3, Duration::ZERO);
            let mut up = results[0];
            let mut against = 0;
            let (mut failed, mut downs) = (0, u64::from(!up));
            check(&mut checker, results[0]);
            for good in &results[1..] {
                if up && !good {
                    failed += 1;
                }
                against = if *good == up { 0 } else { against + 1 };
                if against == if up { fall } else { rise } {
                    up = !up;
                    against = 0;
                    downs += u64::from(!up);
                }
                check(&mut checker, *good);
                prop_assert_eq!(checker.status() == Status::Up, up);
                prop_assert_eq!(checker.streak(), against);
            }
            prop_assert_eq!(checker.failed_checks(), failed);
            prop_assert_eq!(checker.downs(), downs);
        }

        #[test]
        fn first_checks_are_spread_within_a_second(seed in any::<u64>(), start in 0..1000_u64) {
            let now = Duration::from_secs(start);
            let next = Checker::new(Timing::default(), seed, now).next_deadline().unwrap();
            prop_assert!(next >= now && next < now + SPREAD_MAX);
        }
    }
}
