//! A third host on the link that lies: nothing changes, everything is counted, and it costs little.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use testkit::{Netns, Network, Owners, PATIENCE, VrrpNode, is_root, skip, wait_until};
use vrrp::packet::{Advert, ChecksumForm, Endpoints, Protection, encode};
use vrrp::{AdvertInterval, Priority, Version, VirtualRouterId};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100));
const MASTER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const BACKUP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const LIAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 66);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// A master, its backup, and a third host.
struct Link {
    master: VrrpNode,
    backup: VrrpNode,
    owners: Owners,
    liar: Netns,
    network: Network,
}

impl Link {
    fn new(authentication: &str) -> Self {
        let network = Network::new(24);
        let hosts = [network.host("lb1", MASTER), network.host("lb2", BACKUP)];
        let liar = network.host("liar", LIAR);
        let owners = Owners::new(&[&hosts[0], &hosts[1]], VIP);
        let mut nodes = hosts.into_iter().zip([200, 100]).map(|(host, priority)| {
            let node = VrrpNode::new(host, &config(priority, authentication));
            fs::write(node.dir().join("key"), "correct horse battery staple, and no better master").unwrap();
            node
        });
        let (mut master, mut backup) = (nodes.next().unwrap(), nodes.next().unwrap());
        drop(nodes);
        master.vrrpd.start();
        master.wait_for_state("master");
        backup.vrrpd.start();
        wait_until("the backup hears the master", || backup.counter("adverts_received") > 1);
        Self { master, backup, owners, liar, network }
    }

    fn nodes(&self) -> [&VrrpNode; 2] {
        [&self.master, &self.backup]
    }

    /// The third host sends these packets to the group.
    fn tell(&self, ttl: u32, packets: &[Vec<u8>]) {
        self.liar.inside(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
            socket.set_multicast_ttl_v4(ttl).unwrap();
            socket.set_multicast_if_v4(&LIAR).unwrap();
            for packet in packets {
                socket.send_to(packet, &SocketAddrV4::new(GROUP, 0).into()).unwrap();
            }
        });
    }

    /// Both routers count that many refused packets of a kind.
    fn counted(&self, check: &str, at_least: u64) {
        for node in self.nodes() {
            wait_until(&format!("{check} is counted"), || node.receive_errors(check) >= at_least);
        }
    }

    fn nothing_happened(&self) {
        assert_eq!(self.owners.now(), [0]);
        assert_eq!(self.master.state(), "master");
        assert_eq!(self.backup.state(), "backup");
        assert_eq!(self.master.transitions().len(), 2, "{:?}", self.master.transitions());
        assert_eq!(self.backup.transitions().len(), 1, "{:?}", self.backup.transitions());
    }
}

fn config(priority: u8, authentication: &str) -> String {
    format!(
        "virtual_router_id: 51\npriority: {priority}\nvirtual_addresses: [10.9.0.100/24]\ntrack: []\n\
         advert_interval: 200ms\n{authentication}"
    )
}

/// What a better master would say.
fn advert(router: u8, version: Version, protection: Protection<'_>) -> Vec<u8> {
    let advert = Advert {
        version,
        virtual_router_id: VirtualRouterId::new(router).unwrap(),
        priority: Priority::from_wire(254),
        interval: AdvertInterval::new(version, Duration::from_secs(1)).unwrap(),
        addresses: vec![VIP],
    };
    let endpoints = Endpoints { source: LIAR.into(), destination: GROUP.into() };
    encode(&advert, endpoints, ChecksumForm::PseudoHeader, protection).unwrap()
}

#[test]
fn what_breaks_a_rule_is_refused_and_counted() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let link = Link::new("");
    let good = advert(51, Version::V3, Protection::None);
    let mut corrupt = good.clone();
    corrupt[2] ^= 1;
    let mut kind = good.clone();
    kind[0] = 0x32;
    let mut unknown = good.clone();
    unknown[0] = 0x91;
    let packets = [
        ("checksum", corrupt),
        ("length", good[..good.len() - 1].to_vec()),
        ("length", good[..3].to_vec()),
        ("type", kind),
        ("version", unknown),
        ("version_mismatch", advert(51, Version::V2, Protection::None)),
    ];
    for (check, packet) in packets {
        let before = link.nodes().map(total);
        link.tell(255, &[packet]);
        for (node, before) in link.nodes().into_iter().zip(before) {
            wait_until(&format!("{check} is counted"), || total(node) > before);
            let status = node.status();
            let errors = &status["counters"]["receive_errors"];
            assert!(node.receive_errors(check) > 0, "{check} in {errors}");
        }
    }
    // What speaks of others, or was forwarded, is nobody's error.
    let before = link.nodes().map(total);
    link.tell(254, std::slice::from_ref(&good));
    link.tell(255, &[advert(52, Version::V3, Protection::None), Vec::new(), good[..3].to_vec()]);
    for (node, before) in link.nodes().into_iter().zip(before) {
        wait_until("the last one is counted", || total(node) > before);
        assert_eq!(total(node), before + 1, "{}", node.status());
    }
    link.nothing_happened();
}

