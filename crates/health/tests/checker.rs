//! What results decide, and when the next check comes: tables, every short sequence of results, and a model of the schedule.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

use std::time::Duration;

use health::{CheckCode, CheckResult, Checker, Moment, Status, Timing, Transition};
use proptest::prelude::*;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Intervals that can be told apart.
const TIMING: Timing = Timing {
    interval: Duration::from_secs(10),
    fast_interval: Duration::from_secs(2),
    down_interval: Duration::from_secs(5),
    timeout: Duration::from_secs(10),
    rise: 2,
    fall: 3,
};

fn result(good: bool) -> CheckResult {
    CheckResult {
        code: if good { CheckCode::L7Ok } else { CheckCode::L4Con },
        http_status: None,
        duration: MILLISECOND,
        text: String::new(),
        certificate: None,
    }
}

/// Runs one check at its deadline. Returns when it started and what it decided.
fn check(checker: &mut Checker, good: bool) -> (Moment, Option<Transition>) {
    let start = checker.next_deadline().unwrap();
    checker.started(start);
    assert_eq!(checker.next_deadline(), None, "two checks never run at once");
    (start, checker.handle(&result(good), start + MILLISECOND))
}

fn checker(timing: Timing) -> Checker {
    Checker::new(timing, (0, 1), 7, Duration::ZERO)
}

#[test]
fn a_status_that_is_found_as_it_is_remembered_holds_since_then() {
    let (start, at) = (Duration::from_secs(100), Duration::from_secs);
    let remembering = |status| {
        let mut checker = Checker::new(TIMING, (0, 1), 7, start);
        checker.remember(status, at(40));
        assert_eq!((checker.status(), checker.standing()), (Status::Unknown, (status, at(40))));
        checker
    };
    let mut up = remembering(Status::Up);
    check(&mut up, true);
    assert_eq!((up.standing(), up.held_for(at(110))), ((Status::Up, at(40)), at(70)));
    up.remember(Status::Up, at(1));
    assert_eq!(up.standing().1, at(40), "whoever has been checked knows it");
    for _ in 0..3 {
        check(&mut up, false);
    }
    for _ in 0..2 {
        check(&mut up, true);
    }
    assert!(up.standing().0 == Status::Up && up.standing().1 > start, "{up:?}");

    let mut down = remembering(Status::Down);
    check(&mut down, false);
    assert_eq!((down.downs(), down.downtime(at(110))), (1, at(70)));
    let mut other = remembering(Status::Down);
    check(&mut other, true);
    assert!(other.standing().1 >= start, "{other:?}");
}

#[test]
fn results_decide() {
    // results, and the status after each: unknown, UP, DOWN
    let table = [
        ("+", "U"),
        ("-", "D"),
        ("++", "UU"),
        ("+---", "UUUD"),
        ("+--+---", "UUUUUUD"),
        ("--", "DD"),
        ("-++", "DDU"),
        ("-+-++", "DDDDU"),
        ("-++--+---++", "DDUUUUUUDDU"),
    ];
    for (results, expected) in table {
        let mut checker = checker(TIMING);
        assert_eq!(checker.status(), Status::Unknown);
        for (place, (result, expected)) in results.chars().zip(expected.chars()).enumerate() {
            let from = checker.status();
            let to = if expected == 'U' { Status::Up } else { Status::Down };
            let (_, transition) = check(&mut checker, result == '+');
            assert_eq!(checker.status(), to, "{results}, result {place}");
            let change = transition.map(|transition| (transition.from, transition.to));
            assert_eq!(change, (from != to).then_some((from, to)), "{results}, result {place}");
        }
    }
}

#[test]
fn a_transition_says_what_it_took() {
    let mut checker = checker(TIMING);
    let transitions: Vec<String> = [true, false, false, false, true, true]
        .into_iter()
        .filter_map(|good| check(&mut checker, good).1)
        .map(|transition| transition.to_string())
        .collect();
    assert_eq!(
        transitions,
        [
            "unknown -> up after 1 of 1 checks: L7OK",
            "up -> down after 3 of 3 checks: L4CON",
            "down -> up after 2 of 2 checks: L7OK",
        ]
    );
}

/// Every sequence of up to nine results, for every `rise` and `fall` up to three, beside the shortest possible statement of
/// the rules. Zero is taken as one.
#[test]
fn every_sequence_of_results() {
    for (rise, fall) in (0..=3_u32).flat_map(|rise| (0..=3_u32).map(move |fall| (rise, fall))) {
        for bits in 0..1_u32 << 9 {
            let results: Vec<bool> = (0..9).map(|bit| bits >> bit & 1 == 1).collect();
            let mut checker = checker(Timing { rise, fall, ..TIMING });
            let (mut up, mut against, mut failed, mut downs) = (results[0], 0, 0, u64::from(!results[0]));
            check(&mut checker, results[0]);
            for good in &results[1..] {
                failed += u64::from(up && !good);
                against = if *good == up { 0 } else { against + 1 };
                if against >= if up { fall } else { rise }.max(1) {
                    (up, against) = (!up, 0);
                    downs += u64::from(!up);
                }
                check(&mut checker, *good);
                let held = (checker.status() == Status::Up, checker.streak());
                assert_eq!(held, (up, against), "rise {rise}, fall {fall}, {results:?}");
            }
            assert_eq!((checker.failed_checks(), checker.downs()), (failed, downs), "{results:?}");
        }
    }
}

