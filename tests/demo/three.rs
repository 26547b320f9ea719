//! Demo 3 as people run it: started by `make demo-3`, changed and attacked under load, and torn down.

use std::net::SocketAddr;
use std::process::Command;

use testkit::{get, skip, wait_until};

use crate::kit::{Makefile, answers, obstacle, root, script, script_ok, tell_last_words, text};

/// Starts the demo in an engine, does to it what the workshop does, and takes it down.
pub fn run(engine: &str, router: &str) {
    if let Some(reason) = obstacle() {
        skip!("{reason}");
    }
    let demo = Demo::up(engine, router);
    demo.has_the_address_on_all_nodes();
    match (engine, router) {
        (_, "frr") => demo.does_with_frr(),
        ("netns", _) => demo.does_all(),
        _ => demo.does_in_containers(),
    }
    demo.makefile.take_down("demo-3-down");
}

struct Demo {
    makefile: Makefile,
    web: SocketAddr,
    stats: [SocketAddr; 3],
    vrrp: [SocketAddr; 3],
    prometheus: SocketAddr,
}

const NODES: [&str; 3] = ["lb1", "lb2", "lb3"];

/// Whether all these nodes have the address, and the router sends to them and to no other.
fn served_by(nodes: &[&str]) -> bool {
    let (vip, nodes) = (text(&script(&["vip"])), nodes.join(" "));
    let lines: Vec<_> = vip.lines().take(2).collect();
    lines == [format!("192.0.2.100 is on {nodes}"), format!("the router sends to {nodes}")]
}

fn wait_for_service_by(nodes: &[&str]) {
    wait_until(&format!("{nodes:?} serve"), || served_by(nodes));
}

/// The lines of scripts/anycast-test.sh.
fn cost_of(args: &[&str]) -> Vec<String> {
    let output = Command::new("scripts/anycast-test.sh").args(args).current_dir(root()).output();
    let output = output.expect("the test starts");
    let told = text(&output);
    assert!(output.status.success(), "{args:?}: {told}");
    told.lines().map(str::to_owned).collect()
}

fn loses_nothing(planned: &[&str]) {
    let lines = cost_of(&[planned, &["--hashing", "resilient"]].concat());
    assert_eq!(lines.len(), planned.len(), "{lines:?}");
    for (line, planned) in lines.iter().zip(planned) {
        assert!(line.starts_with(planned), "{line}");
        assert_eq!(line.matches(": lost 0 of 1200").count(), 2, "{line}");
        assert!(line.ends_with("; slow: lost 0 of 300"), "{line}");
    }
    wait_for_service_by(&NODES);
}

impl Demo {
    fn up(engine: &str, router: &str) -> Self {
        let variables = [
            "WEB_PORT",
            "WEB_TLS_PORT",
            "PROMETHEUS_PORT",
            "STATS_PORT",
            "STATS2_PORT",
            "STATS3_PORT",
            "VRRP_PORT",
            "VRRP2_PORT",
            "VRRP3_PORT",
        ];
        let (makefile, [web, _, prometheus, s1, s2, s3, v1, v2, v3]) = Makefile::new(engine, variables);
        let (stats, vrrp) = ([s1, s2, s3], [v1, v2, v3]);
        let demo = Self { makefile, web, stats, vrrp, prometheus };
        demo.makefile.make_ok(&format!("ROUTER={router} demo-3"));
        demo
    }

    fn does_all(&self) {
        self.spreads_connections_over_all_nodes();
        self.is_told_about_by_its_tools();
        self.survives_starting_it_twice();
        loses_nothing(&["withdrawn", "announced", "node-stopped"]);
        self.keeps_connections_of_others_when_a_node_dies();
        self.serves_with_one_node();
    }

    /// As far as that is another.
    fn does_with_frr(&self) {
        assert_eq!(self.makefile.engine(), "netns", "no image has it");
        // What was zebra's own to keep it would have made anew meanwhile.
        script_ok(&["exec", "router", "s6-svc", "-wd", "-T", "10000", "-d", "/run/service/resilient"]);
        loses_nothing(&["withdrawn", "announced"]);
    }

