//! lbd gives its clients away: for a stop that vrrpd follows, and on request.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use testkit::{
    BlackHole, Client, Daemon, Follower, Load, Netns, Network, Nginx, Program, SERVER_PORT, Site, Stack,
    binary, gated, gated_request, is_root, lbd_within, needs, skip, wait_until,
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Whether a client that connects now has to wait. One that is refused is a failure.
fn is_held(stack: &Stack) -> bool {
    match TcpStream::connect_timeout(&stack.web(), Duration::from_millis(300)) {
        Ok(_) => false,
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => true,
        Err(error) => panic!("a client was refused: {error}"),
    }
}

#[test]
fn a_stop_that_is_followed_waits_for_requests_and_then_for_the_addresses() {
    let (mut stack, server, open) = gated("handover_timeout: 5s");
    let mut follower = Follower::subscribe(&stack.lbd.socket());
    let mut client = gated_request(&stack, &server);
    stack.lbd.terminate();
    follower.has_it_drain();
    follower.wait_for("draining");
    wait_until("new clients are held", || is_held(&stack));
    open.send(()).unwrap();
    let response = client.response();
    assert!(response.status == 200 && response.closes(), "{response:?}");
    client.expect_closed();
    drop(client);
    follower.wait_for("stopping");
    stack.lbd.wait_to_tell("drained after");
    // The address is still here, and so is the listener.
    assert!(is_held(&stack));
    assert!(stack.lbd.is_running());
    follower.released();
    assert_eq!(stack.lbd.wait().code(), Some(0), "{}", stack.lbd.stderr());
}

#[test]
fn a_stop_ends_by_itself_when_its_follower_leaves_or_says_nothing() {
    for leaves in [true, false] {
        let timeout = if leaves { "5s" } else { "100ms" };
        let (mut stack, _server, _open) = gated(&format!("handover_timeout: {timeout}"));
        let mut follower = Follower::subscribe(&stack.lbd.socket());
        stack.lbd.terminate();
        follower.wait_for("stopping");
        if leaves {
            drop(follower);
        }
        assert_eq!(stack.lbd.wait().code(), Some(0));
        assert_eq!(stack.lbd.stderr().contains("nobody has said"), !leaves, "{}", stack.lbd.stderr());
    }
}

#[test]
fn a_request_that_takes_longer_than_the_handover_is_finished_after_it() {
    let (mut stack, server, open) = gated("handover_timeout: 200ms");
    let mut follower = Follower::subscribe(&stack.lbd.socket());
    let mut client = gated_request(&stack, &server);
    stack.lbd.terminate();
    follower.has_it_drain();
    follower.wait_for("stopping");
    stack.lbd.wait_to_tell("with 1 connection in use");
    follower.released();
    // The node's own addresses are still here: who comes to one is served meanwhile.
    wait_until("new clients are accepted", || !is_held(&stack));
    let mut other = gated_request(&stack, &server);
    for _ in 0..2 {
        open.send(()).unwrap();
    }
    assert_eq!(client.response().status, 200);
    assert!(other.response().closes());
    drop((client, other));
    assert_eq!(stack.lbd.wait().code(), Some(0));
}

#[test]
fn a_stop_breaks_off_what_is_left_after_stop_timeout() {
    let (mut stack, server, _open) = gated("handover_timeout: 100ms\nstop_timeout: 300ms");
    let mut follower = Follower::subscribe(&stack.lbd.socket());
    let mut client = gated_request(&stack, &server);
    stack.lbd.terminate();
    follower.has_it_drain();
    follower.wait_for("stopping");
    follower.released();
    assert_eq!(stack.lbd.wait().code(), Some(0));
    assert!(client.try_response("GET").is_err());
    assert!(stack.lbd.stderr().contains("stop_timeout is over"), "{}", stack.lbd.stderr());
}

