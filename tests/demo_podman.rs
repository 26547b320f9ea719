//! The demos in Podman, from the images to the last container gone: of root's, or of the user's own who runs the tests.

use std::process::Command;

use testkit::skip;

#[path = "demo/kit.rs"]
mod kit;
#[path = "demo/one.rs"]
mod one;
#[path = "demo/two.rs"]
mod two;

/// Whether Podman is here and knows where it is.
fn podman_answers() -> bool {
    Command::new("podman").arg("info").output().is_ok_and(|output| output.status.success())
}

#[test]
fn demo_1_works_in_podman() {
    if !podman_answers() {
        skip!("`podman info` fails");
    }
    one::run("podman");
}

#[test]
fn demo_2_works_in_podman() {
    if !podman_answers() {
        skip!("`podman info` fails");
    }
    two::run("podman");
}
