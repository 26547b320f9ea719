//! What a balancer picks: each algorithm by itself, passive detection, limits, and a model of everything.

mod adopt;
mod hash;
mod leastconn;
mod limits;
mod model;
mod own;
mod random;
mod roundrobin;
mod source;
mod suspicion;
mod throttle;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::{
    AdminState, Algorithm, BackendView, Balancer, Health, Key, ServerId, ServerView, Throttle, Tick, Tried,
    Weight,
};

/// A client for algorithms that do not care.
const CLIENT: Key = Key::Client(IpAddr::V4(Ipv4Addr::LOCALHOST));
const START: Tick = Tick::from_millis(0);

fn weight(value: u16) -> Weight {
    Weight::new(value).expect("a weight within the range")
}

/// A server that is usable unless its weight is zero.
fn server(name: &str, share: u16) -> ServerView {
    ServerView {
        name: name.into(),
        address: Some("127.0.0.1:80".parse().expect("an address")),
        weight: weight(share),
        throttle: Throttle::NONE,
        admin: AdminState::Ready,
        health: Health::Up,
        backup: None,
        stands_by: false,
    }
}

/// Servers `s0`, `s1`, ... of these weights.
fn servers(weights: &[u16]) -> Vec<ServerView> {
    weights.iter().enumerate().map(|(index, weight)| server(&format!("s{index}"), *weight)).collect()
}

/// A balancer and the view it picks from, so that picks have names.
struct Bench {
    view: Arc<BackendView>,
    balancer: Balancer,
}

impl Bench {
    fn new(algorithm: Algorithm, servers: Vec<ServerView>) -> Self {
        let view = Arc::new(BackendView::new(algorithm, servers));
        Self { balancer: Balancer::new(view.clone(), 0), view }
    }

    fn of(algorithm: Algorithm, weights: &[u16]) -> Self {
        Self::new(algorithm, servers(weights))
    }

    fn adopt(&mut self, servers: Vec<ServerView>) {
        let next = self.view.next(servers);
        assert_eq!(next, BackendView::new(next.algorithm, next.servers.clone()), "as if made from nothing");
        self.view = Arc::new(next);
        self.balancer.adopt(self.view.clone());
    }

    fn name(&self, id: ServerId) -> &str {
        let index = self.balancer.index_of(id).expect("the server is in the view");
        &self.view.servers[index].name
    }

    fn pick_at(&mut self, now: Tick) -> ServerId {
        self.balancer.pick(CLIENT, &Tried::default(), now).expect("a server is usable")
    }

    fn pick(&mut self) -> ServerId {
        self.pick_at(START)
    }

    fn pick_name(&mut self) -> String {
        let id = self.pick();
        self.name(id).to_owned()
    }

    fn picks(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.pick_name()).collect()
    }

    /// Picks until a server comes up, and leaves it in flight.
    fn begin_at(&mut self, name: &str) -> ServerId {
        let mut ids = std::iter::repeat_with(|| self.pick()).take(10_000).collect::<Vec<_>>().into_iter();
        let id = ids.find(|id| self.name(*id) == name).expect("it comes up");
        self.balancer.begin(id);
        id
    }
}

fn count(names: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    counts
}

fn every_algorithm() -> [Algorithm; 5] {
    [Algorithm::Roundrobin, Algorithm::Leastconn, Algorithm::Source, Algorithm::Random, Algorithm::Hash]
}

#[test]
fn without_a_usable_server_there_is_none() {
    let unusable = [
        ServerView { address: None, ..server("unresolved", 1) },
        ServerView { admin: AdminState::Drain, ..server("drained", 1) },
        ServerView { admin: AdminState::Maint, ..server("out", 1) },
        ServerView { health: Health::Down, ..server("down", 1) },
        server("weightless", 0),
    ];
    for algorithm in every_algorithm() {
        for servers in [Vec::new(), unusable.to_vec()] {
            let mut bench = Bench::new(algorithm, servers);
            assert_eq!(bench.view.usable(), 0);
            assert_eq!(bench.balancer.pick(CLIENT, &Tried::default(), START), None, "{algorithm}");
        }
        let unknown = ServerView { health: Health::Unknown, ..server("unknown", 1) };
        let mut bench = Bench::new(algorithm, unusable.iter().cloned().chain([unknown]).collect());
        assert_eq!(bench.view.usable(), 1);
        assert_eq!(bench.picks(3), ["unknown"; 3], "{algorithm}");
    }
}

#[test]
fn retries_go_to_every_other_server_before_one_comes_again() {
    for algorithm in every_algorithm() {
        let mut bench = Bench::of(algorithm, &[1, 7, 3, 1, 256]);
        for _ in 0..50 {
            let mut tried = Tried::default();
            for left in (0..5).rev() {
                let id = bench.balancer.pick(CLIENT, &tried, START).expect("a server is usable");
                assert!(!tried.contains(id), "{algorithm}: tried again with {left} others left");
                tried.insert(id);
            }
            assert!(bench.balancer.pick(CLIENT, &tried, START).is_some(), "{algorithm}");
        }
    }
}

/// Configurations do not allow it; views do not forbid it.
#[test]
fn servers_of_one_name_are_two_servers() {
    let twins = || vec![server("twin", 1), server("twin", 1)];
    let mut bench = Bench::new(Algorithm::Roundrobin, twins());
    for _ in 0..3 {
        let ids: std::collections::HashSet<ServerId> = (0..4).map(|_| bench.pick()).collect();
        assert_eq!(ids.len(), 2);
        bench.adopt(twins());
    }
}
