//! What a pick and a change cost among 10, 1,000 and 5,000 servers: `cargo bench -p balance`.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::{AdminState, Algorithm, BackendView, Balancer, Health, Key, ServerView, Tick, Tried, Weight};

const PICKS: u32 = 1_000_000;

fn main() {
    println!(
        "{:<12}{:>8}{:>16}{:>18}{:>14}{:>18}{:>16}",
        "algorithm", "servers", "a request", "with a retry", "a new view", "the view after", "a change"
    );
    for algorithm in [Algorithm::Roundrobin, Algorithm::Leastconn, Algorithm::Source, Algorithm::Random] {
        for servers in [10, 1_000, 5_000] {
            let servers: Vec<ServerView> = (0..servers).map(server).collect();
            let view = Arc::new(BackendView::new(algorithm, servers.clone()));
            let mut balancer = Balancer::new(view.clone(), 0);
            let direct = each(|client| request(&mut balancer, client, 0));
            let retried = each(|client| request(&mut balancer, client, 1));
            let start = Instant::now();
            balancer.adopt(Arc::new(BackendView::new(algorithm, black_box(servers))));
            let adopted = start.elapsed();
            let count = view.servers.len();
            let (made, followed) = change(&mut balancer, view);
            println!(
                "{algorithm:<12}{count:>8}{direct:>16.1?}{retried:>18.1?}{adopted:>14.1?}{made:>18.1?}{followed:>16.1?}"
            );
        }
    }
}

/// One server goes and comes again: what the next view costs whoever makes it, and what it costs a worker.
fn change(balancer: &mut Balancer, mut view: Arc<BackendView>) -> (Duration, Duration) {
    const TIMES: u32 = 100;
    let (mut made, mut followed) = (Duration::ZERO, Duration::ZERO);
    for time in 0..TIMES {
        let start = Instant::now();
        let mut servers = view.servers.clone();
        servers[7].health = if time % 2 == 0 { Health::Down } else { Health::Up };
        view = Arc::new(view.next(servers));
        made += start.elapsed();
        let start = Instant::now();
        balancer.adopt(view.clone());
        followed += start.elapsed();
    }
    (made / TIMES, followed / TIMES)
}

/// Picks after so many attempts in vain, and sees the request through.
fn request(balancer: &mut Balancer, client: IpAddr, failures: usize) {
    let mut tried = Tried::default();
    for _ in 0..failures {
        if let Some(id) = balancer.pick(Key::Client(client), &tried, Tick::default()) {
            tried.insert(id);
        }
    }
    if let Some(id) = balancer.pick(Key::Client(client), &tried, Tick::default()) {
        balancer.begin(id);
        balancer.succeeded(id);
        balancer.end(black_box(id));
    }
}

fn each(mut request: impl FnMut(IpAddr)) -> Duration {
    let start = Instant::now();
    for client in 0..PICKS {
        request(Ipv4Addr::from_bits(client.wrapping_mul(0x9e37_79b9)).into());
    }
    start.elapsed() / PICKS
}

fn server(number: u16) -> ServerView {
    ServerView {
        name: format!("server{number}").into(),
        address: Some(([127, 0, 0, 1], 80).into()),
        weight: Weight::new(1 + number % 4).unwrap_or_default(),
        throttle: balance::Throttle::NONE,
        admin: AdminState::Ready,
        health: Health::Up,
        backup: None,
        stands_by: false,
    }
}
