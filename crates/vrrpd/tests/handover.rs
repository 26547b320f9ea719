//! A handover that is asked for: the addresses move when somebody takes them, and not before.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use common::{Node, VIP, config, pair};
use testkit::text_command;

fn hand_over(node: &Node) -> String {
    text_command(&node.file("vrrpd/vrrpd.sock"), "handover")
}

#[test]
fn the_addresses_go_to_the_other_node() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    let told = hand_over(&first);
    assert!(told.starts_with("handed over web in "), "{told}");
    assert!(!first.has(VIP), "whoever is told so can rely on it");
    second.wait_to_have(VIP);
    second.wait_for_line("VRRP web: backup -> master: the master left");
    let told = hand_over(&first);
    assert!(told.contains("not master"), "{told}");
}

#[test]
fn with_nobody_to_take_them_the_addresses_never_leave() {
    let network = network!();
    let mut alone = Node::new(&network, 1, &config(200, &[]));
    alone.start();
    alone.wait_to_have(VIP);
    let watch = alone.watch();
    let told = hand_over(&alone);
    assert!(told.starts_with("nobody took over web within ") && told.contains("have stayed here"), "{told}");
    alone.wait_for_line("VRRP web: backup -> master: handed over, but nobody took over");
    assert!(alone.has(VIP) && !watch.has_seen_removal_of(VIP));
}
