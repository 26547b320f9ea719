//! The demos in Docker, from the images to the last container gone.

use std::process::Command;

use testkit::skip;

#[path = "demo/kit.rs"]
mod kit;
#[path = "demo/one.rs"]
mod one;
#[path = "demo/three.rs"]
mod three;
#[path = "demo/two.rs"]
mod two;

/// Whether a Docker daemon answers.
fn docker_answers() -> bool {
    Command::new("docker").arg("info").output().is_ok_and(|output| output.status.success())
}

#[test]
fn demo_1_works_in_docker() {
    if !docker_answers() {
        skip!("no Docker daemon answers");
    }
    one::run("docker");
}

#[test]
fn demo_2_works_in_docker() {
    if !docker_answers() {
        skip!("no Docker daemon answers");
    }
    two::run("docker");
}

#[test]
fn demo_3_works_in_docker() {
    if !docker_answers() {
        skip!("no Docker daemon answers");
    }
    three::run("docker", "bird");
}
