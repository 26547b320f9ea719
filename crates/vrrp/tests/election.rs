//! The state machine by table: every input in every state, with the section of RFC 9568 that decides it.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

use std::net::IpAddr;
use std::time::Duration;

use vrrp::{
    Action, AdvertInterval, Cause, Heard, Input, Instance, Moment, Preemption, Priority, Settings, State,
    TrackerRule, Transition, Version, Weight,
};

const OWN: &str = "192.0.2.200";
const LOWER: &str = "192.0.2.99";
const HIGHER: &str = "192.0.2.201";
/// The tests begin late, so that a mistaken zero would show.
const START: Moment = Duration::from_secs(1000);
const INTERVAL: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    Settings {
        version: Version::V3,
        own_address: OWN.parse().unwrap(),
        priority: Priority::DEFAULT,
        interval: AdvertInterval::new(Version::V3, INTERVAL).unwrap(),
        preemption: Preemption::default(),
        strict: false,
        trackers: vec![TrackerRule { name: "lbd".to_owned(), weight: Weight::Fault }],
    }
}

fn advert(source: &str, priority: u8) -> Input {
    advert_every(source, priority, INTERVAL)
}

fn advert_every(source: &str, priority: u8, interval: Duration) -> Input {
    Input::Advert(heard(source, priority, interval))
}

fn doubted(source: &str, priority: u8) -> Input {
    Input::Doubted(heard(source, priority, INTERVAL))
}

fn heard(source: &str, priority: u8, interval: Duration) -> Heard {
    Heard {
        source: source.parse().unwrap(),
        priority: Priority::from_wire(priority),
        interval: AdvertInterval::new(Version::V3, interval).unwrap(),
    }
}

fn tracker(good: bool) -> Input {
    Input::Tracker { name: "lbd".to_owned(), good, planned: false }
}

fn told_to_end() -> Input {
    Input::Tracker { name: "lbd".to_owned(), good: false, planned: true }
}

fn start() -> Input {
    Input::Start { holding: false }
}

/// An instance with these settings in a state, brought there at [`START`].
fn instance(settings: Settings, state: State) -> Instance {
    let mut instance = Instance::new(settings);
    instance.handle(tracker(state != State::Fault), START);
    if state != State::Init {
        instance.handle(start(), START);
    }
    if state == State::Master && instance.state() == State::Backup {
        // As if started long ago, so that the mastership begins at START too.
        instance.handle(advert(HIGHER, 0), START - INTERVAL * 2);
        instance.handle(Input::Woken, instance.next_deadline().unwrap());
        instance.handle(Input::Woken, START);
    }
    assert_eq!(instance.state(), state);
    instance
}

