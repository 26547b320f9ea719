//! Three nodes and a router that speak BGP by the configurations of `deploy/bgp`: the router's next hops are those that serve.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use testkit::{
    Client, Daemon, Netns, Network, Process, Program, is_root, needs, skip, text_command, wait_until,
};

const SERVICES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100)),
];
const ROUTER: u8 = 0xfe;
const FRR: &str = "/usr/lib/frr";

/// A routing daemon of the field.
#[derive(Clone, Copy)]
enum Routing {
    Bird,
    Frr,
}

impl Routing {
    /// Starts it with a configuration that ships, for the host with this number.
    fn start(self, host: &Netns, role: &str, number: u8, dir: &Path) -> Vec<Process> {
        let name = if matches!(self, Self::Bird) { "bird" } else { "frr" };
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/bgp/{name}-{role}.conf"));
        let mut text = fs::read_to_string(shipped).unwrap();
        if role == "node" {
            for (own, end) in
                [("10.1.0.1", ' '), ("10.1.0.1", ';'), ("10.1.0.1", '\n'), ("2001:db8:1::1", ' ')]
            {
                let of_host = format!("{}{number}{end}", own.strip_suffix('1').unwrap());
                text = text.replace(&format!("{own}{end}"), &of_host);
            }
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
                let (bgp, bfd) = text.split_once("\nbfd\n").unwrap();
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
    /// By which the router may know it.
    addresses: Vec<String>,
    lbd: Daemon,
    vrrpd: Daemon,
    dir: TempDir,
    _routing: (Vec<Process>, TempDir),
    _host: Netns,
}

impl Node {
    fn start(lan: &Network, number: u8, routing: Routing) -> Self {
        let host = host(lan, &format!("lb{number}"), 1, number);
        let dir = tempfile::Builder::new().prefix("tandem-bgp-").tempdir().unwrap();
        let mut lbd = Daemon::new(Program::Lbd, dir.path()).within(&host);
        let mut vrrpd = Daemon::new(Program::Vrrpd, dir.path()).within(&host);
        let [four, six] = SERVICES;
        let lb = format!(
            "frontends:\n  web:\n    bind: [\"{four}:80\", \"[{six}]:80\"]\n    routes: [{{ respond: {{ status: 200, body: lb{number} }} }}]\n    \
             backend: app\nbackends:\n  app: {{ check: off, servers: {{ s: 127.0.0.1:9 }} }}\nlbd: {{ workers: 1, verdict_wait: 0s }}\n"
        );
        fs::write(lbd.config(), lb).unwrap();
        let anycast = format!(
            "anycast: {{ web: {{ addresses: [{four}, \"{six}\"], track: [lbd], withdraw: 500ms, hold_down: 500ms }} }}\n"
        );
        fs::write(vrrpd.config(), anycast).unwrap();
        let own = tempfile::Builder::new().prefix("tandem-bgp-").tempdir().unwrap();
        let routing = routing.start(&host, "node", number, own.path());
        lbd.start();
        vrrpd.start();
        Self { addresses: addresses(&host), lbd, vrrpd, dir, _routing: (routing, own), _host: host }
    }

    fn ask(&self, command: &str) -> String {
        let socket: PathBuf = self.dir.path().join("vrrpd/vrrpd.sock");
        text_command(&socket, command)
    }
}

/// A host with an address of each family, and with the router of its network as its way out.
fn host(network: &Network, name: &str, subnet: u8, number: u8) -> Netns {
    let host = network.host(name, [10, subnet, 0, number].into());
    give_ipv6(&host, "eth0", subnet, number);
    host.run("ip", &["route", "add", "default", "via", &format!("10.{subnet}.0.{ROUTER}")]);
    host.run("ip", &["-6", "route", "add", "default", "via", &format!("2001:db8:{subnet}::{ROUTER:x}")]);
    host
}

fn give_ipv6(host: &Netns, interface: &str, subnet: u8, number: u8) {
    let address = format!("2001:db8:{subnet}::{number:x}/64");
    host.run("ip", &["-6", "address", "add", &address, "dev", interface, "nodad"]);
}

/// The addresses of a host's `eth0`, the link-local one among them.
fn addresses(host: &Netns) -> Vec<String> {
    let shown = host.run("ip", &["-o", "address", "show", "dev", "eth0"]);
    let words = shown.split_whitespace();
    words.filter_map(|word| word.split_once('/')).map(|(address, _)| address.to_owned()).collect()
}

/// Whether the router sends to these nodes, and to no others, what is for a service, by this routing table.
fn spreads_over(router: &Netns, nodes: &[&Node], service: IpAddr, table: &str) -> bool {
    let family = if service.is_ipv4() { "-4" } else { "-6" };
    // A table that holds nothing is not there, and an error.
    let route =
        router.command("ip").args([family, "route", "show", "table", table, &service.to_string()]).output();
    let route = String::from_utf8(route.unwrap().stdout).unwrap();
    let hops = route.split_whitespace().zip(route.split_whitespace().skip(1));
    let hops: Vec<&str> = hops.filter(|(word, _)| *word == "via").map(|(_, hop)| hop).collect();
    let leads_to = |node: &&Node| hops.iter().any(|hop| node.addresses.iter().any(|address| address == hop));
    hops.len() == nodes.len() && nodes.iter().all(leads_to)
}

/// What answers forty requests, each on a connection of its own.
fn answered_by(client: &Netns, service: IpAddr) -> Vec<String> {
    client.inside(|| {
        let mut nodes: Vec<String> = (0..40)
            .map(|_| String::from_utf8(Client::connect((service, 80).into()).get("/").body).unwrap())
            .collect();
        nodes.sort();
        nodes.dedup();
        nodes
    })
}

fn next_hops_are_those_that_serve(routing: Routing) {
    let lan = Network::new(24);
    let outside = Network::new(24);
    let router = lan.host("router", [10, 1, 0, ROUTER].into());
    give_ipv6(&router, "eth0", 1, ROUTER);
    outside.plug(&router, "router", "eth1", [10, 2, 0, ROUTER].into());
    give_ipv6(&router, "eth1", 2, ROUTER);
    let client = host(&outside, "client", 2, 1);
    let forward = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
    let by_ports = ["net.ipv4.fib_multipath_hash_policy=1", "net.ipv6.fib_multipath_hash_policy=1"];
    router.run("sysctl", &[&["-qw"], &forward[..], &by_ports[..]].concat());
    let dir = tempfile::tempdir().unwrap();
    let _daemon = routing.start(&router, "router", ROUTER, dir.path());
    let [mut one, mut two, mut three] = [1, 2, 3].map(|number| Node::start(&lan, number, routing));
    let come_to = |nodes: &[&Node], names: &[&str]| {
        for service in SERVICES {
            let what = format!("the router knows that {service} is at {names:?}");
            wait_until(&what, || spreads_over(&router, nodes, service, "main"));
            assert_eq!(answered_by(&client, service), names, "{service}");
        }
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

    // The kernel spreads by buckets over the same next hops, and goes back to the plain route afterwards.
    let dir = tempfile::tempdir().unwrap();
    let mut resilient = router.command(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/bgp/resilient-ecmp"));
    resilient.args(SERVICES.map(|service| service.to_string()));
    let mut resilient = Process::spawn("resilient-ecmp", resilient, dir.path());
    let spreads = |nodes: &[&Node], names: &[&str]| {
        for service in SERVICES {
            let what = format!("the buckets of {service} are those of {names:?}");
            wait_until(&what, || spreads_over(&router, nodes, service, "179"));
            assert_eq!(answered_by(&client, service), names, "{service}");
        }
    };
    spreads(&[&one, &two], &["lb1", "lb2"]);
    assert!(one.ask("handover").starts_with("withdrew web in "));
    spreads(&[&two], &["lb2"]);
    wait_until("it is withdrawn", || one.ask("show anycast").starts_with("web: WITHDRAWN"));
    one.ask("announce");
    spreads(&[&one, &two], &["lb1", "lb2"]);
    resilient.signal(Signal::SIGTERM);
    resilient.wait();
    for family in ["-4", "-6"] {
        assert_eq!(router.run("ip", &[family, "rule", "show", "pref", "179"]), "");
    }
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