#[test]
fn lbd_goes_on_after_a_handover_on_request() {
    let (stack, server, open) = gated("handover_timeout: 5s");
    let mut follower = Follower::subscribe(&stack.lbd.socket());
    let mut idle = gated_request(&stack, &server);
    open.send(()).unwrap();
    let response = idle.response();
    assert!(!response.closes(), "{response:?}");
    let mut busy = gated_request(&stack, &server);
    // Asking twice is asking once.
    let mut other = Follower::connect(&stack.lbd.socket());
    follower.drain();
    follower.wait_for("draining");
    other.drain();
    idle.expect_closed();
    open.send(()).unwrap();
    let response = busy.response();
    assert!(response.status == 200 && response.closes(), "{response:?}");
    drop(busy);
    for asked in [&mut follower, &mut other] {
        let done = asked.done();
        assert!(done.starts_with("drained after"), "{done}");
    }
    other.drain();
    assert!(other.done().starts_with("drained after"));
    assert!(is_held(&stack));
    let ready = testkit::get(stack.config.admin, "/ready");
    assert!(ready.status == 503 && ready.text().contains("draining"), "{ready:?}");
    assert!(stack.command("show info").contains("draining"), "{}", stack.command("show info"));

    follower.released();
    follower.wait_for("ready");
    let mut client = gated_request(&stack, &server);
    open.send(()).unwrap();
    assert!(!client.response().closes());
    // Saying it once more changes nothing.
    other.released();
    other.done();
    assert_eq!(testkit::get(stack.config.admin, "/ready").status, 200);
}

#[test]
fn lbd_goes_on_by_itself_when_a_handover_comes_to_nothing() {
    let (stack, server, open) = gated("handover_timeout: 300ms");
    let mut follower = Follower::subscribe(&stack.lbd.socket());
    follower.drain();
    follower.wait_for("draining");
    follower.wait_for("ready");
    stack.lbd.wait_to_tell("nobody has said");
    let mut client = gated_request(&stack, &server);
    open.send(()).unwrap();
    assert!(!client.response().closes());
}

#[test]
fn lbd_is_told_when_nobody_takes_the_addresses() {
    let (mut stack, server, open) = gated("handover_timeout: 5s");
    let mut follower = Follower::subscribe(&stack.lbd.socket());
    follower.drain();
    follower.done();
    assert!(is_held(&stack));
    follower.ask(&json!({"request": "kept"}));
    follower.wait_for("ready");
    let mut client = gated_request(&stack, &server);
    open.send(()).unwrap();
    assert!(!client.response().closes());
    drop(client);

    stack.lbd.terminate();
    follower.has_it_drain();
    follower.wait_for("stopping");
    follower.ask(&json!({"request": "kept"}));
    assert_eq!(stack.lbd.wait().code(), Some(0));
    stack.lbd.wait_to_tell("clients wait for the next lbd");
    let mut waits = stack.client();
    waits.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    stack.lbd.start();
    assert_eq!(waits.response().status, 200);
}

#[test]
fn a_tunnel_does_not_hold_up_a_handover() {
    let (stack, _server) = Stack::builder()
        .config(|config, _| config.lbd = "handover_timeout: 5s".to_owned())
        .start_before(|peer| {
            peer.read_request()?;
            peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")?;
            loop {
                let line = peer.read_until(b"\n")?;
                peer.send(line)?;
            }
        });
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 101);
    let mut follower = Follower::connect(&stack.lbd.socket());
    follower.drain();
    let done = follower.done();
    assert!(done.starts_with("drained after"), "{done}");
    client.send("still here\n");
    assert_eq!(client.take(11).unwrap(), b"still here\n");
}

#[test]
fn a_response_is_waited_for_until_the_client_has_it() {
    const LENGTH: usize = 64 << 10;
    for (timeout, reads) in [("5s", true), ("300ms", false)] {
        let (stack, _server) = Stack::builder()
            .config(|config, _| config.lbd = format!("handover_timeout: {timeout}"))
            .start_before(|peer| {
                peer.read_request()?;
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"))?;
                peer.send(vec![b'x'; LENGTH])
            });
        // The kernel takes more of a response than a client has room for: lbd is done with it, and the client is not.
        let mut client = Client::connect_with_room(stack.web(), 4096);
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        wait_until("lbd is done with the request", || stack.lbd.stdout().contains("GET / HTTP/1.1"));
        let mut follower = Follower::subscribe(&stack.lbd.socket());
        follower.drain();
        follower.wait_for("draining");
        if reads {
            assert_eq!(client.response().body.len(), LENGTH);
        }
        let done = follower.done();
        let wanted = if reads { "drained after" } else { "not acknowledged" };
        assert!(done.contains(wanted), "{done}");
    }
}

