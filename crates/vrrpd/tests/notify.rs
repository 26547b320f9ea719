//! Hooks: told where the instance stands until they have taken it, and no burden to the election.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{Node, VIP, config};
use nix::sys::signal::Signal;
use testkit::{Network, text_command, wait_until};

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
    let text = r#"echo "$@" >> "$(dirname "$0")/told"; env | grep -v '^\(PATH\|PWD\|_\|SHLVL\|OLDPWD\)='"#;
    let mut node = hooked(&network, text, "timeout: 5s");
    // Whatever has passed before a hook was ready for it is not told.
    let is_told = |state: &str| told(&node).last().is_some_and(|line| line.split(' ').nth(3) == Some(state));
    wait_until("the master has been told", || is_told("MASTER"));
    node.ip("link set eth0 down");
    wait_until("the fault has been told", || is_told("FAULT"));
    assert!(node.stop().success());
    let told = told(&node);
    let states: Vec<&str> = told.iter().map(|line| line.split(' ').nth(3).unwrap()).collect();
    assert!(
        states.ends_with(&["MASTER", "FAULT", "STOP"]),
        "the last one too, though vrrpd stops: {states:?}"
    );
    assert_eq!(told[told.len() - 3], "own INSTANCE web MASTER 200");
    assert_eq!(node.count("notify: "), 0, "nothing else is in its environment: {}", node.log());
}

#[test]
fn what_has_passed_is_not_told() {
    let network = network!();
    let text = r#"cd "$(dirname "$0")"; echo "$@" >> told; [ "$4" != BACKUP ] || while ! [ -e go ]; do sleep 0.05; done"#;
    let node = hooked(&network, text, "timeout: 1m");
    node.wait_to_have(VIP);
    node.ip("link set eth0 down");
    node.wait_for_line("master -> fault");
    std::fs::write(node.file("go"), "").unwrap();
    wait_until("the fault has been told", || told(&node).iter().any(|line| line.contains("FAULT")));
    assert!(!told(&node).iter().any(|line| line.contains("MASTER")), "{:?}", told(&node));
}

#[test]
fn a_hook_that_fails_is_told_again_until_it_succeeds() {
    let network = network!();
    let text = r#"cd "$(dirname "$0")"; echo "$@" >> told; [ -e go ] || exit 3"#;
    let node = hooked(&network, text, "timeout: 1m");
    let masters = || told(&node).iter().filter(|line| line.contains("MASTER")).count();
    wait_until("it has been told twice", || masters() > 1);
    let status = || text_command(&node.file("vrrpd/vrrpd.sock"), "show vrrp web");
    assert!(status().contains("nobody could be told of this state"), "{}", status());
    std::fs::write(node.file("go"), "").unwrap();
    wait_until("it has taken it", || !status().contains("nobody could be told"));
    assert!(node.has(VIP), "nobody asked for a fault");
}

#[test]
fn a_master_that_nobody_can_be_told_of_gives_way_if_asked_to() {
    let network = network!();
    let mut node = hooked(&network, r#"[ "$4" != MASTER ]"#, "fault_after: 50ms");
    node.wait_for_line("VRRP web: master -> fault: tracker own notify fails: nobody could be told for");
    node.wait_not_to_have(VIP);
    assert!(node.stop().success());
}

#[test]
fn who_is_told_to_stop_a_second_time_waits_for_no_hook() {
    let network = network!();
    let mut node = hooked(&network, r#"[ "$4" != STOP ] || { echo I hang; sleep 86400; }"#, "timeout: 1m");
    node.wait_to_have(VIP);
    node.signal(Signal::SIGTERM);
    node.wait_for_line("master -> init");
    assert!(node.stop().success());
    node.wait_for_line("told to stop again");
    assert!(!node.has(VIP));
    assert_eq!(node.count("takes too long"), 0, "{}", node.log());
}

#[test]
fn a_hook_that_hangs_is_killed_and_counted_and_holds_nothing_up() {
    let network = network!();
    let mut node = hooked(&network, "echo I begin; echo I complain >&2; sleep 86400", "timeout: 500ms");
    node.wait_to_have(VIP);
    node.wait_for_line("notify: I begin");
    node.wait_for_line("notify: I complain");
    wait_until("it is killed each time", || node.count("took longer than 500ms and was killed") >= 2);
    assert!(node.stop().success());
}

#[test]
fn a_hook_that_talks_without_end_is_not_listened_to_for_ever() {
    let network = network!();
    let node = hooked(&network, "yes", "timeout: 500ms");
    node.wait_to_have(VIP);
    wait_until("it is killed each time", || node.count("was killed") >= 2);
    let lines = node.count("notify: y");
    assert!((32..=16 * (node.count("was killed") + 1)).contains(&lines), "{lines}");
}
