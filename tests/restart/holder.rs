//! The process that keeps the listeners where systemd does not.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Process, Program, Stack, binary, is_root, skip, wait_until};

use super::is_refused;

const NAME: &str = "lbd-listeners";
const NOBODY: u32 = 65534;

fn socket(stack: &Stack) -> PathBuf {
    stack.dir().join("lbd/lbd.listeners")
}

/// Signals the process that keeps the listeners of this stack's lbd.
fn signal(stack: &Stack, signal: Signal) {
    let line = format!("{NAME}\0{}\0", socket(stack).display());
    let is_it =
        |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|read| read == line.as_bytes());
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let pid = processes.into_iter().find(is_it).expect("somebody keeps the listeners");
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn nobody_waits_for_ever_when_there_is_no_next_process() {
    let mut stack = Stack::start();
    stack.lbd.stop();
    let mut waiting = stack.client();
    wait_until("the listeners are closed", || is_refused(stack.web()));
    assert_eq!(waiting.try_get("/").unwrap_err().kind(), ErrorKind::ConnectionReset);
    wait_until("the holder is gone", || !socket(&stack).exists());
    // It starts without what is gone.
    stack.lbd.start();
    assert_eq!(stack.get("/").status, 200);
}

#[test]
fn listeners_are_closed_when_their_file_goes() {
    let mut stack = Stack::start();
    stack.lbd.stop();
    let mode = fs::metadata(socket(&stack)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
    fs::remove_file(socket(&stack)).unwrap();
    wait_until("the listeners are closed", || is_refused(stack.web()));
}

#[test]
fn listeners_change_hands_within_one_user_only() {
    if !is_root() {
        skip!("another user needs root");
    }
    let mut stack = Stack::builder().without_lbd().start();
    let everybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(stack.dir(), everybody.clone()).unwrap();
    let own = socket(&stack).parent().map(PathBuf::from).unwrap();
    fs::create_dir_all(&own).unwrap();
    fs::set_permissions(own, everybody).unwrap();
    // Where programs are built nobody else may be allowed to look.
    let program = stack.dir().join(NAME);
    fs::copy(binary(Program::Lbd), &program).unwrap();
    let (mut lbd, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(program);
    command.arg0(NAME).arg(socket(&stack)).uid(NOBODY).gid(NOBODY).stdin(OwnedFd::from(theirs));
    let _holder = Process::spawn(NAME, command, stack.dir());
    // The end of a stop, with no listener at all.
    let mut word = [0];
    lbd.read_exact(&mut word).unwrap();
    lbd.write_all(b".").unwrap();
    lbd.read_exact(&mut word).unwrap();
    drop(lbd);

    let mut asks = UnixStream::connect(socket(&stack)).unwrap();
    assert_eq!(asks.read(&mut word).unwrap(), 0, "a holder gives another user nothing");
    stack.lbd.start();
    stack.lbd.wait_to_tell("is a process of another user");
    assert_eq!(stack.get("/").status, 200);
}

#[test]
fn the_next_process_ends_a_holder_that_hangs() {
    let mut stack = Stack::start();
    stack.lbd.stop();
    let mut waits = stack.client();
    signal(&stack, Signal::SIGSTOP);
    stack.lbd.start();
    stack.lbd.wait_to_tell("does not hand the listeners over");
    assert_eq!(stack.get("/").status, 200);
    assert_eq!(waits.try_get("/").unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn the_next_process_does_without_a_holder_that_was_killed() {
    let mut stack = Stack::start();
    stack.lbd.stop();
    signal(&stack, Signal::SIGKILL);
    wait_until("the listeners are closed", || is_refused(stack.web()));
    assert!(socket(&stack).exists());
    stack.lbd.start();
    assert_eq!(stack.get("/").status, 200);
}
