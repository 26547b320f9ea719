//! A network splits with a router and a client on each side, and heals: whoever's advert arrives first, one router has the
//! address, and both clients know its hardware address. Clients say nothing meanwhile, so that nothing but an announcement
//! can tell them.
//!
//! `HEALS=50 cargo test -p tandem-tests --test vrrp_heals -- --nocapture` heals that often in each order, and prints how
//! often a client was wrong.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use testkit::{
    Keepalived, Netns, Network, Owners, PATIENCE, SlowJoint, VrrpNode, is_root, needs, skip, wait_until,
};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100));
const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100));

/// Numbers of the routers: the first has the higher priority.
const WINNER: usize = 0;
const LOSER: usize = 1;

/// Whose advert comes first after a heal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Anybodys,
    Winners,
    Losers,
}

impl First {
    /// Milliseconds between the adverts of the winner and of the loser: a second is hardly over while others pass ten times.
    const fn intervals(self) -> [u64; 2] {
        match self {
            Self::Anybodys => [200, 200],
            Self::Winners => [100, 1000],
            Self::Losers => [1000, 100],
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tandem,
    Keepalived,
}

/// Held for what it runs.
enum Router {
    Tandem(VrrpNode),
    Keepalived(#[expect(dead_code, reason = "runs as long as it lives")] Keepalived),
}

struct Split {
    // Routers end before the networks that they are in.
    routers: [Router; 2],
    macs: [String; 2],
    clients: [Netns; 2],
    owners: Owners,
    vip: IpAddr,
    delays: Duration,
    _joint: Option<SlowJoint>,
    networks: [Network; 2],
}

impl Split {
    fn new(kinds: [Kind; 2], vip: IpAddr, first: First, delays: Duration) -> Self {
        let networks = [Network::new(24), Network::new(24)];
        let joint = if delays.is_zero() {
            networks[0].join(&networks[1], "joint");
            None
        } else {
            Some(SlowJoint::new(&networks, "joint", delays))
        };
        let hosts = [0, 1].map(|side: u8| {
            networks[usize::from(side)].host(&format!("lb{side}"), [10, 9, 0, side + 1].into())
        });
        let clients = [0, 1].map(|side: u8| {
            networks[usize::from(side)].host(&format!("client{side}"), [10, 9, 0, side + 11].into())
        });
        for host in hosts.iter().chain(&clients) {
            wait_until("addresses can be used", || {
                host.run("ip", &["-6", "address", "show", "dev", "eth0", "tentative"]).is_empty()
            });
        }
        let owners = Owners::new(&[&hosts[0], &hosts[1]], vip);
        let macs = [0, 1].map(|side: usize| {
            let told = hosts[side].run("ip", &["-o", "link", "show", "eth0"]);
            word_after(&told, "link/ether").expect("a hardware address")
        });
        let mut sides = hosts.into_iter().zip(kinds).zip([200, 100].into_iter().zip(first.intervals()));
        let routers = [0, 1].map(|_| {
            let ((host, kind), (priority, interval)) = sides.next().expect("two sides");
            match kind {
                Kind::Tandem => Router::Tandem(VrrpNode::start(host, &tandem(priority, vip, interval))),
                Kind::Keepalived => {
                    // Its last word is off by default.
                    let globals = "vrrp_higher_prio_send_advert true";
                    Router::Keepalived(Keepalived::start(host, globals, &keepalived(priority, vip, interval)))
                }
            }
        });
        Self { routers, macs, clients, owners, vip, delays, _joint: joint, networks }
    }

    /// Splits and heals once. Whether both clients know who has the address.
    fn heal(&self, wait: Duration) -> bool {
        let before = self.announcements();
        self.networks[0].cut("joint");
        wait_until("each side has its owner", || self.owners.now() == [WINNER, LOSER]);
        wait_until("the loser has said so", || before.is_none() || self.announcements() > before);
        // What is still on its way would be news after the heal, as nothing is said twice here.
        sleep(2 * self.delays);
        for (client, mac) in self.clients.iter().zip(&self.macs) {
            wait_until("the client knows its side's owner", || {
                self.ask(client);
                self.believed(client).as_ref() == Some(mac)
            });
        }
        sleep(wait);
        self.networks[0].mend("joint");
        self.owners.wait_for(WINNER);
        let end = Instant::now() + PATIENCE / 4;
        let is_right =
            || self.clients.iter().all(|client| self.believed(client).as_ref() == Some(&self.macs[WINNER]));
        while !is_right() && Instant::now() < end {
            sleep(Duration::from_millis(20));
        }
        is_right()
    }

    /// How often the loser has announced the address, where it tells.
    fn announcements(&self) -> Option<u64> {
        match &self.routers[LOSER] {
            Router::Tandem(node) => Some(node.counter("announcements")),
            Router::Keepalived(_) => None,
        }
    }

    fn ask(&self, client: &Netns) {
        let to: SocketAddr = match self.vip {
            IpAddr::V4(ip) => (ip, 9).into(),
            IpAddr::V6(ip) => {
                let told = client.run("cat", &["/sys/class/net/eth0/ifindex"]);
                SocketAddrV6::new(ip, 9, 0, told.trim().parse().expect("a number")).into()
            }
        };
        let from = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        // Nobody listens there, which may be told already.
        client.inside(|| _ = UdpSocket::bind(from).expect("a free port").send_to(b"who has it?", to));
    }

    /// The hardware address in a client's table.
    fn believed(&self, client: &Netns) -> Option<String> {
        word_after(&client.run("ip", &["neighbour", "show", &self.vip.to_string(), "dev", "eth0"]), "lladdr")
    }
}

fn word_after(text: &str, word: &str) -> Option<String> {
    let mut words = text.split_whitespace().skip_while(|one| *one != word);
    words.nth(1).map(str::to_owned)
}

fn tandem(priority: u8, vip: IpAddr, interval: u64) -> String {
    let length = if vip.is_ipv6() { 64 } else { 24 };
    // One announcement each: no later one hides what an event did not bring about.
    format!(
        "virtual_router_id: 51\npriority: {priority}\nvirtual_addresses: ['{vip}/{length}']\ninterface: eth0\ntrack: []\n\
         advert_interval: {interval}ms\nprobe: off\ngratuitous: {{ repeat: 1, delay: off }}"
    )
}

fn keepalived(priority: u8, vip: IpAddr, interval: u64) -> String {
    let length = if vip.is_ipv6() { 64 } else { 24 };
    let interval = Duration::from_millis(interval).as_secs_f64();
    format!(
        "state BACKUP\nvirtual_router_id 51\nversion 3\npriority {priority}\nadvert_int {interval}\ngarp_master_delay 1\n\
         garp_lower_prio_delay 1\ngarp_lower_prio_repeat 1\nvirtual_ipaddress {{\n{vip}/{length}\n}}"
    )
}

fn heal_in_every_order(kinds: [Kind; 2], vip: IpAddr, delays: Duration) {
    if !is_root() {
        skip!("namespaces need root");
    }
    let times: u32 = std::env::var("HEALS").map_or(2, |times| times.parse().expect("HEALS is a number"));
    let mut wrong = Vec::new();
    for first in [First::Anybodys, First::Winners, First::Losers] {
        let split = Split::new(kinds, vip, first, delays);
        split.owners.wait_for(WINNER);
        // Spread over the interval, so that adverts cross in every way.
        let wait = |heal: u32| Duration::from_millis(u64::from(heal) * 67 % 200);
        let count = (0..times).filter(|heal| !split.heal(wait(*heal))).count();
        println!("{vip}, {first:?} advert first: a client was wrong after {count} of {times} heals");
        if count > 0 {
            wrong.push(first);
        }
    }
    assert!(wrong.is_empty(), "clients were wrong where this advert came first: {wrong:?}");
}

/// Adverts, last words and announcements overtake each other.
#[test]
fn two_tandems_with_random_delays() {
    needs!("python3");
    for vip in [VIP, VIP6] {
        heal_in_every_order([Kind::Tandem; 2], vip, Duration::from_millis(90));
    }
}

#[test]
fn two_tandems() {
    heal_in_every_order([Kind::Tandem; 2], VIP, Duration::ZERO);
}

#[test]
fn two_tandems_over_ipv6() {
    heal_in_every_order([Kind::Tandem; 2], VIP6, Duration::ZERO);
}

#[test]
fn a_tandem_that_wins_over_keepalived() {
    needs!("keepalived");
    heal_in_every_order([Kind::Tandem, Kind::Keepalived], VIP, Duration::ZERO);
}

#[test]
fn a_tandem_that_wins_over_keepalived_over_ipv6() {
    needs!("keepalived");
    heal_in_every_order([Kind::Tandem, Kind::Keepalived], VIP6, Duration::ZERO);
}

#[test]
fn a_tandem_that_loses_against_keepalived() {
    needs!("keepalived");
    heal_in_every_order([Kind::Keepalived, Kind::Tandem], VIP, Duration::ZERO);
}

#[test]
fn a_tandem_that_loses_against_keepalived_over_ipv6() {
    needs!("keepalived");
    heal_in_every_order([Kind::Keepalived, Kind::Tandem], VIP6, Duration::ZERO);
}
