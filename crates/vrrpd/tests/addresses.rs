//! What the interfaces of a node have, whatever happens to them: what the election says, and nothing else is touched.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use std::io::Write as _;
use std::process::Stdio;

use common::{Node, VIP, config, pair};
use testkit::wait_until;

/// A while in which nothing is to happen: several intervals, and more than a master-down time.
const A_WHILE: std::time::Duration = std::time::Duration::from_secs(2);

#[test]
fn a_source_address_that_is_away_for_a_moment_moves_nothing() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    for _ in 0..3 {
        // The kernel removes the virtual address with it, which is of the same subnet and came later.
        first.ip("address delete 10.9.0.1/24 dev eth0");
        std::thread::sleep(std::time::Duration::from_millis(200));
        first.ip("address add 10.9.0.1/24 dev eth0");
        first.wait_to_have(VIP);
    }
    std::thread::sleep(A_WHILE);
    assert_eq!(first.count("master -> "), 0, "{}", first.log());
    assert_eq!(second.count("-> master"), 0, "{}", second.log());
    assert!(first.has(VIP) && first.has("10.9.0.1"));
    // The virtual address is now the first of its subnet. It goes alone.
    first.signal(nix::sys::signal::Signal::SIGTERM);
    first.wait_not_to_have(VIP);
    assert!(first.has("10.9.0.1"), "{}", first.log());
}

#[test]
fn a_source_address_that_stays_away_is_told_to_the_others() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    first.ip("address delete 10.9.0.1/24 dev eth0");
    first.wait_for_line("VRRP web: master -> fault: tracker own interface fails");
    second.wait_for_line("VRRP web: backup -> master: the master left");
    first.wait_not_to_have(VIP);
}

#[test]
fn another_source_address_of_the_interface_moves_nothing() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    first.ip("address add 10.9.0.77/24 dev eth0");
    first.host.run("sysctl", &["-qw", "net.ipv4.conf.eth0.promote_secondaries=1"]);
    first.ip("address delete 10.9.0.1/24 dev eth0");
    first.wait_for_line("source=10.9.0.77");
    std::thread::sleep(A_WHILE);
    assert_eq!(first.count("master -> "), 0, "{}", first.log());
    assert_eq!(second.count("-> master"), 0, "{}", second.log());
}

#[test]
fn removing_an_address_takes_no_other_along() {
    let network = network!();
    let vip = "10.8.0.100";
    let config = config(200, &["interface: eth0"]).replace(VIP, vip);
    let mut node = Node::new(&network, 1, &config);
    node.host.run(
        "sysctl",
        &["-qw", "net.ipv4.conf.all.promote_secondaries=0", "net.ipv4.conf.eth0.promote_secondaries=0"],
    );
    node.start();
    node.wait_to_have(vip);
    node.ip("address add 10.8.0.7/24 dev eth0");
    node.stop();
    assert!(!node.has(vip));
    assert!(node.has("10.8.0.7"), "an administrator's address of the same subnet");
}

#[test]
fn a_reload_moves_the_address_to_another_interface() {
    let network = network!();
    let mut node = Node::new(&network, 1, &config(200, &["interface: eth0"]));
    network.plug(&node.host, "more", "eth1", [10, 9, 0, 51].into());
    node.start();
    let is_on = |node: &Node, interface: &str| {
        node.ip(&format!("-o address show dev {interface}")).contains(&format!(" {VIP}/"))
    };
    wait_until("it is on eth0", || is_on(&node, "eth0"));
    node.configure(&config(200, &["interface: eth1"]));
    node.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("it is on eth1", || is_on(&node, "eth1"));
    assert!(!is_on(&node, "eth0"), "{}", node.log());
}

#[test]
fn adverts_wait_for_nobody_who_changes_interfaces() {
    let network = network!();
    let more = ["excluded_addresses: [10.9.0.101/24, 10.9.0.102/24]"];
    let fast = |priority| config(priority, &more).replace("advert_interval: 200ms", "timing: fast");
    let mut first = Node::new(&network, 1, &fast(200));
    let mut second = Node::new(&network, 2, &fast(100));
    first.start();
    first.wait_to_have(VIP);
    second.start();
    second.wait_for_line("init -> backup");
    // Another namespace, one lock: the kernel holds it for as long as it takes to remove a whole group of interfaces.
    let busy = testkit::Netns::new("busy");
    for _ in 0..3 {
        let batch: String = (0..400)
            .map(|number| format!("link add busy{number} group 7 type veth peer name peer{number}\n"))
            .collect();
        let mut child = busy.command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        let mut removal = busy.command("ip").args(["link", "delete", "group", "7"]).spawn().unwrap();
        // Meanwhile the master has something to do, too.
        first.ip(&format!("address delete {VIP}/24 dev eth0"));
        assert!(removal.wait().unwrap().success());
        first.wait_to_have(VIP);
    }
    assert_eq!(second.count("-> master"), 0, "{}", second.log());
    assert_eq!(first.count("master -> "), 0, "{}", first.log());
}

#[test]
fn a_tentative_address_is_no_source() {
    let network = network!();
    let config = config(200, &["interface: eth0"]).replace(&format!("{VIP}/24"), "fe80::100/64");
    let mut node = Node::new(&network, 1, &config);
    node.ip("-6 address flush dev eth0");
    // So many questions that the check for duplicates does not end in this test.
    node.host.run("sysctl", &["-qw", "net.ipv6.conf.eth0.dad_transmits=600"]);
    node.ip("address add fe80::1/64 dev eth0");
    node.start();
    node.wait_for_line("eth0 has no address to send adverts from: those that are tentative");
    node.ip("address delete fe80::1/64 dev eth0");
    node.ip("address add fe80::1/64 dev eth0 nodad");
    node.wait_to_have("fe80::100");
    assert_eq!(node.count("cannot send"), 0, "{}", node.log());
}

#[test]
fn announcements_of_ipv6_addresses_say_whether_the_node_forwards() {
    let network = network!();
    testkit::needs!("tshark");
    let config = config(200, &["interface: eth0"]).replace(&format!("{VIP}/24"), "fe80::100/64");
    let mut node = Node::new(&network, 1, &config);
    let neighbour = network.host("neighbour", [10, 9, 0, 9].into());
    let tshark = testkit::Tshark::start(&neighbour);
    for forwards in [1, 0] {
        node.host.run("sysctl", &["-qw", &format!("net.ipv6.conf.eth0.forwarding={forwards}")]);
        node.start();
        node.wait_to_have("fe80::100");
        let told = format!(
            "icmpv6.nd.na.target_address == fe80::100 && icmpv6.nd.na.flag.r == {forwards} && icmpv6.nd.na.flag.o == 1"
        );
        wait_until("it is told", || tshark.count(&told) > 0);
        node.stop();
    }
}