/// It has vanished, and nobody knows yet.
#[test]
fn requests_that_wait_for_a_vanished_server_get_another_one_before_a_handover_is_over() {
    let (mut stack, _server) = Stack::builder()
        .config(|config, _| config.lbd = "workers: 2\nhandover_timeout: 5s".to_owned())
        .backend("timeouts: { connect: 5m }")
        .start_before(|peer| {
            loop {
                peer.read_request()?;
                peer.send(ANSWER)?;
            }
        });
    let gone = stack.addresses.socket(101, SERVER_PORT);
    let _gone = BlackHole::open(gone);
    stack.config.server("gone", gone);
    stack.write_config();
    stack.command("reload");
    let mut follower = Follower::connect(&stack.lbd.socket());
    for _ in 0..3 {
        let mut clients = Vec::new();
        wait_until("a request waits for it", || {
            let mut client = stack.client();
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            clients.push(client);
            stack.stat("app", "gone").number("scur") > 0
        });
        follower.drain();
        let done = follower.done();
        assert!(done.starts_with("drained after"), "{done}");
        for client in &mut clients {
            let response = client.response();
            assert_eq!((response.status, response.text()), (200, "hello".to_owned()));
        }
        follower.released();
        follower.done();
    }
}

/// Behind a move of the address it would not hear of anything any more.
#[test]
fn who_waits_for_a_place_gets_one_or_an_answer_before_a_handover_is_over() {
    for frees in [true, false] {
        let (mut stack, server, open) = gated("handover_timeout: 5s");
        stack.config.backend = "queue: { timeout: 5m }".to_owned();
        stack.config.server("raw", format!("{{ address: \"{}\", maxconn: 1 }}", server.address()));
        stack.write_config();
        stack.command("reload");
        let mut first = gated_request(&stack, &server);
        let mut second = stack.client();
        second.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
        wait_until("the second waits", || stack.stat("app", "BACKEND").number("qcur") == 1);
        let mut follower = Follower::subscribe(&stack.lbd.socket());
        follower.drain();
        follower.wait_for("draining");
        if frees {
            (0..2).for_each(|_| open.send(()).unwrap());
        }
        let response = second.response();
        assert_eq!(response.status, if frees { 200 } else { 503 });
        assert!(response.closes());
        if !frees {
            open.send(()).unwrap();
        }
        assert_eq!(first.response().status, 200);
        drop((first, second));
        let done = follower.done();
        assert!(done.starts_with("drained after"), "{done}");
    }
}

#[test]
fn handovers_lose_no_request() {
    // As long as it may be: on a machine that has too much to do, the kernel's list of sockets alone takes its time.
    let stack = Stack::builder()
        .config(|config, _| config.lbd = "workers: 2\nhandover_timeout: 5s".to_owned())
        .start();
    let mut follower = Follower::connect(&stack.lbd.socket());
    for keep_alive in [true, false] {
        let load = Load { clients: 8, keep_alive, ..Load::default() }.start(stack.web());
        for _ in 0..5 {
            load.wait_for_requests(50);
            follower.drain();
            let done = follower.done();
            assert!(done.starts_with("drained after"), "{done}");
            follower.released();
            follower.done();
        }
        load.stop().assert_nothing_lost();
    }
}

/// Such a connection inherits that packets are dropped, and the request comes before anybody can change that.
#[test]
fn a_request_right_after_a_handshake_that_a_handover_met_is_answered() {
    needs!("ip");
    if !is_root() {
        skip!("network namespaces need root");
    }
    let site = Site::start(67);
    site.lose_client();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| site.client.inside(|| Client::connect(site.web()).get("/")));
        wait_until("a handshake is under way", || site.is_shaking_hands());
        let mut follower = Follower::subscribe(&site.lbd.socket());
        follower.drain();
        follower.wait_for("draining");
        site.find_client();
        assert_eq!(answer.join().unwrap().instance(), Some(1));
        let done = follower.done();
        assert!(done.starts_with("drained after"), "{done}");
    });
}

