//! Servers keep what is known of them while views come and go.

use std::sync::Arc;

use crate::{AdminState, Algorithm, Health, ServerView, Tried};

use super::{Bench, CLIENT, START, every_algorithm, server, servers, weight};

#[test]
fn an_old_id_never_means_another_server() {
    let mut bench = Bench::of(Algorithm::Leastconn, &[1]);
    let old = bench.pick();
    bench.adopt(vec![server("other", 1)]);
    let new = bench.pick();
    assert_ne!(old, new);
    assert_eq!(bench.balancer.index_of(old), None);
    for _ in 0..3 {
        bench.balancer.begin(old);
        bench.balancer.failed(old, START);
    }
    assert_eq!(bench.balancer.in_flight(new), 0);
    assert!(!bench.balancer.suspected(new, START));
    let mut tried = Tried::default();
    tried.insert(old);
    assert_eq!(bench.balancer.pick(CLIENT, &tried, START), Some(new));
}

#[test]
fn requests_at_a_server_that_left_are_found_again() {
    let mut bench = Bench::of(Algorithm::Leastconn, &[1, 1]);
    let id = bench.begin_at("s0");
    bench.adopt(vec![server("s1", 1), server("s2", 1)]);
    assert_eq!(bench.balancer.in_flight(id), 1);
    bench.adopt(servers(&[1, 1, 1]));
    assert_eq!(bench.name(id), "s0");
    assert!(!bench.picks(10).contains(&"s0".to_owned()), "it is the busiest");
    bench.balancer.end(id);
    assert_eq!(bench.balancer.in_flight(id), 0);
}

#[test]
fn ending_too_often_does_not_count_below_zero() {
    let mut bench = Bench::of(Algorithm::Leastconn, &[1, 1]);
    let id = bench.pick();
    bench.balancer.end(id);
    assert_eq!(bench.balancer.in_flight(id), 0);
}

#[test]
fn the_algorithm_can_change() {
    let mut bench = Bench::of(Algorithm::Roundrobin, &[1, 2, 3]);
    let id = bench.begin_at("s1");
    for algorithm in every_algorithm() {
        bench.view = Arc::new(crate::BackendView::new(algorithm, servers(&[1, 2, 3])));
        bench.balancer.adopt(bench.view.clone());
        assert_eq!(bench.balancer.in_flight(id), 1);
        bench.picks(10);
    }
}

/// Whatever a view shows otherwise, choices go on as if all had been sorted anew.
#[test]
fn a_change_among_many_costs_itself_alone() {
    for algorithm in every_algorithm() {
        let mut bench = Bench::of(algorithm, &[1; 64]);
        let mut all = servers(&[1; 64]);
        bench.picks(10);
        all[7].health = Health::Down;
        bench.view = Arc::new(bench.view.next(all.clone()));
        assert_eq!(bench.balancer.adopt(bench.view.clone()), Some(vec![7]), "{algorithm}");
        assert!(!bench.picks(200).contains(&"s7".to_owned()), "{algorithm}");
        all[7].health = Health::Up;
        all[9].admin = AdminState::Drain;
        bench.view = Arc::new(bench.view.next(all.clone()));
        assert_eq!(bench.balancer.adopt(bench.view.clone()), Some(vec![7, 9]), "{algorithm}");
        assert!(!bench.picks(200).contains(&"s9".to_owned()), "{algorithm}");
        // Another weight concerns all: it changes where everybody's turns lie.
        all[9] = ServerView { weight: weight(3), ..server("s9", 1) };
        bench.adopt(all.clone());
        all.swap(1, 2);
        bench.view = Arc::new(bench.view.next(all));
        assert_eq!(bench.balancer.adopt(bench.view.clone()), None, "{algorithm}: another order");
    }
}
