//! The demos in network namespaces of this machine, without any container engine.

use std::path::Path;
use std::process::Command;

use testkit::{is_root, needs, skip};

#[path = "demo/kit.rs"]
mod kit;
#[path = "demo/one.rs"]
mod one;
#[path = "demo/three.rs"]
mod three;
#[path = "demo/two.rs"]
mod two;

#[test]
fn demo_1_works_in_network_namespaces() {
    if !is_root() {
        skip!("network namespaces need root");
    }
    one::run("netns");
}

#[test]
fn demo_2_works_in_network_namespaces() {
    if !is_root() {
        skip!("network namespaces need root");
    }
    two::run("netns");
}

#[test]
fn demo_3_works_in_network_namespaces() {
    needs!("bird");
    if !is_root() {
        skip!("network namespaces need root");
    }
    three::run("netns", "bird");
}

#[test]
fn demo_3_works_with_frr() {
    if !is_root() || !Path::new("/usr/lib/frr/bgpd").is_file() {
        skip!("network namespaces need root, and frr has to be installed");
    }
    three::run("netns", "frr");
}

#[test]
fn a_demo_that_died_with_its_machine_is_in_nobodys_way() {
    if !is_root() {
        skip!("network namespaces need root");
    }
    if let Some(reason) = kit::obstacle() {
        skip!("{reason}");
    }
    let (makefile, _) = kit::Makefile::new("netns", one::PORTS);
    makefile.make_ok("demo-1");
    // All but its files, which stay where /run is a disk's.
    let died = Command::new("bash").args(["-c", DIED]).output().expect("bash is there");
    assert!(died.status.success(), "{}", kit::text(&died));
    let status = kit::script_ok(&["status"]);
    assert!(status.contains("No demo runs"), "{status}");
    makefile.make_ok("demo-1");

    // A box whose network has lost its name ends with its demo all the same.
    let nginx = std::fs::read_to_string("/run/tandem-demo/nginx1/pid").expect("it runs");
    let lost = Command::new("umount").arg("/run/netns/tandem-nginx1").status();
    assert!(lost.expect("umount is there").success());
    makefile.make_ok("demo-1-down");
    assert!(!Path::new("/proc").join(nginx.trim()).exists(), "the box goes on");
}

/// Namespaces of other tests have a number in their names.
const DIED: &str = "set -e
    for namespace in $(ip netns list | awk '/^tandem-[a-z]/ { print $1 }'); do
        ip netns pids $namespace | xargs --no-run-if-empty kill -KILL || true
        umount /run/netns/$namespace
    done
    cat /run/tandem-demo/port-*.pid | xargs kill -KILL
    test -e /run/tandem-demo/demo";
