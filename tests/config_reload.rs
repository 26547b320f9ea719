//! Configuration: mistakes that are told well, and reloads that lose nothing, whatever is in the file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;

use testkit::{
    Daemon, HangingFile, Load, Network, Program, Stack, VrrpNode, get, is_root, needs, run, skip,
    text_command, wait_until,
};

/// Exit code of every program for a configuration that cannot be used (`EX_CONFIG`).
const BAD_CONFIGURATION: i32 = 78;

fn ten_mistakes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/config/tests/data/ten-mistakes.yaml")
}

fn check_with(program: Program, file: &Path) -> Output {
    match program {
        Program::Tandemctl => run(program, [OsStr::new("check"), file.as_os_str()]),
        _ => run(program, [OsStr::new("--check"), OsStr::new("--config"), file.as_os_str()]),
    }
}

/// Both outputs together: where a program tells is not the point here.
fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Lines of a message's head: `FILE:LINE:COLUMN: ...`.
fn places(text: &str, file: &str) -> Vec<(u32, u32)> {
    let place = |line: &str| {
        let (_, after) = line.split_once(file)?;
        let mut numbers = after.strip_prefix(':')?.split(':');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.trim().parse().ok()?))
    };
    text.lines().filter_map(place).collect()
}

#[test]
fn ten_mistakes_give_ten_messages_with_their_places() {
    for program in [Program::Lbd, Program::Healthd, Program::Tandemctl] {
        let output = check_with(program, &ten_mistakes());
        let text = told(&output);
        assert_eq!(output.status.code(), Some(BAD_CONFIGURATION), "{}: {text}", program.name());
        let places = places(&text, "ten-mistakes.yaml");
        assert_eq!(places.len(), 10, "{}: {text}", program.name());
        assert!(places.iter().all(|&(line, column)| line > 0 && column > 0), "{text}");
    }
}

#[test]
fn a_good_file_passes_and_one_that_is_missing_does_not() {
    let stack = Stack::builder().servers(1).without_healthd().without_lbd().start();
    for program in [Program::Lbd, Program::Healthd, Program::Tandemctl] {
        let output = check_with(program, &stack.lbd.config());
        assert_eq!(output.status.code(), Some(0), "{}: {}", program.name(), told(&output));
        let missing = stack.dir().join("missing.yaml");
        let output = check_with(program, &missing);
        assert_eq!(output.status.code(), Some(BAD_CONFIGURATION), "{}: {}", program.name(), told(&output));
        assert!(told(&output).contains("missing.yaml"), "{}", told(&output));
    }
}

#[test]
fn no_daemon_starts_with_a_bad_file() {
    let mut stack = Stack::builder().servers(1).without_healthd().without_lbd().start();
    stack.write_config_text(&std::fs::read_to_string(ten_mistakes()).unwrap());
    for daemon in [&mut stack.healthd, &mut stack.lbd] {
        let _ready = daemon.spawn();
        assert_eq!(daemon.wait().code(), Some(BAD_CONFIGURATION), "{}", daemon.stderr());
        assert_eq!(places(&daemon.stderr(), "lb.yaml").len(), 10, "{}", daemon.stderr());
    }
}

#[test]
fn a_reload_with_a_bad_file_changes_nothing() {
    let stack = Stack::start();
    let load = Load::default().start(stack.web());
    load.wait_for_requests(50);
    let bad = std::fs::read_to_string(ten_mistakes()).unwrap();
    stack.write_config_text(&bad);

    // Through tandemctl: the answer says why.
    let output = stack.tandemctl(&["reload"]);
    assert_ne!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).contains("lb.yaml:"), "{}", told(&output));

    // By signal: the log says why.
    let before = (stack.lbd.stderr().len(), stack.healthd.stderr().len());
    stack.lbd.reload();
    stack.healthd.reload();
    wait_until("both daemons say that they refuse", || {
        stack.lbd.stderr()[before.0..].contains("lb.yaml:")
            && stack.healthd.stderr()[before.1..].contains("lb.yaml:")
    });
    assert!(stack.command("show info").contains("Reload_error: "), "{}", stack.command("show info"));

    load.wait_for_requests(200);
    assert_eq!(["s1", "s2", "s3"].map(|server| stack.status(server)), ["UP", "UP", "UP"]);
    load.stop().assert_nothing_lost();

    stack.reload();
    assert!(!stack.command("show info").contains("Reload_error: "), "a good file clears the error");
}

