//! Anycast services: addresses that are here while a real lbd serves, and are gone before anybody would miss it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use common::Node;
use nix::sys::signal::Signal;
use testkit::{Addresses, Config, Daemon, Network, Program, text_command, wait_until};

const V4: &str = "192.0.2.100";
const V6: &str = "2001:db8::100";

/// A service; `more` are further lines of it.
fn service(more: &[&str]) -> String {
    let more: String = more.iter().map(|line| format!("    {line}\n")).collect();
    format!("anycast:\n  web:\n    addresses: [{V4}, \"{V6}\"]\n{more}")
}

fn lbd_of(node: &Node, addresses: &Addresses) -> Daemon {
    let mut config =
        Config::new(addresses.socket(1, 7080), addresses.socket(1, 7404), addresses.socket(1, 7406));
    config.check = "off".to_owned();
    config.servers =
        [11, 12].map(|host| (format!("s{host}"), addresses.socket(host, 7081).to_string())).into();
    config.lbd = "workers: 1\nverdict_wait: 0s".to_owned();
    let lbd = Daemon::new(Program::Lbd, &node.file(""));
    std::fs::write(lbd.config(), config.to_string()).unwrap();
    lbd
}

fn announced(network: &Network, more: &[&str]) -> (Node, Daemon, Addresses) {
    let mut node = Node::new(network, 1, &service(more));
    let addresses = Addresses::claim();
    let mut lbd = lbd_of(&node, &addresses);
    lbd.start();
    node.start();
    node.wait_to_have(V4);
    node.wait_to_have(V6);
    (node, lbd, addresses)
}

fn ask(node: &Node, command: &str) -> String {
    text_command(&node.file("vrrpd/vrrpd.sock"), command)
}

fn wait_for_state(node: &Node, state: &str) {
    wait_until(&format!("the service is {state}"), || {
        ask(node, "show anycast web").starts_with(&format!("web: {}", state.to_uppercase()))
    });
}

#[test]
fn addresses_are_here_while_lbd_serves_and_come_back_after_the_hold_down() {
    let network = network!();
    let (node, mut lbd, _addresses) = announced(&network, &["withdraw: 100ms", "hold_down: 1s"]);
    node.wait_for_line("anycast web: init -> announced: started");
    let shown = node.ip("-o address show dev lo");
    assert!(shown.contains(&format!("{V4}/32")) && shown.contains(&format!("{V6}/128")), "{shown}");
    lbd.kill();
    node.wait_for_line("anycast web: announced -> fault: tracker lbd fails: lbd is gone");
    node.wait_not_to_have(V4);
    node.wait_not_to_have(V6);
    lbd.start();
    node.wait_for_line("anycast web: fault -> waiting: the trackers recovered, which has to last for 1.0 s");
    node.wait_for_line("anycast web: waiting -> announced: the trackers have been good for long enough");
    node.wait_to_have(V4);
}

#[test]
fn an_lbd_that_stops_drains_before_its_addresses_go_and_is_told_when_they_have() {
    let network = network!();
    let (node, mut lbd, _addresses) = announced(&network, &["withdraw: 100ms", "hold_down: 1h"]);
    let watch = node.watch();
    lbd.stop();
    node.wait_for_line("anycast web: announced -> fault: tracker lbd fails: lbd is stopping");
    assert!(watch.has_seen_removal_of(V4), "gone before lbd was");
    let log = lbd.stderr();
    let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("{what}: {log}"));
    assert!(at("lbd drains") < at("the virtual addresses have left this node"));
    // That was no flapping: no hold-down is waited for.
    lbd.start();
    node.wait_to_have(V4);
}

#[test]
fn an_operator_withdraws_and_announces() {
    let network = network!();
    let (node, lbd, _addresses) = announced(&network, &["withdraw: 500ms", "hold_down: 0s"]);
    assert!(ask(&node, "handover web").starts_with("withdrew web in "));
    assert!(!node.has(V4) && !node.has(V6), "gone when that is answered");
    node.wait_for_line("anycast web: announced -> leaving: on request");
    wait_for_state(&node, "withdrawn");
    assert!(lbd.stderr().contains("lbd drains"), "{}", lbd.stderr());
    assert!(
        lbd.stderr().contains("have left this node: lbd takes new connections again"),
        "{}",
        lbd.stderr()
    );
    assert!(ask(&node, "handover").contains("has withdrawn its services already"));
    assert!(ask(&node, "handover wbe").contains("there is no instance or service wbe; there are web"));
    assert!(ask(&node, "announce wbe").contains("there is no service wbe; there are web"));
    assert_eq!(ask(&node, "announce web").trim(), "web is announced: on request");
    node.wait_to_have(V4);
}

#[test]
fn too_few_usable_servers_withdraw_it() {
    let network = network!();
    let track = "track: [lbd, { backend: app, at_least: 2 }]";
    let (node, lbd, _addresses) = announced(&network, &[track, "withdraw: 100ms", "hold_down: 100ms"]);
    text_command(&lbd.socket(), "set server app/s11 state maint");
    node.wait_for_line("tracker backend app fails: backend app has 1 usable server, and 2 are asked for");
    node.wait_not_to_have(V4);
    text_command(&lbd.socket(), "set server app/s11 state ready");
    node.wait_to_have(V4);
}

