//! Under systemd, whose descriptor store keeps the listeners.

use testkit::{Stack, Systemd, wait_until};

use super::{REQUEST, assert_nothing_lost, is_refused, loads};

/// A stack whose lbd systemd starts.
fn start() -> (Stack, Systemd) {
    let mut stack = Stack::builder().without_lbd().start();
    let systemd = Systemd::listen(&stack.dir().join("notify"));
    stack.lbd.systemd(systemd.socket(), Vec::new());
    stack.lbd.start();
    (stack, systemd)
}

#[test]
fn systemd_keeps_the_listeners_over_a_restart() {
    let (mut stack, systemd) = start();
    wait_until("systemd has heard that it is ready", || systemd.has_heard("READY=1"));
    let loads = loads(stack.web());
    for _ in 0..5 {
        loads.iter().for_each(|load| load.wait_for_requests(20));
        assert_eq!(stack.lbd.stop().code(), Some(0), "{}", stack.lbd.stderr());
        assert!(systemd.has_heard("STOPPING=1"));
        // stop_timeout is 30 s, handover_timeout 1 s, and the unit's own limit is neither.
        assert!(systemd.has_heard("EXTEND_TIMEOUT_USEC=47000000"));
        let listeners = systemd.stored();
        assert_eq!(listeners.len(), 2, "one for each worker");
        stack.lbd.systemd(systemd.socket(), listeners);
        stack.lbd.start();
        // What lbd closes later must be closed.
        assert_eq!(systemd.stored().len(), 0);
    }
    assert_nothing_lost(loads);
    assert!(!stack.dir().join("lbd/lbd.listeners").exists());
}

#[test]
fn without_a_next_start_systemd_closes_them() {
    let (mut stack, systemd) = start();
    stack.lbd.stop();
    let mut waits = stack.client();
    waits.send(REQUEST);
    systemd.forget();
    wait_until("nobody listens", || is_refused(stack.web()));
    assert!(waits.try_response("GET").is_err());
}

/// As where something else than systemd speaks its protocol, and drops what it does not know.
#[test]
fn a_supervisor_that_does_not_keep_them_costs_no_more_than_before() {
    let (mut stack, systemd) = start();
    stack.lbd.stop();
    systemd.forget();
    stack.lbd.start();
    assert_eq!(stack.get("/").status, 200);
}
