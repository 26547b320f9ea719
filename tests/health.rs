//! Verdicts: how they fall, what they do, and who survives the death of whom.

use std::net::Ipv4Addr;

use testkit::{Config, Daemon, Load, Network, Nginx, Program, Stack, get, is_root, skip, wait_until};

/// Log lines of healthd that speak of a server and a word.
fn transitions(stack: &Stack, server: &str, word: &str) -> usize {
    let log = stack.healthd.stderr();
    log.lines().filter(|line| line.contains(server) && line.contains(word)).count()
}

#[test]
fn a_server_goes_down_after_fall_and_comes_back_after_rise() {
    let mut stack = Stack::start();
    stack.nginx[0].stop();
    stack.wait_for_status("s1", "DOWN");
    let row = stack.stat("app", "s1");
    assert_eq!(row.text("check_status"), "L4CON", "{row:?}");
    assert_eq!(row.number("chkfail"), 3, "three checks failed while it was up: {row:?}");
    assert_eq!(row.number("chkdown"), 1, "{row:?}");
    assert_eq!((row.number("check_fall"), row.number("check_rise")), (3, 2), "{row:?}");

    stack.nginx[0].restart();
    stack.wait_for_status("s1", "UP");
    let row = stack.stat("app", "s1");
    assert_eq!((row.text("check_status"), row.number("check_code")), ("L7OK", 200), "{row:?}");
    let report = Load::default().run(stack.web(), 60);
    report.assert_nothing_lost();
    assert!(report.by_instance.contains_key(&1), "{report:?}");
}

#[test]
fn a_wrong_status_is_a_failed_check() {
    let mut stack = Stack::start();
    stack.config.check =
        "{ http: { path: /status/500 }, interval: 200ms, timeout: 2s, fall: 2, rise: 2 }".into();
    stack.reload();
    for server in ["s1", "s2", "s3"] {
        stack.wait_for_status(server, "DOWN");
        let row = stack.stat("app", server);
        assert_eq!((row.text("check_status"), row.number("check_code")), ("L7STS", 500), "{row:?}");
    }
    stack.config.check =
        "{ http: { path: /status/500, expect: [200, \"500-599\"] }, interval: 200ms }".into();
    stack.reload();
    for server in ["s1", "s2", "s3"] {
        stack.wait_for_status(server, "UP");
    }
}

#[test]
fn a_tcp_check_asks_for_a_connection_only() {
    let mut stack = Stack::builder()
        .config(|config, _| {
            config.check = "{ tcp: {}, interval: 200ms, timeout: 2s, fall: 3, rise: 2 }".into();
        })
        .start();
    assert_eq!(stack.stat("app", "s1").text("check_status"), "L4OK");
    stack.nginx[0].stop();
    stack.wait_for_status("s1", "DOWN");
    assert_eq!(stack.stat("app", "s1").text("check_status"), "L4CON");
}

#[test]
fn a_check_looks_at_the_body_and_a_server_has_a_check_of_its_own() {
    let mut stack = Stack::start();
    let address = |stack: &Stack, number| stack.server_address(number);
    // What is asked of the first is asked at a port where nobody is, and nothing is asked of the second.
    stack.config.check = "{ http: { path: /health, body: OK }, interval: 200ms, fall: 2 }".into();
    let first = format!("{{ address: \"{}\", check: {{ port: 7999 }} }}", address(&stack, 1));
    let second = format!("{{ address: \"{}\", check: off }}", address(&stack, 2));
    stack.config.server("s1", first);
    stack.config.server("s2", second);
    stack.reload();
    stack.wait_for_status("s1", "DOWN");
    assert_eq!(stack.stat("app", "s1").text("check_status"), "L4CON");
    stack.wait_for_status("s2", "no check");
    stack.nginx[1].stop();
    stack.wait_for_status("s3", "UP");

    stack.config.check =
        "{ http: { path: /headers, body_matches: \"host=one\\\\.example\" }, interval: 200ms, fall: 2 }"
            .into();
    let own = format!("{{ address: \"{}\", check: {{ host: one.example }} }}", address(&stack, 1));
    stack.config.server("s1", own);
    stack.reload();
    stack.wait_for_status("s1", "UP");
    stack.wait_for_status("s3", "DOWN");
    let row = stack.stat("app", "s3");
    assert_eq!((row.text("check_status"), row.number("check_code")), ("L7RSP", 200), "{row:?}");
    assert!(row.text("last_chk").contains("200 OK, but its body has not a match of"), "{row:?}");
    assert_eq!(stack.status("s2"), "no check", "what is not checked is not found down");
    assert!(stack.tandemctl_ok(&["status"]).contains("L7RSP"));
}

