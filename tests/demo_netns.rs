//! Demo 1 in network namespaces of this machine, without any container engine.

use testkit::{is_root, skip};

mod demo;

#[test]
fn demo_1_works_in_network_namespaces() {
    if !is_root() {
        skip!("network namespaces need root");
    }
    demo::run("netns");
}
