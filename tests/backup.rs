//! Backup servers: who takes requests when others cannot, beside HAProxy with the same servers.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;

use testkit::{Haproxy, Nginx, Stack, StackBuilder, get, needs, wait_until};

/// Two servers, and two backup servers of them.
fn with_backups(lines: &str) -> StackBuilder {
    Stack::builder().servers(4).backend(lines).config(|config, addresses| {
        for (number, last) in [(3, 13), (4, 14)] {
            let address = addresses.socket(last, testkit::SERVER_PORT);
            config.server(&format!("s{number}"), format_args!("{{ address: \"{address}\", backup: true }}"));
        }
    })
}

/// Who answers, of so many requests that everybody's turn comes.
fn answers(address: SocketAddr) -> BTreeSet<usize> {
    (0..8).filter_map(|_| get(address, "/").instance()).collect()
}

/// HAProxy in front of the same servers.
fn haproxy(stack: &Stack, option: &str) -> Haproxy {
    let servers = (1..=4).map(|number| {
        let backup = if number > 2 { "backup" } else { "" };
        let server = stack.server_address(number);
        format!(" server s{number} {server} {} {backup}\n", Haproxy::CHECK)
    });
    let servers: String = servers.collect();
    Haproxy::beside(stack, "http", |bind| {
        format!("listen app\n bind {bind}\n {option}\n option httpchk GET /health\n{servers}")
    })
}

#[test]
fn backup_servers_serve_when_nobody_else_can_as_with_haproxy() {
    needs!("haproxy");
    for (lines, option, joining) in
        [("", "", [3].as_slice()), ("backups: { use: all }", "option allbackups", &[3, 4])]
    {
        let mut stack = with_backups(lines).start();
        let peer = haproxy(&stack, option);
        let both_are = |stack: &Stack, who: &[usize], when: &str| {
            let expected: BTreeSet<usize> = who.iter().copied().collect();
            wait_until(&format!("{who:?} answer behind lbd, {when}, {lines:?}"), || {
                answers(stack.web()) == expected
            });
            wait_until(&format!("{who:?} answer behind haproxy, {when}, {lines:?}"), || {
                answers(peer.address()) == expected
            });
        };
        both_are(&stack, &[1, 2], "while all are well");
        drop(stack.nginx.remove(0));
        both_are(&stack, &[2], "with one of two left");
        drop(stack.nginx.remove(0));
        both_are(&stack, joining, "with none of two left");
        stack.lbd.wait_to_tell("backup servers take requests, too");
        let row = stack.stat("app", "BACKEND");
        assert_eq!((row.text("status"), row.number("act"), row.number("bck")), ("UP", 0, 2), "{row:?}");
        let status = stack.tandemctl_ok(&["status"]);
        assert!(status.contains("2 of") && status.contains("backup servers serve"), "{status}");
        let used = stack.metric("tandem_backend_backup_servers_used{proxy=\"app\"}");
        assert_eq!(used, Some(joining.len() as f64));
        // The first two have gone from the list; the next ones are the backup servers.
        drop(stack.nginx.remove(0));
        both_are(&stack, &[4], "with the second backup server alone");
        let first = Nginx::start(1, stack.server_address(1));
        both_are(&stack, &[1], "with one server back");
        stack.lbd.wait_to_tell("stand by again");
        let row = stack.stat("app", "BACKEND");
        assert_eq!((row.number("act"), row.number("bck")), (1, 1), "{row:?}");
        drop(first);
    }
}

#[test]
fn a_drained_server_is_replaced_too() {
    let stack = with_backups("").start();
    stack.tandemctl_ok(&["maint", "app/s1"]);
    stack.tandemctl_ok(&["drain", "app/s2"]);
    wait_until("the first backup server serves", || answers(stack.web()) == BTreeSet::from([3]));
    stack.tandemctl_ok(&["ready", "app/s1"]);
    wait_until("it does not any more", || answers(stack.web()) == BTreeSet::from([1]));
}

#[test]
fn backup_servers_join_by_level_when_fewer_than_asked_for_are_left() {
    let mut stack = with_backups("backups: { min_usable: 2 }").start();
    let last = format!("{{ address: \"{}\", backup: 2 }}", stack.server_address(3));
    stack.config.server("s3", last);
    stack.reload();
    wait_until("nobody joins", || answers(stack.web()) == BTreeSet::from([1, 2]));
    stack.tandemctl_ok(&["maint", "app/s1"]);
    wait_until("the lower level joins, though it comes later", || {
        answers(stack.web()) == BTreeSet::from([2, 4])
    });
    stack.tandemctl_ok(&["maint", "app/s4"]);
    wait_until("the next level joins", || answers(stack.web()) == BTreeSet::from([2, 3]));
}

#[test]
fn a_start_does_not_take_backup_servers_for_want_of_news() {
    let stack = with_backups("").without_healthd().start();
    assert_eq!(stack.stat("app", "s1").text("status"), "no check");
    assert_eq!(answers(stack.web()), BTreeSet::from([1, 2]));
}

#[test]
fn sessions_with_a_backup_server_end_when_it_is_relieved_if_so_wanted() {
    for (on_up, is_cut) in [("close_backup_sessions", true), ("keep_sessions", false)] {
        let lines = format!("mode: tcp\non_up: {on_up}");
        let stack = with_backups(&lines).frontend("mode: tcp").start();
        for server in ["app/s1", "app/s2"] {
            stack.tandemctl_ok(&["maint", server]);
        }
        wait_until("the backup server serves", || answers(stack.web()) == BTreeSet::from([3]));
        let mut client = stack.client();
        assert_eq!(client.get("/").instance(), Some(3));
        stack.tandemctl_ok(&["ready", "app/s2"]);
        wait_until("it does not any more", || answers(stack.web()) == BTreeSet::from([2]));
        if is_cut {
            assert_eq!(client.try_rest().unwrap_err().kind(), ErrorKind::ConnectionReset);
            wait_until("it is logged", || stack.lbd.stdout().contains(" UD "));
        } else {
            assert_eq!(client.get("/").instance(), Some(3));
        }
    }
}
