//! Always the same server for a client address.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::{Algorithm, BackendView, Balancer, Health, Key, ServerView, Tick, Tried};
use proptest::prelude::*;

use super::{START, server, servers};

/// Addresses as one finds them: neighbours, of a few networks.
fn clients() -> impl Iterator<Item = IpAddr> {
    (0..4_u8).flat_map(|net| {
        (0..16).flat_map(move |c| (0..=255).map(move |d| Ipv4Addr::new(10, net, c, d).into()))
    })
}

/// Where each client goes, by name.
fn map(servers: &[ServerView]) -> Vec<String> {
    let view = Arc::new(BackendView::new(Algorithm::Source, servers.to_vec()));
    let mut balancer = Balancer::new(view.clone(), 3);
    clients()
        .map(|client| {
            let id = balancer.pick(Key::Client(client), &Tried::default(), START).unwrap();
            view.servers[balancer.index_of(id).unwrap()].name.to_string()
        })
        .collect()
}

#[test]
fn a_client_stays_where_it_is() {
    let all = servers(&[1, 1, 1]);
    assert_eq!(map(&all), map(&all));
    let moved: Vec<ServerView> = all
        .iter()
        .rev()
        .map(|server| ServerView { address: Some("10.9.9.9:81".parse().unwrap()), ..server.clone() })
        .collect();
    assert_eq!(map(&all), map(&moved), "neither addresses nor order matter");
}

/// Recorded: the map is part of what two versions, or two load balancers, must agree on.
#[test]
fn the_map_never_changes() {
    let view = Arc::new(BackendView::new(Algorithm::Source, servers(&[1, 1, 1])));
    let mut balancer = Balancer::new(view, 0);
    let mut pick = |client: &str| {
        let id = balancer.pick(Key::Client(client.parse().unwrap()), &Tried::default(), START).unwrap();
        balancer.index_of(id).unwrap()
    };
    let recorded =
        ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1", "192.0.2.77", "2001:db8::1", "2001:db8::2", "::1"];
    assert_eq!(recorded.map(&mut pick), RECORDED);
    for client in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1", "192.0.2.77"] {
        assert_eq!(pick(client), pick(&format!("::ffff:{client}")), "{client}, in two notations");
    }
}

const RECORDED: [usize; 8] = [1, 0, 2, 2, 0, 0, 0, 0];

#[test]
fn clients_are_shared_out_by_weight() {
    for weights in [vec![1, 1, 1], vec![1, 2, 5], vec![1; 20], vec![256, 128]] {
        let places = map(&servers(&weights));
        let sum: u16 = weights.iter().sum();
        for (index, weight) in weights.iter().enumerate() {
            let name = format!("s{index}");
            let got = places.iter().filter(|place| **place == name).count();
            let fair = places.len() * usize::from(*weight) / usize::from(sum);
            assert!(
                (fair * 8 / 10..=fair * 12 / 10).contains(&got),
                "{weights:?} {name}: {got}, fair is {fair}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_death_moves_only_its_own_clients(weights in prop::collection::vec(1..=4_u16, 2..10), dead in any::<prop::sample::Index>()) {
        let all = servers(&weights);
        let before = map(&all);
        let dead = dead.index(all.len());
        let mut without = all.clone();
        without[dead].health = Health::Down;
        let mut removed = all.clone();
        removed.remove(dead);
        let during = map(&without);
        prop_assert_eq!(&during, &map(&removed), "gone and down are the same");
        for (before, during) in before.iter().zip(&during) {
            prop_assert_ne!(during.as_str(), &*all[dead].name);
            prop_assert!(before == during || **before == *all[dead].name);
        }
        // Whoever had to move went everywhere, not to one neighbour.
        let heirs: std::collections::BTreeSet<_> =
            before.iter().zip(&during).filter(|(before, during)| before != during).map(|(_, heir)| heir).collect();
        prop_assert_eq!(heirs.len(), all.len() - 1);
        without[dead].health = Health::Up;
        prop_assert_eq!(map(&without), before, "its return brings exactly those back");
    }

    #[test]
    fn a_new_server_only_takes(count in 1..10_usize) {
        let all = servers(&vec![1; count]);
        let more = [all.as_slice(), &[server("new", 1)]].concat();
        for (before, after) in map(&all).into_iter().zip(map(&more)) {
            prop_assert!(before == after || after == "new");
        }
    }
}

#[test]
fn a_suspected_server_lends_its_clients_out() {
    let view = Arc::new(BackendView::new(Algorithm::Source, servers(&[1, 1, 1])));
    let mut balancer = Balancer::new(view, 0);
    for client in clients().take(100) {
        let nobody = Tried::default();
        let home = balancer.pick(Key::Client(client), &nobody, START).unwrap();
        balancer.failed(home, START);
        let away = balancer.pick(Key::Client(client), &nobody, START).unwrap();
        assert_ne!(home, away);
        assert_eq!(balancer.pick(Key::Client(client), &nobody, Tick::from_millis(500)), Some(away));
        balancer.succeeded(home);
        assert_eq!(balancer.pick(Key::Client(client), &nobody, START), Some(home));
    }
}
