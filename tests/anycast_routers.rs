//! Three nodes and a router that speak BGP by the configurations of `deploy/bgp`: the router's next hops are those that serve.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use testkit::{
    Client, Daemon, Netns, Network, Process, Program, is_root, needs, skip, text_command, wait_until,
};

const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 254);
const FRR: &str = "/usr/lib/frr";

/// A routing daemon of the field.
#[derive(Clone, Copy)]
enum Routing {
    Bird,
    Frr,
}

impl Routing {
    /// Starts it with a configuration that ships, for the host with this address.
    fn start(self, host: &Netns, role: &str, own: Ipv4Addr, dir: &Path) -> Vec<Process> {
        let name = if matches!(self, Self::Bird) { "bird" } else { "frr" };
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/bgp/{name}-{role}.conf"));
        let mut text = fs::read_to_string(shipped).unwrap();
        if role == "node" {
            text = text.replace("10.1.0.1 ", &format!("{own} ")).replace("10.1.0.1;", &format!("{own};"));
            text = text.replace("10.1.0.1\n", &format!("{own}\n"));
        }
        match self {
            Self::Bird => {
                // The log of a test is its output.
                fs::write(dir.join("bird.conf"), text.replace("log syslog all;", "log stderr all;")).unwrap();
                let mut bird = host.command("bird");
                bird.args(["-f", "-c"]).arg(dir.join("bird.conf"));
                bird.arg("-s").arg(dir.join("bird.ctl")).arg("-P").arg(dir.join("bird.pid"));
                vec![Process::spawn("bird", bird, dir)]
            }
            Self::Frr => {
                // Its daemons insist on a user of their own.
                fs::set_permissions(dir, Permissions::from_mode(0o777)).unwrap();
                let (bgp, bfd) = text.split_once("!\nbfd\n").unwrap();
                fs::write(dir.join("zebra.conf"), "").unwrap();
                fs::write(dir.join("bgpd.conf"), bgp).unwrap();
                fs::write(dir.join("bfdd.conf"), format!("bfd\n{bfd}")).unwrap();
                let spawn = |daemon: &str| {
                    let mut command = host.command(&format!("{FRR}/{daemon}"));
                    command.args(["--vty_port", "0", "--vty_socket"]).arg(dir);
                    command.arg("-z").arg(dir.join("zserv.api"));
                    command.arg("-i").arg(dir.join(format!("{daemon}.pid")));
                    command.arg("-f").arg(dir.join(format!("{daemon}.conf"))).args(["--log", "stdout"]);
                    if daemon == "bfdd" {
                        command.arg("--bfdctl").arg(dir.join("bfdd.sock"));
                    }
                    Process::spawn(daemon, command, dir)
                };
                let zebra = spawn("zebra");
                wait_until("zebra listens", || dir.join("zserv.api").exists());
                vec![spawn("bfdd"), spawn("bgpd"), zebra]
            }
        }
    }
}

/// A node with lbd, vrrpd and a routing daemon.
struct Node {
    address: Ipv4Addr,
    lbd: Daemon,
    vrrpd: Daemon,
    dir: TempDir,
    _routing: (Vec<Process>, TempDir),
    _host: Netns,
}

impl Node {
    fn start(lan: &Network, number: u8, routing: Routing) -> Self {
        let address = Ipv4Addr::new(10, 1, 0, number);
        let host = lan.host(&format!("lb{number}"), address);
        host.run("ip", &["route", "add", "default", "via", &ROUTER.to_string()]);
        let dir = tempfile::Builder::new().prefix("tandem-bgp-").tempdir().unwrap();
        let mut lbd = Daemon::new(Program::Lbd, dir.path()).within(&host);
        let mut vrrpd = Daemon::new(Program::Vrrpd, dir.path()).within(&host);
        let lb = format!(
            "frontends:\n  web:\n    bind: {SERVICE}:80\n    routes: [{{ respond: {{ status: 200, body: lb{number} }} }}]\n    \
             backend: app\nbackends:\n  app: {{ check: off, servers: {{ s: 127.0.0.1:9 }} }}\nlbd: {{ workers: 1, verdict_wait: 0s }}\n"
        );
        fs::write(lbd.config(), lb).unwrap();
        let anycast = format!(
            "anycast: {{ web: {{ addresses: {SERVICE}, track: [lbd], withdraw: 500ms, hold_down: 500ms }} }}\n"
        );
        fs::write(vrrpd.config(), anycast).unwrap();
        let own = tempfile::Builder::new().prefix("tandem-bgp-").tempdir().unwrap();
        let routing = routing.start(&host, "node", address, own.path());
        lbd.start();
        vrrpd.start();
        Self { address, lbd, vrrpd, dir, _routing: (routing, own), _host: host }
    }

