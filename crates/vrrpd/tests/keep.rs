//! Connections outlive a handover: the node that had the addresses keeps them, and the one that has them passes packets on.

#![allow(clippy::unwrap_used, clippy::unreachable, reason = "in a test a panic is the failure message")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use common::{Node, VIP};
use nix::libc::{EPROTONOSUPPORT, NETLINK_NETFILTER, SYS_prctl, SYS_socket};
use tempfile::TempDir;
use testkit::{Netns, Network, Process, needs, text_command, wait_until};

const VIP6: &str = "fd09::100";
const PORT: u16 = 7;
/// Longer than any answer takes, and than a repeated packet.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node with an instance for each family, and a server that says which node it is on.
fn node(network: &Network, number: u8, more: &str) -> Node {
    let priority = [20, 140, 250][usize::from(number) - 1];
    let instance = |name: &str, id: u8, address: &str| {
        format!(
            "  {name}:\n    interface: eth0\n    virtual_router_id: {id}\n    priority: {priority}\n    virtual_addresses: \
             [\"{address}\"]\n    advert_interval: 200ms\n    preempt: off\n    track: []\n{more}"
        )
    };
    let config = format!(
        "instances:\n{}{}",
        instance("web", 51, &format!("{VIP}/24")),
        instance("web6", 52, &format!("{VIP6}/64"))
    );
    let mut node = Node::new(network, number, &config);
    let own = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, number.into());
    node.ip(&format!("address add {own}/64 dev eth0 nodad"));
    std::fs::write(node.file("vrrp.key"), "0123456789abcdef".repeat(4)).unwrap();
    serve(&node.host, number);
    node.start();
    node
}

const KEEPS: &str = "    keep_connections: 1h\n";

/// Nodes that run, the first of which has the addresses.
fn nodes(network: &Network, count: usize, more: &str) -> Vec<Node> {
    let mut nodes = vec![node(network, 1, more)];
    wait_to_serve(&nodes[0]);
    nodes.extend((2..).map(|number| node(network, number, more)).take(count - 1));
    for other in &nodes[1..] {
        wait_until("both instances are backups", || other.count("-> backup: ") >= 2);
    }
    nodes
}

fn wait_to_serve(node: &Node) {
    for vip in [VIP, VIP6] {
        wait_until(&format!("{vip} is served here"), || is_on(node, vip, "eth0"));
    }
}

fn is_on(node: &Node, ip: &str, interface: &str) -> bool {
    node.ip(&format!("-o address show dev {interface}")).contains(&format!(" {ip}/"))
}

/// Answers each byte with the number of the node and the byte. On the addresses themselves, as lbd with a `bind` of them.
fn serve(host: &Netns, number: u8) {
    for address in [VIP.parse::<IpAddr>().unwrap(), VIP6.parse().unwrap()] {
        let listener = host.inside(|| listen(address));
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                thread::spawn(move || {
                    let mut byte = [0];
                    while client.read_exact(&mut byte).is_ok() && client.write_all(&[number, byte[0]]).is_ok()
                    {
                    }
                });
            }
        });
    }
}

/// Listens on an address that is not here yet.
fn listen(address: IpAddr) -> TcpListener {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(SocketAddr::new(address, 0)),
        socket2::Type::STREAM,
        None,
    );
    let socket = socket.unwrap();
    match address {
        IpAddr::V4(_) => socket.set_freebind_v4(true).unwrap(),
        IpAddr::V6(_) => socket.set_freebind_v6(true).unwrap(),
    }
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::new(address, PORT).into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

struct Client(Netns);

impl Client {
    fn new(network: &Network) -> Self {
        let host = network.host("client", [10, 9, 0, 9].into());
        host.run("ip", &["address", "add", "fd09::9/64", "dev", "eth0", "nodad"]);
        Self(host)
    }

    /// So many sessions to each address.
    fn connect(&self, count: usize) -> Sessions {
        let addresses = [VIP.parse::<IpAddr>().unwrap(), VIP6.parse().unwrap()];
        let connect = |address| {
            let stream = TcpStream::connect_timeout(&SocketAddr::new(address, PORT), PATIENCE).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        };
        let connect = || addresses.iter().flat_map(|one| (0..count).map(|_| connect(*one))).collect();
        Sessions(self.0.inside(connect))
    }
}

struct Sessions(Vec<TcpStream>);

impl Sessions {
    /// All go on, at this node.
    fn are_at(&mut self, number: u8) {
        for byte in 0..3 {
            for stream in &mut self.0 {
                stream.write_all(&[byte]).unwrap();
            }
            for stream in &mut self.0 {
                let mut answer = [0; 2];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [number, byte]);
            }
        }
    }
}

fn hand_over(from: &Node, to: &Node) {
    let told = text_command(&from.file("vrrpd/vrrpd.sock"), "handover");
    assert!(told.starts_with("handed over web, web6 in "), "{told}");
    wait_to_serve(to);
}

