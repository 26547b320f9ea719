//! How long a hung lbd takes to be found, and how often one is found that does not hang, beside processes that never rest.
//! `scripts/false-alarms` runs it for minutes; a test for every day it is not, as a machine may have more to do than that.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::{Client, Daemon, Netns, Network, Process, Program, VrrpNode, is_root, needs, skip, wait_until};

/// How long it takes unless `ALARM_SECONDS` says otherwise.
const SECONDS: u64 = 60;
/// Processes that never rest, unless `ALARM_BUSY` says otherwise.
const BUSY: u64 = 2;
/// How often it says how it goes.
const REPORT: Duration = Duration::from_secs(10);
/// How often lbd is stopped.
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
    fn found_after(&self) -> Duration {
        self.vrrp.wait_for_state("master");
        let alarms = self.alarms().len();
        let stopped = Instant::now();
        self.lbd.freeze();
        let mut found = None;
        wait_until("lbd is found to hang", || {
            let asked = Instant::now();
            let status = self.vrrp.status();
            if status["state"] == "fault" {
                found = asked.checked_sub(Duration::from_millis(status["since_ms"].as_u64().unwrap()));
            }
            found.is_some()
        });
        self.lbd.thaw();
        assert!(self.alarms().len() > alarms, "{:?}", self.vrrp.transitions());
        found.unwrap().saturating_duration_since(stopped)
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
        let mut found: Vec<_> = (0..STOPS).map(|_| node.found_after().as_millis()).collect();
        found.sort_unstable();
        eprintln!("{}: a stopped lbd is found after {found:?} ms", node.timing);
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