/// Two nodes in front of a server each, and clients of the address that one of them has.
struct Pair {
    network: Network,
    client: Netns,
    _servers: [Nginx; 2],
    nodes: [Netns; 2],
    lbds: [Daemon; 2],
    _dirs: [TempDir; 2],
    address: Ipv4Addr,
}

impl Pair {
    /// In the subnet 10.NUMBER.0.0/24, with those lines for the backend.
    fn start(number: u8, backend: &str) -> Self {
        let network = Network::new(24);
        let address = |last| Ipv4Addr::new(10, number, 0, last);
        let client = network.host("client", address(1));
        let hosts = [(1, "server1", 21), (2, "server2", 22)]
            .map(|(instance, name, last)| (instance, network.host(name, address(last)), address(last)));
        let servers =
            hosts.map(|(instance, host, address)| Nginx::start_in(&host, instance, (address, 80).into()));
        let nodes = [("lb1", 11), ("lb2", 12)].map(|(name, last)| network.host(name, address(last)));
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let lbds = [0, 1].map(|node| {
            lbd_within(&nodes[node], dirs[node].path(), |config| {
                config.backend = backend.to_owned();
                config.server("s1", servers[0].address());
                config.server("s2", servers[1].address());
            })
        });
        let pair =
            Self { network, client, _servers: servers, nodes, lbds, _dirs: dirs, address: address(100) };
        pair.address("add", 0);
        pair
    }

    /// Adds the address to a node, or deletes it there.
    fn address(&self, what: &str, node: usize) {
        let address = format!("{}/24", self.address);
        self.nodes[node].run("ip", &["address", what, &address, "dev", "eth0"]);
    }

    /// Stops the lbd of a node under load, as soon as that is `ready`, moves the address to the other node, and starts it again.
    fn stop_under_load(&mut self, node: usize, ready: impl FnOnce(&Self), gone: impl FnOnce(&Self)) {
        let answered = |pair: &Self, node: usize| pair.lbds[node].stdout().lines().count();
        let before = [0, 1].map(|node| answered(self, node));
        let mut follower = Follower::subscribe(&self.lbds[node].socket());
        let load = self
            .client
            .command(&binary(Program::Tandemctl).display().to_string())
            .args(["load", &format!("http://{}/", self.address)])
            .args(["--rate", "100", "--for", "6s", "--timeout", "20s"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("requests are answered", || answered(self, node) > before[node] + 50);
        ready(self);
        self.lbds[node].terminate();
        follower.has_it_drain();
        follower.wait_for("stopping");
        self.address("delete", node);
        self.address("add", 1 - node);
        // What an announcement by ARP does.
        self.client.run("ip", &["neighbour", "flush", "dev", "eth0"]);
        gone(self);
        follower.released();
        assert_eq!(self.lbds[node].wait().code(), Some(0));
        let output = load.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{told}\n{}", self.lbds[node].stderr());
        assert!(answered(self, 1 - node) > before[1 - node] + 50, "{told}");
        self.lbds[node].start();
    }
}

#[test]
fn a_stop_moves_clients_to_another_node_and_loses_nothing() {
    needs!("ip");
    if !is_root() {
        skip!("network namespaces need root");
    }
    Pair::start(68, "").stop_under_load(0, |_| {}, |_| {});
}

#[test]
fn a_stop_right_after_a_server_has_vanished_loses_nothing() {
    needs!("ip");
    if !is_root() {
        skip!("network namespaces need root");
    }
    let mut pair = Pair::start(69, "timeouts: { connect: 5m, keep_alive: off }");
    for node in [0, 1] {
        let vanish = |pair: &Pair| {
            let connections = || pair.nodes[node].run("cat", &["/proc/net/tcp"]);
            // To port 80 of 10.69.0.22, as that file writes it.
            let at_work = || connections().contains(" 1600450A:0050 01 ");
            // What it has been sent is lost with it: it vanishes between two requests.
            wait_until("it vanishes", || {
                pair.network.cut("server2");
                let cut = !at_work();
                if !cut {
                    pair.network.mend("server2");
                }
                cut
            });
            wait_until("a request waits for it", || connections().contains(" 1600450A:0050 02 "));
        };
        pair.stop_under_load(node, vanish, |pair| pair.network.mend("server2"));
    }
}