#[test]
fn a_killed_vrrpd_leaves_the_addresses_and_the_next_one_adopts_them() {
    let network = network!();
    let (mut node, mut lbd, _addresses) = announced(&network, &[]);
    node.signal(Signal::SIGKILL);
    node.process().wait();
    assert!(node.has(V4) && node.has(V6));
    let watch = node.watch();
    node.start();
    node.wait_for_line("anycast web: init -> announced: the addresses were still here");
    assert!(!watch.has_seen_removal_of(V4), "{}", node.log());
    // One that is unfit meanwhile loses them.
    node.signal(Signal::SIGKILL);
    node.process().wait();
    lbd.kill();
    node.start();
    node.wait_not_to_have(V4);
    node.wait_for_line("anycast web: init -> fault: tracker lbd fails");
    // And one that is left by nobody for good.
    lbd.start();
    wait_for_state(&node, "announced");
    node.stop();
    assert!(!node.has(V4) && !node.has(V6));
}

#[test]
fn a_vrrpd_that_does_not_come_back_leaves_nothing() {
    let network = network!();
    let (mut node, _lbd, _addresses) = announced(&network, &[]);
    node.signal(Signal::SIGKILL);
    node.process().wait();
    node.configure("anycast: { web: { adresses: 192.0.2.100 } }\n");
    node.spawn();
    node.wait_not_to_have(V4);
    assert!(!node.has(V6), "{}", node.log());
}

#[test]
fn an_address_that_somebody_removes_comes_back() {
    let network = network!();
    let (node, _lbd, _addresses) = announced(&network, &[]);
    node.ip(&format!("address delete {V4}/32 dev lo"));
    node.wait_for_line("somebody removed a virtual address; putting it back");
    node.wait_to_have(V4);
}

#[test]
fn services_stand_beside_instances_and_change_with_a_reload() {
    let network = network!();
    let both = |address: &str| {
        format!("{}anycast:\n  front: {{ addresses: [{address}], track: [] }}\n", common::config(200, &[]))
    };
    let mut node = Node::new(&network, 1, &both(V4));
    node.start();
    node.wait_to_have(common::VIP);
    node.wait_to_have(V4);
    node.configure(&both("192.0.2.101"));
    node.signal(Signal::SIGHUP);
    node.wait_to_have("192.0.2.101");
    node.wait_not_to_have(V4);
    node.configure(&common::config(200, &[]));
    node.signal(Signal::SIGHUP);
    node.wait_not_to_have("192.0.2.101");
    assert!(node.has(common::VIP));
    assert_eq!(node.count("VRRP web: master -> "), 0, "{}", node.log());
    node.stop();
    assert!(!node.has(common::VIP));
}

#[test]
fn a_missing_interface_is_waited_for() {
    let network = network!();
    let mut node = Node::new(&network, 1, &service(&["interface: service0", "track: []"]));
    node.start();
    node.wait_for_line(
        "anycast web: init -> fault: tracker own interface fails: there is no interface service0",
    );
    node.ip("link add service0 type veth peer name service1");
    node.ip("link set service1 up");
    node.ip("link set service0 up");
    node.wait_to_have(V4);
    node.ip("link delete service0");
    node.wait_for_line("anycast web: announced -> fault: tracker own interface fails");
}

#[test]
fn a_gateway_is_found_by_the_routes() {
    let network = network!();
    let gateway = network.host("gateway", [10, 9, 0, 9].into());
    let track =
        "track: [{ gateway: default, interval: 200ms, fall: 2 }, { gateway: 10.9.0.9, interval: 200ms }]";
    let mut node = Node::new(&network, 1, &service(&[track, "withdraw: 0s", "hold_down: 0s"]));
    node.ip("route add default via 10.9.0.9");
    node.start();
    node.wait_to_have(V4);
    gateway.run("ip", &["link", "set", "eth0", "down"]);
    node.wait_for_line(
        "fails: 10.9.0.9 does not answer on eth0 instance=\"web\" tracker=\"gateway default\"",
    );
    node.wait_not_to_have(V4);
    gateway.run("ip", &["link", "set", "eth0", "up"]);
    node.wait_to_have(V4);
}

#[test]
fn hooks_hear_of_services() {
    let network = network!();
    let mut node = Node::new(&network, 1, "");
    let told = node.file("told");
    let hook = format!("notify: {{ command: [/bin/sh, -c, 'echo \"$@\" >> {}', sh] }}", told.display());
    node.configure(&service(&["track: []", &hook]));
    node.start();
    let has = |what: &str| std::fs::read_to_string(&told).unwrap_or_default().contains(what);
    wait_until("it is told", || has("ANYCAST web ANNOUNCED 0"));
    node.stop();
    assert!(has("ANYCAST web STOP 0"));
}
