//! Servers that have just come up get a part of their share.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Bench, START, count, server, servers};
use crate::{Algorithm, BackendView, Balancer, Health, Key, ServerView, Throttle, Tried};

fn throttled(weights: &[u16], per_cent: u8) -> Vec<ServerView> {
    let mut servers = servers(weights);
    servers[0].throttle = Throttle::per_cent(per_cent);
    servers
}

proptest! {
    #[test]
    fn turns_are_as_many_as_the_part_of_the_weight(
        weights in prop::collection::vec(1..=20_u16, 2..5),
        per_cent in 1..=100_u8,
    ) {
        let mut bench = Bench::new(Algorithm::Roundrobin, throttled(&weights, per_cent));
        let shares: Vec<usize> = weights
            .iter()
            .enumerate()
            .map(|(index, weight)| usize::from(*weight) * if index == 0 { usize::from(per_cent) } else { 100 })
            .collect();
        let names = bench.picks(shares.iter().sum());
        let counts = count(&names);
        for (index, share) in shares.iter().enumerate() {
            prop_assert_eq!(counts.get(format!("s{index}").as_str()), Some(share));
        }
    }

    #[test]
    fn a_change_of_the_throttle_is_no_burst(
        weights in prop::collection::vec(1..=4_u16, 2..5),
        before in 1..=100_u8,
        after in 1..=100_u8,
        picks in 0..300_usize,
    ) {
        let mut bench = Bench::new(Algorithm::Roundrobin, throttled(&weights, before));
        bench.picks(picks);
        bench.adopt(throttled(&weights, after));
        let round: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        // Within the requests of a full round the server has at most its full share, and one for the seam.
        let names = bench.picks(round);
        prop_assert!(count(&names).get("s0").copied().unwrap_or(0) <= usize::from(weights[0]) + 1);
    }
}

#[test]
fn the_fewest_requests_for_the_part_of_the_weight() {
    let mut bench = Bench::new(Algorithm::Leastconn, throttled(&[1, 1], 10));
    for _ in 0..110 {
        let id = bench.pick();
        bench.balancer.begin(id);
    }
    let in_flight = |place| bench.balancer.in_flight(bench.balancer.id_at(place).unwrap());
    assert_eq!((in_flight(0), in_flight(1)), (10, 100));
}

#[test]
fn the_draw_is_by_the_part_of_the_weight() {
    let mut bench = Bench::new(Algorithm::Random, throttled(&[1, 1], 10));
    let names = bench.picks(11_000);
    assert!((800..=1_200).contains(&count(&names)["s0"]), "{:?}", count(&names));
}

#[test]
fn clients_come_back_little_by_little_and_no_other_moves() {
    let clients = || (0..2_000_u32).map(|client| IpAddr::from(client.to_be_bytes()));
    let places = |servers: Vec<ServerView>| -> Vec<usize> {
        let view = Arc::new(BackendView::new(Algorithm::Source, servers));
        let mut balancer = Balancer::new(view, 0);
        clients()
            .map(|client| {
                let id = balancer.pick(Key::Client(client), &Tried::default(), START).unwrap();
                balancer.index_of(id).unwrap()
            })
            .collect()
    };
    let without = places(vec![
        ServerView { health: Health::Down, ..server("s0", 1) },
        server("s1", 1),
        server("s2", 1),
    ]);
    let full = places(throttled(&[1, 1, 1], 100));
    let mut before = 0;
    for per_cent in [5, 25, 50, 75, 100] {
        let now = places(throttled(&[1, 1, 1], per_cent));
        for ((now, without), full) in now.iter().zip(&without).zip(&full) {
            assert!(now == without || (*now == 0 && *full == 0), "a client of another server has moved");
        }
        let own = now.iter().filter(|place| **place == 0).count();
        assert!(own > before, "{own} clients at {per_cent}%, {before} before");
        before = own;
    }
    assert_eq!(before, full.iter().filter(|place| **place == 0).count());
}