#[test]
fn intervals_follow_the_state() {
    let mut checker = checker(TIMING);
    let table = [
        (true, TIMING.interval),
        (true, TIMING.interval),
        (false, TIMING.fast_interval),
        (false, TIMING.fast_interval),
        (true, TIMING.interval),
        (false, TIMING.fast_interval),
        (false, TIMING.fast_interval),
        (false, TIMING.down_interval),
        (false, TIMING.down_interval),
        (true, TIMING.fast_interval),
        (false, TIMING.down_interval),
        (true, TIMING.fast_interval),
        (true, TIMING.interval),
    ];
    for (place, (good, interval)) in table.into_iter().enumerate() {
        let (start, _) = check(&mut checker, good);
        let gap = checker.next_deadline().unwrap() - start;
        // What follows the first check is spread over half of an interval, as first checks are close together.
        let shortest = if place == 0 { interval / 2 } else { interval * 19 / 20 };
        assert!(gap <= interval && gap >= shortest, "row {place}: {gap:?} for {interval:?}");
    }
}

#[test]
fn a_check_that_outlasts_its_interval_is_followed_at_once() {
    let mut checker = checker(TIMING);
    checker.started(Duration::ZERO);
    let end = Duration::from_secs(17);
    checker.handle(&result(true), end);
    assert_eq!(checker.next_deadline(), Some(end));
}

#[test]
fn a_result_without_a_check_is_followed_after_an_interval() {
    let mut checker = checker(TIMING);
    check(&mut checker, true);
    let late = Duration::from_secs(1_000);
    checker.handle(&result(false), late);
    assert!(checker.next_deadline().unwrap() >= late + TIMING.fast_interval * 19 / 20);
}

#[test]
fn a_server_that_is_condemned_is_down_at_once() {
    for results in [&[][..], &[true], &[true, false], &[true, false, false]] {
        let mut checker = checker(TIMING);
        results.iter().for_each(|good| _ = check(&mut checker, *good));
        let (from, now) = (checker.status(), Duration::from_secs(100));
        let transition = checker.condemn(CheckCode::SockErr, now).unwrap();
        assert_eq!((transition.from, transition.to, checker.status()), (from, Status::Down, Status::Down));
        assert_eq!((checker.downs(), checker.streak()), (1, 0));
        assert_eq!(checker.next_deadline(), Some(now + TIMING.down_interval));
        assert_eq!(checker.condemn(CheckCode::SockErr, now), None, "it is down already");
        assert!(check(&mut checker, true).1.is_none(), "it takes `rise` to come back");
        assert_eq!(check(&mut checker, true).1.unwrap().to, Status::Up);
    }
}

#[test]
fn an_observation_brings_the_next_check_forward() {
    let mut checker = checker(TIMING);
    let (start, _) = check(&mut checker, true);
    let seen = start + Duration::from_secs(4);
    assert!(checker.hurry(seen));
    assert_eq!(checker.next_deadline(), Some(seen));
    assert!(!checker.hurry(seen + MILLISECOND), "it is due already");
}

#[test]
fn an_observation_soon_after_a_check_waits_for_half_a_fast_interval() {
    let mut checker = checker(TIMING);
    let (start, _) = check(&mut checker, true);
    assert!(checker.hurry(start + 2 * MILLISECOND));
    assert_eq!(checker.next_deadline(), Some(start + TIMING.fast_interval / 2));
}

#[test]
fn an_observation_during_a_check_is_remembered() {
    let mut checker = checker(TIMING);
    let start = checker.next_deadline().unwrap();
    checker.started(start);
    assert!(checker.hurry(start + MILLISECOND));
    assert!(!checker.hurry(start + MILLISECOND));
    checker.handle(&result(true), start + 2 * MILLISECOND);
    assert_eq!(checker.next_deadline(), Some(start + TIMING.fast_interval / 2));
    check(&mut checker, true);
    assert!(checker.next_deadline().unwrap() > start + TIMING.interval, "it was one check, not more");
}

#[test]
fn another_timing_keeps_the_verdict_and_its_age() {
    let mut checker = checker(TIMING);
    for good in [true, false, false, false, false, true] {
        check(&mut checker, good);
    }
    let now = checker.next_deadline().unwrap();
    let before = (checker.status(), checker.held_for(now), checker.downs(), checker.downtime(now));
    let quicker = Timing { down_interval: Duration::from_millis(500), rise: 1, ..TIMING };
    checker.retime(quicker, now);
    assert_eq!(before, (checker.status(), checker.held_for(now), checker.downs(), checker.downtime(now)));
    assert_eq!(*checker.timing(), quicker);
    assert_eq!(checker.streak(), 0, "what was counted towards a change begins anew");
    assert_eq!(checker.next_deadline(), Some(now), "it is due by the shorter interval");
    check(&mut checker, true);
    assert_eq!(checker.status(), Status::Up);
}

