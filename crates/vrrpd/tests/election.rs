//! Two real vrrpd on one network: at any time that matters, one of them has the address.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use std::net::UdpSocket;

use common::{Node, VIP, config, pair};
use testkit::{Tshark, needs, wait_until};

#[test]
fn the_higher_priority_has_the_address() {
    let network = network!();
    let mut low = Node::new(&network, 1, &config(100, &[]));
    let mut high = Node::new(&network, 2, &config(200, &[]));
    low.start();
    low.wait_to_have(VIP);
    high.start();
    high.wait_to_have(VIP);
    low.wait_not_to_have(VIP);
    low.wait_for_line("VRRP web: master -> backup: 10.9.0.2 is master with priority 200");
    high.wait_for_line("VRRP web: backup -> master: the master 10.9.0.1 has a lower priority, 100");
}

// RFC 9568 section 6.4.2: "It MUST NOT respond to ARP requests for the IPv4 address(es) associated with the Virtual Router."
// RFC 9568 section 6.4.3: "It MUST respond to ARP requests for the IPv4 address(es) associated with the Virtual Router."
#[test]
fn the_master_alone_answers_who_has_the_address() {
    needs!("tshark");
    let network = network!();
    let (first, second) = pair(&network, &[]);
    let witness = network.host("witness", [10, 9, 0, 9].into());
    let mut seen = Tshark::start(&witness);
    let ask = || {
        witness.run("ip", &["neighbour", "flush", "dev", "eth0"]);
        witness.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"who has it?", (VIP, 9)).unwrap());
        wait_until("somebody answers", || witness.run("ip", &["neighbour", "show", VIP]).contains("lladdr"));
    };
    let is_answer = format!("arp.opcode == 2 && arp.src.proto_ipv4 == {VIP}");
    // An announcement answers, too, before anybody is asked.
    wait_until("tshark has seen answers", || {
        ask();
        seen.count(&is_answer) >= 3
    });
    seen.finish();
    let answers = seen.packets(&is_answer, &["arp.src.hw_mac"]);
    let shown = first.ip("-brief link show eth0");
    let own = shown.split_whitespace().nth(2).unwrap();
    assert!(answers.iter().all(|answer| answer == &[own]), "{answers:?} are not all of {own}");
    assert!(!second.has(VIP));
}

#[test]
fn without_preemption_the_address_stays() {
    let network = network!();
    let mut low = Node::new(&network, 1, &config(100, &["preempt: false"]));
    let mut high = Node::new(&network, 2, &config(200, &["preempt: false"]));
    low.start();
    low.wait_to_have(VIP);
    high.start();
    high.wait_for_line("init -> backup");
    // It hears adverts for longer than it would wait for silence.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(low.has(VIP) && !high.has(VIP));
}

#[test]
fn stopping_hands_over() {
    let network = network!();
    let (mut first, second) = pair(&network, &[]);
    assert!(first.stop().success());
    assert!(!first.has(VIP), "what stops takes the address along");
    second.wait_to_have(VIP);
    second.wait_for_line("VRRP web: backup -> master: the master left");
}

#[test]
fn killed_and_restarted_it_keeps_the_address() {
    let network = network!();
    let (mut first, second) = pair(&network, &[]);
    let watch = first.watch();
    first.process().kill();
    assert!(first.has(VIP), "nobody is left to remove it");
    first.start();
    first.wait_for_line("backup -> master: the addresses were still here, and nobody had taken over");
    assert!(!watch.has_seen_removal_of(VIP));
    assert!(!second.has(VIP), "{}", second.log());
}

#[test]
fn killed_for_good_it_is_replaced_and_back_it_makes_room() {
    let network = network!();
    let (mut first, second) = pair(&network, &["preempt: false"]);
    first.process().kill();
    // The kernel still answers for the address, which delays the takeover, but not for ever.
    second.wait_to_have(VIP);
    second.wait_for_line("the master is silent, but somebody answers for the address");
    first.start();
    first.wait_not_to_have(VIP);
    assert!(second.has(VIP));
    assert_eq!(first.count("the addresses were still here"), 0, "the other one is master");
}

#[test]
fn a_partition_heals_to_one_owner() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    network.cut("node2");
    second.wait_to_have(VIP);
    assert!(first.has(VIP), "each side serves its own clients");
    network.mend("node2");
    second.wait_not_to_have(VIP);
    assert!(first.has(VIP));
    second.wait_for_line("VRRP web: master -> backup: 10.9.0.1 is master with priority 200");
}

#[test]
fn a_backup_that_was_out_of_breath_listens_first() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    for _ in 0..3 {
        second.freeze();
        // Longer than it would have waited for the master.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        second.thaw();
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    assert!(first.has(VIP));
    assert_eq!(second.count("-> master"), 0, "{}", second.log());
}

#[test]
fn a_master_that_was_out_of_breath_steps_down() {
    let network = network!();
    let (first, second) = pair(&network, &["preempt: false", "probe: false"]);
    first.freeze();
    second.wait_to_have(VIP);
    first.thaw();
    // The higher priority wins a contest of two masters, in any case it is one.
    wait_until("one owner", || first.has(VIP) != second.has(VIP));
}

#[test]
fn instances_of_both_families_share_an_interface() {
    let network = network!();
    let config = |priority: u8| {
        format!(
            "instances:
  four:
    virtual_router_id: 51
    priority: {priority}
    virtual_addresses: [10.9.0.100/24]
    advert_interval: 200ms
    track: []
  other:
    virtual_router_id: 52
    priority: {}
    virtual_addresses: [10.9.0.101/24]
    advert_interval: 200ms
    track: []
  six:
    interface: eth0
    virtual_router_id: 51
    priority: {priority}
    virtual_addresses: [fe80::100/64, '2001:db8::100/64']
    advert_interval: 200ms
    track: []
",
            255 - priority
        )
    };
    let mut first = Node::new(&network, 1, &config(200));
    let mut second = Node::new(&network, 2, &config(55));
    first.start();
    second.start();
    for ip in ["10.9.0.100", "fe80::100", "2001:db8::100"] {
        first.wait_to_have(ip);
        second.wait_not_to_have(ip);
    }
    second.wait_to_have("10.9.0.101");
    first.wait_not_to_have("10.9.0.101");
    first.stop();
    for ip in ["10.9.0.100", "10.9.0.101", "fe80::100", "2001:db8::100"] {
        second.wait_to_have(ip);
        assert!(!first.has(ip));
    }
    for node in [&first, &second] {
        assert_eq!(node.count("not believed"), 0, "each other's adverts are no errors: {}", node.log());
    }
}

#[test]
fn unicast_peers_with_hmac() {
    let network = network!();
    let lines = |peer: u8| {
        [
            format!("unicast: {{ peers: [10.9.0.{peer}] }}"),
            "authentication: { hmac: { key_file: vrrp.key } }".into(),
        ]
    };
    let node = |number: u8, peer: u8, priority: u8| {
        let more = lines(peer);
        let node = Node::new(&network, number, &config(priority, &[&more[0], &more[1]]));
        std::fs::write(node.file("vrrp.key"), "0123456789abcdef".repeat(4)).unwrap();
        node
    };
    let (mut first, mut second) = (node(1, 2, 200), node(2, 1, 100));
    first.start();
    first.wait_to_have(VIP);
    second.start();
    second.wait_for_line("init -> backup");
    first.stop();
    second.wait_for_line("backup -> master: the master left");
    second.wait_to_have(VIP);
    first.start();
    first.wait_to_have(VIP);
    second.wait_not_to_have(VIP);
}
