//! The fewest requests in flight for its weight.

use crate::{Algorithm, ServerId};
use proptest::prelude::*;

use super::{Bench, count, servers};

const LEASTCONN: Algorithm = Algorithm::Leastconn;

#[test]
fn the_least_loaded_is_picked() {
    let mut bench = Bench::of(LEASTCONN, &[1, 1, 1]);
    let busy: Vec<ServerId> = ["s0", "s1", "s2", "s0", "s1"].map(|name| bench.begin_at(name)).to_vec();
    assert_eq!(bench.picks(3), ["s2"; 3]);
    bench.balancer.end(busy[0]);
    bench.balancer.end(busy[3]);
    assert_eq!(bench.picks(3), ["s0"; 3]);
}

#[test]
fn idle_servers_take_turns_by_weight() {
    let names = Bench::of(LEASTCONN, &[3, 1, 2]).picks(60);
    assert_eq!(count(&names), [("s0", 30), ("s1", 10), ("s2", 20)].into());
}

#[test]
fn a_server_that_was_long_busy_does_not_catch_up() {
    let mut bench = Bench::of(LEASTCONN, &[1, 1, 1]);
    let busy = bench.begin_at("s1");
    assert!(!bench.picks(300).contains(&"s1".to_owned()));
    bench.balancer.end(busy);
    // One turn is owed to it, not a hundred.
    let names = bench.picks(30);
    assert_eq!(count(&names), [("s0", 9), ("s1", 11), ("s2", 10)].into());
}

proptest! {
    /// Requests that never end fill the servers in proportion to their weights, at every moment.
    #[test]
    fn load_is_proportional_to_weight(weights in prop::collection::vec(1..=20_u16, 1..8), requests in 1..300_usize) {
        let mut bench = Bench::of(LEASTCONN, &weights);
        let mut in_flight = vec![0_u64; weights.len()];
        for _ in 0..requests {
            let id = bench.pick();
            let index = bench.balancer.index_of(id).unwrap();
            // Nobody else has less for its weight.
            for (other, load) in in_flight.iter().enumerate() {
                prop_assert!(in_flight[index] * u64::from(weights[other]) <= load * u64::from(weights[index]));
            }
            bench.balancer.begin(id);
            in_flight[index] += 1;
            prop_assert_eq!(bench.balancer.in_flight(id), in_flight[index]);
        }
    }
}

#[test]
fn load_counts_in_another_view() {
    let mut bench = Bench::of(LEASTCONN, &[1, 1]);
    let busy = bench.begin_at("s0");
    bench.adopt(servers(&[1, 1, 1]));
    assert!(!bench.picks(10).contains(&"s0".to_owned()));
    bench.balancer.end(busy);
    assert!(bench.picks(10).contains(&"s0".to_owned()));
}