/// Nothing is left of rules, and of addresses beyond those of a master.
fn wait_for_nothing_kept(nodes: &[&Node]) {
    for node in nodes {
        wait_until("nothing is kept any more", || {
            !is_on(node, VIP, "lo")
                && !is_on(node, VIP6, "lo")
                && node.host.run("nft", &["list", "tables"]).is_empty()
                && !node.file("vrrpd/vrrpd.rules").exists()
        });
    }
}

#[test]
fn sessions_go_on_over_a_handover_and_back() {
    let network = network!();
    needs!("nft");
    let ([first, second], client, mut old) = busy(&network, KEEPS, 3);
    hand_over(&first, &second);
    old.are_at(1);
    let mut new = client.connect(3);
    new.are_at(2);
    first.wait_for_line("VRRP web: keeps 3 connections, until they end");
    second.wait_for_line("VRRP web: passes packets on to 10.9.0.1, which keeps connections");
    old.are_at(1);
    new.are_at(2);

    second.wait_for_line("VRRP web6: passes packets on to ");
    hand_over(&second, &first);
    old.are_at(1);
    new.are_at(2);
    client.connect(1).are_at(1);
    first.wait_for_line(
        "VRRP web6: keeps no connection any more, of 3 that were left: the addresses are here again",
    );
    for name in ["web", "web6"] {
        second.wait_for_line(&format!("VRRP {name}: keeps 3 connections"));
    }
    drop(new);
    second.wait_for_line("VRRP web6: keeps no connection any more: all have ended");
    old.are_at(1);
    wait_for_nothing_kept(&[&first, &second]);
    old.are_at(1);
    assert_eq!(first.count("ERROR") + second.count("ERROR"), 0, "{}{}", first.log(), second.log());
}

#[test]
fn sessions_go_on_over_a_second_handover_to_a_third_node() {
    let network = network!();
    needs!("nft");
    // Who has the higher priority is the next master, by much.
    let ([first, second, third], client, mut at_first) =
        busy(&network, &format!("{KEEPS}    strict: true\n"), 2);
    hand_over(&first, &third);
    let mut at_third = client.connect(2);
    at_third.are_at(3);
    at_first.are_at(1);
    let told = text_command(&third.file("vrrpd/vrrpd.sock"), "handover");
    assert!(told.starts_with("handed over"), "{told}");
    wait_to_serve(&second);
    at_first.are_at(1);
    at_third.are_at(3);
    client.connect(1).are_at(2);
    drop(at_first);
    first.wait_for_line("VRRP web: keeps no connection any more: all have ended");
    at_third.are_at(3);
    drop(at_third);
    wait_for_nothing_kept(&[&first, &second, &third]);
}

/// Nodes, with sessions at the first, which has the addresses.
fn busy<const N: usize>(network: &Network, more: &str, sessions: usize) -> ([Node; N], Client, Sessions) {
    let nodes = nodes(network, N, more).try_into().unwrap_or_else(|_| unreachable!());
    let client = Client::new(network);
    let mut old = client.connect(sessions);
    old.are_at(1);
    (nodes, client, old)
}

/// Two nodes, with sessions at the first, which has handed the addresses over.
fn moved(network: &Network, sessions: usize) -> ([Node; 2], Client, Sessions) {
    let (nodes, client, mut old) = busy(network, KEEPS, sessions);
    hand_over(&nodes[0], &nodes[1]);
    old.are_at(1);
    nodes[0].wait_for_line("VRRP web6: keeps ");
    nodes[1].wait_for_line("VRRP web6: passes packets on to ");
    (nodes, client, old)
}

#[test]
fn a_killed_vrrpd_goes_on_with_what_was_kept() {
    let network = network!();
    needs!("nft");
    let ([mut first, mut second], client, mut old) = moved(&network, 3);
    let mut new = client.connect(3);
    second.process().kill();
    old.are_at(1);
    new.are_at(2);
    second.start();
    wait_until("it passes on again", || second.count("VRRP web6: passes packets on to ") == 2);
    old.are_at(1);
    first.process().kill();
    old.are_at(1);
    first.start();
    wait_until("it keeps again", || first.count("VRRP web6: keeps 3 connections") == 2);
    old.are_at(1);
    new.are_at(2);
    drop((old, new));
    wait_for_nothing_kept(&[&first, &second]);
}

#[test]
fn what_a_killed_vrrpd_kept_goes_when_it_is_not_coming_back() {
    let network = network!();
    needs!("nft");
    let ([mut first, second], client, old) = moved(&network, 1);
    first.process().kill();
    second.wait_for_line("VRRP web6: passes no packets on to ");
    wait_for_nothing_kept(&[&second]);
    let told = first.withdraw();
    assert!(told.contains("10.9.0.100/32 from lo") && told.contains("rules for packets"), "{told}");
    wait_for_nothing_kept(&[&first]);
    client.connect(1).are_at(2);
    drop(old);
}

