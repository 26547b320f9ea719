//! systemd's watchdog: daemons show that they live, as long as what does their work goes on.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use testkit::{
    Daemon, Held, Load, Network, PATIENCE, Stack, Systemd, VrrpNode, is_root, needs, skip, wait_for,
    wait_until,
};

/// After so long without a sign a daemon would be killed.
const WATCHDOG: Duration = Duration::from_millis(500);

/// Has systemd start a daemon and watch it.
fn start(daemon: &mut Daemon) -> Systemd {
    let socket = daemon.socket().with_extension("notify");
    let systemd = Systemd::listen(&daemon.config().with_file_name(socket.file_name().unwrap()));
    daemon.systemd(systemd.socket(), Vec::new());
    daemon.watchdog(WATCHDOG);
    daemon.start();
    systemd
}

fn shows_life(systemd: &Systemd) {
    let before = systemd.signs_of_life();
    wait_until("it shows that it lives", || systemd.signs_of_life() >= before + 3);
}

fn shows_none(systemd: &Systemd) {
    wait_until("systemd would kill it", || systemd.silence() > WATCHDOG);
}

#[test]
fn a_daemon_that_hangs_shows_no_life() {
    let mut stack = Stack::builder().without_healthd().without_lbd().start();
    for daemon in [&mut stack.healthd, &mut stack.lbd] {
        let systemd = start(daemon);
        shows_life(&systemd);
        daemon.freeze();
        shows_none(&systemd);
        daemon.thaw();
        shows_life(&systemd);
    }
}

#[test]
fn lbd_shows_no_life_while_a_worker_hangs_at_work() {
    if !is_root() {
        skip!("only root may hold a thread");
    }
    let mut stack =
        Stack::builder().config(|config, _| config.lbd = "workers: 1".to_owned()).without_lbd().start();
    let systemd = start(&mut stack.lbd);
    let load = Load { clients: 8, pause: Duration::ZERO, ..Load::default() }.start(stack.web());
    load.wait_for_requests(20);
    let held = Held::hold_at_work(&stack.lbd, "worker-0");
    shows_none(&systemd);
    drop(held);
    shows_life(&systemd);
    drop(load.stop());
}

#[test]
fn vrrpd_shows_no_life_while_its_election_hangs() {
    needs!("ip");
    if !is_root() {
        skip!("network namespaces need root");
    }
    let network = Network::new(24);
    let host = network.host("lb1", Ipv4Addr::new(10, 70, 0, 1));
    let mut node = VrrpNode::new(
        host,
        "virtual_router_id: 51\npriority: 200\nvirtual_addresses: [10.70.0.100/24]\nadvert_interval: 200ms\ntrack: []",
    );
    let systemd = start(&mut node.vrrpd);
    node.wait_for_state("master");
    shows_life(&systemd);
    let mut news = subscribe(&node);
    let held = Held::hold(node.vrrpd.pid(), "election");
    shows_none(&systemd);
    let reason = || node.status()["reason"].as_str().unwrap_or_default().to_owned();
    wait_until("what is shown is said to be stale", || reason().starts_with("stale: "));
    hears(&mut news, |instance| instance["stale_ms"].is_u64());
    drop(held);
    shows_life(&systemd);
    wait_until("it is fresh again", || !reason().starts_with("stale: "));
    hears(&mut news, |instance| instance["stale_ms"].is_null());
}

/// The lines that a subscriber of vrrpd's instances reads.
fn subscribe(node: &VrrpNode) -> Lines<BufReader<UnixStream>> {
    let stream = UnixStream::connect(node.vrrpd.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let said = "{\"hello\":{\"protocol\":1,\"client\":\"test\"}}\n\
                {\"id\":1,\"request\":\"subscribe\",\"topic\":\"instances\",\"ping_ms\":1000}\n";
    (&stream).write_all(said.as_bytes()).unwrap();
    BufReader::new(stream).lines()
}

/// Reads until the instance is told of like this.
fn hears(news: &mut Lines<BufReader<UnixStream>>, like_this: impl Fn(&Value) -> bool) {
    wait_for("subscribers are told", || {
        let line: Value = serde_json::from_str(&news.next()?.unwrap()).unwrap();
        let instance = &line["event"]["item"]["instance"];
        (instance.is_object() && like_this(instance)).then_some(())
    });
}
