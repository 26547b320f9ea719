//! Who gets which request: algorithms, weights, the operator's wishes, and servers that vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use testkit::{Client, Load, RawServer, SERVER_PORT, Stack, wait_until};

/// A load that nobody waits for: as fast as one client goes.
fn busy(clients: usize) -> Load {
    Load { clients, pause: Duration::ZERO, ..Load::default() }
}

#[test]
fn roundrobin_gives_each_server_the_same() {
    let stack = Stack::start();
    for keep_alive in [true, false] {
        let report = Load { keep_alive, ..busy(3) }.run(stack.web(), 600);
        report.assert_nothing_lost();
        for instance in 1..=3 {
            let share = report.share(instance);
            assert!((0.30..0.37).contains(&share), "instance {instance} got {share} of {report:?}");
        }
    }
}

#[test]
fn one_client_sees_the_servers_in_turn() {
    let stack = Stack::builder().config(|config, _| config.lbd = "workers: 1".to_owned()).start();
    let mut client = stack.client();
    let seen: Vec<_> = (0..9).filter_map(|_| client.get("/").instance()).collect();
    assert_eq!(seen[..3], seen[3..6], "{seen:?}");
    assert_eq!(seen[..3], seen[6..], "{seen:?}");
    assert_eq!(seen[..3].iter().collect::<BTreeSet<_>>().len(), 3, "{seen:?}");
}

#[test]
fn weights_are_shares_and_come_smoothly() {
    let stack = Stack::builder()
        .config(|config, addresses| {
            config.lbd = "workers: 1".to_owned();
            for (number, weight) in [(1, 4), (2, 2), (3, 0)] {
                let address = addresses.socket(10 + number, SERVER_PORT);
                config
                    .server(&format!("s{number}"), format!("{{ address: \"{address}\", weight: {weight} }}"));
            }
        })
        .start();
    let mut client = stack.client();
    let seen: Vec<_> = (0..60).filter_map(|_| client.get("/").instance()).collect();
    let count = |instance| seen.iter().filter(|&&one| one == instance).count();
    assert_eq!((count(1), count(2), count(3)), (40, 20, 0), "{seen:?}");
    // Two of three go to the first server, and never more in a row: smooth, not in bursts of four.
    assert!(!seen.windows(3).any(|three| three == [1, 1, 1]), "{seen:?}");
}

#[test]
fn leastconn_spares_a_busy_server() {
    let stack = Stack::builder()
        .backend("balance: leastconn")
        .config(|config, _| config.lbd = "workers: 1".to_owned())
        .start();
    // Two downloads at 16 KiB a second keep two servers busy for as long as this test needs.
    let mut downloads: Vec<_> = (0..2)
        .map(|_| {
            for nginx in &stack.nginx {
                nginx.file("slow", 10 << 20);
            }
            let mut client = stack.client();
            client.send("GET /slow/slow HTTP/1.1\r\nHost: test\r\n\r\n");
            assert_eq!(client.try_head().unwrap().status, 200);
            client
        })
        .collect();
    let report = busy(1).run(stack.web(), 60);
    report.assert_nothing_lost();
    assert_eq!(report.by_instance.len(), 1, "only the idle server is chosen: {report:?}");
    downloads.clear();
}

#[test]
fn random_gives_every_server_some() {
    let stack = Stack::builder().backend("balance: random").start();
    let report = busy(3).run(stack.web(), 600);
    report.assert_nothing_lost();
    for instance in 1..=3 {
        let share = report.share(instance);
        assert!((0.15..0.52).contains(&share), "instance {instance} got {share} of {report:?}");
    }
}

/// Which server each of forty client addresses gets.
fn servers_by_client(stack: &Stack) -> BTreeMap<IpAddr, usize> {
    let clients = (100..140).map(|last| stack.addresses.ip(last));
    clients
        .map(|client| {
            let response = Client::connect_from(client, stack.web()).get("/");
            (client, response.instance().unwrap_or_else(|| panic!("{client} got {response:?}")))
        })
        .collect()
}

#[test]
fn source_sticks_to_a_server_and_moves_only_the_clients_of_a_dead_one() {
    let mut stack = Stack::builder().backend("balance: source").start();
    let before = servers_by_client(&stack);
    assert_eq!(before, servers_by_client(&stack), "every client stays with its server");
    let used: BTreeSet<_> = before.values().collect();
    assert_eq!(used.len(), 3, "forty clients spread over all servers: {before:?}");

    stack.nginx[1].stop();
    stack.wait_for_status("s2", "DOWN");
    for (client, now) in servers_by_client(&stack) {
        match before[&client] {
            2 => assert_ne!(now, 2),
            other => assert_eq!(now, other, "{client} had to move although its server lives"),
        }
    }

    stack.nginx[1].restart();
    stack.wait_for_status("s2", "UP");
    assert_eq!(before, servers_by_client(&stack), "the clients of the dead server come home");
}

