//! What has not ended when an address leaves as planned is reset: no client waits for a node that it cannot reach any more.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use testkit::{
    Config, Daemon, EchoServer, Keepalived, LogLine, Network, RawServer, VrrpNode, has_address, is_root,
    lbd_within, needs, read_csv, skip, text_command, wait_until,
};
use tungstenite::{Error, Message, WebSocket};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const ANYCAST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// A client, servers of which one never answers, and load balancers.
struct Site {
    network: Network,
    client: testkit::Netns,
    /// Dropped, it would be woken from outside.
    slow: ManuallyDrop<RawServer>,
    _server: testkit::Netns,
}

impl Site {
    fn new() -> Self {
        let network = Network::new(24);
        let client = network.host("client", Ipv4Addr::new(10, 9, 0, 1));
        let server = network.host("server", SERVER);
        let slow = server.inside(|| {
            std::mem::forget(EchoServer::start((SERVER, 81).into()));
            ManuallyDrop::new(RawServer::start((SERVER, 80).into(), |peer| {
                peer.read_request()?;
                peer.stall()
            }))
        });
        Self { network, client, slow, _server: server }
    }

    /// A node with an instance; `more` are further lines of it.
    fn node(&self, number: u8, priority: u8, more: &str) -> Node {
        let host = self.network.host(&format!("lb{number}"), Ipv4Addr::new(10, 9, 0, 10 + number));
        let lines = format!(
            "virtual_router_id: 51\npriority: {priority}\nvirtual_addresses: [{VIP}/24]\nadvert_interval: 200ms\n{more}"
        );
        Node::start(VrrpNode::new(host, &lines))
    }

    /// A node with a service.
    fn anycast_node(&self) -> Node {
        let host = self.network.host("lb1", Ipv4Addr::new(10, 9, 0, 11));
        let vrrp = VrrpNode::new(host, "");
        let anycast = format!("anycast: {{ web: {{ addresses: [{ANYCAST}], withdraw: 100ms }} }}\n");
        fs::write(vrrp.vrrpd.config(), anycast).unwrap();
        self.client.run("ip", &["route", "add", &ANYCAST.to_string(), "via", "10.9.0.11"]);
        let node = Node::start(vrrp);
        wait_until("the service is announced", || node.ask("show anycast").starts_with("web: ANNOUNCED"));
        node
    }