    fn ask(&self, command: &str) -> String {
        let socket: PathBuf = self.dir.path().join("vrrpd/vrrpd.sock");
        text_command(&socket, command)
    }
}

/// Whether the router sends to these nodes, and to no others.
fn spreads_over(router: &Netns, nodes: &[&Node]) -> bool {
    let route = router.run("ip", &["route", "show", &SERVICE.to_string()]);
    let hops = route.split_whitespace().zip(route.split_whitespace().skip(1));
    let mut hops: Vec<&str> = hops.filter(|(word, _)| *word == "via").map(|(_, hop)| hop).collect();
    hops.sort_unstable();
    let nodes: Vec<String> = nodes.iter().map(|node| node.address.to_string()).collect();
    hops == nodes
}

/// What answers forty requests, each on a connection of its own.
fn answered_by(client: &Netns) -> Vec<String> {
    client.inside(|| {
        let mut nodes: Vec<String> = (0..40)
            .map(|_| String::from_utf8(Client::connect((SERVICE, 80).into()).get("/").body).unwrap())
            .collect();
        nodes.sort();
        nodes.dedup();
        nodes
    })
}

fn next_hops_are_those_that_serve(routing: Routing) {
    let lan = Network::new(24);
    let outside = Network::new(24);
    let router = lan.host("router", ROUTER);
    outside.plug(&router, "router", "eth1", [10, 2, 0, 254].into());
    let client = outside.host("client", [10, 2, 0, 1].into());
    client.run("ip", &["route", "add", "default", "via", "10.2.0.254"]);
    router.run("sysctl", &["-qw", "net.ipv4.ip_forward=1", "net.ipv4.fib_multipath_hash_policy=1"]);
    let dir = tempfile::tempdir().unwrap();
    let _daemon = routing.start(&router, "router", ROUTER, dir.path());
    let [mut one, mut two, mut three] = [1, 2, 3].map(|number| Node::start(&lan, number, routing));
    let come_to = |nodes: &[&Node], names: &[&str]| {
        wait_until(&format!("the router knows of {names:?}"), || spreads_over(&router, nodes));
        assert_eq!(answered_by(&client), names);
    };
    come_to(&[&one, &two, &three], &["lb1", "lb2", "lb3"]);

    // Handed over, and back.
    assert!(one.ask("handover").starts_with("withdrew web in "));
    come_to(&[&two, &three], &["lb2", "lb3"]);
    wait_until("it is withdrawn", || one.ask("show anycast").starts_with("web: WITHDRAWN"));
    one.ask("announce");
    come_to(&[&one, &two, &three], &["lb1", "lb2", "lb3"]);

    // Killed, and back.
    two.lbd.kill();
    come_to(&[&one, &three], &["lb1", "lb3"]);
    two.lbd.start();
    come_to(&[&one, &two, &three], &["lb1", "lb2", "lb3"]);

    // Stopped: first lbd, then vrrpd.
    three.lbd.stop();
    come_to(&[&one, &two], &["lb1", "lb2"]);
    one.vrrpd.stop();
    come_to(&[&two], &["lb2"]);
    one.vrrpd.start();
    come_to(&[&one, &two], &["lb1", "lb2"]);

    // Cut off: nobody says so, and the detection of BFD does.
    lan.cut("lb2");
    come_to(&[&one], &["lb1"]);
    lan.mend("lb2");
    come_to(&[&one, &two], &["lb1", "lb2"]);
}

#[test]
fn next_hops_are_those_that_serve_with_bird() {
    needs!("ip", "bird");
    if !is_root() {
        skip!("namespaces need root");
    }
    next_hops_are_those_that_serve(Routing::Bird);
}

#[test]
fn next_hops_are_those_that_serve_with_frr() {
    needs!("ip");
    if !is_root() || !Path::new(FRR).join("bgpd").is_file() {
        skip!("namespaces need root, and frr has to be installed");
    }
    next_hops_are_those_that_serve(Routing::Frr);
}