#[test]
fn first_checks_of_many_servers_are_spread() {
    let first = |place| Checker::new(TIMING, (place, 1_000), place as u64, Duration::ZERO).next_deadline();
    let firsts: Vec<Moment> = (0..1_000).map(|place| first(place).unwrap()).collect();
    assert!(firsts.is_sorted(), "they come in the order of the configuration");
    let mut tenths = [0; 10];
    for first in firsts {
        tenths[usize::try_from(first.as_millis() / 100).unwrap()] += 1;
    }
    assert_eq!(tenths, [100; 10]);
    // Something is known of each backend soon, however few servers it has; and their checks do not stay together.
    let mut seconds = [0; 10];
    for seed in 0..1_000 {
        let mut checker = Checker::new(TIMING, (0, 1), seed, Duration::ZERO);
        let (first, _) = check(&mut checker, true);
        assert!(first < Duration::from_millis(100));
        let second = checker.next_deadline().unwrap() - first;
        assert!(second <= TIMING.interval && second >= TIMING.interval / 2);
        seconds[usize::try_from((second.as_millis() * 20 / TIMING.interval.as_millis()).min(19) - 10)
            .unwrap()] += 1;
    }
    assert!(seconds.iter().all(|count| (50..=150).contains(count)), "{seconds:?}");
}

#[test]
fn endless_intervals_do_not_overflow() {
    let endless = Timing {
        interval: Duration::MAX,
        fast_interval: Duration::MAX,
        down_interval: Duration::MAX,
        ..TIMING
    };
    let mut checker = Checker::new(endless, (3, 4), u64::MAX, Duration::MAX);
    for good in [true, false, false, false, true] {
        checker.started(Duration::MAX);
        checker.hurry(Duration::MAX);
        checker.handle(&result(good), Duration::MAX);
    }
    checker.retime(endless, Duration::MAX);
    assert_eq!(checker.downtime(Duration::MAX), Duration::ZERO);
}

proptest! {
    #[test]
    fn a_first_check_comes_within_an_interval_and_a_second(
        seed in any::<u64>(),
        turn in (1..50_usize).prop_flat_map(|of| (0..of, Just(of))),
        start in 0..1_000_u64,
        millis in 1..5_000_u64,
    ) {
        let (now, interval) = (Duration::from_secs(start), Duration::from_millis(millis));
        let next = Checker::new(Timing { interval, ..TIMING }, turn, seed, now).next_deadline().unwrap();
        prop_assert!(next >= now && next - now < interval.min(Duration::from_secs(1)));
    }

    /// Whatever checks find, however long they take, whoever observes what, and however the timing changes: checks neither
    /// flood the server nor stop, and time spent down is counted exactly.
    #[test]
    fn the_schedule_holds(
        seed in any::<u64>(),
        steps in prop::collection::vec((any::<bool>(), 0..12_000_u64, prop::collection::vec(0..10_000_u64, 0..6), 0..20_u8), 1..60),
    ) {
        let mut timing = TIMING;
        let mut checker = Checker::new(timing, (0, 1), seed, Duration::ZERO);
        let mut last_start: Option<Moment> = None;
        let mut now = Duration::ZERO;
        let (mut downtime, mut down_since) = (Duration::ZERO, None);
        for (good, millis, observed, retime) in steps {
            // Observations, and the check as soon as it is due.
            let mut observed: Vec<Moment> = observed.into_iter().map(|ms| now + Duration::from_millis(ms)).collect();
            observed.sort();
            for seen in observed {
                if checker.next_deadline().is_some_and(|next| seen < next) {
                    now = seen;
                    checker.hurry(now);
                    prop_assert!(checker.next_deadline().is_some_and(|next| next >= now));
                }
            }
            if retime == 0 {
                timing.interval = if timing.interval == TIMING.interval { TIMING.interval * 2 } else { TIMING.interval };
                checker.retime(timing, now);
            }
            let start = checker.next_deadline().unwrap().max(now);
            if let Some(last) = last_start {
                let longest = timing.interval.max(TIMING.interval) + Duration::from_secs(12);
                let gap = start - last;
                prop_assert!(gap >= TIMING.fast_interval / 2 && gap <= longest * 2, "{:?} apart", gap);
            }
            checker.started(start);
            last_start = Some(start);
            now = start + Duration::from_millis(millis);
            if let Some(transition) = checker.handle(&result(good), now) {
                match transition.to {
                    Status::Down => down_since = Some(now),
                    _ => downtime += down_since.take().map_or(Duration::ZERO, |since| now - since),
                }
            }
            let current = down_since.map_or(Duration::ZERO, |since| now - since);
            prop_assert_eq!(checker.downtime(now), downtime + current);
        }
    }
}
