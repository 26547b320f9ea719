//! The old lbd serves on while its successor already runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Sender};

use nix::sys::signal::Signal;
use testkit::{
    Config, Daemon, EchoServer, Follower, Network, Process, Program, RawServer, SERVER_PORT, Stack,
    StackBuilder, Systemd, VrrpNode, binary, gated_request, is_root, needs, skip, wait_for, wait_until,
};
use tungstenite::{Message, WebSocket};

use super::{assert_nothing_lost, is_refused, loads};

/// At 16 KiB a second it lasts for ten upgrades.
const LENGTH: usize = 128 << 10;

/// Starts a stack whose lbd systemd starts, from a file of its own.
fn start(builder: StackBuilder) -> (Stack, Systemd) {
    let mut stack = builder.without_lbd().start();
    let systemd = Systemd::listen(&stack.dir().join("notify"));
    install(&stack, &binary(Program::Lbd));
    stack.lbd.installed_at(&program(&stack));
    stack.lbd.start_by(&systemd);
    (stack, systemd)
}

fn program(stack: &Stack) -> PathBuf {
    stack.dir().join("lbd-installed")
}

/// Puts another file in the place of the program, as a package manager does.
fn install(stack: &Stack, file: &Path) {
    let new = stack.dir().join("lbd-new");
    fs::copy(file, &new).unwrap();
    fs::rename(new, program(stack)).unwrap();
}

/// The same with a script.
fn install_script(stack: &Stack, text: &str) {
    let script = stack.dir().join("script");
    fs::write(&script, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    install(stack, &script);
}

fn workers(number: u8) -> StackBuilder {
    Stack::builder().config(|config, _| config.lbd = format!("workers: {number}"))
}

/// The sockets in lbd's directory.
fn doors(stack: &Stack) -> Vec<String> {
    let entries = fs::read_dir(stack.dir().join("lbd")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains(".sock")).collect();
    names.sort();
    names
}

fn wait_until_alone(stack: &Stack) {
    wait_until("no other lbd is left", || doors(stack) == ["lbd.sock"]);
}

fn assert_ended_well(mut old: Process) {
    assert_eq!(old.wait().code(), Some(0), "{}", old.stderr());
}

fn websocket(address: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(testkit::PATIENCE)).unwrap();
    tungstenite::client(format!("ws://{address}/"), stream).unwrap().0
}

fn echo(sockets: &mut [WebSocket<TcpStream>], text: &str) {
    for socket in &mut *sockets {
        socket.send(Message::text(text)).unwrap();
    }
    for socket in sockets {
        assert_eq!(socket.read().unwrap(), Message::text(text));
    }
}

