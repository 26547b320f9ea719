//! The demos in Podman, from the images to the last container gone: of root's, of the user's own who runs the tests, and, where root
//! runs them, of an ordinary user's.

use std::process::Command;

use testkit::{is_root, skip};

#[path = "demo/kit.rs"]
mod kit;
#[path = "demo/one.rs"]
mod one;
#[path = "demo/person.rs"]
mod person;
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

#[test]
fn both_demos_work_in_podman_without_root() {
    if !is_root() {
        skip!("it takes root to become somebody else; the other tests are of an ordinary user here");
    }
    if !podman_answers() {
        skip!("`podman info` fails");
    }
    if let Some(reason) = kit::obstacle() {
        skip!("{reason}");
    }
    let person = person::Person::new();
    person.is_told_what_is_missing();
    person.runs_demo_1();
    person.runs_demo_2();
}