    /// What containers have of their own: the engine's network, and what it does to a node that is cut off or stopped.
    fn does_in_containers(&self) {
        self.spreads_connections_over_all_nodes();
        self.is_told_about_by_its_tools();
        self.refuses_another_router();
        loses_nothing(&["withdrawn", "announced", "node-stopped"]);
        assert_eq!(cost_of(&["lbd-killed", "node-cut"]).len(), 2);
        self.serves_with_one_node();
    }

    fn has_the_address_on_all_nodes(&self) {
        wait_for_service_by(&NODES);
        assert!(answers(self.web, "/"));
    }

    /// Connections that a node's lbd has accepted for the service.
    fn connections(&self, node: usize) -> f64 {
        let metrics = get(self.stats[node], "/metrics").text();
        let series = "tandem_frontend_connections_total{proxy=\"web\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(series)?.parse().ok());
        count.unwrap_or_else(|| panic!("{} does not count: {metrics}", NODES[node]))
    }

    fn spreads_connections_over_all_nodes(&self) {
        let before = [0, 1, 2].map(|node| self.connections(node));
        let url = "http://192.0.2.100";
        script_ok(&["exec", "vip-access", "tandemctl", "load", url, "--for", "3s", "--timeout", "10s"]);
        for (node, before) in before.into_iter().enumerate() {
            // A third of 300, give or take.
            assert!(self.connections(node) - before > 50.0, "{} has had few", NODES[node]);
        }
    }

    fn is_told_about_by_its_tools(&self) {
        let status = self.makefile.make_ok("demo-3-status");
        for word in ["lb1", "lb3", "router", "nginx1", "ANNOUNCED", "the router sends to lb1 lb2 lb3"] {
            assert!(status.contains(word), "{word}: {status}");
        }
        for address in self.stats.iter().chain(&self.vrrp) {
            assert_eq!(get(*address, "/ready").status, 200, "{address}");
        }
        let files = ["/etc/tandem/anycast.yaml", "/etc/tandem/lb.yaml"];
        script_ok(&["exec", "lb1", "tandemctl", "check", files[0], files[1]]);
        let refused = script(&["move", "lb2"]);
        assert!(!refused.status.success() && text(&refused).contains("demo 2 does not run"));
        wait_until("Prometheus scrapes every daemon", || {
            let answer = get(self.prometheus, "/api/v1/query?query=sum(up)").text();
            answer.contains("\"success\"") && answer.contains("\"10\"")
        });
    }

    fn survives_starting_it_twice(&self) {
        self.makefile.make_ok("demo-3");
        wait_for_service_by(&NODES);
        self.refuses_another_router();
    }

    fn refuses_another_router(&self) {
        let other = self.makefile.make("ROUTER=frr demo-3");
        assert!(!other.status.success() && text(&other).contains("ROUTER=bird"), "{}", text(&other));
    }

    /// With resilient hashing a fault costs what was on its node: a third or so of the kept connections, once each.
    fn keeps_connections_of_others_when_a_node_dies(&self) {
        let lines = cost_of(&["routing-killed", "--node", "lb1"]);
        let (_, kept) = lines[0].split_once("kept: ").expect("it tells of them");
        let reset = kept.split(['(', ',', ')']).find_map(|part| part.trim().strip_suffix(" broken off"));
        let reset: u32 = reset.map_or(0, |number| number.parse().expect("a number"));
        assert!(reset < 60, "of 100 connections, 33 of them the node's: {lines:?}");
        script_ok(&["kill", "lb2", "lbd"]);
        wait_for_service_by(&NODES);
    }

    fn serves_with_one_node(&self) {
        script_ok(&["withdraw", "lb1"]);
        script_ok(&["disconnect", "lb3"]);
        // A node that is cut off has the address, and nobody comes.
        wait_until("the router sends to lb2 alone", || {
            text(&script(&["vip"])).lines().any(|line| line == "the router sends to lb2")
        });
        assert!(answers(self.web, "/"));
        script_ok(&["withdraw", "lb2"]);
        let vip = script_ok(&["vip"]);
        assert!(vip.contains("the router sends to nobody"), "{vip}");
        script_ok(&["connect", "lb3"]);
        script_ok(&["announce", "lb2"]);
        script_ok(&["announce", "lb1"]);
        wait_for_service_by(&NODES);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell_last_words(&["router", "lb1", "lb2", "lb3"]);
            let output = self.makefile.make("demo-3-down");
            eprintln!("--- make demo-3-down: {}", output.status);
        }
    }
}
