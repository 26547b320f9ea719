//! Servers that connections fail to are left alone for a while.

use crate::{AdminState, Algorithm, Health, ServerView, Tick, Tried};

use super::{Bench, CLIENT, START, every_algorithm, servers};

fn at(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

/// How many of many picks at a moment go to the first server.
fn picks_of_first(bench: &mut Bench, now: Tick) -> usize {
    (0..200)
        .filter(|_| {
            let id = bench.pick_at(now);
            bench.name(id) == "s0"
        })
        .count()
}

#[test]
fn a_failed_server_gets_one_request_a_period() {
    for algorithm in [Algorithm::Roundrobin, Algorithm::Leastconn, Algorithm::Random] {
        let mut bench = Bench::of(algorithm, &[1, 1, 1]);
        let suspect = bench.begin_at("s0");
        bench.balancer.end(suspect);
        bench.balancer.failed(suspect, START);
        assert!(bench.balancer.suspected(suspect, at(999)) && !bench.balancer.suspected(suspect, at(1_000)));
        assert_eq!(picks_of_first(&mut bench, at(999)), 0, "{algorithm}");
        assert_eq!(picks_of_first(&mut bench, at(1_000)), 1, "{algorithm}: one probe");
        bench.balancer.failed(suspect, at(1_010));
        assert_eq!(picks_of_first(&mut bench, at(3_009)), 0, "{algorithm}: the period has doubled");
        assert_eq!(picks_of_first(&mut bench, at(3_010)), 1, "{algorithm}");
        assert_eq!(picks_of_first(&mut bench, at(5_010)), 1, "{algorithm}: the first probe told nothing");
        bench.balancer.succeeded(suspect);
        assert!(picks_of_first(&mut bench, at(5_011)) > 30, "{algorithm}: trusted again");
    }
}

#[test]
fn where_all_are_suspected_suspicion_is_ignored() {
    for algorithm in every_algorithm() {
        let mut bench = Bench::of(algorithm, &[1, 1]);
        let mut tried = Tried::default();
        for _ in 0..2 {
            let id = bench.balancer.pick(CLIENT, &tried, START).unwrap();
            bench.balancer.failed(id, START);
            tried.insert(id);
        }
        assert!(bench.balancer.pick(CLIENT, &Tried::default(), START).is_some(), "{algorithm}");
        assert!(bench.balancer.pick(CLIENT, &tried, START).is_some(), "{algorithm}");
        // A suspected server that was not tried is better than a tried one.
        let mut one = Tried::default();
        let first = bench.pick();
        one.insert(first);
        assert_ne!(bench.balancer.pick(CLIENT, &one, START), Some(first), "{algorithm}");
    }
}

#[test]
fn a_changed_verdict_or_address_ends_it() {
    let all = servers(&[1, 1]);
    let first = || all[0].clone();
    let table = [
        ("nothing", first(), true),
        ("its state", ServerView { admin: AdminState::Ready, ..first() }, true),
        ("its verdict", ServerView { health: Health::Unknown, ..first() }, false),
        ("its address", ServerView { address: Some("127.0.0.2:80".parse().unwrap()), ..first() }, false),
    ];
    for (what, changed, expected) in table {
        let mut bench = Bench::new(Algorithm::Roundrobin, all.clone());
        let suspect = bench.begin_at("s0");
        bench.balancer.failed(suspect, START);
        bench.adopt(vec![all[1].clone(), changed]);
        assert_eq!(bench.balancer.suspected(suspect, at(1)), expected, "{what} changed");
        assert_eq!(picks_of_first(&mut bench, at(1)) == 0, expected, "{what} changed");
    }
}

#[test]
fn a_server_that_left_is_not_suspected_when_it_returns() {
    let mut bench = Bench::of(Algorithm::Roundrobin, &[1, 1]);
    let suspect = bench.begin_at("s0");
    bench.adopt(vec![servers(&[1, 1])[1].clone()]);
    bench.balancer.failed(suspect, START);
    bench.adopt(servers(&[1, 1]));
    assert!(!bench.balancer.suspected(suspect, START));
    assert_eq!(bench.balancer.in_flight(suspect), 1, "its request is still in flight");
}
