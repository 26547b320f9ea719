//! Interfaces that come, go and change, and others who meddle with the addresses.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use std::net::UdpSocket;

use common::{Node, VIP, config, pair};
use testkit::wait_until;

#[test]
fn an_interface_may_return_under_another_name() {
    let network = network!();
    let (first, second) = pair(&network, &["preempt: false"]);
    first.ip("link delete eth0");
    first.wait_for_line(
        "VRRP web: master -> fault: tracker own interface fails: no interface has an address in the subnet",
    );
    second.wait_to_have(VIP);

    network.plug(&first.host, "node1", "eth7", [10, 9, 0, 1].into());
    first.wait_for_line("takes part on this interface instance=\"web\" interface=\"eth7\"");
    first.wait_for_line("VRRP web: fault -> backup: the trackers recovered");
    assert!(second.has(VIP) && !first.has(VIP));
}

#[test]
fn an_interface_that_goes_down_is_a_fault() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    first.ip("link set eth0 down");
    first.wait_for_line(
        "VRRP web: master -> fault: tracker own interface fails: eth0 is down, or has no carrier",
    );
    second.wait_to_have(VIP);
    assert!(!first.has(VIP));
    first.ip("link set eth0 up");
    first.wait_to_have(VIP);
    second.wait_not_to_have(VIP);
}

#[test]
fn without_an_interface_it_waits_for_one() {
    let network = network!();
    let mut node = Node::new(&network, 1, &config(200, &["interface: eth5"]));
    node.start();
    node.wait_for_line("VRRP web: init -> fault: tracker own interface fails: there is no interface eth5");
    network.plug(&node.host, "more", "eth5", [10, 9, 0, 51].into());
    node.wait_to_have(VIP);
}

#[test]
fn another_hardware_address_is_announced_and_moves_nothing() {
    let network = network!();
    let (first, second) = pair(&network, &["gratuitous: { repeat: 1, delay: off }"]);
    let mac = || second.ip(&format!("neighbour show {VIP}"));
    // So that there is an entry which the announcement can change.
    second.host.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"who has it?", (VIP, 9)).unwrap());
    wait_until("the other node knows the old address", || mac().contains("lladdr"));
    first.ip("link set eth0 address 02:00:00:00:00:77");
    first.wait_for_line("the interface has another hardware address");
    wait_until("the other node knows the new address", || mac().contains("02:00:00:00:00:77"));
    assert_eq!(first.count("master -> "), 0, "{}", first.log());
    assert_eq!(first.count("claims a virtual address"), 0, "its own announcements are its own");
}

/// A switch that has lost its port forgets who is behind it, and a neighbour may have heard somebody else meanwhile.
#[test]
fn carrier_that_was_gone_for_a_moment_is_announced_and_moves_nothing() {
    let network = network!();
    let witness = network.host("witness", [10, 9, 0, 9].into());
    let mut node = Node::new(&network, 1, &config(200, &["gratuitous: { repeat: 1, delay: off }"]));
    node.start();
    node.wait_to_have(VIP);
    let shown = node.ip("-brief link show eth0");
    let mac = shown.split_whitespace().nth(2).unwrap();
    // vrrpd sees but the end of it: an interface that runs.
    node.freeze();
    node.ip("link set eth0 down");
    node.ip("link set eth0 up");
    wait_until("the interface runs again", || node.ip("link show eth0").contains("LOWER_UP"));
    witness.run(
        "ip",
        &["neighbour", "replace", VIP, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale"],
    );
    node.thaw();
    wait_until("the witness knows who has the address", || {
        witness.run("ip", &["neighbour", "show", VIP]).contains(mac)
    });
    assert_eq!(node.count("master -> "), 0, "{}", node.log());
}

#[test]
fn the_check_on_the_node_finds_addresses_outside_every_subnet() {
    let network = network!();
    let node = Node::new(&network, 1, "");
    let warnings = |addresses: &str, more: &[&str], track: &str| {
        let config = config(200, more).replace(&format!("{VIP}/24"), addresses);
        node.configure(&config.replace("track: []", &format!("track: [{track}]")));
        node.check(&[])
    };
    let outside = "outside every subnet of this machine";
    assert!(!warnings("10.9.0.100/24", &[], "").contains(outside));
    assert!(warnings("10.8.0.100/24", &[], "").contains(outside));
    assert!(!warnings("10.8.0.100/24", &["interface: eth0"], "").contains(outside), "a name is enough");
    let absent = "an interface that this machine does not have";
    assert!(!warnings("10.9.0.100/24", &["interface: eth0"], "{ interface: lo }").contains(absent));
    for (interface, tracked) in [("eth9", "eth0"), ("eth0", "eth9")] {
        let track = format!("{{ interface: {tracked} }}");
        let told = warnings("10.9.0.100/24", &[&format!("interface: {interface}")], &track);
        assert!(told.contains(absent) && told.contains("perhaps \"eth0\""), "{told}");
    }
    node.ip("address add 10.8.0.100/24 dev eth0");
    assert!(
        warnings("10.8.0.100/24", &[], "").contains(outside),
        "a virtual address is no address of the node"
    );
}

#[test]
fn a_removed_address_is_put_back() {
    let network = network!();
    let (first, _second) = pair(&network, &[]);
    for times in 1..=3 {
        first.ip(&format!("address delete {VIP}/24 dev eth0"));
        first.wait_to_have(VIP);
        wait_until("it is said", || first.count("somebody removed a virtual address") == times);
    }
    assert_eq!(first.count("master -> "), 0);
}

#[test]
fn another_source_address_is_taken() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    // The kernel removes the virtual address with it, which is of the same subnet and came later.
    first.ip("address delete 10.9.0.1/24 dev eth0");
    second.wait_to_have(VIP);
    first.ip("address add 10.9.0.77/24 dev eth0");
    first.wait_for_line("source=10.9.0.77");
    first.wait_to_have(VIP);
    second.wait_not_to_have(VIP);
}

#[test]
fn what_an_earlier_run_left_behind_is_removed() {
    let network = network!();
    let mut node = Node::new(&network, 1, &config(200, &["excluded_addresses: [10.9.0.102/24]"]));
    node.start();
    node.wait_to_have("10.9.0.102");
    node.process().kill();
    assert!(node.has(VIP) && node.has("10.9.0.102"));
    node.configure(&config(200, &[]));
    node.start();
    node.wait_for_line("removing an address that an earlier run left behind address=10.9.0.102/24");
    node.wait_not_to_have("10.9.0.102");
    assert!(node.has(VIP), "this one is still wanted");
}
