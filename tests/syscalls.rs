//! What a request costs in system calls: two reads and two writes, and a wait that many share.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{Load, Process, Stack, is_root, needs, skip, wait_until};

const REQUESTS: u64 = 4000;

/// Calls that move bytes.
const IO: [&str; 10] =
    ["read", "readv", "recvfrom", "recvmsg", "recv", "write", "writev", "sendto", "sendmsg", "sendfile"];

#[test]
fn a_kept_alive_request_takes_four_io_calls() {
    if !is_root() {
        skip!("strace of another process needs root");
    }
    needs!("strace");
    let stack = Stack::builder()
        .unchecked()
        .frontend("access_log: off")
        .config(|config, _| config.lbd = "workers: 2".to_owned())
        .start();
    let load = |requests| {
        let load = Load { clients: 16, pause: Duration::ZERO, ..Load::default() };
        load.run(stack.web(), requests).assert_nothing_lost();
    };
    // Server connections and buffers exist afterwards, as they do in a system at work.
    load(500);

    let dir = tempfile::tempdir().unwrap();
    let counts = dir.path().join("counts");
    let pid = stack.lbd.pid();
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-U", "name,calls", "-o"]).arg(&counts).args(["-p", &pid.to_string()]);
    let mut strace = Process::spawn("strace", command, dir.path());
    wait_until("strace is attached to every thread", || {
        let traced = |status: String| !status.contains("TracerPid:\t0\n");
        let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.all(|task| fs::read_to_string(task.unwrap().path().join("status")).is_ok_and(traced))
    });
    load(REQUESTS);
    strace.signal(Signal::SIGINT);
    strace.wait();

    let text = fs::read_to_string(&counts).unwrap();
    let calls: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?.parse().ok()?))
        })
        .collect();
    let io: u64 = IO.iter().filter_map(|name| calls.get(name)).sum();
    let per_request =
        |count: u64| f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(REQUESTS).unwrap());
    let waits = calls.get("epoll_wait").copied().unwrap_or_default();
    println!("{:.2} I/O calls and {:.2} epoll_wait a request", per_request(io), per_request(waits));
    // Each client's own connection costs accept, close, and a last read besides.
    assert!(per_request(io) <= 4.2, "{:.2} I/O calls a request:\n{text}", per_request(io));
    assert!(per_request(io) >= 3.9, "fewer calls than the work takes: was the load traced?\n{text}");
    assert!(per_request(waits) <= 2.1, "{:.2} epoll_wait a request:\n{text}", per_request(waits));
}