/// Ten times in a row, with WebSockets and a download that began before.
#[test]
fn upgrades_under_load_lose_nothing_and_long_sessions_go_on() {
    let (mut stack, systemd) = start(workers(2).config(|config, addresses| {
        config.lbd += "\nstop_timeout: 10m";
        let (ws, server) = (addresses.socket(1, 7081), addresses.socket(100, SERVER_PORT));
        config.more_frontends = format!("ws: {{ bind: [\"{ws}\"], backend: echo }}");
        config.more_backends = format!("echo: {{ check: off, servers: {{ e1: \"{server}\" }} }}");
    }));
    let bodies: Vec<_> = stack.nginx.iter().map(|nginx| nginx.file("large", LENGTH)).collect();
    let _echo = EchoServer::start(stack.addresses.socket(100, SERVER_PORT));
    let ws = stack.addresses.socket(1, 7081);
    let mut sockets: Vec<_> = (0..20).map(|_| websocket(ws)).collect();
    // At 16 KiB a second, and its reader waits besides.
    let mut download = TcpStream::connect(stack.web()).unwrap();
    download.set_read_timeout(Some(testkit::PATIENCE)).unwrap();
    download.write_all(b"GET /slow/large HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut begun = [0; 1024];
    download.read_exact(&mut begun).unwrap();
    assert!(begun.starts_with(b"HTTP/1.1 200 "));

    let loads = loads(stack.web());
    let first = stack.lbd.pid();
    let mut old = Vec::new();
    for round in 0..10 {
        loads.iter().for_each(|load| load.wait_for_requests(20));
        // The first one has the WebSockets; the others end after a second.
        wait_until("few others are left", || doors(&stack).len() < 5);
        old.push(stack.upgrade());
        let pid = stack.lbd.pid();
        assert!(systemd.has_heard(&format!("MAINPID={pid}")), "round {round}");
        echo(&mut sockets, &format!("round {round}"));
    }
    assert_nothing_lost(loads);
    wait_until("the metric counts its connections", || {
        stack.metric("tandem_lbd_predecessors") == Some(1.0)
            && stack.metric("tandem_lbd_predecessor_connections").is_some_and(|count| count >= 21.0)
    });
    let status = stack.tandemctl(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains(&format!("an earlier lbd finishes: process {first} ")), "{status}");
    let sessions = stack.tandemctl_ok(&["--process", &first.to_string(), "sessions", "echo"]);
    assert_eq!(sessions.lines().count(), 1 + sockets.len(), "{sessions}");
    let mut rest = Vec::new();
    download.read_to_end(&mut rest).unwrap();
    assert!(bodies.iter().any(|body| rest.ends_with(&body[body.len() / 2..])), "{} bytes", rest.len());
    for mut socket in sockets {
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    }
    old.into_iter().for_each(assert_ended_well);
    wait_until_alone(&stack);
    wait_until("nobody is counted any more", || stack.metric("tandem_lbd_predecessors") == Some(0.0));
    assert_eq!(stack.get("/").status, 200);
    // A later stop is one as any other.
    assert_eq!(stack.lbd.stop().code(), Some(0), "{}", stack.lbd.stderr());
    assert!(systemd.has_heard("STOPPING=1"));
    assert_eq!(systemd.stored().len(), 4, "one for each worker and address");
    assert_eq!(doors(&stack), [""; 0]);
}

/// lbd, started by systemd, in front of a server that answers `/slow` once for each word from the test.
fn gated(lbd: &str) -> (Stack, RawServer, Sender<()>, Systemd) {
    let (open, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let builder = workers(2).config(|config, _| config.lbd += &format!("\n{lbd}"));
    let (mut stack, server) = builder.without_lbd().start_before(move |peer| {
        loop {
            if peer.read_request()?.contains(" /slow") {
                let _ = gate.lock().unwrap().recv_timeout(testkit::PATIENCE);
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
        }
    });
    let systemd = Systemd::listen(&stack.dir().join("notify"));
    stack.lbd.start_by(&systemd);
    (stack, server, open, systemd)
}

/// Nobody waits: a client is served at once while a request of an hour is under way.
#[test]
fn a_long_request_ends_as_it_should_and_nobody_waits_for_it() {
    let (mut stack, server, open, systemd) = gated("");
    let mut long = gated_request(&stack, &server);
    let (mut idle, mut talks) = (stack.client(), stack.client());
    for client in [&mut idle, &mut talks] {
        assert!(!client.get("/").closes());
    }
    let mut old = stack.upgrade();
    // Who has a connection with the old one hears that it is the last time, or sees the end.
    assert!(talks.get("/").closes());
    talks.expect_end();
    idle.expect_end();
    for _ in 0..20 {
        let mut client = stack.client();
        let response = client.get("/");
        assert!(response.status == 200 && !response.closes(), "{response:?}");
    }
    assert!(old.exited().is_none());
    open.send(()).unwrap();
    let response = long.response();
    assert!(response.status == 200 && response.closes(), "{response:?}");
    drop(long);
    assert_ended_well(old);
    // A signal does what the command does.
    let before = stack.lbd.pid();
    stack.lbd.signal(Signal::SIGUSR2);
    let main = || systemd.main_process().filter(|pid| *pid != before);
    let now = wait_for("another lbd is the main process", main);
    assert_ended_well(stack.lbd.succeeded_by(now));
    assert_eq!(stack.get("/").status, 200);
}

/// Its clients lose their address as those of the one that serves do.
#[test]
fn a_handover_waits_for_what_the_old_one_has_under_way() {
    let (mut stack, server, open, _systemd) = gated("handover_timeout: 5s");
    let mut long = gated_request(&stack, &server);
    let mut idle = stack.client();
    assert_eq!(idle.get("/").status, 200);
    let old = stack.upgrade();
    let mut follower = Follower::subscribe(&stack.lbd.socket());
    follower.drain();
    stack.lbd.wait_to_tell("this lbd drains beside the one that serves");
    idle.expect_end();
    open.send(()).unwrap();
    assert_eq!(long.response().status, 200);
    drop(long);
    assert!(follower.done().starts_with("drained after "));
    follower.released();
    assert_eq!(follower.done(), "lbd takes new connections");
    assert_ended_well(old);
    assert_eq!(stack.get("/").status, 200);
}

/// Whatever is started instead of an lbd that can serve.
#[test]
fn a_program_that_cannot_serve_changes_nothing() {
    let (mut stack, systemd) = start(workers(2));
    let pid = stack.lbd.pid();
    let before = doors(&stack);
    let refused = |stack: &Stack| {
        let output = stack.tandemctl(&["upgrade"]);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("nothing has changed: "), "{told}");
        told
    };
    let assert_as_before = |stack: &mut Stack| {
        assert!(stack.lbd.is_running());
        assert_eq!(doors(stack), before);
        assert_eq!(stack.get("/").status, 200);
        assert_eq!(testkit::get(stack.config.admin, "/ready").status, 200);
        stack.tandemctl_ok(&["weight", "app/s1", "7"]);
        stack.tandemctl_ok(&["reload"]);
        assert_eq!(systemd.main_process(), None);
    };

    // A configuration that is wrong: the answer has the new one's own words.
    let good = fs::read_to_string(stack.lbd.config()).unwrap();
    fs::write(stack.lbd.config(), format!("{good}\nnonsense: 1\n")).unwrap();
    let told = refused(&stack);
    assert!(told.contains("unknown key \"nonsense\""), "{told}");
    fs::write(stack.lbd.config(), &good).unwrap();
    assert_as_before(&mut stack);

    // An address that somebody else has.
    let taken = std::net::TcpListener::bind(stack.addresses.socket(1, 7099)).unwrap();
    let more = format!("  more: {{ bind: \"{}\", backend: app }}\n", taken.local_addr().unwrap());
    fs::write(stack.lbd.config(), good.replacen("frontends:\n", &format!("frontends:\n{more}"), 1)).unwrap();
    let told = refused(&stack);
    assert!(told.contains("frontends.more.bind") || told.contains("7099"), "{told}");
    fs::write(stack.lbd.config(), &good).unwrap();
    assert_as_before(&mut stack);

    for (script, why) in [
        ("exit 3", "ended before it served"),
        ("kill -9 $$", "ended before it served"),
        ("echo nonsense >&0", "is none that can succeed this one"),
        ("exec sleep 60", "did not serve in time"),
    ] {
        install_script(&stack, script);
        let told = refused(&stack);
        assert!(told.contains(why), "{script}: {told}");
        assert_as_before(&mut stack);
    }
    fs::set_permissions(program(&stack), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&stack).contains("Permission denied"));
    fs::remove_file(program(&stack)).unwrap();
    assert!(refused(&stack).contains("No such file"));
    assert_as_before(&mut stack);
    assert_eq!(stack.lbd.pid(), pid);

    // And then one that can.
    install(&stack, &binary(Program::Lbd));
    let old = stack.upgrade();
    assert_ended_well(old);
    assert_eq!(stack.stat("app", "s1").number("weight"), 7, "what was set is known");
}

/// One that stops in the middle is ended, and leaves no socket in the place of the old one's.
#[test]
fn a_successor_that_dies_at_any_step_changes_nothing() {
    let (mut stack, _systemd) = start(workers(2));
    let before = doors(&stack);
    // Speaks as an lbd does up to some word, and goes.
    let words = r#"{"asks":{"pid":1,"version":"9"}}"#;
    for said in [
        format!("printf '%s\\n' '{words}' >&0"),
        format!("printf '%s\\n' '{words}' >&0; head -c 8 <&0 >/dev/null; printf . >&0"),
        format!(
            "printf '%s\\n' '{words}' >&0; head -c 8 <&0 >/dev/null; printf . >&0; printf '%s\\n' '{{\"ready\":{{\"addresses\":[]}}}}' \
             >&0; mv {0}/lbd.sock {0}/lbd.sock.gone",
            stack.dir().join("lbd").display()
        ),
    ] {
        install_script(&stack, &said);
        let output = stack.tandemctl(&["upgrade"]);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let _ = fs::remove_file(stack.dir().join("lbd/lbd.sock.gone"));
        assert_eq!(doors(&stack), before, "{said}");
        assert_eq!(stack.get("/").status, 200);
        stack.tandemctl_ok(&["weight", "app/s1", "7"]);
    }
    assert!(stack.lbd.is_running());
}

#[test]
fn the_successor_may_have_other_workers_and_other_addresses() {
    let (mut stack, _systemd) = start(workers(3).config(|config, addresses| {
        let gone = addresses.socket(1, 7085);
        config.more_frontends = format!("gone: {{ bind: [\"{gone}\"], backend: app }}");
    }));
    let (gone, new) = (stack.addresses.socket(1, 7085), stack.addresses.socket(1, 7086));
    let loads = loads(stack.web());
    for number in [1, 4, 2] {
        loads.iter().for_each(|load| load.wait_for_requests(20));
        stack.config.lbd = format!("workers: {number}");
        stack.write_config();
        let old = stack.upgrade();
        assert_ended_well(old);
    }
    assert_eq!(testkit::get(gone, "/").status, 200);
    assert!(is_refused(new));
    stack.config.more_frontends = format!("new: {{ bind: [\"{new}\"], backend: app }}");
    let admin = std::mem::replace(&mut stack.config.admin, stack.addresses.socket(1, 7405));
    stack.write_config();
    assert_ended_well(stack.upgrade());
    assert_eq!(testkit::get(new, "/").status, 200);
    assert!(is_refused(gone) && is_refused(admin));
    assert_eq!(testkit::get(stack.config.admin, "/ready").status, 200);
    // The release before is started again.
    stack.config.more_frontends = format!("gone: {{ bind: [\"{gone}\"], backend: app }}");
    stack.write_config();
    assert_ended_well(stack.upgrade());
    assert_eq!(testkit::get(gone, "/").status, 200);
    assert!(is_refused(new));
    assert_nothing_lost(loads);
}

#[test]
fn what_operators_set_is_known_to_the_successor() {
    let (mut stack, _systemd) = start(workers(2));
    stack.tandemctl_ok(&["drain", "app/s1"]);
    stack.tandemctl_ok(&["weight", "app/s2", "17"]);
    // Somebody sets something else all the time.
    let (begun, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (told, last) = std::thread::scope(|scope| {
        let sets = scope.spawn(|| {
            let (mut last, mut weights) = (0, (2..=250).cycle());
            while !is_over.load(SeqCst) {
                let weight = weights.next().unwrap();
                let told = stack.command(&format!("set weight app/s3 {weight}"));
                if told.trim().is_empty() {
                    last = weight;
                    begun.store(true, SeqCst);
                } else {
                    assert!(told.contains("another lbd takes this one's place"), "{told}");
                }
            }
            last
        });
        wait_until("something is set", || begun.load(SeqCst));
        let told = stack.tandemctl_ok(&["upgrade"]);
        is_over.store(true, SeqCst);
        (told, sets.join().unwrap())
    });
    let pid = told.split(' ').nth(2).and_then(|pid| pid.parse().ok()).unwrap();
    let old = stack.lbd.succeeded_by(pid);
    assert_eq!(stack.stat("app", "s3").number("weight"), last, "the last that was not refused");
    assert_eq!(stack.stat("app", "s2").number("weight"), 17);
    assert!(stack.stat("app", "s1").text("status").starts_with("DRAIN"));
    assert_ended_well(old);
}

/// Each that finishes costs something.
#[test]
fn few_may_finish_at_once_and_operators_can_end_what_they_have() {
    let (mut stack, _systemd) =
        start(workers(1).frontend("mode: tcp").backend("mode: tcp").config(|config, _| {
            config.lbd += "\nstop_timeout: 1h";
        }));
    let mut sessions = Vec::new();
    let mut old = Vec::new();
    for _ in 0..4 {
        let mut session = stack.client();
        assert_eq!(session.get("/").status, 200);
        sessions.push(session);
        old.push(stack.upgrade());
    }
    let refused = stack.tandemctl(&["upgrade"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("4 earlier lbd still finish"), "{told}");
    sessions.iter_mut().for_each(|session| assert_eq!(session.get("/").status, 200));
    let first = old.remove(0);
    let pid = first.pid().to_string();
    for change in [["maint", "app/s1"], ["weight", "app/s1"]] {
        let mut args = vec!["--process", &pid, change[0], change[1]];
        args.extend((change[0] == "weight").then_some("3"));
        let refused = stack.tandemctl(&args);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains("another lbd takes this one's place"), "{told}");
    }
    let listed = stack.tandemctl_ok(&["--process", &pid, "sessions"]);
    let id = listed.lines().nth(1).and_then(|line| line.split(' ').next()).unwrap().to_owned();
    stack.tandemctl_ok(&["--process", &pid, "shutdown", "session", &id]);
    assert_ended_well(first);
    old.push(stack.upgrade());
    // They are told to stop, as systemd tells all of a service: then they end at once.
    for mut one in old {
        one.signal(Signal::SIGTERM);
        assert_eq!(one.wait().code(), Some(0));
    }
    wait_until_alone(&stack);
}

#[test]
fn who_was_not_started_by_systemd_refuses_and_says_why() {
    let stack = Stack::start();
    let output = stack.tandemctl(&["upgrade"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("lbd was not started by systemd"), "{told}");
    assert!(told.contains("restart it instead"), "{told}");
    assert!(stack.command("upgrade").contains("lbd was not started by systemd"));
    assert_eq!(stack.get("/").status, 200);
}

/// vrrpd follows lbd, and takes the end of one that says nothing for a death.
#[test]
fn vrrpd_does_not_notice() {
    needs!("ip");
    if !is_root() {
        skip!("network namespaces need root");
    }
    let network = Network::new(24);
    let host = network.host("lb1", Ipv4Addr::new(10, 67, 0, 1));
    let mut node = VrrpNode::new(
        host,
        "virtual_router_id: 51\npriority: 200\nvirtual_addresses: [10.67.0.100/24]\nadvert_interval: 200ms\n\
         track: [lbd, { backend: app }]",
    );
    let any = |port| (Ipv4Addr::UNSPECIFIED, port).into();
    let mut config = Config::new(any(80), any(8404), any(8406));
    config.check = "off".to_owned();
    config.server("s1", "10.67.0.2:80");
    let mut lbd = Daemon::new(Program::Lbd, node.dir()).within(&node.host);
    fs::write(lbd.config(), config.to_string()).unwrap();
    let systemd = Systemd::listen(&node.dir().join("notify"));
    lbd.start_by(&systemd);
    node.vrrpd.start();
    node.wait_for_state("master");
    let seen = |node: &VrrpNode| {
        let status = node.status();
        let failures: Vec<_> =
            status["trackers"].as_array().unwrap().iter().map(|one| one["failures"].clone()).collect();
        (node.transitions(), failures)
    };
    let before = seen(&node);
    for _ in 0..5 {
        let run_dir = node.dir().display().to_string();
        let told = testkit::run(Program::Tandemctl, ["--run-dir", &run_dir, "upgrade"]);
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let pid = systemd.main_process().unwrap();
        assert_ended_well(lbd.succeeded_by(pid));
        assert_eq!(seen(&node), before);
    }
    // It follows the last one, and hears of its death.
    lbd.kill();
    node.wait_for_state("fault");
}