    /// A client that waits for an answer, and one with a WebSocket, of an address.
    fn clients(&self, address: Ipv4Addr) -> Clients {
        let before = self.slow.requests().len();
        let waiting = self.client.inside(|| {
            let mut stream = connect((address, 80).into());
            stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            stream
        });
        wait_until("the request is at its server", || self.slow.requests().len() > before);
        let mut clients = Clients { waiting, websocket: self.client.inside(|| websocket(address)) };
        clients.echo();
        clients
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn websocket(address: Ipv4Addr) -> WebSocket<TcpStream> {
    tungstenite::client(format!("ws://{address}:81/"), connect((address, 81).into())).unwrap().0
}

struct Clients {
    waiting: TcpStream,
    websocket: WebSocket<TcpStream>,
}

impl Clients {
    fn echo(&mut self) {
        self.websocket.send(Message::text("hello")).unwrap();
        assert_eq!(self.websocket.read().unwrap(), Message::text("hello"));
    }

    /// They say nothing, and hear of it all the same.
    fn are_reset(mut self) {
        let waiting = self.waiting.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(waiting, Err(ErrorKind::ConnectionReset));
        let websocket = self.websocket.read();
        let is_reset =
            matches!(&websocket, Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset);
        assert!(is_reset, "{websocket:?}");
    }
}

struct Node {
    vrrp: VrrpNode,
    lbd: Daemon,
}

impl Node {
    fn start(vrrp: VrrpNode) -> Self {
        let lbd = lbd_within(&vrrp.host, vrrp.dir(), |config: &mut Config| {
            config.lbd = "handover_timeout: 200ms\nstop_timeout: 10m".to_owned();
            config.server("slow", format!("{{ address: \"{SERVER}:80\", maxconn: 1 }}"));
            config.more_frontends = "ws:\n  bind: [\"0.0.0.0:81\"]\n  backend: echo".to_owned();
            config.more_backends = format!(
                "echo:\n  check: off\n  servers: {{ e1: {{ address: \"{SERVER}:81\", maxconn: 1 }} }}"
            );
        });
        let mut node = Self { vrrp, lbd };
        node.vrrp.vrrpd.start();
        node
    }

    fn ask(&self, command: &str) -> String {
        text_command(&self.vrrp.vrrpd.socket(), command).trim().to_owned()
    }

    /// Whether lbd has given the places at servers back.
    fn has_forgotten_them(&self) -> bool {
        let stats = read_csv(&text_command(&self.lbd.socket(), "show stat"));
        let servers = ["slow", "e1"].map(|name| stats.iter().find(|row| row.text("svname") == name).unwrap());
        servers.iter().all(|row| row.number("scur") == 0)
    }

    /// How requests have ended, by lbd's log.
    fn ends(&self) -> Vec<String> {
        let log = self.lbd.stdout();
        let mut ends: Vec<String> =
            log.lines().filter_map(LogLine::parse).map(|line| line.termination).collect();
        ends.sort();
        ends
    }

    /// How many connections vrrpd says that it has reset.
    fn resets(&self) -> u64 {
        self.vrrp.counter("connections_reset")
    }
}

macro_rules! site {
    () => {{
        needs!("ip");
        if !is_root() {
            skip!("network namespaces need root");
        }
        Site::new()
    }};
}

#[test]
fn a_handover_resets_what_has_not_ended() {
    let site = site!();
    let first = site.node(1, 200, "preempt: off");
    first.vrrp.wait_for_state("master");
    let second = site.node(2, 100, "preempt: off");
    second.vrrp.wait_for_state("backup");
    let clients = site.clients(VIP);
    let told = first.ask("handover");
    assert!(told.starts_with("handed over web in "), "{told}");
    assert!(told.ends_with("ms; reset 2 connections that had not ended"), "{told}");
    clients.are_reset();
    assert_eq!(first.resets(), 2);
    wait_until("their places at servers are free", || first.has_forgotten_them());
    // Its log has them as clients that have hung up: one while its server worked on an answer, one in the middle of data.
    wait_until("the log is written", || first.ends().len() == 2);
    assert_eq!(first.ends(), ["CD", "CH"], "{}", first.lbd.stdout());
    // At the next node as well, by its stop.
    let clients = site.clients(VIP);
    let mut second = second;
    second.vrrp.vrrpd.stop();
    clients.are_reset();
    wait_until("their places at servers are free", || second.has_forgotten_them());
}

#[test]
fn a_handover_that_nobody_takes_ends_nothing() {
    let site = site!();
    let alone = site.node(1, 200, "");
    alone.vrrp.wait_for_state("master");
    let mut clients = site.clients(VIP);
    let told = alone.ask("handover");
    assert!(told.starts_with("nobody took over web within "), "{told}");
    clients.echo();
    clients.waiting.set_nonblocking(true).unwrap();
    assert_eq!(clients.waiting.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(alone.resets(), 0);
}

#[test]
fn a_better_node_that_takes_over_costs_a_reset() {
    let site = site!();
    let first = site.node(1, 100, "");
    first.vrrp.wait_for_state("master");
    let clients = site.clients(VIP);
    let _better = site.node(2, 200, "");
    clients.are_reset();
    wait_until("they are counted", || first.resets() == 2);
}

/// The instance stays, and so do its other connections.
#[test]
fn an_address_that_a_reload_takes_out_costs_a_reset() {
    let site = site!();
    let lines = |addresses: &str| {
        format!(
            "virtual_router_id: 51\npriority: 200\nvirtual_addresses: [{addresses}]\nadvert_interval: 200ms"
        )
    };
    let more = Ipv4Addr::new(10, 9, 0, 101);
    let alone = site.node(1, 200, "");
    alone.vrrp.wait_for_state("master");
    let mut staying = site.client.inside(|| connect((VIP, 80).into()));
    // Several times: whether the address goes before the election has taken the reload in is the scheduler's to say.
    for round in 1..=5 {
        alone.vrrp.configure(&lines(&format!("{VIP}/24, {more}/24")));
        alone.ask("reload");
        wait_until("it has the other one, too", || has_address(alone.vrrp.host.name(), more.into()));
        let leaving = site.clients(more);
        alone.vrrp.configure(&lines(&format!("{VIP}/24")));
        alone.ask("reload");
        leaving.are_reset();
        wait_until("they are counted", || alone.resets() == 2 * round);
        wait_until("their places at servers are free", || alone.has_forgotten_them());
    }
    staying.set_nonblocking(true).unwrap();
    assert_eq!(staying.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(alone.vrrp.state(), "master");
}

/// Its address is gone with the announcement of its end, and it would wait for its clients for ten minutes.
#[test]
fn an_lbd_that_is_stopped_has_what_it_leaves_reset() {
    let site = site!();
    let mut first = site.node(1, 200, "preempt: off");
    first.vrrp.wait_for_state("master");
    let second = site.node(2, 100, "preempt: off");
    second.vrrp.wait_for_state("backup");
    let clients = site.clients(VIP);
    first.lbd.terminate();
    clients.are_reset();
    second.vrrp.wait_for_state("master");
    assert_eq!(first.lbd.wait().code(), Some(0), "{}", first.lbd.stderr());
    wait_until("they are counted", || first.resets() == 2);
}

/// One that does not keep to it: keepalived passes nothing on.
#[test]
fn what_is_kept_and_not_passed_on_is_reset() {
    let site = site!();
    needs!("nft", "keepalived");
    let first = site.node(1, 200, "preempt: off\nkeep_connections: 1h");
    first.vrrp.wait_for_state("master");
    let other = site.network.host("other", Ipv4Addr::new(10, 9, 0, 13));
    let lines = format!(
        "interface eth0\nstate BACKUP\nvirtual_router_id 51\nversion 3\npriority 100\nadvert_int 0.2\nvirtual_ipaddress {{\n{VIP}/24\n}}"
    );
    let other = Keepalived::start(other, "", &lines);
    wait_until("it is a backup", || other.log().contains("Entering BACKUP STATE"));
    let clients = site.clients(VIP);
    let told = first.ask("handover");
    assert!(told.starts_with("handed over web in "), "{told}");
    assert!(told.ends_with(" ms"), "nothing is reset yet: {told}");
    clients.are_reset();
    wait_until("they are counted", || first.resets() == 2);
    wait_until("their places at servers are free", || first.has_forgotten_them());
}

/// Nothing comes before the end of an address that a hung lbd had: not even the list of its connections.
#[test]
fn a_fault_resets_nothing() {
    let site = site!();
    let first = site.node(1, 200, "preempt: off");
    first.vrrp.wait_for_state("master");
    let second = site.node(2, 100, "preempt: off");
    second.vrrp.wait_for_state("backup");
    let _clients = site.clients(VIP);
    first.lbd.freeze();
    second.vrrp.wait_for_state("master");
    wait_until("the address is gone", || first.vrrp.status()["holding"] == false);
    assert_eq!(first.resets(), 0);
    first.lbd.thaw();
}

#[test]
fn a_service_that_is_withdrawn_resets_what_has_not_ended() {
    let site = site!();
    let mut node = site.anycast_node();
    let clients = site.clients(ANYCAST);
    let told = node.ask("handover");
    assert!(
        told.starts_with("withdrew web in ") && told.ends_with("reset 2 connections that had not ended"),
        "{told}"
    );
    clients.are_reset();
    wait_until("their places at servers are free", || node.has_forgotten_them());
    let announce = |node: &Node| {
        node.ask("announce");
        wait_until("it is back", || node.ask("show anycast").starts_with("web: ANNOUNCED"));
    };
    announce(&node);
    let clients = site.clients(ANYCAST);
    node.lbd.terminate();
    clients.are_reset();
    assert_eq!(node.lbd.wait().code(), Some(0), "{}", node.lbd.stderr());
    node.lbd.start();
    wait_until("it is back", || node.ask("show anycast").starts_with("web: ANNOUNCED"));
    let clients = site.clients(ANYCAST);
    node.vrrp.vrrpd.stop();
    clients.are_reset();
}
