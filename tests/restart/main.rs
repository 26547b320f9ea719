//! A restart of lbd refuses nobody: whoever comes is served, by the old process or by the new one.

mod holder;
mod s6;
mod successor;
mod systemd;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use testkit::{
    BlackHole, Client, Load, Program, RunningLoad, SERVER_PORT, Site, Stack, binary, gated, gated_request,
    is_root, needs, skip, wait_until,
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Clients that keep their connections, and clients that do not. None repeats anything.
fn loads(address: SocketAddr) -> [RunningLoad; 2] {
    [true, false]
        .map(|keep_alive| Load { clients: 6, keep_alive, repeats: false, ..Load::default() }.start(address))
}

fn assert_nothing_lost(loads: [RunningLoad; 2]) {
    loads.map(RunningLoad::stop).iter().for_each(testkit::Report::assert_nothing_lost);
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn restarts_under_load_lose_nothing() {
    let mut stack = Stack::builder().config(|config, _| config.lbd = "workers: 2".to_owned()).start();
    let loads = loads(stack.web());
    for _ in 0..10 {
        loads.iter().for_each(|load| load.wait_for_requests(20));
        assert_eq!(stack.lbd.stop().code(), Some(0), "{}", stack.lbd.stderr());
        stack.lbd.start();
    }
    assert_nothing_lost(loads);
}

/// A listener that goes would take those with it who wait in its backlog.
#[test]
fn restarts_with_another_number_of_workers_lose_nothing() {
    let mut stack = Stack::builder().config(|config, _| config.lbd = "workers: 3".to_owned()).start();
    let loads = loads(stack.web());
    for workers in [1, 4, 2] {
        loads.iter().for_each(|load| load.wait_for_requests(20));
        stack.config.lbd = format!("workers: {workers}");
        stack.write_config();
        stack.lbd.stop();
        stack.lbd.start();
    }
    assert_nothing_lost(loads);
}

#[test]
fn new_clients_are_served_while_a_long_request_ends() {
    let (mut stack, server, open) = gated("stop_timeout: 1m");
    let mut long = gated_request(&stack, &server);
    stack.lbd.terminate();
    stack.lbd.wait_to_tell("lbd stops");
    for _ in 0..20 {
        let mut client = stack.client();
        let response = client.get("/");
        assert!(response.status == 200 && response.closes(), "{response:?}");
        client.expect_closed();
    }
    assert!(stack.lbd.is_running());
    open.send(()).unwrap();
    let response = long.response();
    assert!(response.status == 200 && response.closes(), "{response:?}");
    drop(long);
    assert_eq!(stack.lbd.wait().code(), Some(0), "{}", stack.lbd.stderr());
}

#[test]
fn idle_clients_are_told_or_see_the_end_and_none_is_reset() {
    let (mut stack, server, open) = gated("stop_timeout: 1m");
    let mut long = gated_request(&stack, &server);
    let (mut talks, mut listens) = (stack.client(), stack.client());
    for client in [&mut talks, &mut listens] {
        assert!(!client.get("/").closes());
    }
    stack.lbd.terminate();
    stack.lbd.wait_to_tell("lbd stops");
    // It has a moment for one more request.
    assert!(talks.get("/").closes());
    talks.expect_end();
    listens.expect_end();
    // What is on its way when the end comes is not answered by a reset.
    listens.send(REQUEST);
    listens.expect_end();
    open.send(()).unwrap();
    assert_eq!(long.response().status, 200);
    assert_eq!(stack.lbd.wait().code(), Some(0));
}

/// Who has seen the end has nothing to wait for, and keeps nobody else waiting.
#[test]
fn a_client_that_does_not_close_does_not_hold_up_a_restart() {
    let (mut stack, _server, _open) = gated("stop_timeout: 1h");
    let mut idle: Vec<_> = (0..4).map(|_| stack.client()).collect();
    idle.iter_mut().for_each(|client| drop(client.get("/")));
    assert_eq!(stack.lbd.stop().code(), Some(0));
    idle.iter_mut().for_each(Client::expect_end);
}

#[test]
fn an_idle_connection_ends_without_a_reset() {
    let (stack, _server) = Stack::builder()
        .config(|config, _| config.frontend = "timeouts: { keep_alive: 100ms }".to_owned())
        .start_before(|peer| {
            peer.read_request()?;
            peer.send(ANSWER)
        });
    let mut client = stack.client();
    client.get("/");
    client.expect_end();
    client.send(REQUEST);
    client.expect_end();
}

#[test]
fn clients_wait_between_two_processes() {
    let mut stack = Stack::start();
    stack.lbd.stop();
    let mut waiting: Vec<_> = (0..50).map(|_| stack.client()).collect();
    waiting.iter_mut().for_each(|client| client.send(REQUEST));
    // lbd.sock and the admin port are free, and the backlogs full.
    stack.lbd.start();
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
}

/// Also those who have come to the end of a stop that takes all of its time.
#[test]
fn a_stop_that_takes_too_long_ends_and_others_wait_for_the_next_process() {
    let (mut stack, server, _open) = gated("stop_timeout: 1s");
    let mut long = gated_request(&stack, &server);
    stack.lbd.terminate();
    let loads = loads(stack.web());
    assert_eq!(stack.lbd.wait().code(), Some(0));
    assert!(long.try_response("GET").is_err());
    stack.lbd.wait_to_tell("stop_timeout is over");
    stack.lbd.start();
    loads.iter().for_each(|load| load.wait_for_requests(20));
    assert_nothing_lost(loads);
}

/// It has vanished, and nobody knows yet.
#[test]
fn requests_that_wait_for_a_vanished_server_get_another_one_before_a_stop_is_over() {
    let (mut stack, _server, _open) = gated("stop_timeout: 8s");
    let gone = stack.addresses.socket(101, SERVER_PORT);
    let _gone = BlackHole::open(gone);
    stack.config.server("gone", gone);
    stack.config.backend = "timeouts: { connect: 5m }".to_owned();
    stack.write_config();
    stack.command("reload");
    let mut clients = Vec::new();
    wait_until("a request waits for it", || {
        let mut client = stack.client();
        client.send(REQUEST);
        clients.push(client);
        stack.stat("app", "gone").number("scur") > 0
    });
    assert_eq!(stack.lbd.stop().code(), Some(0));
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}

#[test]
fn what_the_next_process_does_not_want_is_closed() {
    let mut stack = Stack::start();
    let (any, one) = (stack.addresses.socket(1, 7082), stack.addresses.socket(2, 7082));
    stack.config.bind = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), any.port());
    stack.write_config();
    stack.lbd.stop();
    stack.lbd.start();
    assert_eq!(testkit::get(one, "/").status, 200);
    // Nothing may be left of the one for all addresses, or this could not be opened.
    stack.config.bind = any;
    stack.write_config();
    stack.lbd.stop();
    stack.lbd.start();
    assert_eq!(stack.get("/").status, 200);
    assert!(is_refused(one));
}

