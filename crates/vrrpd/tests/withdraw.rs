//! Addresses never outlive their owner: whatever keeps vrrpd from starting again takes them away.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use common::{Node, VIP, config, pair};

/// vrrpd is killed, and started again with `more` that keeps it from starting.
fn killed_and_unable_to_start(prepare: impl FnOnce(&Node), code: i32) {
    let network = network!();
    let (mut first, second) = pair(&network, &["preempt: false"]);
    first.process().kill();
    assert!(first.has(VIP), "nobody is left to remove it");
    prepare(&first);
    first.spawn();
    assert_eq!(first.process().wait().code(), Some(code), "{}", first.log());
    assert!(!first.has(VIP), "{}", first.log());
    second.wait_to_have(VIP);
    assert_eq!(
        second.count("somebody answers for the address"),
        0,
        "nobody is left to answer: {}",
        second.log()
    );
}

#[test]
fn a_bad_configuration() {
    killed_and_unable_to_start(|node| node.configure("instances: {}\n"), 78);
}

#[test]
fn a_key_that_cannot_be_read() {
    let key = "authentication: { hmac: { key_file: there-is-none } }";
    killed_and_unable_to_start(|node| node.configure(&config(200, &[key])), 78);
}

#[test]
fn a_port_that_is_taken() {
    // Of the same host, and held to the end of the test's process.
    killed_and_unable_to_start(
        |node| node.host.inside(|| std::mem::forget(std::net::TcpListener::bind("127.0.0.1:8407").unwrap())),
        71,
    );
}

#[test]
fn who_is_asked_to_needs_no_configuration_and_leaves_other_addresses() {
    let network = network!();
    let mut node = Node::new(&network, 1, &config(200, &["excluded_addresses: [10.8.0.100/24]"]));
    node.start();
    node.wait_to_have("10.8.0.100");
    let withdraw = |node: &Node| {
        let mut command = node.host.command(env!("CARGO_BIN_EXE_vrrpd"));
        let output = command.arg("--withdraw").arg("--run-dir").arg(node.file("")).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (done, said) = withdraw(&node);
    assert!(!done && said.contains("a vrrpd runs here"), "{said}");
    assert!(node.has(VIP));

    node.process().kill();
    std::fs::remove_file(node.file("vrrp.yaml")).unwrap();
    node.ip("address add 10.8.0.7/24 dev eth0");
    let (done, said) = withdraw(&node);
    assert!(
        done && said.contains("10.9.0.100/24 from eth0") && said.contains("10.8.0.100/24 from eth0"),
        "{said}"
    );
    assert!(!node.has(VIP) && !node.has("10.8.0.100"));
    assert!(node.has("10.9.0.1") && node.has("10.8.0.7"), "others stay");

    // As on a kernel that keeps no marks.
    node.ip("address add 10.9.0.100/24 dev eth0");
    assert_eq!(withdraw(&node), (true, "no address of vrrpd's was here\n".to_owned()));
    std::fs::write(node.file("vrrpd/vrrpd.addresses"), "eth0 10.9.0.100/24\n").unwrap();
    assert!(withdraw(&node).0 && !node.has(VIP));
}