#[test]
fn with_every_server_down_the_answer_is_503_until_one_returns() {
    let mut stack = Stack::start();
    for nginx in &mut stack.nginx {
        nginx.stop();
    }
    for server in ["s1", "s2", "s3"] {
        stack.wait_for_status(server, "DOWN");
    }
    let response = stack.get("/");
    assert_eq!(response.status, 503);
    assert!(!response.body.is_empty());
    assert_eq!(stack.status("BACKEND"), "DOWN");
    stack.nginx[2].restart();
    wait_until("requests are answered again", || stack.get("/").status == 200);
    assert_eq!(stack.get("/").instance(), Some(3));
}

#[test]
fn stopping_and_starting_servers_in_turn_loses_nothing() {
    let mut stack = Stack::start();
    let load = Load::default().start(stack.web());
    for number in [0, 1, 2] {
        let server = format!("s{}", number + 1);
        stack.nginx[number].stop();
        stack.wait_for_status(&server, "DOWN");
        stack.nginx[number].restart();
        stack.wait_for_status(&server, "UP");
    }
    load.wait_for_requests(30);
    load.stop().assert_nothing_lost();
}

#[test]
fn a_killed_healthd_loses_nothing_and_flaps_nothing() {
    let mut stack = Stack::start();
    // One server is down before, so that both kinds of verdict have to survive.
    stack.nginx[1].stop();
    stack.wait_for_status("s2", "DOWN");
    let before: Vec<_> = ["s1", "s2", "s3"].map(|server| stack.stat("app", server).number("chkdown")).into();
    let load = Load::default().start(stack.web());
    load.wait_for_requests(50);

    stack.healthd.kill();
    load.wait_for_requests(200);
    assert_eq!(["s1", "s2", "s3"].map(|server| stack.status(server)), ["UP", "DOWN", "UP"], "verdicts stay");
    stack.healthd.start();
    load.wait_for_requests(200);
    assert_eq!(["s1", "s2", "s3"].map(|server| stack.status(server)), ["UP", "DOWN", "UP"], "nothing flaps");

    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.by_instance.get(&2), None, "the dead server was left alone: {report:?}");
    let after: Vec<_> = ["s1", "s2", "s3"].map(|server| stack.stat("app", server).number("chkdown")).into();
    assert!(after.iter().zip(&before).all(|(after, before)| after <= before), "{before:?} became {after:?}");

    // The new healthd is obeyed.
    stack.nginx[1].restart();
    stack.wait_for_status("s2", "UP");
}

#[test]
fn a_healthd_that_stands_still_changes_nothing() {
    let stack = Stack::start();
    let load = Load::default().start(stack.web());
    stack.healthd.freeze();
    load.wait_for_requests(500);
    assert_eq!(["s1", "s2", "s3"].map(|server| stack.status(server)), ["UP", "UP", "UP"]);
    stack.healthd.thaw();
    load.wait_for_requests(100);
    load.stop().assert_nothing_lost();
}

#[test]
fn without_healthd_lbd_starts_and_serves_and_healthd_may_come_late() {
    let mut stack = Stack::builder()
        .without_healthd()
        .config(|config, _| config.lbd = "workers: 2\nverdict_wait: 300ms".to_owned())
        .start();
    Load::default().run(stack.web(), 60).assert_nothing_lost();
    // A dead server among those that nobody has checked yet is found out by connecting to it.
    stack.nginx[0].stop();
    Load::default().run(stack.web(), 60).assert_nothing_lost();

    stack.healthd.start();
    stack.wait_for_status("s1", "DOWN");
    stack.wait_for_status("s2", "UP");
    stack.nginx[0].restart();
    stack.wait_for_status("s1", "UP");
}

#[test]
fn lbd_restarted_after_a_kill_routes_by_the_verdicts_that_healthd_holds() {
    let mut stack = Stack::start();
    stack.nginx[1].stop();
    stack.wait_for_status("s2", "DOWN");
    stack.lbd.kill();
    stack.lbd.start();
    // From its first request on: no connection attempt to the dead server, so no retry either.
    Load::default().run(stack.web(), 100).assert_nothing_lost();
    let row = stack.stat("app", "s2");
    assert_eq!((row.number("stot"), row.number("econ")), (0, 0), "the dead server was tried: {row:?}");
    assert_eq!(row.text("status"), "DOWN");
    assert_eq!(stack.stat("app", "BACKEND").number("wretr"), 0);
}