#[test]
fn servers_come_and_go_by_reload_and_nothing_is_lost() {
    let mut stack = Stack::start();
    let load = Load::default().start(stack.web());
    // New connections have to find somebody at every moment, too.
    let visitors = Load { keep_alive: false, ..Load::default() }.start(stack.web());
    load.wait_for_requests(50);

    let name = stack.add_nginx();
    let address = stack.server_address(4);
    stack.config.server(&name, address);
    stack.reload();
    stack.wait_for_status("s4", "UP");
    load.wait_for_requests(100);

    stack.config.remove_server("s1");
    stack.reload();
    wait_until("s1 is gone", || stack.stats().iter().all(|row| row.text("svname") != "s1"));
    // From now on nobody asks it, so it can go.
    stack.nginx[0].stop();
    load.wait_for_requests(100);
    visitors.stop().assert_nothing_lost();
    let report = load.stop();
    report.assert_nothing_lost();
    assert!(report.by_instance.contains_key(&4), "{report:?}");
    for server in ["s2", "s3", "s4"] {
        assert_eq!(stack.stat("app", server).number("chkdown"), 0, "{server} flapped");
    }
}

#[test]
fn a_reload_by_signal_changes_the_balance_under_load() {
    let mut stack = Stack::start();
    let load = Load::default().start(stack.web());
    load.wait_for_requests(50);
    for (signal, algorithm) in ["leastconn", "random", "source", "roundrobin"].into_iter().enumerate() {
        stack.config.backend = format!("balance: {algorithm}");
        stack.write_config();
        stack.healthd.reload();
        stack.lbd.reload();
        wait_until(&format!("reload {signal} is in force"), || {
            stack.stat("app", "BACKEND").text("algo") == algorithm
        });
        load.wait_for_requests(50);
    }
    load.stop().assert_nothing_lost();
}

#[test]
fn frontends_come_and_go_by_reload() {
    let mut stack = Stack::start();
    let second = stack.addresses.socket(2, 7080);
    let load = Load::default().start(stack.web());
    stack.config.more_frontends = format!("second:\n  bind: [\"{second}\"]\n  backend: app");
    stack.reload();
    assert_eq!(get(second, "/").status, 200);
    stack.config.more_frontends.clear();
    stack.reload();
    wait_until("the second frontend is gone", || testkit::Client::try_connect(second, None).is_err());
    load.wait_for_requests(50);
    load.stop().assert_nothing_lost();
}

#[test]
fn a_frontend_on_a_taken_address_is_refused_and_the_old_configuration_stays() {
    let mut stack = Stack::start();
    let taken = stack.addresses.socket(2, 7080);
    let _holder = std::net::TcpListener::bind(taken).unwrap();
    stack.config.more_frontends = format!("second:\n  bind: [\"{taken}\"]\n  backend: app");
    stack.write_config();
    let output = stack.tandemctl(&["reload"]);
    assert_ne!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).contains(&taken.to_string()), "says which address: {}", told(&output));
    assert_eq!(stack.get("/").status, 200);
    assert!(stack.stats().iter().all(|row| row.text("pxname") != "second"));
}

#[test]
fn tandemctl_has_both_daemons_keep_a_file_that_lbd_refuses() {
    let mut stack = Stack::start();
    let taken = stack.addresses.socket(2, 7080);
    let _holder = std::net::TcpListener::bind(taken).unwrap();
    stack.config.more_frontends = format!("second:\n  bind: [\"{taken}\"]\n  backend: app");
    stack.config.remove_server("s3");
    stack.write_config();
    let output = stack.tandemctl(&["reload"]);
    assert_ne!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).contains("healthd: not asked"), "{}", told(&output));
    for daemon in [&stack.lbd, &stack.healthd] {
        let info = text_command(&daemon.socket(), "show info");
        assert!(info.contains("Config_generation: 1\n"), "{info}");
    }
}