#[test]
fn a_lost_node_costs_what_was_on_it_and_nothing_when_it_is_back() {
    let network = network!();
    needs!("nft");
    let ([first, second], client, mut old) = moved(&network, 1);
    let mut new = client.connect(1);
    network.cut("node1");
    wait_for_nothing_kept(&[&second]);
    new.are_at(2);
    // Alone it is master again, until it hears the other.
    first.wait_for_line(
        "VRRP web6: keeps no connection any more, of 1 that were left: the addresses are here again",
    );
    network.mend("node1");
    for name in ["web", "web6"] {
        let keeps = format!("VRRP {name}: keeps 1 connection,");
        wait_until("it keeps what it has", || first.count(&keeps) == 2);
    }
    let passes = || second.host.run("nft", &["list", "ruleset"]).matches("dup to").count() == 2;
    wait_until("the other passes packets on", passes);
    old.are_at(1);
    new.are_at(2);
    drop(old);
    wait_for_nothing_kept(&[&first, &second]);
}

#[test]
fn a_successor_that_passes_nothing_on_costs_the_sessions_and_nothing_stays() {
    let network = network!();
    needs!("nft");
    let first = node(&network, 1, KEEPS);
    wait_to_serve(&first);
    let second = node(&network, 2, "");
    wait_until("both instances are backups", || second.count("-> backup: ") >= 2);
    let client = Client::new(&network);
    let _old = client.connect(1);
    hand_over(&first, &second);
    client.connect(1).are_at(2);
    wait_for_nothing_kept(&[&first, &second]);
    assert_eq!(first.count("ERROR") + second.count("ERROR"), 0, "{}{}", first.log(), second.log());
}

#[test]
fn a_thousand_sessions_go_on() {
    let network = network!();
    needs!("nft");
    let ([first, second], client, mut old) = moved(&network, 500);
    old.are_at(1);
    let mut new = client.connect(500);
    new.are_at(2);
    hand_over(&second, &first);
    old.are_at(1);
    new.are_at(2);
    drop((old, new));
    wait_for_nothing_kept(&[&first, &second]);
}

#[test]
fn a_vrrpd_that_is_stopped_gives_up_what_it_kept() {
    let network = network!();
    needs!("nft");
    let ([mut first, mut second], client, _old) = moved(&network, 1);
    first.stop();
    wait_for_nothing_kept(&[&first, &second]);
    client.connect(1).are_at(2);
    second.stop();
    wait_for_nothing_kept(&[&first, &second]);
}

#[test]
fn sessions_go_on_when_a_better_node_takes_the_addresses() {
    let network = network!();
    needs!("nft");
    // What is signed is said as well.
    let signed = format!("{KEEPS}    authentication: {{ hmac: {{ key_file: vrrp.key }} }}\n");
    let ([first, second], client, mut old) = busy(&network, &signed, 3);
    let config = std::fs::read_to_string(second.file("vrrp.yaml")).unwrap();
    second.configure(&config.replace("preempt: off", "preempt: true"));
    second.signal(nix::sys::signal::Signal::SIGHUP);
    wait_to_serve(&second);
    old.are_at(1);
    client.connect(3).are_at(2);
    first.wait_for_line("VRRP web: keeps 3 connections, until they end");
    drop(old);
    wait_for_nothing_kept(&[&first, &second]);
}

/// A command that runs another as on a kernel without netfilter's sockets: a filter of system calls (seccomp(2)) answers what
/// such a kernel does. Each instruction is that of a classic BPF program on `struct seccomp_data`.
fn without_netfilter() -> Vec<String> {
    let script = r#"
        my ($prctl, $socket, $netfilter, $error) = splice @ARGV, 0, 4;
        my $filter = pack "(SCCL)*",
            0x20, 0, 0, 0,                  # the number of the call
            0x15, 0, 3, $socket,
            0x20, 0, 0, 32,                 # its third argument
            0x15, 0, 1, $netfilter,
            0x06, 0, 0, 0x50000 | $error,   # SECCOMP_RET_ERRNO
            0x06, 0, 0, 0x7fff0000;         # SECCOMP_RET_ALLOW
        my $program = pack "S x6 P", length($filter) / 8, $filter;
        syscall($prctl, 38, 1, 0, 0, 0) == 0 or die "PR_SET_NO_NEW_PRIVS: $!";
        syscall($prctl, 22, 2, $program) == 0 or die "PR_SET_SECCOMP: $!";
        exec @ARGV or die $!;
    "#;
    let numbers = [SYS_prctl, SYS_socket, NETLINK_NETFILTER.into(), EPROTONOSUPPORT.into()];
    let words = ["perl", "-e", script].map(str::to_owned);
    words.into_iter().chain(numbers.map(|number| number.to_string())).collect()
}

