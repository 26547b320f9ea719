//! Demo 1 in Docker, from the images to the last container gone.

use std::process::Command;

use testkit::skip;

mod demo;

#[test]
fn demo_1_works_in_docker() {
    if !Command::new("docker").arg("info").output().is_ok_and(|output| output.status.success()) {
        skip!("no Docker daemon answers");
    }
    demo::run("docker");
}
