//! Always the same server for a part of the request, with and without bounded loads.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Bench, START, count, server, servers};
use crate::{Algorithm, BackendView, Balancer, Health, Key, LoadFactor, ServerId, ServerView, Tried};

fn key(number: u32) -> Key {
    Key::of(format!("/image/{number}.png").into_bytes())
}

fn of(servers: Vec<ServerView>, factor: Option<u32>) -> Bench {
    let factor = factor.and_then(LoadFactor::per_cent);
    let view = Arc::new(BackendView::new(Algorithm::Hash, servers).bounded(factor));
    Bench { balancer: Balancer::new(view.clone(), 0), view }
}

fn pick(bench: &mut Bench, key: Key) -> ServerId {
    bench.balancer.pick(key, &Tried::default(), START).expect("a server is usable")
}

/// Where each of some keys leads, by name.
fn map(servers: &[ServerView]) -> Vec<String> {
    let mut bench = of(servers.to_vec(), None);
    (0..4_000)
        .map(|number| {
            let id = pick(&mut bench, key(number));
            bench.name(id).to_owned()
        })
        .collect()
}

/// Recorded: two load balancers, and two versions of one, must agree on where a key leads.
#[test]
fn the_map_never_changes() {
    let mut bench = of(servers(&[1, 1, 1]), None);
    let keys = ["/", "/a", "/b", "example.org", "alice", "bob", "", "\u{e4}"];
    let mut place = |text: &str| {
        let id = pick(&mut bench, Key::of(text.bytes()));
        bench.balancer.index_of(id).unwrap()
    };
    assert_eq!(keys.map(&mut place), RECORDED);
}

const RECORDED: [usize; 8] = [1, 2, 0, 2, 2, 1, 0, 0];

#[test]
fn keys_are_shared_out_by_weight() {
    for weights in [vec![1, 1, 1], vec![1, 2, 5], vec![1; 20]] {
        let map = map(&servers(&weights));
        let sum: u16 = weights.iter().sum();
        for (index, weight) in weights.iter().enumerate() {
            let got = map.iter().filter(|name| **name == format!("s{index}")).count();
            let fair = map.len() * usize::from(*weight) / usize::from(sum);
            assert!(
                (fair * 3 / 4..=fair * 5 / 4).contains(&got),
                "s{index} of {weights:?}: {got}, not {fair}"
            );
        }
    }
}

#[test]
fn a_server_that_goes_takes_only_its_own_keys_with_it() {
    let all = servers(&[1, 2, 1, 1]);
    let before = map(&all);
    let mut down = all.clone();
    down[1].health = Health::Down;
    let gone: Vec<ServerView> = all.iter().filter(|server| *server.name != *"s1").cloned().collect();
    for after in [map(&down), map(&gone)] {
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        let from: Vec<String> = moved.map(|(before, _)| before.clone()).collect();
        assert_eq!(count(&from).into_keys().collect::<Vec<_>>(), ["s1"]);
        assert_eq!(from.len(), before.iter().filter(|name| *name == "s1").count());
    }
}

#[test]
fn requests_without_the_part_take_turns_by_weight() {
    let mut bench = of(servers(&[1, 2, 1]), None);
    // Those that have it are nobody's turn.
    for _ in 0..1_000 {
        pick(&mut bench, key(7));
    }
    let names: Vec<String> = (0..8)
        .map(|_| {
            let id = pick(&mut bench, Key::Missing);
            bench.name(id).to_owned()
        })
        .collect();
    assert_eq!(count(&names), BTreeMap::from([("s0", 2), ("s1", 4), ("s2", 2)]), "{names:?}");
}

#[test]
fn what_is_too_much_for_a_server_goes_to_the_next_on_the_ring() {
    let mut bench = of(servers(&[1, 1, 1, 1]), Some(150));
    let home = pick(&mut bench, key(7));
    let mut in_flight = BTreeMap::new();
    for _ in 0..100 {
        let id = pick(&mut bench, key(7));
        bench.balancer.begin(id);
        *in_flight.entry(bench.name(id).to_owned()).or_insert(0) += 1;
    }
    let home = bench.name(home).to_owned();
    let mut loads: Vec<u32> = in_flight.values().copied().collect();
    loads.sort_unstable();
    // 150 per cent of a quarter of 100; the next two are as full, and the last has the rest.
    assert_eq!((in_flight[&home], &loads[..]), (38, [24, 38, 38].as_slice()), "{in_flight:?}");
}

#[test]
fn a_bound_that_is_changed_is_heeded_at_once() {
    let mut bench = of(servers(&[1, 1]), None);
    let home = pick(&mut bench, key(7));
    (0..10).for_each(|_| bench.balancer.begin(home));
    assert_eq!(pick(&mut bench, key(7)), home);
    let servers = bench.view.servers.clone();
    let bounded = BackendView::new(Algorithm::Hash, servers).bounded(LoadFactor::per_cent(120));
    bench.view = Arc::new(bounded);
    bench.balancer.adopt(bench.view.clone());
    assert_ne!(pick(&mut bench, key(7)), home);
    // It stays when servers change.
    let mut next = bench.view.servers.clone();
    next.push(server("s2", 1));
    bench.view = Arc::new(bench.view.next(next));
    bench.balancer.adopt(bench.view.clone());
    assert_ne!(pick(&mut bench, key(7)), home);
}

proptest! {
    #[test]
    fn loads_stay_within_their_bound(
        weights in prop::collection::vec(1..=8_u16, 1..8),
        factor in LoadFactor::MIN..=400,
        steps in prop::collection::vec((0..6_u32, prop::option::of(any::<prop::sample::Index>())), 0..200),
    ) {
        let mut bench = of(servers(&weights), Some(factor));
        let mut out: Vec<ServerId> = Vec::new();
        for (number, ends) in steps {
            if let Some(which) = ends {
                if !out.is_empty() {
                    bench.balancer.end(out.swap_remove(which.index(out.len())));
                }
                continue;
            }
            let id = pick(&mut bench, key(number));
            bench.balancer.begin(id);
            out.push(id);
            let place = bench.balancer.index_of(id).unwrap();
            let share = out.len() as f64 * f64::from(weights[place]) / weights.iter().copied().map(f64::from).sum::<f64>();
            let most = (share * f64::from(factor) / 100.0 - 1e-9).ceil();
            let its = bench.balancer.in_flight(id);
            prop_assert!(its as f64 <= most, "{its} of {} at {place}: more than {most}", out.len());
        }
        bench.balancer.check_invariants();
    }
}
