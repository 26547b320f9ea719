//! What each input does in each state.

use std::time::Duration;

use anycast::{Action, Cause, Input, Service, Settings, State};
use vrrp::{TrackerRule, Weight};

const SECOND: Duration = Duration::from_secs(1);

fn settings(trackers: &[&str]) -> Settings {
    let rule = |name: &&str| TrackerRule { name: (*name).to_owned(), weight: Weight::Fault };
    Settings { trackers: trackers.iter().map(rule).collect(), withdraw: 2 * SECOND, hold_down: 5 * SECOND }
}

fn tracker(good: bool) -> Input {
    Input::Tracker { name: "lbd".to_owned(), good, planned: false }
}

fn end_of_lbd() -> Input {
    Input::Tracker { name: "lbd".to_owned(), good: false, planned: true }
}

/// What is done, in words: `announce`, `withdraw`, `init -> announced: started`.
fn words(actions: &[Action]) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::Announce => "announce".to_owned(),
        Action::Withdraw => "withdraw".to_owned(),
        Action::Transition(transition) => {
            format!("{} -> {}: {}", transition.from, transition.to, transition.cause.label())
        }
    };
    actions.iter().map(word).collect()
}

/// A service that tracks lbd, and what it is told when.
struct Run {
    service: Service,
    now: Duration,
}

impl Run {
    fn new() -> Self {
        Self { service: Service::new(settings(&["lbd"])), now: Duration::from_secs(1000) }
    }

    fn fit() -> Self {
        let mut run = Self::new();
        run.tell(tracker(true));
        assert_eq!(run.tell(Input::Start { holding: false }), ["announce", "init -> announced: started"]);
        run
    }

    fn tell(&mut self, input: Input) -> Vec<String> {
        words(&self.service.handle(input, self.now))
    }

    fn after(&mut self, seconds: u32, input: Input) -> Vec<String> {
        self.now += seconds * SECOND;
        self.tell(input)
    }

    /// When the deadline is.
    fn sleeps(&self) -> Option<Duration> {
        self.service.next_deadline().map(|deadline| deadline - self.now)
    }
}

#[test]
fn nobody_is_announced_on_a_guess_and_nothing_is_waited_for_at_the_start() {
    let mut run = Run::new();
    assert_eq!(run.tell(Input::Start { holding: false }), ["init -> fault: tracker_failed"]);
    assert_eq!(run.tell(tracker(true)), ["announce", "fault -> announced: trackers_recovered"]);
    assert_eq!(run.tell(tracker(true)), [""; 0]);
    assert_eq!(run.sleeps(), None);
}

#[test]
fn what_a_killed_run_has_left_stays_or_goes() {
    let mut fit = Run::new();
    fit.tell(tracker(true));
    assert_eq!(fit.tell(Input::Start { holding: true }), ["announce", "init -> announced: resumed"]);
    let mut unfit = Run::new();
    unfit.tell(tracker(false));
    assert_eq!(unfit.tell(Input::Start { holding: true }), ["withdraw", "init -> fault: tracker_failed"]);
    // Routers are learning it.
    assert_eq!(unfit.tell(tracker(true)), ["fault -> waiting: trackers_recovered"]);
    assert_eq!(unfit.sleeps(), Some(2 * SECOND));
}

#[test]
fn a_fault_takes_the_addresses_at_once_and_they_come_back_after_the_hold_down() {
    let mut run = Run::fit();
    assert_eq!(run.tell(tracker(false)), ["withdraw", "announced -> fault: tracker_failed"]);
    assert_eq!(run.after(60, tracker(true)), ["fault -> waiting: trackers_recovered"]);
    assert_eq!(run.sleeps(), Some(5 * SECOND));
    assert_eq!(run.after(4, Input::Woken), [""; 0], "too early");
    assert_eq!(run.tell(tracker(false)), ["waiting -> fault: tracker_failed"]);
    assert_eq!(run.tell(tracker(true)), ["fault -> waiting: trackers_recovered"]);
    assert_eq!(run.after(5, Input::Woken), ["announce", "waiting -> announced: lasted"]);
}

#[test]
fn faults_that_repeat_double_the_hold_down_up_to_a_bound_and_are_forgotten() {
    let mut run = Run::fit();
    let mut waits = Vec::new();
    for pause in [0, 1, 1, 1, 1, 1, 1, 20 * 60] {
        run.after(pause, tracker(false));
        run.tell(tracker(true));
        waits.push(run.sleeps().map_or(0, |wait| wait.as_secs()));
        let wait = run.sleeps().unwrap_or_default();
        run.now += wait;
        assert_eq!(run.tell(Input::Woken), ["announce", "waiting -> announced: lasted"]);
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 160, 5]);
}