#[test]
fn a_killed_process_leaves_nothing() {
    let mut stack = Stack::start();
    stack.lbd.kill();
    assert!(is_refused(stack.web()));
    assert!(!stack.dir().join("lbd/lbd.listeners").exists());
}

#[test]
fn a_handshake_that_a_restart_meets_is_finished_by_the_next_process() {
    needs!("ip");
    if !is_root() {
        skip!("network namespaces need root");
    }
    let mut site = Site::start(66);
    site.lose_client();
    let web = site.web();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| site.client.inside(|| Client::connect(web).get("/")));
        wait_until("a handshake is under way", || site.is_shaking_hands());
        assert_eq!(site.lbd.stop().code(), Some(0));
        site.lbd.start();
        site.find_client();
        assert_eq!(answer.join().unwrap().instance(), Some(1));
    });
}

/// Neither while it serves, nor when its listeners are with the holder.
#[test]
fn a_second_process_takes_nothing_from_one_that_stops() {
    let (mut stack, server, open) = gated("stop_timeout: 10m");
    let second = |stack: &Stack| {
        let mut command = std::process::Command::new(binary(Program::Lbd));
        command.arg("--config").arg(stack.lbd.config()).arg("--run-dir").arg(stack.dir());
        command.output().unwrap()
    };
    let mut long = gated_request(&stack, &server);
    stack.lbd.terminate();
    stack.lbd.wait_to_tell("lbd stops");
    assert!(!second(&stack).status.success());
    let mut longer = gated_request(&stack, &server);
    open.send(()).unwrap();
    assert_eq!(long.response().status, 200);
    drop(long);
    stack.lbd.wait_to_tell("the listeners wait for the next lbd");
    let mut waits = stack.client();
    waits.send(REQUEST);
    assert!(!second(&stack).status.success());
    open.send(()).unwrap();
    assert_eq!(longer.response().status, 200);
    drop(longer);
    assert_eq!(stack.lbd.wait().code(), Some(0), "{}", stack.lbd.stderr());
    stack.lbd.start();
    assert_eq!(waits.response().status, 200);
}

/// A second signal breaks off requests, and no more than that.
#[test]
fn clients_wait_for_the_next_process_also_when_a_stop_is_broken_off() {
    let (mut stack, server, _open) = gated("stop_timeout: 1h");
    let mut long = gated_request(&stack, &server);
    stack.lbd.terminate();
    stack.lbd.wait_to_tell("lbd stops");
    stack.lbd.terminate();
    assert_eq!(stack.lbd.wait().code(), Some(0));
    assert!(long.try_response("GET").is_err());
    let mut waits = stack.client();
    waits.send(REQUEST);
    stack.lbd.start();
    assert_eq!(waits.response().status, 200);
}
