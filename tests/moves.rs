//! Planned moves break nothing: WebSockets, downloads and sessions of databases through lbd go on over a handover, and back.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use testkit::{
    Daemon, EchoServer, Keepalived, Netns, Network, Nginx, Postgres, Program, Systemd, VrrpNode, is_root,
    lbd_within, needs, psql_client, skip, text_command, wait_until,
};
use tungstenite::{Message, WebSocket};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const WEBSOCKETS: usize = 1000;
const DOWNLOADS: usize = 50;
const SESSIONS: usize = 100;
/// At 16 KiB a second it lasts longer than both handovers.
const LENGTH: usize = 128 << 10;

/// An lbd, and the vrrpd that moves the address to it.
fn node(network: &Network, number: u8) -> (VrrpNode, Daemon) {
    let host = network.host(&format!("lb{number}"), Ipv4Addr::new(10, 9, 0, 10 + number));
    let priority = 100 + number;
    let lines = format!(
        "virtual_router_id: 51\npriority: {priority}\nvirtual_addresses: [{VIP}/24]\nadvert_interval: 200ms\npreempt: off\n\
         keep_connections: 1h"
    );
    let mut vrrp = VrrpNode::new(host, &lines);
    let lbd = lbd_within(&vrrp.host, vrrp.dir(), |config| {
        config.lbd = "handover_timeout: 200ms\nstop_timeout: 10m".to_owned();
        config.server("s1", format!("{SERVER}:80"));
        "ws:\n  bind: [\"0.0.0.0:81\"]\n  backend: echo\n\
         database:\n  mode: tcp\n  bind: [\"0.0.0.0:82\"]\n  backend: database"
            .clone_into(&mut config.more_frontends);
        config.more_backends = format!(
            "echo:\n  check: off\n  servers: {{ e1: \"{SERVER}:81\" }}\n\
             database:\n  mode: tcp\n  check: off\n  servers: {{ d1: \"{SERVER}:5432\" }}"
        );
    });
    vrrp.vrrpd.start();
    (vrrp, lbd)
}

/// Two nodes in front of a server, the first of which has the address.
struct Site<S> {
    nodes: [VrrpNode; 2],
    lbds: [Daemon; 2],
    client: Netns,
    /// What runs on the server.
    service: S,
    _server: Netns,
    network: Network,
}

impl<S> Site<S> {
    fn new(serve: impl FnOnce(&Netns) -> S) -> Self {
        let network = Network::new(24);
        let client = network.host("client", Ipv4Addr::new(10, 9, 0, 1));
        let server = network.host("server", SERVER);
        let service = serve(&server);
        let (first, first_lbd) = node(&network, 1);
        first.wait_for_state("master");
        let (second, second_lbd) = node(&network, 2);
        second.wait_for_state("backup");
        let (nodes, lbds) = ([first, second], [first_lbd, second_lbd]);
        Self { nodes, lbds, client, service, _server: server, network }
    }

    fn wait_for_nothing_left(&self) {
        wait_until("nothing is left of it", || self.nodes.iter().all(|node| is_clean(&node.host)));
    }
}

/// It would be woken from outside if it were dropped.
fn echo_server(server: &Netns) {
    server.inside(|| std::mem::forget(EchoServer::start((SERVER, 81).into())));
}

macro_rules! site {
    ($serve:expr) => {{
        needs!("ip", "nft");
        if !is_root() {
            skip!("network namespaces need root");
        }
        Site::new($serve)
    }};
}

