//! Two nodes with lbd and vrrpd each: whatever dies, hangs, or is cut, in the end one node has the address.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use testkit::{Daemon, Held, Load, Network, Owners, Program, VrrpNode, is_root, needs, skip, wait_until};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100));

/// Long enough for what should not happen.
const A_WHILE: Duration = Duration::from_millis(1500);

const LB: &str = "frontends: { web: { bind: [\"0.0.0.0:8080\"], backend: app } }\n\
                  backends: { app: { check: { tcp: {}, interval: 200ms, timeout: 100ms }, \
                  servers: { s1: \"127.0.0.1:8404\" } } }\n\
                  lbd: { workers: 1 }\nadmin: { bind: 0.0.0.0:8404 }\n\
                  healthd: { admin: { bind: 0.0.0.0:8406 } }\n";

struct Node {
    vrrp: VrrpNode,
    lbd: Daemon,
    healthd: Daemon,
}

/// Two nodes; the first is the better one, and they do not preempt.
struct Nodes {
    nodes: [Node; 2],
    owners: Owners,
    network: Network,
}

impl Nodes {
    fn start() -> Self {
        let network = Network::new(24);
        let nodes = [("lb1", 1, 200), ("lb2", 2, 100)].map(|(name, last, priority)| {
            let host = network.host(name, Ipv4Addr::new(10, 9, 0, last));
            let lines = format!(
                "virtual_router_id: 51\npriority: {priority}\nvirtual_addresses: [10.9.0.100/24]\n\
                 preempt: false\nadvert_interval: 200ms"
            );
            let mut vrrp = VrrpNode::new(host, &lines);
            let instances = fs::read_to_string(vrrp.vrrpd.config()).unwrap();
            fs::write(vrrp.vrrpd.config(), instances + "admin: { bind: 0.0.0.0:8407 }\n").unwrap();
            fs::write(vrrp.dir().join("lb.yaml"), LB).unwrap();
            let mut healthd = Daemon::new(Program::Healthd, vrrp.dir()).within(&vrrp.host);
            let mut lbd = Daemon::new(Program::Lbd, vrrp.dir()).within(&vrrp.host);
            healthd.start();
            lbd.start();
            vrrp.vrrpd.start();
            vrrp.wait_for_state(if priority == 200 { "master" } else { "backup" });
            Node { vrrp, lbd, healthd }
        });
        let owners = Owners::new(&[&nodes[0].vrrp.host, &nodes[1].vrrp.host], VIP);
        let nodes = Self { nodes, owners, network };
        wait_until("the backup hears the master", || nodes.nodes[1].vrrp.counter("adverts_received") > 1);
        nodes
    }

    /// Runs tandemctl on a node: what it says, and its exit code.
    fn tandemctl(&self, node: usize, arguments: &[&str]) -> (String, Option<i32>) {
        let VrrpNode { host, .. } = &self.nodes[node].vrrp;
        let mut command = host.command(&testkit::binary(Program::Tandemctl).display().to_string());
        command.arg("--run-dir").arg(self.nodes[node].vrrp.dir()).args(arguments);
        let output = command.output().unwrap();
        let told = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (told.concat(), output.status.code())
    }

    /// A node whose fault is over is a backup of the other.
    fn back_as_backup(&self, node: usize) {
        self.nodes[node].vrrp.wait_for_state("backup");
        self.owners.stay_with(1 - node, A_WHILE);
    }
}

#[test]
fn a_dead_healthd_moves_nothing() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let mut nodes = Nodes::start();
    nodes.nodes[0].healthd.kill();
    nodes.owners.stay_with(0, A_WHILE);
    nodes.nodes[0].healthd.start();
    nodes.owners.stay_with(0, A_WHILE);
    assert_eq!(nodes.nodes[1].vrrp.transitions().len(), 1);
}

#[test]
fn a_dead_lbd_gives_the_address_away() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let mut nodes = Nodes::start();
    let watch = nodes.owners.watch();
    nodes.nodes[0].lbd.kill();
    nodes.owners.wait_for(1);
    watch.stop().assert_never_two();
    nodes.nodes[0].vrrp.wait_for_state("fault");
    nodes.nodes[0].vrrp.wait_for_reason("tracker lbd fails");
    nodes.nodes[1].vrrp.wait_for_reason("the master left");
    nodes.nodes[0].lbd.start();
    nodes.back_as_backup(0);
}

#[test]
fn a_hung_lbd_gives_the_address_away() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let nodes = Nodes::start();
    nodes.nodes[0].lbd.freeze();
    nodes.owners.wait_for(1);
    nodes.nodes[0].vrrp.wait_for_state("fault");
    nodes.nodes[0].lbd.thaw();
    nodes.back_as_backup(0);
}

