//! The demos in network namespaces of this machine, without any container engine.

use testkit::{is_root, skip};

#[path = "demo/kit.rs"]
mod kit;
#[path = "demo/one.rs"]
mod one;
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
