//! How long a hung lbd takes to be found, and how often one is found that does not hang, beside processes that never rest.
//! `scripts/false-alarms` runs it for minutes; a test for every day it is not, as a machine may have more to do than that.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::{
    Client, Daemon, Held, Load, Netns, Network, Process, Program, VrrpNode, is_root, needs, skip, wait_for,
};

/// How long it takes unless `ALARM_SECONDS` says otherwise.
const SECONDS: u64 = 60;
/// Processes that never rest, unless `ALARM_BUSY` says otherwise.
const BUSY: u64 = 2;
/// How often it says how it goes.
const REPORT: Duration = Duration::from_secs(10);
/// How often lbd is stopped, and one of its workers.
const STOPS: usize = 20;

const LB: &str = "frontends: { web: { bind: [\"0.0.0.0:8080\"], backend: app } }\n\
                  backends: { app: { check: { tcp: {}, interval: 200ms, timeout: 100ms }, \
                  servers: { s1: \"127.0.0.1:8404\" } } }\n\
                  lbd: { workers: 2 }\nadmin: { bind: 0.0.0.0:8404 }\n\
                  healthd: { admin: { bind: 0.0.0.0:8406 } }\n";

struct Node {
    timing: &'static str,
    vrrp: VrrpNode,
    lbd: Daemon,
    _healthd: Daemon,
}

impl Node {
    fn start(host: Netns, timing: &'static str) -> Self {
        let lines = format!(
            "virtual_router_id: 51\nvirtual_addresses: [10.9.0.100/24]\ntiming: {timing}\ntrack: [lbd]"
        );
        let mut vrrp = VrrpNode::new(host, &lines);
        fs::write(vrrp.dir().join("lb.yaml"), LB).unwrap();
        let mut healthd = Daemon::new(Program::Healthd, vrrp.dir()).within(&vrrp.host);
        let mut lbd = Daemon::new(Program::Lbd, vrrp.dir()).within(&vrrp.host);
        healthd.start();
        lbd.start();
        vrrp.vrrpd.start();
        vrrp.wait_for_state("master");
        Self { timing, vrrp, lbd, _healthd: healthd }
    }

    /// When lbd was found to hang.
    fn alarms(&self) -> Vec<String> {
        self.vrrp.transitions().into_iter().filter(|told| told.contains("lbd hangs")).collect()
    }

    /// Requests, one after the other with little between them, so that workers wake.
    fn work(&self, ends: &AtomicBool) {
        self.vrrp.host.inside(|| {
            while !ends.load(Ordering::Relaxed) {
                if let Ok(mut client) = Client::try_connect((Ipv4Addr::LOCALHOST, 8080).into(), None) {
                    // The soak asserts on what is lost; here it is the workers' work that counts.
                    let _ = client.try_get("/");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    /// Stops lbd, until it is found to hang. How long that took.
    fn found_stopped_after(&self) -> Duration {
        self.vrrp.wait_for_state("master");
        let stopped = Instant::now();
        self.lbd.freeze();
        let found = self.found("it has said nothing");
        self.lbd.thaw();
        found.saturating_duration_since(stopped)
    }

    /// Stops a worker that is at work, until it is found to hang. How long that took.
    fn found_held_after(&self) -> Duration {
        self.vrrp.wait_for_state("master");
        let held = Held::hold_at_work(&self.lbd, "worker-0");
        self.found("a worker does not move").saturating_duration_since(held.since())
    }

    /// When lbd was found to hang, for this reason.
    fn found(&self, reason: &str) -> Instant {
        let found = wait_for("lbd is found to hang", || {
            let asked = Instant::now();
            let status = self.vrrp.status();
            let is_found = status["state"] == "fault";
            is_found.then(|| asked.checked_sub(Duration::from_millis(status["since_ms"].as_u64()?))).flatten()
        });
        self.vrrp.wait_for_reason(reason);
        found
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
#[ignore = "scripts/false-alarms runs it, for minutes"]
fn an_lbd_that_works_does_not_hang() {
    needs!("ip");
    if !is_root() {
        skip!("network namespaces need root");
    }
    let time = Duration::from_secs(number("ALARM_SECONDS", SECONDS));
    let dir = tempfile::tempdir().unwrap();
    let networks = ["safe", "fast"].map(|timing| (timing, Network::new(24)));
    let nodes = networks
        .each_ref()
        .map(|(timing, network)| Node::start(network.host("lb1", Ipv4Addr::new(10, 9, 0, 1)), timing));
    for node in &nodes {
        let print = |what: &str, find: &dyn Fn() -> Duration| {
            let mut found: Vec<_> = (0..STOPS).map(|_| find().as_millis()).collect();
            found.sort_unstable();
            eprintln!("{}: {what} is found after {found:?} ms", node.timing);
        };
        print("a stopped lbd", &|| node.found_stopped_after());
        let web = (Ipv4Addr::LOCALHOST, 8080).into();
        // Enough connections for the kernel to give some to each worker.
        let load = Load { clients: 16, pause: Duration::from_millis(5), ..Load::default() };
        let load = node.vrrp.host.inside(|| load.start(web));
        load.wait_for_requests(20);
        print("a stopped worker", &|| node.found_held_after());
        drop(load.stop());
    }

    let before = nodes.each_ref().map(|node| node.alarms().len());
    let busy: Vec<Process> = (0..number("ALARM_BUSY", BUSY))
        .map(|number| {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]);
            Process::spawn(&format!("busy{number}"), command, dir.path())
        })
        .collect();
    let false_alarms = || {
        let after = nodes.each_ref().map(|node| node.alarms().len());
        [after[0] - before[0], after[1] - before[1]]
    };
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(|| node.work(&ends));
        }
        let start = Instant::now();
        while start.elapsed() < time {
            std::thread::sleep(REPORT.min(time));
            let load = fs::read_to_string("/proc/loadavg").unwrap();
            let [safe, fast] = false_alarms();
            let seconds = start.elapsed().as_secs();
            eprintln!("{seconds:5} s: false alarms: safe {safe}, fast {fast}; load {}", load.trim_end());
        }
        ends.store(true, Ordering::Relaxed);
    });
    drop(busy);
    assert_eq!(false_alarms(), [0, 0], "beside processes that never rest");
}
