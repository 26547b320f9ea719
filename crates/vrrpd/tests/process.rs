//! What vrrpd may do, and what it says when it may not.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use std::process::Command;

use common::{Node, VIP, config};

/// CAP_NET_ADMIN and CAP_NET_RAW.
const NEEDED: u64 = 1 << 12 | 1 << 13;

#[test]
fn two_capabilities_are_left_in_every_thread() {
    let network = network!();
    let mut node = Node::new(&network, 1, &config(200, &[]));
    node.start();
    node.wait_to_have(VIP);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.process().pid())).unwrap();
    let mut threads = 0;
    for task in tasks {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for line in status.lines().filter(|line| line.starts_with("Cap")) {
            let (set, value) = line.split_once(":\t").unwrap();
            let value = u64::from_str_radix(value, 16).unwrap();
            assert_eq!(value & !NEEDED, 0, "{set} of a thread has more than is needed");
            if set == "CapEff" {
                assert_eq!(value, NEEDED);
            }
        }
        threads += 1;
    }
    assert!(threads >= 3, "main, election and log");
}

#[test]
fn without_capabilities_it_says_which_are_missing() {
    let network = network!();
    testkit::needs!("setpriv");
    let node = Node::new(&network, 1, &config(200, &[]));
    let mut command = node.host.command("setpriv");
    command.args(["--inh-caps=-all", "--bounding-set=-all,+net_raw", env!("CARGO_BIN_EXE_vrrpd")]);
    command.arg("--config").arg(node.file("vrrp.yaml")).arg("--run-dir").arg(node.file(""));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{said}");
    assert!(said.contains("lacks the capabilities") && said.contains(": NET_ADMIN;"), "{said}");
}

#[test]
fn the_elections_thread_is_real_time() {
    let network = network!();
    testkit::needs!("chrt");
    let mut node = Node::new(&network, 1, &format!("{}vrrpd: {{ realtime: 20 }}\n", config(200, &[])));
    node.start();
    node.wait_to_have(VIP);
    let pid = node.process().pid();
    let threads = Command::new("chrt").args(["--all-tasks", "--pid", &pid.to_string()]).output().unwrap();
    let threads = String::from_utf8_lossy(&threads.stdout).into_owned();
    assert_eq!(
        threads.matches("SCHED_FIFO").count(),
        2,
        "those of the election and of the addresses: {threads}"
    );
    assert!(threads.contains("priority: 20"), "{threads}");
}

/// Not every root may lift the limit of locked memory: it takes CAP_SYS_RESOURCE. Without it vrrpd has to refuse, and say
/// what it needs.
#[test]
fn memory_is_locked_or_the_reason_is_said() {
    let network = network!();
    testkit::needs!("prlimit");
    let mut node = Node::new(&network, 1, &format!("{}vrrpd: {{ lock_memory: true }}\n", config(200, &[])));
    let lifted = Command::new("prlimit").args(["--memlock=unlimited:unlimited", "true"]).output().unwrap();
    if lifted.status.success() {
        node.start();
        node.wait_to_have(VIP);
        let status = std::fs::read_to_string(format!("/proc/{}/status", node.process().pid())).unwrap();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        assert_ne!(locked.trim(), "0 kB");
    } else {
        node.spawn();
        assert_eq!(node.process().wait().code(), Some(71), "{}", node.log());
        assert!(node.log().contains("lock_memory needs an unlimited RLIMIT_MEMLOCK"), "{}", node.log());
    }
}

#[test]
fn a_bad_configuration_ends_it_with_78() {
    let network = network!();
    let mut node = Node::new(&network, 1, "instances: { web: { virtual_router_id: 0 } }\n");
    node.spawn();
    assert_eq!(node.process().wait().code(), Some(78));
    assert!(node.log().contains("vrrp.yaml:1:"), "{}", node.log());
}
