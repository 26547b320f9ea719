//! Commands of vrrpd's: what rights they have, and which are not run.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Node, VIP, config};
use nix::sys::signal::Signal;
use testkit::wait_until;

/// Writes what the kernel says of its rights.
const TELL_RIGHTS: &str =
    r#"grep -E '^(Cap|NoNewPrivs)' /proc/self/status > "$0.rights.new"; mv "$0.rights.new" "$0.rights""#;

fn script(node: &Node, name: &str, text: &str) -> PathBuf {
    let path = node.file(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    set_mode(&path, 0o755);
    path
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// What a command found of that name.
fn rights(node: &Node, command: &str, name: &str) -> String {
    let file = node.file(&format!("{command}.rights"));
    wait_until("it has told its rights", || file.exists());
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim_start_matches(":\t").to_owned()
}

#[test]
fn commands_have_no_capabilities_unless_they_are_to() {
    let network = network!();
    let mut node = Node::new(&network, 1, "");
    let hook = script(&node, "hook", TELL_RIGHTS);
    let plain = script(&node, "plain", TELL_RIGHTS);
    let privileged = script(&node, "privileged", TELL_RIGHTS);
    let notify = format!("notify: {{command: {}}}", hook.display());
    let track = format!(
        "track: [{{command: {}}}, {{command: {}, privileged: true}}]",
        plain.display(),
        privileged.display()
    );
    node.configure(&config(200, &[&notify]).replace("track: []", &track));
    node.start();
    for command in ["hook", "plain"] {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(rights(&node, command, set), "0000000000000000", "{set} of {command}");
        }
        assert_eq!(rights(&node, command, "NoNewPrivs"), "1");
    }
    // NET_ADMIN and NET_RAW.
    assert_eq!(rights(&node, "privileged", "CapEff"), "0000000000003000");
    node.wait_to_have(VIP);
}

#[test]
fn a_command_that_others_may_change_is_refused_with_its_place() {
    let network = network!();
    let mut node = Node::new(&network, 1, "");
    let hook = script(&node, "hook", "exit 0");
    let text = config(200, &[&format!("notify: {{command: {}}}", hook.display())]);
    node.configure(&text);
    set_mode(&hook, 0o777);
    node.spawn();
    assert_eq!(node.process().wait().code(), Some(78), "{}", node.log());
    let line = text.lines().position(|line| line.contains("notify")).unwrap() + 1;
    for words in [format!("vrrp.yaml:{line}:"), "may be changed by everybody".into(), "chmod o-w".into()] {
        assert!(node.log().contains(&words), "{words}: {}", node.log());
    }

    set_mode(&hook, 0o755);
    node.start();
    node.wait_to_have(VIP);
    node.wait_for_line("notified: ");
    // By a reload.
    set_mode(&hook, 0o757);
    node.signal(Signal::SIGHUP);
    node.wait_for_line("reload refused");
    // By each run.
    node.ip("link set eth0 down");
    node.wait_for_line("notification failed: ");
    node.wait_for_line("hook may be changed by everybody");
    let before = node.count("notified: ");
    set_mode(&hook, 0o755);
    wait_until("it is told in the end", || node.count("notified: ") > before);
}