#[test]
fn a_drained_server_gets_no_new_request_and_finishes_the_old() {
    // One worker: each of several would begin its own round.
    let stack = Stack::builder().config(|config, _| config.lbd = "workers: 1".to_owned()).start();
    for nginx in &stack.nginx {
        nginx.file("slow", 40 << 10);
    }
    // Three downloads of some seconds, one on each server.
    let mut downloads: Vec<_> = (0..3).map(|_| stack.client()).collect();
    for client in &mut downloads {
        client.send("GET /slow/slow HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    wait_until("all three servers are at work", || {
        (1..=3).all(|number| stack.stat("app", &format!("s{number}")).number("scur") == 1)
    });

    stack.tandemctl_ok(&["drain", "app/s1"]);
    stack.wait_for_status("s1", "DRAIN");
    let report = busy(2).run(stack.web(), 100);
    report.assert_nothing_lost();
    assert_eq!(report.by_instance.get(&1), None, "{report:?}");
    for client in &mut downloads {
        assert_eq!(client.response().body.len(), 40 << 10, "what was in flight is finished");
    }

    stack.tandemctl_ok(&["ready", "app/s1"]);
    stack.wait_for_status("s1", "UP");
    assert!(busy(2).run(stack.web(), 100).by_instance.contains_key(&1));
}

#[test]
fn a_server_in_maintenance_is_out_of_service_until_told_otherwise() {
    let mut stack = Stack::start();
    stack.tandemctl_ok(&["maint", "app/s2"]);
    stack.wait_for_status("s2", "MAINT");
    let report = busy(2).run(stack.web(), 100);
    report.assert_nothing_lost();
    assert_eq!(report.by_instance.get(&2), None, "{report:?}");
    // It may be stopped meanwhile, and nobody minds.
    stack.nginx[1].stop();
    busy(2).run(stack.web(), 100).assert_nothing_lost();
    stack.nginx[1].restart();
    stack.tandemctl_ok(&["ready", "app/s2"]);
    stack.wait_for_status("s2", "UP");
    assert!(busy(2).run(stack.web(), 100).by_instance.contains_key(&2));
}

#[test]
fn a_stopped_server_loses_no_request_before_its_verdict() {
    // Checks so rare that none ends during this test: redispatch has to do it alone.
    let mut stack = Stack::builder()
        .config(|config, _| {
            config.check = "{ http: { path: /health }, interval: 60s, timeout: 2s, fall: 3 }".into();
        })
        .start();
    for keep_alive in [true, false] {
        let load = Load { keep_alive, ..Load::default() }.start(stack.web());
        load.wait_for_requests(50);
        stack.nginx[0].stop();
        load.wait_for_requests(300);
        assert!(stack.status("s1").starts_with("UP"), "the verdict has not fallen: {}", stack.status("s1"));
        stack.nginx[0].restart();
        load.wait_for_requests(100);
        load.stop().assert_nothing_lost();
    }
    let backend = stack.stat("app", "BACKEND");
    assert!(backend.number("wredis") > 0, "redispatches are counted: {backend:?}");
    assert!(backend.number("wretr") > 0, "retries are counted: {backend:?}");
}

#[test]
fn a_server_that_resets_every_connection_loses_no_idempotent_request() {
    let stack = Stack::builder()
        .servers(2)
        .unchecked()
        .config(|config, addresses| config.server("bad", addresses.socket(100, SERVER_PORT)))
        .start();
    // Nothing listens there yet, so each third request has to be sent elsewhere.
    busy(2).run(stack.web(), 90).assert_nothing_lost();
    // A server that closes connections before it has read anything is told from one that failed while it worked.
    let _bad = RawServer::start(stack.addresses.socket(100, SERVER_PORT), |peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    busy(2).run(stack.web(), 90).assert_nothing_lost();
}

#[test]
fn retries_are_bounded_by_their_budget() {
    // Two of three servers are dead and nobody checks: without a budget every request would be tried thrice.
    let stack = Stack::builder()
        .servers(1)
        .unchecked()
        .backend("retry_budget: 20")
        .config(|config, addresses| {
            config.server("dead1", addresses.socket(101, SERVER_PORT));
            config.server("dead2", addresses.socket(102, SERVER_PORT));
        })
        .start();
    let report = busy(2).run(stack.web(), 600);
    let retries = stack.stat("app", "BACKEND").number("wretr");
    assert!(report.successes > 200, "{report:?}");
    assert!(retries < 300, "{retries} retries for 600 requests");
}