/// Packets that a router has refused.
fn total(node: &VrrpNode) -> u64 {
    let status = node.status();
    let errors = status["counters"]["receive_errors"].as_object().unwrap();
    errors.values().filter_map(serde_json::Value::as_u64).sum()
}

#[test]
fn who_lacks_the_password_is_not_heard() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let network = Network::new(24);
    let host = network.host("lb1", MASTER);
    let liar = network.host("liar", LIAR);
    let lines = "virtual_router_id: 51\nversion: 2\nvirtual_addresses: [10.9.0.100/24]\ntrack: []\n\
                 authentication: { pass: \"1234\" }";
    let owners = Owners::new(&[&host], VIP);
    let node = VrrpNode::start(host, lines);
    node.wait_for_state("master");
    let wrong = advert(51, Version::V2, Protection::Password(*b"guessed\0"));
    let none = advert(51, Version::V2, Protection::None);
    liar.inside(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
        socket.set_multicast_ttl_v4(255).unwrap();
        socket.set_multicast_if_v4(&LIAR).unwrap();
        for packet in [wrong, none] {
            socket.send_to(&packet, &SocketAddrV4::new(GROUP, 0).into()).unwrap();
        }
    });
    wait_until("both are counted", || {
        node.receive_errors("password") == 1 && node.receive_errors("authentication_mismatch") == 1
    });
    assert_eq!(owners.now(), [0]);
}

#[test]
fn replayed_adverts_of_a_dead_master_keep_nobody_from_taking_over() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let link = Link::new("authentication: { hmac: { key_file: key } }");
    link.tell(255, &[advert(51, Version::V3, Protection::None)]);
    link.counted("authentication_mismatch", 1);
    link.nothing_happened();

    // IP header and all: the liar puts the master's address there.
    let recorded = link.liar.inside(|| {
        let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
        socket.join_multicast_v4(&GROUP, &LIAR).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        (0..5)
            .map(|_| {
                let mut packet = vec![0; 1500];
                let length = socket.read(&mut packet).unwrap();
                packet.truncate(length);
                packet
            })
            .collect::<Vec<_>>()
    });
    link.network.cut("lb1");
    link.liar.inside(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
        socket.set_header_included_v4(true).unwrap();
        socket.set_multicast_if_v4(&LIAR).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while link.backup.state() != "master" {
            assert!(Instant::now() < deadline, "the backup takes over");
            for packet in &recorded {
                socket.send_to(packet, &SocketAddrV4::new(GROUP, 0).into()).unwrap();
            }
        }
    });
    assert!(link.backup.receive_errors("hmac_replay") > 0, "{}", link.backup.status()["counters"]);
    link.network.mend("lb1");
    link.owners.wait_for(0);
}

#[test]
fn floods_change_nothing_and_cost_little() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let link = Link::new("authentication: { hmac: { key_file: key } }");
    let mut corrupt = advert(51, Version::V3, Protection::None);
    corrupt[2] ^= 1;
    // The kernel drops a flood of others' adverts.
    link.tell(255, &vec![advert(99, Version::V3, Protection::None); 20_000]);
    assert_eq!(link.nodes().map(total), [0, 0]);
    let floods =
        [("checksum", corrupt), ("authentication_mismatch", advert(51, Version::V3, Protection::None))];
    for (check, packet) in floods {
        let before = cpu_ms(link.backup.vrrpd.pid());
        link.tell(255, &vec![packet; 20_000]);
        // What does not fit the socket's buffer is the kernel's to drop.
        link.counted(check, 1000);
        let spent = cpu_ms(link.backup.vrrpd.pid()) - before;
        let heard = link.backup.receive_errors(check);
        println!("{check}: {heard} of 20000 packets took {spent} ms of processor time");
        link.nothing_happened();
    }
    let log = link.backup.vrrpd.stderr().lines().count();
    assert!(log < 100, "{log} lines are too many for a log");
}

/// Processor time of a process so far.
fn cpu_ms(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // Linux tells it in hundredths of a second.
    ticks * 10
}