#[test]
fn a_bad_server_stays_bad_when_healthd_takes_a_file_that_lbd_refuses() {
    let mut stack = Stack::start();
    stack.nginx[2].stop();
    stack.wait_for_status("s3", "DOWN");
    let taken = stack.addresses.socket(2, 7080);
    let holder = std::net::TcpListener::bind(taken).unwrap();
    stack.config.more_frontends = format!("second:\n  bind: [\"{taken}\"]\n  backend: app");
    let elsewhere = stack.server_address(1);
    let chosen = stack.stat("app", "s3").number("lbtot");
    // The server is not in healthd's configuration any more; it is there at an address where somebody answers.
    for (generation, address) in [(2, None), (3, Some(elsewhere))] {
        match address {
            None => stack.config.remove_server("s3"),
            Some(address) => stack.config.server("s3", address),
        }
        stack.write_config();
        stack.lbd.reload();
        stack.healthd.reload();
        wait_until("healthd has taken the file", || {
            text_command(&stack.healthd.socket(), "show info")
                .contains(&format!("Config_generation: {generation}\n"))
        });
        wait_until("lbd knows that healthd runs another configuration", || {
            stack.metric("tandem_lbd_healthd_config_differs") == Some(1.0)
        });
        assert_eq!(stack.status("s3"), "DOWN");
        Load::default().run(stack.web(), 90).assert_nothing_lost();
        assert_eq!(stack.stat("app", "s3").number("lbtot"), chosen, "no request went to s3");
        let status = stack.tandemctl_ok(&["status"]);
        assert!(status.contains("another configuration"), "{status}");
    }

    drop(holder);
    stack.reload();
    stack.wait_for_status("s3", "UP");
    wait_until("both run the same", || stack.metric("tandem_lbd_healthd_config_differs") == Some(0.0));
    let report = Load::default().run(stack.web(), 90);
    report.assert_nothing_lost();
    assert!(stack.stat("app", "s3").number("lbtot") > chosen);
}

#[test]
fn a_server_with_a_new_address_is_found_after_a_reload() {
    let mut stack = Stack::start();
    let moved = stack.addresses.socket(150, testkit::SERVER_PORT);
    stack.nginx[0].restart_on(moved);
    stack.wait_for_status("s1", "DOWN");
    stack.config.server("s1", moved);
    stack.reload();
    stack.wait_for_status("s1", "UP");
    let report = Load::default().run(stack.web(), 60);
    report.assert_nothing_lost();
    assert!(report.by_instance.contains_key(&1), "{report:?}");
}

#[test]
fn what_the_operator_wished_outlives_a_reload() {
    let stack = Stack::start();
    stack.tandemctl_ok(&["drain", "app/s1"]);
    stack.wait_for_status("s1", "DRAIN");
    stack.reload();
    assert_eq!(stack.status("s1"), "DRAIN");
}

#[test]
fn a_request_in_flight_outlives_the_removal_of_its_server() {
    let mut stack = Stack::builder().servers(2).start();
    stack.nginx[0].file("slow", 40 << 10);
    stack.tandemctl_ok(&["drain", "app/s2"]);
    stack.wait_for_status("s2", "DRAIN");
    let mut client = stack.client();
    client.send("GET /slow/slow HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 200);
    stack.tandemctl_ok(&["ready", "app/s2"]);
    stack.config.remove_server("s1");
    stack.reload();
    assert_eq!(client.take(40 << 10).unwrap().len(), 40 << 10);
}

/// Asks a daemon to reload a file that hangs. While the reload does, `goes_on` has to hold; then the reload works again.
fn hang_a_reload(daemon: &Daemon, goes_on: impl FnOnce()) {
    let file = HangingFile::instead_of(&daemon.config());
    let socket = daemon.socket();
    let reload = std::thread::spawn(move || text_command(&socket, "reload"));
    file.wait_until_read_by(daemon.pid());
    goes_on();
    assert!(!reload.is_finished(), "that was while the reload hung");
    let said = reload.join().unwrap();
    assert!(said.contains("could not be read in time"), "{said}");
    file.mend();
    let said = text_command(&daemon.socket(), "reload");
    assert!(said.contains("generation 2"), "{said}");
}

#[test]
fn healthd_checks_while_a_reload_hangs() {
    let mut stack = Stack::builder().start();
    let Stack { healthd, nginx, lbd, .. } = &mut stack;
    hang_a_reload(healthd, || {
        nginx[0].kill();
        wait_until("the death is noticed", || text_command(&lbd.socket(), "show stat").contains("DOWN"));
    });
}

#[test]
fn vrrpd_stays_master_while_a_reload_hangs() {
    needs!("ip");
    if !is_root() {
        skip!("network namespaces need root");
    }
    let network = Network::new(24);
    let host = network.host("lb1", [10, 9, 0, 1].into());
    let lines =
        "virtual_router_id: 51\nvirtual_addresses: [10.9.0.100/24]\nadvert_interval: 100ms\ntrack: []";
    let node = VrrpNode::start(host, lines);
    node.wait_for_state("master");
    hang_a_reload(&node.vrrpd, || {
        let before = node.counter("adverts_sent");
        wait_until("adverts go on", || node.counter("adverts_sent") > before + 3);
    });
    assert_eq!(node.state(), "master");
}