#[test]
fn lbd_stopped_gracefully_finishes_what_is_in_flight() {
    let mut stack = Stack::start();
    for nginx in &stack.nginx {
        nginx.file("slow", 40 << 10);
    }
    let mut client = stack.client();
    client.send("GET /slow/slow HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 200);
    stack.lbd.terminate();
    assert_eq!(client.take(40 << 10).unwrap().len(), 40 << 10, "the download is finished");
    client.expect_closed();
    assert_eq!(stack.lbd.wait().code(), Some(0));
}

#[test]
fn a_name_that_does_not_resolve_is_a_state_and_not_an_end() {
    let stack =
        Stack::builder().config(|config, _| config.server("nowhere", "does-not-exist.invalid:80")).start();
    wait_until("the unresolved server is not up", || stack.status("nowhere").starts_with("DOWN"));
    let shown = stack.tandemctl_ok(&["status"]);
    let line = shown.lines().find(|line| line.contains("nowhere")).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains("DOWN"), "{line}");
    let resolvers = testkit::text_command(&stack.healthd.socket(), "show resolvers");
    assert!(resolvers.contains("does-not-exist.invalid"), "{resolvers}");
    Load::default().run(stack.web(), 60).assert_nothing_lost();
}

#[test]
fn a_transition_is_one_event_in_the_log() {
    let mut stack = Stack::start();
    stack.nginx[0].stop();
    stack.wait_for_status("s1", "DOWN");
    wait_until("the event of the fall", || transitions(&stack, "s1", "is DOWN") == 1);
    stack.nginx[0].restart();
    stack.wait_for_status("s1", "UP");
    wait_until("the event of the return", || transitions(&stack, "s1", "is UP") == 2);
    assert_eq!(transitions(&stack, "s1", "is DOWN"), 1, "{}", stack.healthd.stderr());
}

#[test]
fn a_cut_cable_is_found_out_and_loses_only_what_was_on_it() {
    if !is_root() {
        skip!("network namespaces need root");
    }
    let network = Network::new(24);
    let address = |last| Ipv4Addr::new(10, 67, 0, last);
    let balancer = network.host("balancer", address(1));
    let (host1, host2) = (network.host("one", address(11)), network.host("two", address(12)));
    let _nginx1 = Nginx::start_in(&host1, 1, (address(11), 80).into());
    let _nginx2 = Nginx::start_in(&host2, 2, (address(12), 80).into());

    let web = (address(1), 8080).into();
    let mut config = Config::new(web, (address(1), 8404).into(), (address(1), 8406).into());
    config.check = "{ http: { path: /health }, interval: 300ms, timeout: 1s, fall: 2, rise: 2 }".into();
    config.backend = "timeouts: { connect: 2s }".into();
    config.server("s1", format!("{}:80", address(11)));
    config.server("s2", format!("{}:80", address(12)));
    let dir = tempfile::tempdir().unwrap();
    let mut healthd = Daemon::new(Program::Healthd, dir.path()).within(&balancer);
    let mut lbd = Daemon::new(Program::Lbd, dir.path()).within(&balancer);
    std::fs::write(lbd.config(), config.to_string()).unwrap();
    healthd.start();
    lbd.start();

    let csv = || balancer.run("curl", &["--silent", &format!("http://{}/;csv", config.admin)]);
    let status = |server: &str| {
        let rows = testkit::read_csv(&csv());
        let row = rows.into_iter().find(|row| row.text("svname") == server).expect("the server has a row");
        (row.text("status").to_owned(), row.text("check_status").to_owned())
    };
    wait_until("both are up", || status("s1").0 == "UP" && status("s2").0 == "UP");
    network.cut("one");
    wait_until("the cut server is down", || status("s1") == ("DOWN".to_owned(), "L4TOUT".to_owned()));
    let page = || balancer.run("curl", &["--silent", "--max-time", "20", &format!("http://{web}/")]);
    for _ in 0..6 {
        assert_eq!(page(), "NGINX Instance 2\n");
    }
    network.mend("one");
    wait_until("it is up again", || status("s1").0 == "UP");
    drop((lbd, healthd));
}

#[test]
fn healthd_alone_says_what_it_knows() {
    let mut stack = Stack::builder().without_lbd().start();
    let admin = stack.config.healthd_admin;
    let page = get(admin, "/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("s1") && page.text().contains("UP"), "{}", page.text());
    assert_eq!(get(admin, "/ready").status, 200);
    assert_eq!(get(admin, "/health").status, 200);
    assert!(get(admin, "/metrics").text().contains("tandem_"), "metrics carry the project's prefix");
    stack.nginx[0].stop();
    wait_until("the page shows the dead server", || get(admin, "/").text().contains("DOWN"));
    assert_eq!(stack.healthd.stop().code(), Some(0));
    assert!(!stack.healthd.socket().exists(), "a stopped daemon leaves no socket behind");
}