#[test]
fn a_hung_worker_gives_the_address_away() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let nodes = Nodes::start();
    let Node { vrrp, lbd, .. } = &nodes.nodes[0];
    let web = (Ipv4Addr::LOCALHOST, 8080).into();
    let load = vrrp.host.inside(|| Load::default().start(web));
    load.wait_for_requests(20);
    let watch = nodes.owners.watch();
    let held = Held::hold_at_work(lbd, "worker-0");
    nodes.owners.wait_for(1);
    watch.stop().assert_never_two();
    vrrp.wait_for_state("fault");
    vrrp.wait_for_reason("tracker lbd fails: lbd hangs: a worker does not move");
    drop(held);
    nodes.back_as_backup(0);
    drop(load.stop());
}

#[test]
fn without_servers_clients_get_503_and_the_address_moves_if_asked_to() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let nodes = Nodes::start();
    // Nobody listens there.
    fs::write(nodes.nodes[0].vrrp.dir().join("lb.yaml"), LB.replace("8404\"", "9\"")).unwrap();
    nodes.nodes[0].healthd.reload();
    nodes.nodes[0].lbd.reload();
    let status = || {
        let web = (Ipv4Addr::LOCALHOST, 8080).into();
        nodes.nodes[0].vrrp.host.inside(|| testkit::get(web, "/").status)
    };
    wait_until("clients get 503", || status() == 503);
    nodes.owners.stay_with(0, A_WHILE);
    assert_eq!(nodes.nodes[0].vrrp.transitions().len(), 2, "nothing has happened to the address");

    for (node, priority) in [(0, 200), (1, 100)] {
        nodes.nodes[node].vrrp.configure(&format!(
            "virtual_router_id: 51\npriority: {priority}\nvirtual_addresses: [10.9.0.100/24]\nadvert_interval: 200ms\n\
             track: [lbd, {{ backend: app, weight: -150 }}]"
        ));
        nodes.nodes[node].vrrp.vrrpd.reload();
    }
    nodes.owners.wait_for(1);
    // It still serves what it can.
    nodes.nodes[0].vrrp.wait_for_state("backup");
    fs::write(nodes.nodes[0].vrrp.dir().join("lb.yaml"), LB).unwrap();
    nodes.nodes[0].healthd.reload();
    nodes.nodes[0].lbd.reload();
    nodes.owners.wait_for(0);
}

#[test]
fn tandemctl_looks_at_both_nodes_and_hands_over() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let mut nodes = Nodes::start();
    for peer in [&["status", "--peer"][..], &["status", "--peer", "10.9.0.1"]] {
        let (told, code) = nodes.tandemctl(1, peer);
        assert_eq!(code, Some(0), "{told}");
        for wanted in ["10.9.0.100", "MASTER", "s1"] {
            assert!(told.contains(wanted), "{wanted} is missing in {told}");
        }
    }
    let (told, code) = nodes.tandemctl(0, &["status", "--peer"]);
    assert!(
        code == Some(0) && told.contains("web is MASTER") && told.contains("backups are silent"),
        "{told}"
    );
    let (told, code) = nodes.tandemctl(1, &["handover"]);
    assert!(code == Some(1) && told.contains("not master"), "{told}");

    let (told, code) = nodes.tandemctl(0, &["handover", "web"]);
    assert!(code == Some(0) && told.contains("went from 10.9.0.1 to 10.9.0.2, priority 100"), "{told}");
    nodes.owners.wait_for(1);
    nodes.nodes[0].vrrp.vrrpd.stop();
    let (told, code) = nodes.tandemctl(1, &["handover"]);
    assert!(code == Some(1) && told.contains("nobody took over web"), "{told}");
    nodes.owners.stay_with(1, A_WHILE);
    let (told, code) = nodes.tandemctl(1, &["reload"]);
    assert!(code == Some(0) && told.contains("vrrpd"), "{told}");
}

/// For how many ms a node was last master, once it is no more.
fn served(node: &Node) -> u64 {
    let status = node.vrrp.status();
    let history = status["history"].as_array().expect("there were transitions");
    let age = |end: &str| {
        let event = history.iter().find(|event| event[end] == "master").unwrap_or_else(|| panic!("{status}"));
        event["age_ms"].as_u64().expect("an age")
    };
    age("to") - age("from")
}

/// Whoever the handover before has held has come to this master by then.
#[test]
fn a_handover_or_stop_right_after_a_handover_waits_for_those_whom_that_one_held() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let mut nodes = Nodes::start();
    for node in [0, 1] {
        let (told, code) = nodes.tandemctl(node, &["handover"]);
        assert_eq!(code, Some(0), "{told}");
    }
    nodes.owners.wait_for(0);
    let time = served(&nodes.nodes[1]);
    assert!(time >= 1000, "held again after {time} ms by a handover");
    nodes.nodes[0].lbd.stop();
    nodes.owners.wait_for(1);
    let time = served(&nodes.nodes[0]);
    assert!(time >= 1000, "held again after {time} ms by a stop of lbd");
}