fn websocket() -> WebSocket<TcpStream> {
    let stream = TcpStream::connect((VIP, 81)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    tungstenite::client(format!("ws://{VIP}:81/"), stream).unwrap().0
}

fn echo(sockets: &mut [WebSocket<TcpStream>], text: &str) {
    for socket in &mut *sockets {
        socket.send(Message::text(text)).unwrap();
    }
    for socket in sockets {
        assert_eq!(socket.read().unwrap(), Message::text(text));
    }
}

fn download() -> TcpStream {
    let mut stream = TcpStream::connect((VIP, 80)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("GET /slow/large HTTP/1.1\r\nHost: {VIP}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Reads a response to its end, which has to be whole.
fn finish(mut download: TcpStream, body: &[u8]) {
    let mut all = Vec::new();
    download.read_to_end(&mut all).unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&all[..all.len().min(200)]));
    assert!(all.ends_with(body), "{} bytes of {}", all.len(), body.len());
}

fn hand_over(from: &VrrpNode, to: &VrrpNode) {
    let told = text_command(&from.vrrpd.socket(), "handover");
    assert!(told.starts_with("handed over web in "), "{told}");
    to.wait_for_state("master");
}

fn is_clean(host: &Netns) -> bool {
    !host.run("ip", &["address", "show", "dev", "lo"]).contains("10.9.0.100")
        && host.run("nft", &["list", "tables"]).is_empty()
}

/// A client of PostgreSQL, and what it says.
struct Session {
    psql: Child,
    answers: BufReader<ChildStdout>,
}

impl Session {
    fn open(client: &Netns) -> Self {
        let mut command = client.inside(|| psql_client((VIP, 82).into()));
        let mut psql =
            client.inside(|| command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let answers = BufReader::new(psql.stdout.take().unwrap());
        Self { psql, answers }
    }

    fn ask(&mut self, query: &str) {
        let input = self.psql.stdin.as_mut().unwrap();
        input.write_all(format!("{query};\n").as_bytes()).unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn close(mut self) {
        drop(self.psql.stdin.take());
        assert!(self.psql.wait().unwrap().success());
    }
}

/// What a session has made for itself is there as long as the session is.
#[test]
fn sessions_of_postgresql_go_on_over_a_handover_and_back() {
    needs!("psql");
    if !Postgres::is_installed() {
        skip!("PostgreSQL is not installed");
    }
    let site = site!(|server| server.inside(|| Postgres::start((SERVER, 5432).into())));
    let [first, second] = &site.nodes;

    let mut sessions: Vec<_> = (0..SESSIONS).map(|_| Session::open(&site.client)).collect();
    for (number, session) in sessions.iter_mut().enumerate() {
        session.ask(&format!("create temporary table mine as select {number} as number"));
        session.ask("select number from mine");
    }
    let check = |sessions: &mut [Session]| {
        for (number, session) in sessions.iter_mut().enumerate() {
            assert_eq!(session.answer(), number.to_string());
        }
    };
    check(&mut sessions);
    for (from, to) in [(first, second), (second, first)] {
        // One that works on something while the address moves.
        sessions.iter_mut().for_each(|session| session.ask("select number from mine, pg_sleep(1)"));
        hand_over(from, to);
        check(&mut sessions);
        sessions.iter_mut().for_each(|session| session.ask("select number from mine"));
        check(&mut sessions);
    }
    sessions.into_iter().for_each(Session::close);
    site.wait_for_nothing_left();
}

/// One node after the other gets another lbd: each goes on with what it has until nothing is left.
#[test]
fn both_nodes_are_updated_and_no_websocket_notices() {
    let mut site = site!(echo_server);
    let ([first, second], client) = (&site.nodes, &site.client);

    let mut sockets: Vec<_> = client.inside(|| (0..50).map(|_| websocket()).collect());
    for (lbd, to) in site.lbds.iter_mut().zip([second, first]) {
        echo(&mut sockets, "before");
        lbd.terminate();
        to.wait_for_state("master");
        echo(&mut sockets, "while it stops");
        let mut new: Vec<_> = client.inside(|| (0..50).map(|_| websocket()).collect());
        echo(&mut new, "new");
        assert!(lbd.is_running(), "it waits for those that it has");
        for mut socket in std::mem::replace(&mut sockets, new) {
            socket.close(None).unwrap();
            while socket.read().is_ok() {}
        }
        assert_eq!(lbd.wait().code(), Some(0), "{}", lbd.stderr());
        echo(&mut sockets, "after");
        lbd.start();
    }
    echo(&mut sockets, "in the end");
    drop(sockets);
    site.wait_for_nothing_left();
}

/// Two lbd of a node have connections when its address moves, and both keep theirs.
#[test]
fn what_two_lbd_of_a_node_have_goes_on_over_a_handover_and_back() {
    let mut site = site!(echo_server);
    let ([first, second], client) = (&site.nodes, &site.client);
    let systemd = Systemd::listen(&second.dir().join("notify"));
    let lbd = &mut site.lbds[1];
    lbd.stop();
    lbd.start_by(&systemd);
    second.wait_for_state("backup");
    hand_over(first, second);

    let mut olds: Vec<_> = client.inside(|| (0..50).map(|_| websocket()).collect());
    echo(&mut olds, "before");
    let run_dir = second.dir().display().to_string();
    let told = testkit::run(Program::Tandemctl, ["--run-dir", &run_dir, "upgrade"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let mut old = lbd.succeeded_by(systemd.main_process().unwrap());
    let mut news: Vec<_> = client.inside(|| (0..50).map(|_| websocket()).collect());
    for (from, to) in [(second, first), (first, second)] {
        hand_over(from, to);
        echo(&mut olds, "the old one's");
        echo(&mut news, "the new one's");
    }
    assert!(old.exited().is_none());
    for mut socket in olds {
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    }
    assert_eq!(old.wait().code(), Some(0), "{}", old.stderr());
    echo(&mut news, "in the end");
    drop(news);
    site.wait_for_nothing_left();
}

#[test]
fn websockets_and_downloads_go_on_over_a_handover_and_back() {
    let site = site!(|server| {
        echo_server(server);
        Nginx::start_in(server, 1, (SERVER, 80).into())
    });
    let ([first, second], client) = (&site.nodes, &site.client);
    let body = site.service.file("large", LENGTH);
    // One that speaks another VRRP hears it all, and goes on.
    let other = site.network.host("other", Ipv4Addr::new(10, 9, 0, 13));
    let keepalived = format!(
        "interface eth0\nstate BACKUP\nvirtual_router_id 51\nversion 3\npriority 1\nadvert_int 0.2\nvirtual_ipaddress {{\n{VIP}/24\n}}"
    );
    let keepalived = Keepalived::start(other, "", &keepalived);

    let mut sockets: Vec<_> = client.inside(|| (0..WEBSOCKETS).map(|_| websocket()).collect());
    let downloads: Vec<_> = client.inside(|| (0..DOWNLOADS).map(|_| download()).collect());
    echo(&mut sockets, "before");
    hand_over(first, second);
    echo(&mut sockets, "after");
    let mut new: Vec<_> = client.inside(|| (0..10).map(|_| websocket()).collect());
    echo(&mut new, "new");
    wait_until("they are counted", || first.status()["keeps"].as_u64() >= Some(1000));
    let passes_to = second.status()["passes_to"].to_string();
    assert_eq!(passes_to, "[\"10.9.0.11\"]");
    hand_over(second, first);
    echo(&mut sockets, "back");
    echo(&mut new, "back");
    for download in downloads {
        finish(download, &body);
    }
    drop((sockets, new));
    site.wait_for_nothing_left();
    let log = keepalived.log();
    assert!(log.contains("Invalid packet type. 13") && !log.contains("Entering MASTER STATE"), "{log}");
}
