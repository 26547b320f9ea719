//! Connections kept over handovers: who keeps, who passes on, and for how long.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

use std::net::IpAddr;
use std::time::Duration;

use vrrp::keep::{Action, End, Input, Keeper, News, Plan};
use vrrp::packet::Kind;
use vrrp::{Moment, Priority};

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));
const SAY: Action = Action::Say { kind: Kind::Keeps, last: false };
const LAST: Action = Action::Say { kind: Kind::Keeps, last: true };
const PASS: Action = Action::Say { kind: Kind::Passes, last: false };

fn at(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

fn node(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn heard(source: u8, kind: Kind) -> Input {
    Input::Heard { source: node(source), kind, priority: Priority::DEFAULT }
}

fn passing_to(nodes: &[u8]) -> Plan {
    let passes_to: Vec<_> = nodes.iter().copied().map(node).collect();
    Plan { keeps: false, mute: !passes_to.is_empty(), passes_to }
}

/// A router that has given the addresses away at 0, and has connections.
fn keeping() -> Keeper {
    let mut keeper = Keeper::new(HOUR);
    assert_eq!(keeper.handle(Input::Serves { peacefully: false }, at(0)), []);
    assert_eq!(keeper.handle(Input::Leaves, at(0)), [SAY], "before the successor has the addresses");
    assert_eq!(
        keeper.plan(),
        Plan { mute: true, ..Plan::default() },
        "others may pass on to here what is theirs"
    );
    assert_eq!(keeper.handle(Input::Left, at(0)), [SAY]);
    assert_eq!(keeper.handle(Input::Counted(12), at(1)), [Action::Tell(News::Keeps(12))]);
    assert!(keeper.plan().keeps && keeper.plan().mute);
    keeper
}

#[test]
fn what_is_kept_is_told_each_second_until_nothing_is_left() {
    let mut keeper = keeping();
    for second in 1..10 {
        let now = keeper.next_deadline().unwrap();
        assert_eq!(now, at(second * 1000));
        assert_eq!(keeper.handle(Input::Woken, now), [SAY]);
        assert_eq!(keeper.handle(heard(2, Kind::Passes), now), []);
        assert_eq!(keeper.handle(Input::Counted(10 - second), now), []);
        assert_eq!(keeper.kept(), Some(10 - second));
    }
    let end = Action::Tell(News::KeepsNone(End::NothingLeft, 0));
    assert_eq!(keeper.handle(Input::Counted(0), at(9500)), [LAST, end]);
    assert_eq!((keeper.plan(), keeper.next_deadline()), (Plan::default(), None));
}

#[test]
fn nothing_is_kept_for_longer_than_was_configured() {
    let mut keeper = keeping();
    let mut now = at(0);
    while keeper.plan().keeps {
        keeper.handle(heard(2, Kind::Passes), now);
        now = keeper.next_deadline().unwrap();
        keeper.handle(Input::Woken, now);
    }
    assert_eq!(now, at(3_600_000));
}

#[test]
fn nothing_is_kept_that_nobody_passes_on() {
    let mut keeper = keeping();
    keeper.handle(heard(2, Kind::Passes), at(500));
    let mut actions = Vec::new();
    while keeper.plan().keeps {
        actions = keeper.handle(Input::Woken, keeper.next_deadline().unwrap());
    }
    assert_eq!(actions, [LAST, Action::Tell(News::KeepsNone(End::NobodyPasses, 12))]);
}

#[test]
fn who_never_had_a_connection_says_so_and_nothing_else() {
    let mut keeper = Keeper::new(HOUR);
    keeper.handle(Input::Serves { peacefully: false }, at(0));
    keeper.handle(Input::Left, at(0));
    assert_eq!(keeper.handle(Input::Counted(0), at(1)), [LAST]);
}

#[test]
fn a_master_passes_on_to_those_who_keep_as_long_as_it_hears_of_them() {
    let mut keeper = Keeper::new(HOUR);
    assert_eq!(keeper.handle(heard(1, Kind::Keeps), at(0)), [], "it is no master yet");
    assert_eq!(keeper.plan(), Plan::default());
    let told = keeper.handle(Input::Serves { peacefully: true }, at(10));
    assert_eq!(told, [Action::Tell(News::PassesTo(node(1)))]);
    assert_eq!(keeper.handle(heard(1, Kind::Keeps), at(1000)), [PASS]);
    assert_eq!(keeper.handle(heard(3, Kind::Keeps), at(2000)), [PASS, Action::Tell(News::PassesTo(node(3)))]);
    assert_eq!(keeper.plan(), passing_to(&[1, 3]));
    keeper.handle(Input::Woken, at(1010));
    keeper.handle(Input::Woken, at(4499));
    assert_eq!(keeper.plan(), passing_to(&[1, 3]));
    assert_eq!(keeper.handle(Input::Woken, at(4500)), [Action::Tell(News::PassesNoMore(node(1)))]);
    let last = Input::Heard { source: node(3), kind: Kind::Keeps, priority: Priority::RELEASE };
    assert_eq!(keeper.handle(last, at(4600)), [Action::Tell(News::PassesNoMore(node(3)))]);
    assert_eq!((keeper.plan(), keeper.next_deadline()), (Plan::default(), None));
}

#[test]
fn a_new_master_resets_nothing_while_the_last_one_may_still_speak() {
    let mut keeper = Keeper::new(HOUR);
    keeper.handle(Input::Serves { peacefully: true }, at(0));
    assert_eq!(keeper.plan(), Plan { mute: true, ..Plan::default() });
    keeper.handle(Input::Woken, keeper.next_deadline().unwrap());
    assert_eq!(keeper.plan(), Plan::default());
    keeper.handle(Input::Serves { peacefully: false }, at(0));
    assert_eq!(keeper.plan(), Plan::default(), "of a dead one nothing is left");
}

#[test]
fn a_second_handover_makes_two_that_keep() {
    let mut second = Keeper::new(HOUR);
    second.handle(Input::Serves { peacefully: true }, at(0));
    second.handle(heard(1, Kind::Keeps), at(0));
    let actions = second.handle(Input::Left, at(100));
    assert_eq!(actions, [SAY, Action::Tell(News::PassesNoMore(node(1)))]);
    assert!(second.plan().keeps);
    // Back again: its own are its own, and the first one's are still passed on.
    second.handle(Input::Counted(3), at(101));
    let actions = second.handle(Input::Serves { peacefully: true }, at(200));
    let told = [News::KeepsNone(End::Back, 3), News::PassesTo(node(1))].map(Action::Tell);
    assert_eq!(actions, [&[LAST], &told[..]].concat());
}

#[test]
fn who_is_not_configured_to_does_nothing() {
    let mut keeper = Keeper::new(None);
    for input in [
        Input::Serves { peacefully: true },
        heard(1, Kind::Keeps),
        Input::Leaves,
        Input::Left,
        heard(1, Kind::Passes),
        Input::Counted(1),
        Input::Woken,
        Input::Ends,
    ] {
        assert_eq!(keeper.handle(input, at(0)), []);
        assert_eq!((keeper.plan(), keeper.next_deadline()), (Plan::default(), None));
    }
    keeper.handle(Input::Serves { peacefully: true }, at(0));
    keeper.handle(Input::Reload { bound: HOUR }, at(0));
    keeper.handle(heard(1, Kind::Keeps), at(0));
    assert_eq!(keeper.plan(), passing_to(&[1]), "it was master before it was configured to");
    let mut keeper = keeping();
    let end = Action::Tell(News::KeepsNone(End::Bound, 12));
    assert_eq!(keeper.handle(Input::Reload { bound: None }, at(5)), [LAST, end]);
}

#[test]
fn a_flood_of_those_who_keep_is_bounded() {
    let mut keeper = Keeper::new(HOUR);
    keeper.handle(Input::Serves { peacefully: true }, at(0));
    for number in 0..100 {
        keeper.handle(heard(number, Kind::Keeps), at(0));
    }
    assert_eq!(keeper.plan().passes_to.len(), 8);
}
