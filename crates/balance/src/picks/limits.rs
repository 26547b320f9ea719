//! Servers that have as many requests as they may.

use super::{Bench, CLIENT, START, every_algorithm};
use crate::{ServerId, Tried, Unpicked};

fn set(ids: &[ServerId]) -> Tried {
    let mut set = Tried::default();
    ids.iter().for_each(|id| set.insert(*id));
    set
}

fn ids(bench: &Bench) -> Vec<ServerId> {
    (0..bench.view.servers.len()).map(|place| bench.balancer.id_at(place).unwrap()).collect()
}

#[test]
fn a_full_server_is_passed_over_and_comes_again_when_it_is_not() {
    for algorithm in every_algorithm() {
        let mut bench = Bench::of(algorithm, &[1, 1, 1]);
        let all = ids(&bench);
        let none = Tried::default();
        for _ in 0..20 {
            let picked = bench.balancer.pick_below_limits(CLIENT, &none, &set(&all[..2]), START);
            assert_eq!(picked, Ok(all[2]), "{algorithm}");
        }
        let picked = bench.balancer.pick_below_limits(CLIENT, &none, &set(&all), START);
        assert_eq!(picked, Err(Unpicked::AllFull), "{algorithm}");
        let picked = bench.balancer.pick_below_limits(CLIENT, &none, &set(&all[1..]), START);
        assert_eq!(picked, Ok(all[0]), "{algorithm}");
        assert!(bench.balancer.pick(CLIENT, &none, START).is_some(), "{algorithm}");
    }
}

#[test]
fn a_request_waits_rather_than_go_where_it_would_fail() {
    for algorithm in every_algorithm() {
        let mut bench = Bench::of(algorithm, &[1, 1]);
        let all = ids(&bench);
        let none = Tried::default();
        let (first, second) = (set(&all[..1]), set(&all[1..]));
        // It was at the first server already.
        let picked = bench.balancer.pick_below_limits(CLIENT, &first, &second, START);
        assert_eq!(picked, Err(Unpicked::AllFull), "{algorithm}");
        // Connections to the first fail.
        bench.balancer.failed(all[0], START);
        let picked = bench.balancer.pick_below_limits(CLIENT, &none, &second, START);
        assert_eq!(picked, Err(Unpicked::AllFull), "{algorithm}");
        // There is nothing to wait for where everything was tried.
        let picked = bench.balancer.pick_below_limits(CLIENT, &set(&all), &second, START);
        assert_eq!(picked, Err(Unpicked::AllFull), "{algorithm}: the suspected one is the worse");
        bench.balancer.succeeded(all[0]);
        let picked = bench.balancer.pick_below_limits(CLIENT, &set(&all), &second, START);
        assert_eq!(picked, Ok(all[0]), "{algorithm}");
    }
}

#[test]
fn without_a_usable_server_nothing_is_waited_for() {
    for algorithm in every_algorithm() {
        let mut bench = Bench::of(algorithm, &[0, 0]);
        let full = set(&ids(&bench));
        let picked = bench.balancer.pick_below_limits(CLIENT, &Tried::default(), &full, START);
        assert_eq!(picked, Err(Unpicked::NoneUsable), "{algorithm}");
    }
}

#[test]
fn a_request_waits_for_those_it_would_be_sent_to_and_goes_nowhere_else() {
    for algorithm in every_algorithm() {
        let mut bench = Bench::of(algorithm, &[1, 1, 1]);
        let all = ids(&bench);
        let none = Tried::default();
        // What it is to wait for, and where it may go then, have to be the same.
        let waits_for = |bench: &mut Bench, tried: &Tried| -> Vec<bool> {
            let avoided = bench.balancer.avoided(tried, START).expect("a server is usable");
            for id in &all {
                let may_go = bench.balancer.clone().claim(*id, tried, START);
                assert_eq!(may_go, !avoided.contains(*id), "{algorithm}");
            }
            all.iter().map(|id| !avoided.contains(*id)).collect()
        };
        assert_eq!(waits_for(&mut bench, &none), [true, true, true]);
        assert_eq!(waits_for(&mut bench, &set(&all[..1])), [false, true, true]);
        bench.balancer.failed(all[1], START);
        assert_eq!(waits_for(&mut bench, &none), [true, false, true]);
        assert_eq!(waits_for(&mut bench, &set(&all[..1])), [false, false, true]);
        // The suspected one is all that was not tried.
        assert_eq!(waits_for(&mut bench, &set(&[all[0], all[2]])), [false, true, false]);
        assert_eq!(waits_for(&mut bench, &set(&all)), [true, false, true]);
        bench.balancer.failed(all[0], START);
        bench.balancer.failed(all[2], START);
        assert_eq!(waits_for(&mut bench, &none), [true, true, true]);
    }
    assert!(Bench::of(every_algorithm()[0], &[0]).balancer.avoided(&Tried::default(), START).is_none());
}
