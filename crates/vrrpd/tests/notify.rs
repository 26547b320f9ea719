//! Hooks: told of every transition, in order, and no burden to the election.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{Node, VIP, config};
use testkit::{Network, wait_until};

/// A node whose hook is a script.
fn hooked(network: &Network, text: &str, options: &str) -> Node {
    let mut node = Node::new(network, 1, "");
    let path = node.file("hook");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let notify = format!("notify: {{command: [{}, own], {options}}}", path.display());
    node.configure(&config(200, &[&notify]));
    node.start();
    node
}

fn told(node: &Node) -> Vec<String> {
    let text = std::fs::read_to_string(node.file("told")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn hooks_get_keepaliveds_arguments_in_order() {
    let network = network!();
    // The first takes longest.
    let text = r#"[ "$4" = BACKUP ] && sleep 0.3; echo "$@" >> "$(dirname "$0")/told"; env | grep -v '^\(PATH\|PWD\|_\|SHLVL\|OLDPWD\)='"#;
    let mut node = hooked(&network, text, "timeout: 5s");
    node.wait_to_have(VIP);
    node.ip("link set eth0 down");
    node.wait_for_line("master -> fault");
    assert!(node.stop().success());
    let expected = ["BACKUP", "MASTER", "FAULT", "STOP"];
    let told = told(&node);
    let states: Vec<&str> = told.iter().map(|line| line.split(' ').nth(3).unwrap()).collect();
    assert_eq!(states, expected, "the last one too, though vrrpd stops");
    assert_eq!(told[1], "own INSTANCE web MASTER 200");
    assert_eq!(node.count("notify: "), 0, "nothing else is in its environment: {}", node.log());
}

#[test]
fn a_hook_that_hangs_is_killed_and_counted_and_holds_nothing_up() {
    let network = network!();
    let mut node = hooked(&network, "echo I begin; echo I complain >&2; sleep 86400", "timeout: 500ms");
    node.wait_to_have(VIP);
    node.wait_for_line("notify: I begin");
    node.wait_for_line("notify: I complain");
    wait_until("both have been killed", || node.count("took longer than 500ms and was killed") >= 2);
    assert!(node.stop().success());
}

#[test]
fn a_hook_that_talks_without_end_is_not_listened_to_for_ever() {
    let network = network!();
    let node = hooked(&network, "yes", "timeout: 500ms");
    node.wait_to_have(VIP);
    node.wait_for_line("took longer than 500ms and was killed");
    wait_until("both have been killed", || node.count("was killed") >= 2);
    wait_until("both have been heard out", || node.count("notify: y") == 32);
}
