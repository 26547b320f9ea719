//! In turn, in proportion to weight, and smoothly.

use crate::{AdminState, Algorithm, Balancer, Health, ServerView, Tick, Tried};
use proptest::prelude::*;

use super::{Bench, CLIENT, START, count, server, servers};

const ROUNDROBIN: Algorithm = Algorithm::Roundrobin;

#[test]
fn equal_servers_take_turns_as_listed() {
    let mut bench = Bench::of(ROUNDROBIN, &[1, 1, 1]);
    assert_eq!(bench.picks(7), ["s0", "s1", "s2", "s0", "s1", "s2", "s0"]);
}

#[test]
fn a_heavy_server_is_picked_among_the_light_ones() {
    let table: [(&[u16], &str); 4] = [
        (&[2, 1], "0 1 0"),
        (&[5, 1, 1], "0 1 0 0 0 2 0"),
        (&[1, 0, 1], "0 2"),
        (&[4, 4, 2, 2], "0 2 1 0 3 1 0 2 1 0 3 1"),
    ];
    for (weights, expected) in table {
        let sum = weights.iter().copied().map(usize::from).sum();
        let names = Bench::of(ROUNDROBIN, weights).picks(sum);
        let numbers: Vec<&str> = names.iter().map(|name| &name[1..]).collect();
        assert_eq!(numbers.join(" "), expected, "{weights:?}");
    }
}

#[test]
fn workers_numbered_from_zero_start_apart() {
    let view = std::sync::Arc::new(crate::BackendView::new(ROUNDROBIN, servers(&[1; 4])));
    let firsts: std::collections::BTreeSet<_> = (0..8)
        .filter_map(|worker| {
            let mut balancer = Balancer::new(view.clone(), worker);
            let id = balancer.pick(CLIENT, &Tried::default(), START)?;
            balancer.index_of(id)
        })
        .collect();
    assert_eq!(firsts.len(), 4, "eight workers start with all of four servers");
}

#[test]
fn a_server_that_was_skipped_does_not_catch_up() {
    let mut bench = Bench::of(ROUNDROBIN, &[1, 1, 1]);
    let suspect = bench.pick();
    bench.balancer.failed(suspect, START);
    assert!(!bench.picks(300).contains(&"s0".to_owned()));
    let later = Tick::from_millis(1_000);
    let mut after = Vec::new();
    for _ in 0..30 {
        let id = bench.pick_at(later);
        bench.balancer.succeeded(id);
        after.push(bench.name(id).to_owned());
    }
    assert_eq!(count(&after), [("s0", 10), ("s1", 10), ("s2", 10)].into());
}

#[test]
fn a_server_that_was_unusable_does_not_catch_up() {
    let all = servers(&[3, 1, 1]);
    let unusable = [
        ServerView { health: Health::Down, ..all[0].clone() },
        ServerView { admin: AdminState::Drain, ..all[0].clone() },
    ];
    for unusable in unusable {
        let mut bench = Bench::new(ROUNDROBIN, all.clone());
        bench.adopt(vec![unusable, all[1].clone(), all[2].clone()]);
        assert!(!bench.picks(300).contains(&"s0".to_owned()));
        bench.adopt(all.clone());
        let names = bench.picks(50);
        assert_eq!(count(&names), [("s0", 30), ("s1", 10), ("s2", 10)].into());
    }
}

#[test]
fn turns_go_on_in_another_view() {
    let mut bench = Bench::of(ROUNDROBIN, &[1, 1, 1, 1]);
    assert_eq!(bench.picks(2), ["s0", "s1"]);
    // The same servers in another order: those that had their turn wait for the others.
    bench.adopt([3, 0, 2, 1].map(|index| server(&format!("s{index}"), 1)).to_vec());
    let mut next = bench.picks(2);
    next.sort();
    assert_eq!(next, ["s2", "s3"]);
}

#[test]
fn changing_views_do_not_change_the_proportions() {
    let mut bench = Bench::of(ROUNDROBIN, &[1, 1, 1]);
    let mut names = Vec::new();
    for _ in 0..300 {
        names.extend(bench.picks(1));
        bench.adopt(servers(&[1, 1, 1]));
    }
    assert_eq!(count(&names), [("s0", 100), ("s1", 100), ("s2", 100)].into());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any row of as many picks as the weights add up to has each server as often as its weight says.
    #[test]
    fn proportions_are_exact(weights in prop::collection::vec(0..=40_u16, 1..12), skip in 0..200_usize) {
        let sum: usize = weights.iter().copied().map(usize::from).sum();
        prop_assume!(sum > 0);
        let mut bench = Bench::of(ROUNDROBIN, &weights);
        bench.picks(skip);
        let names = bench.picks(sum);
        let counts = count(&names);
        for (index, weight) in weights.iter().enumerate() {
            let picked = counts.get(format!("s{index}").as_str()).copied().unwrap_or(0);
            prop_assert_eq!(picked, usize::from(*weight));
        }
    }

    /// Between two picks of a server, another is picked at most as often as its weight is a multiple of the first one's, rounded
    /// up, and at least rounded down. So no server gets a burst, and none waits for long.
    #[test]
    fn there_are_no_bursts(weights in prop::collection::vec(1..=256_u16, 2..12)) {
        let sum: usize = weights.iter().copied().map(usize::from).sum();
        let picks = Bench::of(ROUNDROBIN, &weights).picks(2 * sum);
        let picks: Vec<usize> = picks.iter().filter_map(|name| name[1..].parse().ok()).collect();
        for (server, weight) in weights.iter().enumerate() {
            let mut since = vec![0_u16; weights.len()];
            let mut began = false;
            for pick in &picks {
                if *pick != server {
                    since[*pick] += 1;
                    continue;
                }
                if began {
                    for (other, count) in since.iter().enumerate().filter(|(other, _)| *other != server) {
                        let (low, high) = (weights[other] / weight, weights[other].div_ceil(*weight));
                        prop_assert!((low..=high).contains(count), "{} not in {}..={}", count, low, high);
                    }
                }
                began = true;
                since.fill(0);
            }
        }
    }
}

/// One heavy server and a thousand light ones: the light ones come evenly between the heavy one's turns.
#[test]
fn many_light_servers_do_not_come_in_a_row() {
    let weights: Vec<u16> = std::iter::once(256).chain(std::iter::repeat_n(1, 1_000)).collect();
    let names = Bench::of(ROUNDROBIN, &weights).picks(1_256);
    let longest = names.split(|name| name == "s0").map(<[String]>::len).max();
    assert!(longest <= Some(5), "{longest:?} light servers in a row; 4 on average");
}