#[test]
fn a_stopped_vrrpd_leaves_and_a_killed_one_stays_or_is_replaced() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let mut nodes = Nodes::start();
    let watch = nodes.owners.watch();
    nodes.nodes[0].vrrp.vrrpd.stop();
    nodes.owners.wait_for(1);
    watch.stop().assert_never_two();
    nodes.nodes[1].vrrp.wait_for_reason("the master left");
    nodes.nodes[0].vrrp.vrrpd.start();
    nodes.back_as_backup(0);

    // Back at once it carries on.
    let before = nodes.nodes[0].vrrp.transitions();
    let watch = nodes.owners.watch();
    nodes.nodes[1].vrrp.vrrpd.kill();
    nodes.nodes[1].vrrp.vrrpd.start();
    nodes.nodes[1].vrrp.wait_for_state("master");
    nodes.owners.stay_with(1, A_WHILE);
    assert_eq!(watch.stop().courses, [vec![1]], "it is where it was throughout");
    assert_eq!(nodes.nodes[0].vrrp.transitions(), before, "the other has seen no reason to act");

    // Away for long it is replaced, and finds its address taken.
    nodes.nodes[1].vrrp.vrrpd.kill();
    nodes.nodes[0].vrrp.wait_for_state("master");
    assert_eq!(nodes.owners.now(), [0, 1], "nobody is there to remove it");
    nodes.nodes[1].vrrp.vrrpd.start();
    nodes.owners.wait_for(0);
    nodes.back_as_backup(1);
}

#[test]
fn a_partition_heals_to_one_owner() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let nodes = Nodes::start();
    for name in ["lb1", "lb2"] {
        nodes.network.cut(name);
        nodes.nodes[1].vrrp.wait_for_state("master");
        assert_eq!(nodes.owners.now(), [0, 1], "each is alone");
        nodes.network.mend(name);
        nodes.owners.wait_for(0);
        nodes.nodes[1].vrrp.wait_for_reason("is master with priority 200");
        nodes.owners.stay_with(0, A_WHILE);
    }
}

#[test]
fn a_link_that_carries_one_way_alone_heals_to_one_owner() {
    needs!("nft");
    if !is_root() {
        skip!("namespaces need root");
    }
    let nodes = Nodes::start();
    let drop = |node: usize, hook: &str| {
        let rules = format!(
            "table ip cut {{ chain {hook} {{ type filter hook {hook} priority 0; ip protocol 112 drop; }}; }}"
        );
        nodes.nodes[node].vrrp.host.run("nft", &[&rules]);
    };
    let mend = |node: usize| nodes.nodes[node].vrrp.host.run("nft", &["delete table ip cut"]);

    // The better one is not heard.
    for (node, hook) in [(0, "output"), (1, "input")] {
        drop(node, hook);
        nodes.nodes[1].vrrp.wait_for_state("master");
        mend(node);
        nodes.owners.wait_for(0);
        nodes.back_as_backup(1);
    }
    // The better one hears nobody: there is nothing that it misses.
    for (node, hook) in [(0, "input"), (1, "output")] {
        drop(node, hook);
        nodes.owners.stay_with(0, A_WHILE);
        mend(node);
        nodes.owners.stay_with(0, A_WHILE);
    }
}

#[test]
fn an_interface_that_goes_takes_the_address_along_and_brings_a_backup_back() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let nodes = Nodes::start();
    let host = &nodes.nodes[0].vrrp.host;
    host.run("ip", &["link", "set", "eth0", "down"]);
    nodes.nodes[1].vrrp.wait_for_state("master");
    nodes.nodes[0].vrrp.wait_for_state("fault");
    host.run("ip", &["link", "set", "eth0", "up"]);
    nodes.back_as_backup(0);

    // As Docker does it: gone, and back under another name with the old address.
    let host = &nodes.nodes[1].vrrp.host;
    host.run("ip", &["link", "delete", "eth0"]);
    nodes.nodes[0].vrrp.wait_for_state("master");
    nodes.nodes[1].vrrp.wait_for_state("fault");
    nodes.network.plug(host, "again", "eth1", Ipv4Addr::new(10, 9, 0, 2));
    nodes.back_as_backup(1);
    assert_eq!(nodes.nodes[1].vrrp.status()["interface"], "eth1");
    nodes.nodes[0].vrrp.vrrpd.terminate();
    nodes.owners.wait_for(1);
}