#[test]
fn a_kernel_that_cannot_keep_connections_is_told_of_at_start_and_by_the_check() {
    let network = network!();
    needs!("nft", "perl", "setpriv");
    let first = node(&network, 1, KEEPS);
    let cannot = "and this machine cannot keep them";
    assert!(!first.check(&[]).contains(cannot), "{}", first.check(&[]));
    let without_right = first.check(&["setpriv", "--bounding-set=-net_admin"].map(str::to_owned));
    assert!(!without_right.contains(cannot), "who may not try does not know: {without_right}");
    let told = first.check(&without_netfilter());
    for (instance, line) in [("web", 10), ("web6", 19)] {
        let warning = format!(
            "vrrp.yaml:{line}:23: warning: instance \"{instance}\" has keep_connections, {cannot}: there is no nf_tables for IPv4"
        );
        assert!(told.contains(&warning), "no {warning} in {told}");
    }

    let mut second = Node::new(&network, 2, &std::fs::read_to_string(first.file("vrrp.yaml")).unwrap());
    second.wrap(without_netfilter());
    second.start();
    second.wait_for_line("VRRP web: init -> backup");
    let no_effect = "WARN keep_connections has no effect, so connections break when addresses move: there is no nf_tables";
    let counts = [&first, &second].map(|node| node.count(no_effect));
    assert_eq!(counts, [0, 1], "{}", second.log());
    // Once a module has been loaded a reload is enough.
    second.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("it is tried again", || second.count(no_effect) == 2);
}

/// What changes the kernel's addresses and rules, in its order, from now on.
struct Calls {
    strace: Process,
    dir: TempDir,
}

impl Calls {
    fn of(node: &mut Node) -> Self {
        let pid = node.process().pid();
        let name = |thread: &str| std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm")).unwrap();
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut threads = threads.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let thread = threads.find(|thread| name(thread).trim() == "addresses").unwrap();
        let dir = tempfile::tempdir().unwrap();
        // Inside, where it finds out what sockets are for.
        let mut command = node.host.command("strace");
        command.args(["-s", "65536", "-v", "-e", "trace=write,send,sendto,sendmsg", "-o"]);
        command.arg(dir.path().join("calls")).args(["-p", &thread]);
        let strace = Process::spawn("strace", command, dir.path());
        wait_until("strace is attached", || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).unwrap();
            !status.contains("TracerPid:\t0\n")
        });
        Self { strace, dir }
    }

    fn end(mut self) -> String {
        self.strace.signal(nix::sys::signal::Signal::SIGINT);
        self.strace.wait();
        std::fs::read_to_string(self.dir.path().join("calls")).unwrap()
    }
}

/// How calls change one of the tables, in the order that they have in a batch, and addresses of a family on `lo`.
fn steps(calls: &str, table: usize, family: &str) -> Vec<&'static str> {
    let family = format!("ifa_family={family},");
    let (mut has_rules, mut has_address) = (false, false);
    let mut step = |line: &str| {
        if let Some(table) = line.split("NFT_MSG_NEWTABLE").nth(table + 1) {
            let before = std::mem::replace(&mut has_rules, table.contains("NFT_MSG_NEWRULE"));
            return (before != has_rules).then_some(if before { "no rules" } else { "rules" });
        }
        let is_about = line.contains(&family) && line.contains("if_nametoindex(\"lo\")");
        if is_about && (line.contains("RTM_NEWADDR") || line.contains("RTM_DELADDR")) {
            let before = std::mem::replace(&mut has_address, line.contains("RTM_NEWADDR"));
            return (before != has_address).then_some(if before { "no address" } else { "address" });
        }
        None
    };
    calls.lines().filter_map(&mut step).collect()
}

/// A packet that comes in between would be answered with a reset, or neighbours would hear of the address.
#[test]
fn rules_are_there_before_an_address_and_until_it_has_gone() {
    let network = network!();
    needs!("nft", "strace");
    let ([mut first, second], _, old) = busy(&network, KEEPS, 1);
    let calls = Calls::of(&mut first);
    hand_over(&first, &second);
    for name in ["web", "web6"] {
        first.wait_for_line(&format!("VRRP {name}: keeps 1 connection"));
    }
    drop(old);
    wait_for_nothing_kept(&[&first, &second]);
    let calls = calls.end();
    for (table, (name, family)) in
        [("IPv4", "AF_INET"), ("IPv6", "AF_INET6"), ("ARP", "AF_INET")].into_iter().enumerate()
    {
        let steps = steps(&calls, table, family);
        assert_eq!(steps, ["rules", "address", "no address", "no rules"], "{name}: {calls}");
    }
}