#[test]
fn an_end_in_good_order_is_no_flapping() {
    let mut run = Run::fit();
    for _ in 0..3 {
        assert_eq!(run.after(60, end_of_lbd()), ["withdraw", "announced -> fault: tracker_failed"]);
        assert_eq!(run.after(10, tracker(true)), ["announce", "fault -> announced: trackers_recovered"]);
    }
    run.tell(end_of_lbd());
    assert_eq!(run.after(1, tracker(true)), ["fault -> waiting: trackers_recovered"]);
    assert_eq!(run.sleeps(), Some(SECOND), "routers are learning it");
}

#[test]
fn an_operator_takes_the_addresses_away_until_he_wants_them_back() {
    let mut run = Run::fit();
    assert_eq!(run.tell(Input::Withdraw), ["withdraw", "announced -> leaving: requested"]);
    assert_eq!(run.sleeps(), Some(2 * SECOND));
    assert_eq!(run.tell(Input::Withdraw), [""; 0]);
    assert_eq!(run.after(2, Input::Woken), ["leaving -> withdrawn: learned"]);
    assert_eq!(run.sleeps(), None);
    assert_eq!(run.tell(tracker(false)), [""; 0]);
    assert_eq!(run.tell(tracker(true)), [""; 0], "he has not asked");
    assert_eq!(run.tell(Input::Announce), ["announce", "withdrawn -> announced: requested"]);
    assert_eq!(run.tell(Input::Announce), [""; 0]);
}

#[test]
fn who_is_asked_back_too_early_waits_for_the_routers_and_who_is_unfit_for_trackers() {
    let mut run = Run::fit();
    run.tell(Input::Withdraw);
    assert_eq!(run.after(1, Input::Announce), ["leaving -> waiting: requested"]);
    assert_eq!(run.sleeps(), Some(SECOND));
    assert_eq!(run.after(1, Input::Woken), ["announce", "waiting -> announced: lasted"]);
    run.tell(Input::Withdraw);
    run.tell(tracker(false));
    assert_eq!(run.tell(Input::Announce), ["leaving -> fault: tracker_failed"]);
    assert_eq!(run.tell(Input::Withdraw), ["fault -> leaving: requested"]);
}

#[test]
fn an_operator_ends_a_hold_down() {
    let mut run = Run::fit();
    run.tell(tracker(false));
    run.after(3, tracker(true));
    assert_eq!(run.tell(Input::Announce), ["announce", "waiting -> announced: requested"]);
    // And what was counted for it.
    run.tell(tracker(false));
    assert_eq!(run.tell(tracker(true)), ["fault -> waiting: trackers_recovered"]);
    assert_eq!(run.sleeps(), Some(5 * SECOND));
}

#[test]
fn a_stop_takes_the_addresses_from_every_state() {
    let fault = || {
        let mut run = Run::fit();
        run.tell(tracker(false));
        run
    };
    let waiting = || {
        let mut run = fault();
        run.tell(tracker(true));
        run
    };
    let leaving = || {
        let mut run = Run::fit();
        run.tell(Input::Withdraw);
        run
    };
    assert_eq!(Run::fit().tell(Input::Stop), ["withdraw", "announced -> init: stopped"]);
    assert_eq!(fault().tell(Input::Stop), ["fault -> init: stopped"]);
    assert_eq!(waiting().tell(Input::Stop), ["waiting -> init: stopped"]);
    assert_eq!(leaving().tell(Input::Stop), ["leaving -> init: stopped"]);
    assert_eq!(Run::new().tell(Input::Stop), [""; 0]);
}

#[test]
fn a_tracker_that_a_reload_brings_counts_from_its_first_report_on() {
    let mut run = Run::fit();
    assert_eq!(run.tell(Input::Reload(settings(&["lbd", "disk"]))), [""; 0]);
    let disk = |good| Input::Tracker { name: "disk".to_owned(), good, planned: false };
    assert_eq!(run.tell(disk(false)), ["withdraw", "announced -> fault: tracker_failed"]);
    assert_eq!(run.after(60, Input::Reload(settings(&["lbd"]))), ["fault -> waiting: trackers_recovered"]);
    assert_eq!(run.service.state(), State::Waiting);
}

#[test]
fn weights_are_of_no_concern_where_there_is_no_priority() {
    let rule = TrackerRule { name: "lbd".to_owned(), weight: Weight::WhileFailing(20) };
    let mut service = Service::new(Settings { trackers: vec![rule], ..settings(&[]) });
    let actions = service.handle(Input::Start { holding: false }, SECOND);
    assert!(
        matches!(&actions[..], [Action::Transition(told)] if told.cause == Cause::TrackerFailed("lbd".into()))
    );
}