fn words(actions: &[Action]) -> String {
    let word = |action: &Action| match action {
        Action::SendAdvert(priority) => format!("advert {priority}"),
        Action::AddAddresses => "add".to_owned(),
        Action::RemoveAddresses => "remove".to_owned(),
        Action::SendGratuitous => "gratuitous".to_owned(),
        Action::Probe => "probe".to_owned(),
        Action::Vouch(source) => format!("vouch {source}"),
        Action::Transition(Transition { from, to, cause }) => format!("{from}>{to} {}", cause.label()),
    };
    actions.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Microseconds of a moment after [`START`].
fn since_start(moment: Option<Moment>) -> Option<u128> {
    moment.map(|moment| (moment - START).as_micros())
}

const DOWN: Option<u128> = Some(3_609_375);
const NEXT: Option<u128> = Some(1_000_000);

/// What a state makes of an input at [`START`]: the actions, and the deadline in microseconds from then.
#[track_caller]
fn row(state: State, input: Input, actions: &str, deadline: Option<u128>) {
    let mut instance = instance(settings(), state);
    let done = instance.handle(input.clone(), START);
    assert_eq!(words(&done), actions, "{state} {input:?}");
    assert_eq!(since_start(instance.next_deadline()), deadline, "{state} {input:?}");
}

#[test]
fn every_input_in_every_state() {
    let mut raised = settings();
    raised.priority = Priority::from_wire(150);
    let reload = || Input::Reload(raised.clone());
    let release = "remove, advert 0, advert 0";

    // 6.4.1 Initialize.
    row(State::Init, start(), "init>backup started", DOWN);
    row(State::Init, Input::Stop, "", None);
    row(State::Init, Input::Release, "", None);
    row(State::Init, Input::Claimed, "", None);
    row(State::Init, advert(HIGHER, 200), "", None);
    row(State::Init, doubted(HIGHER, 200), "", None);
    row(State::Init, Input::Woken, "", None);
    row(State::Init, tracker(false), "", None);
    row(State::Init, reload(), "", None);

    // 6.4.2 Backup. Priority 0 leaves the skew, here of 80 ms; better and equal adverts re-arm whatever their address.
    row(State::Backup, start(), "", DOWN);
    row(State::Backup, Input::Stop, "backup>init stopped", None);
    row(State::Backup, Input::Release, "", DOWN);
    row(State::Backup, Input::Claimed, "", Some(4_609_375));
    row(State::Backup, advert(HIGHER, 0), "", Some(48_750));
    row(State::Backup, advert(LOWER, 100), "", DOWN);
    row(State::Backup, advert(HIGHER, 200), "", DOWN);
    row(State::Backup, advert_every(HIGHER, 200, INTERVAL * 2), "", Some(7_218_750));
    row(State::Backup, advert_every(HIGHER, 99, INTERVAL * 2), "", DOWN);
    row(State::Backup, advert(OWN, 200), "", DOWN);
    row(State::Backup, doubted(HIGHER, 200), "", DOWN);
    row(State::Backup, doubted(HIGHER, 0), "", DOWN);
    row(State::Backup, Input::Woken, "", DOWN);
    row(State::Backup, tracker(true), "", DOWN);
    row(State::Backup, tracker(false), "backup>fault tracker_failed", None);
    row(State::Backup, told_to_end(), "backup>fault tracker_ends", None);
    row(State::Backup, reload(), "", Some(3_414_062));

    // 6.4.3 Active. A losing advert is answered at once, an equal one is decided by address.
    row(State::Master, start(), "", NEXT);
    row(State::Master, Input::Stop, &format!("{release}, master>init stopped"), None);
    // It waits for a successor as long as the slowest one does, and a little for the way.
    row(State::Master, Input::Release, "advert 0, advert 0, master>backup released", Some(1_121_093));
    row(State::Master, Input::Claimed, "advert 100, gratuitous", NEXT);
    row(State::Master, advert(HIGHER, 0), "advert 100", NEXT);
    row(State::Master, advert(HIGHER, 99), "advert 100, gratuitous", NEXT);
    row(State::Master, advert(LOWER, 100), "advert 100, gratuitous", NEXT);
    row(State::Master, advert(HIGHER, 100), "remove, advert 100, master>backup outranked", DOWN);
    row(State::Master, advert(LOWER, 101), "remove, advert 100, master>backup outranked", DOWN);
    row(
        State::Master,
        advert_every(LOWER, 101, INTERVAL * 2),
        "remove, advert 100, master>backup outranked",
        Some(7_218_750),
    );
    row(State::Master, advert(OWN, 100), "", NEXT);
    row(State::Master, doubted(HIGHER, 99), "advert 100, gratuitous", NEXT);
    row(State::Master, doubted(HIGHER, 100), "probe", NEXT);
    row(State::Master, doubted(OWN, 200), "", NEXT);
    row(State::Master, Input::Woken, "", NEXT);
    row(State::Master, tracker(true), "", NEXT);
    row(State::Master, tracker(false), &format!("{release}, master>fault tracker_failed"), None);
    row(State::Master, told_to_end(), &format!("{release}, master>fault tracker_ends"), None);
    row(State::Master, reload(), "advert 150, add, gratuitous", NEXT);

    // Fault, which the RFC does not know.
    row(State::Fault, start(), "", None);
    row(State::Fault, Input::Stop, "fault>init stopped", None);
    row(State::Fault, Input::Release, "", None);
    row(State::Fault, Input::Claimed, "", None);
    row(State::Fault, advert(HIGHER, 0), "", None);
    row(State::Fault, advert(LOWER, 1), "", None);
    row(State::Fault, doubted(LOWER, 1), "", None);
    row(State::Fault, Input::Woken, "", None);
    row(State::Fault, tracker(true), "fault>backup trackers_recovered", DOWN);
    row(State::Fault, tracker(false), "", None);
    row(State::Fault, reload(), "", None);
}

#[test]
fn silence_makes_a_master_and_the_clock_its_adverts() {
    let mut instance = instance(settings(), State::Backup);
    let deadline = instance.next_deadline().unwrap();
    assert_eq!(words(&instance.handle(Input::Woken, deadline - Duration::from_nanos(1))), "");
    let done = instance.handle(Input::Woken, deadline);
    assert_eq!(words(&done), "advert 100, add, gratuitous, backup>master master_silent");
    assert_eq!(instance.next_deadline(), Some(deadline + INTERVAL));
    assert_eq!(words(&instance.handle(Input::Woken, deadline + INTERVAL * 9)), "advert 100", "late, but one");
    assert_eq!(instance.next_deadline(), Some(deadline + INTERVAL * 10));
}

#[test]
fn the_owner_does_not_wait_and_always_preempts() {
    let mut settings = settings();
    settings.priority = Priority::OWNER;
    settings.preemption = Preemption::Off;
    let mut owner = instance(settings.clone(), State::Init);
    assert_eq!(words(&owner.handle(start(), START)), "advert 255, add, gratuitous, init>master started");
    assert_eq!(words(&owner.handle(advert(HIGHER, 254), START)), "advert 255, gratuitous");

    let mut reloaded = instance(self::settings(), State::Backup);
    reloaded.handle(Input::Reload(settings), START);
    let deadline = reloaded.next_deadline();
    reloaded.handle(advert(HIGHER, 254), START + INTERVAL);
    assert_eq!(reloaded.next_deadline(), deadline, "the timer keeps running");
    let done = reloaded.handle(Input::Woken, deadline.unwrap());
    assert_eq!(words(&done), "advert 255, add, gratuitous, backup>master preempted");
}

#[test]
fn a_lower_master_is_preempted_when_asked_for_and_not_before() {
    let with = |preemption| instance(Settings { preemption, ..settings() }, State::Backup);
    let hear = |instance: &mut Instance, after: Duration| {
        assert_eq!(instance.handle(advert(LOWER, 50), START + after), []);
        since_start(instance.next_deadline()).unwrap()
    };
    let seconds = Duration::from_secs;

    let mut off = with(Preemption::Off);
    assert_eq!(hear(&mut off, seconds(60)), 63_609_375, "followed like any other");

    let mut delayed = with(Preemption::After(seconds(5)));
    assert_eq!(hear(&mut delayed, seconds(1)), 4_609_375);
    assert_eq!(hear(&mut delayed, seconds(4)), 7_609_375);
    assert_eq!(hear(&mut delayed, seconds(6)), 7_609_375, "five seconds after the first");
    let done = delayed.handle(Input::Woken, delayed.next_deadline().unwrap());
    assert_eq!(words(&done), "advert 100, add, gratuitous, backup>master preempted");

    let mut interrupted = with(Preemption::After(seconds(5)));
    assert_eq!(hear(&mut interrupted, seconds(1)), 4_609_375);
    interrupted.handle(advert(LOWER, 100), START + seconds(2));
    assert_eq!(hear(&mut interrupted, seconds(6)), 9_609_375, "a better master starts the delay anew");
}

#[test]
fn a_leaving_master_is_replaced_after_a_skew() {
    for (strict, expected) in [(false, 48_750), (true, 609_375)] {
        let mut instance = instance(Settings { strict, ..settings() }, State::Backup);
        instance.handle(advert(HIGHER, 0), START);
        instance.handle(advert(HIGHER, 0), START + Duration::from_millis(20));
        assert_eq!(since_start(instance.next_deadline()), Some(expected), "the second changes nothing");
        let done = instance.handle(Input::Woken, instance.next_deadline().unwrap());
        assert_eq!(words(&done), "advert 100, add, gratuitous, backup>master master_released");
    }
    let mut outrun = instance(settings(), State::Backup);
    outrun.handle(advert(HIGHER, 0), START);
    outrun.handle(advert(LOWER, 150), START + Duration::from_millis(20));
    assert_eq!(since_start(outrun.next_deadline()), Some(3_629_375), "another backup was quicker");
}

#[test]
fn a_late_loop_listens_before_it_takes_over() {
    let mut instance = instance(settings(), State::Backup);
    let deadline = instance.next_deadline().unwrap();
    let late = deadline + INTERVAL + Duration::from_nanos(1);
    assert_eq!(instance.handle(Input::Woken, late), []);
    assert_eq!(instance.next_deadline(), Some(late + Duration::from_micros(3_609_375)));
    let mut heard = instance.clone();

    // Once only: a loop that is always late must not leave the addresses without a master.
    let later = instance.next_deadline().unwrap() + INTERVAL * 5;
    let done = instance.handle(Input::Woken, later);
    assert_eq!(words(&done), "advert 100, add, gratuitous, backup>master master_silent");

    // An advert in between gives a new chance.
    heard.handle(advert(HIGHER, 200), late + INTERVAL);
    assert_eq!(heard.handle(Input::Woken, late + INTERVAL * 9), []);
    assert_eq!(heard.state(), State::Backup);
}

#[test]
fn a_flood_of_losing_adverts_is_no_flood_of_answers() {
    let mut instance = instance(settings(), State::Master);
    let millisecond = Duration::from_millis(1);
    let answers = (0..1000).filter(|step| {
        let source = if step % 2 == 0 { LOWER } else { HIGHER };
        let done = instance.handle(advert(source, u8::from(step % 4 == 0)), START + millisecond * *step);
        done.iter().any(|action| matches!(action, Action::SendAdvert(_)))
    });
    assert_eq!(answers.count(), 8);
}

#[test]
fn addresses_left_by_a_crash_stay_until_somebody_else_is_heard() {
    let holding = || Input::Start { holding: true };
    let resumed = || {
        let mut instance = instance(settings(), State::Init);
        assert_eq!(words(&instance.handle(holding(), START)), "init>backup started");
        assert_eq!(since_start(instance.next_deadline()), Some(1_609_375), "sooner than any backup");
        instance
    };
    let mut alone = resumed();
    let done = alone.handle(Input::Woken, alone.next_deadline().unwrap());
    assert_eq!(words(&done), "advert 100, add, gratuitous, backup>master resumed");

    for priority in [50, 100, 200] {
        let mut replaced = resumed();
        assert_eq!(words(&replaced.handle(advert(LOWER, priority), START)), "remove");
        assert_eq!(words(&replaced.handle(advert(LOWER, priority), START)), "", "once");
    }
}

#[test]
fn who_gives_addresses_of_a_crash_up_says_so() {
    let mut settings = settings();
    let holding = || Input::Start { holding: true };
    let resumed = || {
        let mut instance = instance(settings.clone(), State::Init);
        instance.handle(holding(), START);
        instance
    };
    let leaving = |to| format!("remove, advert 0, advert 0, {to}");
    assert_eq!(words(&resumed().handle(Input::Stop, START)), leaving("backup>init stopped"));
    assert_eq!(words(&resumed().handle(tracker(false), START)), leaving("backup>fault tracker_failed"));
    let mut unfit = instance(settings.clone(), State::Init);
    unfit.handle(tracker(false), START);
    assert_eq!(words(&unfit.handle(holding(), START)), leaving("init>fault tracker_failed"));
    // Its tracker is slow to tell.
    settings.trackers[0].name = "slow".to_owned();
    let mut unknown = Instance::new(settings);
    assert_eq!(words(&unknown.handle(holding(), START)), leaving("init>fault tracker_failed"));
}

#[test]
fn weights_move_the_priority_and_say_so_at_once() {
    let mut settings = settings();
    settings.trackers[0].weight = Weight::WhileGood(20);
    let mut master = instance(settings.clone(), State::Master);
    assert_eq!(master.priority(), Priority::from_wire(120));
    assert_eq!(words(&master.handle(tracker(false), START)), "advert 100");
    assert_eq!(
        words(&master.handle(advert(LOWER, 110), START)),
        "remove, advert 100, master>backup outranked"
    );

    let mut backup = instance(settings, State::Backup);
    assert_eq!(since_start(backup.next_deadline()), Some(3_531_250));
    backup.handle(tracker(false), START);
    assert_eq!(since_start(backup.next_deadline()), DOWN, "the wait takes the new skew");
}

#[test]
fn a_reload_flaps_only_when_it_must() {
    let mut faster = settings();
    faster.interval = AdvertInterval::new(Version::V3, INTERVAL / 10).unwrap();
    let mut master = instance(settings(), State::Master);
    assert_eq!(words(&master.handle(Input::Reload(faster), START)), "advert 100, add, gratuitous");
    assert_eq!(since_start(master.next_deadline()), Some(100_000));

    let mut demanding = settings();
    demanding.trackers.push(TrackerRule { name: "uplink".to_owned(), weight: Weight::Fault });
    let done = master.handle(Input::Reload(demanding), START);
    assert_eq!(words(&done), "advert 100, add, gratuitous", "nobody knows yet how the uplink is");
    let done =
        master.handle(Input::Tracker { name: "uplink".to_owned(), good: false, planned: false }, START);
    let expected = Transition {
        from: State::Master,
        to: State::Fault,
        cause: Cause::TrackerFailed("uplink".to_owned()),
    };
    assert_eq!(expected.to_string(), "master -> fault: tracker uplink fails");
    assert_eq!(done.last(), Some(&Action::Transition(expected)));
    let done = master.handle(Input::Reload(settings()), START);
    assert_eq!(words(&done), "fault>backup trackers_recovered");
}

#[test]
fn addresses_compare_unsigned_and_ipv6_too() {
    for (own, other, yields) in [
        ("10.0.0.1", "192.0.2.1", true),
        ("192.0.2.1", "127.0.0.1", false),
        ("fe80::1", "fe80::ff", true),
        ("fe80::ffff", "fe80::fff", false),
    ] {
        let own_address: IpAddr = own.parse().unwrap();
        let mut instance = instance(Settings { own_address, ..settings() }, State::Master);
        instance.handle(advert(other, 100), START);
        assert_eq!(instance.state() == State::Backup, yields, "{own} and {other}");
    }
}

#[test]
fn an_owner_hands_nothing_over() {
    let mut owner = instance(Settings { priority: Priority::OWNER, ..settings() }, State::Master);
    assert_eq!(words(&owner.handle(Input::Release, START)), "");
    assert_eq!(owner.state(), State::Master);
}

#[test]
fn a_handover_is_not_taken_back_but_for_want_of_a_successor() {
    let released = || {
        let mut instance = instance(settings(), State::Master);
        instance.handle(Input::Release, START);
        instance
    };
    let mut alone = released();
    let done = alone.handle(Input::Woken, alone.next_deadline().unwrap());
    assert_eq!(words(&done), "advert 100, add, gratuitous, backup>master unclaimed");

    let mut followed = released();
    let soon = Duration::from_millis(100);
    let done = followed.handle(advert(LOWER, 50), START + soon);
    assert_eq!(words(&done), "remove", "the addresses stay until a successor is heard");
    assert_eq!(since_start(followed.next_deadline()), Some(3_709_375), "a lower successor is followed");
    followed.handle(advert(LOWER, 50), START + INTERVAL);
    assert_eq!(since_start(followed.next_deadline()), Some(4_609_375), "and not preempted later either");
    let done = followed.handle(Input::Woken, followed.next_deadline().unwrap());
    assert_eq!(words(&done), "advert 100, add, gratuitous, backup>master master_silent");
    followed.handle(advert(HIGHER, 200), START + INTERVAL * 6);
    let deadline = followed.next_deadline();
    followed.handle(advert(LOWER, 50), START + INTERVAL * 7);
    assert_eq!(followed.next_deadline(), deadline, "once it was master again it preempts as ever");

    let mut better = released();
    better.handle(advert(LOWER, 50), START + soon);
    let mut raised = settings();
    raised.priority = Priority::from_wire(101);
    better.handle(Input::Reload(raised), START + soon);
    let deadline = better.next_deadline();
    better.handle(advert(LOWER, 50), START + INTERVAL);
    assert_eq!(better.next_deadline(), deadline, "it preempts once its priority has risen");
}

#[test]
fn who_answers_for_the_addresses_puts_a_silent_takeover_off_within_a_bound() {
    let mut claimed = instance(settings(), State::Backup);
    assert!(claimed.expects_silence());
    for _ in 0..10 {
        assert_eq!(claimed.handle(Input::Claimed, START), []);
    }
    assert_eq!(since_start(claimed.next_deadline()), Some(6_609_375), "three intervals at most");
    claimed.handle(advert(HIGHER, 200), START + INTERVAL);
    claimed.handle(Input::Claimed, START + INTERVAL);
    assert_eq!(since_start(claimed.next_deadline()), Some(5_609_375), "an advert begins the count anew");

    let mut released = claimed.clone();
    released.handle(advert(HIGHER, 0), START + INTERVAL);
    let mut preempting = instance(settings(), State::Backup);
    preempting.handle(advert(LOWER, 50), START);
    let mut resuming = instance(settings(), State::Init);
    resuming.handle(Input::Start { holding: true }, START);
    let mut handed_over = instance(settings(), State::Master);
    handed_over.handle(Input::Release, START);
    for mut unasked in [released, preempting, resuming, handed_over] {
        assert!(!unasked.expects_silence());
        let deadline = unasked.next_deadline();
        assert_eq!(unasked.handle(Input::Claimed, START), []);
        assert_eq!(unasked.next_deadline(), deadline, "there is no doubt that a claim could raise");
    }
}

#[test]
fn a_living_master_with_another_clock_is_followed_as_long_as_it_answers() {
    let mut backup = instance(settings(), State::Backup);
    let mut now = START;
    for _ in 0..10 {
        let deadline = backup.next_deadline().unwrap();
        while now + INTERVAL < deadline {
            now += INTERVAL;
            assert_eq!(words(&backup.handle(doubted(LOWER, 99), now)), "");
        }
        assert_eq!(backup.next_deadline(), Some(deadline), "alone it counts for nothing");
        now = deadline - INTERVAL / 40;
        assert!(backup.expects_silence());
        assert_eq!(words(&backup.handle(Input::Claimed, now)), format!("vouch {LOWER}"));
        assert_eq!(backup.next_deadline(), Some(now + deadline_after(START)));
    }
    // It does not answer any more, and what is played goes on.
    let deadline = backup.next_deadline().unwrap();
    while now + INTERVAL < deadline {
        now += INTERVAL;
        backup.handle(doubted(LOWER, 99), now);
    }
    let done = words(&backup.handle(Input::Woken, deadline));
    assert_eq!(done, "advert 100, add, gratuitous, backup>master master_silent");
}

/// The master-down time of these tests' backup.
fn deadline_after(start: Moment) -> Duration {
    instance(settings(), State::Backup).next_deadline().unwrap() - start
}

#[test]
fn a_recording_puts_no_takeover_off() {
    let mut backup = instance(settings(), State::Backup);
    let deadline = backup.next_deadline().unwrap();
    for tenth in 1..36 {
        let now = START + INTERVAL / 10 * tenth;
        assert_eq!(words(&backup.handle(doubted(HIGHER, 200), now)), "");
        assert_eq!(backup.next_deadline(), Some(deadline));
    }
    backup.handle(Input::Woken, deadline);
    assert_eq!(backup.state(), State::Master);
    // Nor does it end a mastership.
    for tenth in 0..100 {
        let done = backup.handle(doubted(HIGHER, 200), deadline + INTERVAL / 10 * tenth);
        assert!(matches!(done[..], [] | [Action::Probe]), "{done:?}");
    }
    assert_eq!(backup.state(), State::Master);
}

#[test]
fn of_two_masters_with_different_clocks_one_gives_way() {
    let mut master = instance(settings(), State::Master);
    let now = START + INTERVAL / 4;
    assert_eq!(words(&master.handle(doubted(HIGHER, 200), now)), "probe");
    let claimed = words(&master.clone().handle(Input::Claimed, now));
    assert_eq!(claimed, format!("vouch {HIGHER}, remove, advert 100, master>backup outranked"));
    // Five intervals later it is no answer to that advert.
    assert_eq!(words(&master.handle(Input::Claimed, now + INTERVAL * 5)), "advert 100, gratuitous");
}
