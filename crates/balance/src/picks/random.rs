//! The less busy of two servers drawn by weight.

use crate::{Algorithm, ServerId};

use super::{Bench, count};

const RANDOM: Algorithm = Algorithm::Random;

#[test]
fn idle_servers_are_drawn_by_weight() {
    let weights = [1, 2, 0, 7];
    let names = Bench::of(RANDOM, &weights).picks(20_000);
    let counts = count(&names);
    for (index, weight) in weights.into_iter().enumerate() {
        let got = counts.get(format!("s{index}").as_str()).copied().unwrap_or(0);
        let fair = usize::from(weight) * 2_000;
        // Ten standard deviations at most; the seed is fixed anyway.
        assert!((fair * 8 / 10..=fair * 12 / 10).contains(&got), "s{index}: {got}, fair is {fair}");
    }
}

#[test]
fn of_two_servers_the_busier_is_never_picked() {
    let mut bench = Bench::of(RANDOM, &[1, 5]);
    bench.begin_at("s1");
    assert_eq!(bench.picks(100), vec!["s0"; 100]);
}

#[test]
fn two_choices_keep_the_load_even() {
    let mut bench = Bench::of(RANDOM, &[1; 20]);
    let requests: Vec<ServerId> = (0..2_000)
        .map(|_| {
            let id = bench.pick();
            bench.balancer.begin(id);
            id
        })
        .collect();
    let loads: Vec<u64> = requests.iter().map(|id| bench.balancer.in_flight(*id)).collect();
    let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
    // One choice would differ by some forty.
    assert!(most - least <= 8, "{least} to {most}");
}

#[test]
fn a_seed_decides() {
    assert_eq!(Bench::of(RANDOM, &[1; 9]).picks(50), Bench::of(RANDOM, &[1; 9]).picks(50));
}
