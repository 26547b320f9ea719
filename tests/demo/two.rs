//! Demo 2 as people run it: started by `make demo-2`, attacked as the workshop does, and torn down. The same for every
//! engine.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use testkit::{Client, Load, RunningLoad, get, skip, wait_for, wait_until};

use crate::kit::{
    Edited, Makefile, SecureLoad, answers, curl, obstacle, root, script, script_ok, tell_last_words, text,
};

/// Starts the demo in an engine, does to it what the workshop does, and takes it down.
pub fn run(engine: &str) {
    if let Some(reason) = obstacle() {
        skip!("{reason}");
    }
    let demo = Demo::up(engine);
    demo.answers_through_the_address();
    demo.speaks_https_at_both_nodes();
    demo.is_told_about_by_its_tools();
    demo.survives_starting_it_twice();
    demo.refuses_demo_1();
    demo.moves_when_the_master_is_stopped_and_stays();
    demo.moves_when_lbd_is_killed();
    demo.stays_when_vrrpd_is_killed();
    demo.is_handed_over();
    demo.keeps_connections_over_a_handover();
    demo.loses_nothing_under_tls_where_it_loses_nothing_without();
    demo.has_sessions_outlive_their_node();
    demo.moves_when_the_master_is_cut_off();
    demo.has_one_owner_after_a_partition();
    demo.reloads_without_a_flap();
    demo.survives_chaos();
    demo.is_back_after_both_were_down();
    demo.is_measured();
    demo.makefile.take_down("demo-2-down");
}

struct Demo {
    makefile: Makefile,
    web: SocketAddr,
    web_tls: SocketAddr,
    stats: [SocketAddr; 2],
    vrrp: [SocketAddr; 2],
    prometheus: SocketAddr,
    /// The configurations of lb1's and lb2's vrrpd.
    configs: [Edited; 2],
}

const NODES: [&str; 2] = ["lb1", "lb2"];
const SERVERS: [&str; 3] = ["nginx1", "nginx2", "nginx3"];

fn other(node: &str) -> &'static str {
    if node == NODES[0] { NODES[1] } else { NODES[0] }
}

/// The nodes whose kernel has the virtual address.
fn owners() -> Vec<&'static str> {
    let vip = text(&script(&["vip"]));
    let first = vip.lines().next().unwrap_or_default();
    let (_, owners) = first.split_once(" is on ").unwrap_or_default();
    NODES.into_iter().filter(|node| owners.split(' ').any(|owner| owner == *node)).collect()
}

impl Demo {
    fn up(engine: &str) -> Self {
        let variables = [
            "WEB_PORT",
            "WEB_TLS_PORT",
            "PROMETHEUS_PORT",
            "STATS_PORT",
            "STATS2_PORT",
            "VRRP_PORT",
            "VRRP2_PORT",
        ];
        let (makefile, [web, web_tls, prometheus, stats1, stats2, vrrp1, vrrp2]) =
            Makefile::new(engine, variables);
        let configs = ["compose/vrrp-lb1.yaml", "compose/vrrp-lb2.yaml"].map(Edited::new);
        let (stats, vrrp) = ([stats1, stats2], [vrrp1, vrrp2]);
        let demo = Self { makefile, web, web_tls, stats, vrrp, prometheus, configs };
        demo.makefile.make_ok("demo-2");
        demo
    }

    fn load(&self) -> RunningLoad {
        let load = Load::default().start(self.web);
        load.wait_for_requests(20);
        load
    }

    fn state(&self, node: &str) -> Option<String> {
        let address = self.vrrp[usize::from(node == NODES[1])];
        let metrics =
            Client::try_connect(address, None).and_then(|mut client| client.try_get("/metrics")).ok()?;
        let text = metrics.text();
        let line =
            text.lines().find(|line| line.starts_with("tandem_vrrp_state{") && line.ends_with(" 1"))?;
        let (_, rest) = line.split_once("state=\"")?;
        Some(rest.split('"').next()?.to_owned())
    }

    /// Waits until one node has the address and the other is its backup; the former.
    fn settled(&self) -> &'static str {
        wait_for("one owner and one backup", || match owners().as_slice() {
            [owner] => {
                let as_expected = self.state(owner)? == "master" && self.state(other(owner))? == "backup";
                as_expected.then_some(*owner)
            }
            _ => None,
        })
    }

    fn wait_for_owner(&self, node: &str) {
        wait_until(&format!("the address is on {node} alone"), || owners() == [node]);
    }

    fn answers_through_the_address(&self) {
        let mut client = Client::connect(self.web);
        let seen: Vec<_> = (0..6).map(|_| client.get("/").instance()).collect();
        let mut first: Vec<_> = seen[..3].to_vec();
        first.sort_unstable();
        assert_eq!(first, [Some(1), Some(2), Some(3)], "{seen:?}");
        for port in ["80", "8080"] {
            let url = format!("http://172.20.0.100:{port}/");
            let page = script_ok(&["exec", "vip-access", "curl", "-s", "--max-time", "10", &url]);
            assert!(page.contains("NGINX Instance"), "{page}");
        }
    }

    fn speaks_https_at_both_nodes(&self) {
        let through = format!("https://localhost:{}/", self.web_tls.port());
        let page = text(&curl(&["-w", "HTTP/%{http_version}", &through]));
        assert!(page.contains("NGINX Instance") && page.ends_with("HTTP/2"), "{page}");
        for url in ["https://172.20.0.100", "https://lb1", "https://lb2:8443", "https://172.20.0.12"] {
            let ca = "/etc/tandem/tls/ca.pem";
            let args = ["exec", "lb1", "curl", "-sS", "--cacert", ca, "-w", "HTTP/%{http_version}", url];
            let page = script_ok(&args);
            assert!(page.contains("NGINX Instance") && page.ends_with("HTTP/2"), "{url}: {page}");
        }
    }

    fn is_told_about_by_its_tools(&self) {
        let master = self.settled();
        let status = self.makefile.make_ok("demo-2-status");
        for word in ["lb1", "lb2", "nginx1", "vrrpd", "172.20.0.100 is on"] {
            assert!(status.contains(word), "{word}: {status}");
        }
        let address = script_ok(&["exec", master, "ip", "addr", "show", "eth0"]);
        assert!(address.contains("172.20.0.100"), "{address}");
        let log = script_ok(&["logs", master]).to_lowercase();
        assert!(log.lines().any(|line| line.contains("vrrp") && line.contains("master")), "{log}");
        assert!(!log.contains("names a key that every user"), "vrrpd has a copy of its own: {log}");
        assert!(!log.contains("not permitted"), "{log}");
        for address in self.stats.iter().chain(&self.vrrp) {
            assert_eq!(get(*address, "/ready").status, 200, "{address}");
        }
        let files = ["vrrp-lb1.yaml", "vrrp-lb2.yaml", "lb.yaml"].map(|file| format!("/etc/tandem/{file}"));
        script_ok(&["exec", master, "tandemctl", "check", &files[0], &files[1], &files[2]]);
        wait_until("Prometheus scrapes every daemon", || {
            let answer = get(self.prometheus, "/api/v1/query?query=sum(up)").text();
            answer.contains("\"success\"") && answer.contains("\"7\"")
        });
    }

    fn survives_starting_it_twice(&self) {
        let master = self.settled();
        let load = self.load();
        self.makefile.make_ok("demo-2");
        load.stop().assert_nothing_lost();
        assert_eq!(owners(), [master]);
    }

    fn refuses_demo_1(&self) {
        let refused = self.makefile.make("demo-1");
        let told = text(&refused);
        assert!(!refused.status.success() && told.contains("demo 2 runs"), "{told}");
        assert_eq!(owners().len(), 1);
    }

    fn moves_when_the_master_is_stopped_and_stays(&self) {
        for _ in NODES {
            let master = self.settled();
            let load = self.load();
            script_ok(&["stop", master]);
            self.wait_for_owner(other(master));
            load.wait_for_requests(100);
            script_ok(&["start", master]);
            assert_eq!(self.settled(), other(master), "nobody preempts");
            load.stop().assert_nothing_lost();
        }
    }

    fn moves_when_lbd_is_killed(&self) {
        let master = self.settled();
        script_ok(&["kill", master, "lbd"]);
        self.wait_for_owner(other(master));
        assert_eq!(self.settled(), other(master), "{master} is a backup again once s6 has started lbd");
        Load::default().run(self.web, 60).assert_nothing_lost();
    }

    fn stays_when_vrrpd_is_killed(&self) {
        let master = self.settled();
        let load = self.load();
        script_ok(&["kill", master, "vrrpd"]);
        assert_eq!(self.settled(), master);
        load.wait_for_requests(100);
        load.stop().assert_nothing_lost();
        assert_eq!(owners(), [master]);
    }

    fn is_handed_over(&self) {
        let master = self.settled();
        let load = self.load();
        script_ok(&["exec", master, "tandemctl", "handover"]);
        self.wait_for_owner(other(master));
        assert_eq!(self.settled(), other(master));
        load.wait_for_requests(100);
        load.stop().assert_nothing_lost();
    }

    /// With what vrrpd may do in this engine.
    fn keeps_connections_over_a_handover(&self) {
        for config in &self.configs {
            config.replace("preempt: false", "keep_connections: 1h\n    preempt: false");
        }
        self.makefile.make_ok("reload");
        let master = self.settled();
        let kept = |node: &str, words: &str| {
            script_ok(&["exec", node, "tandemctl", "status", "--alone"]).contains(words)
        };
        let url = "http://172.20.0.100/download";
        let mut download = Command::new("scripts/demo")
            .args(["exec", "vip-access", "curl", "-sSN", "--max-time", "60", url])
            .current_dir(root())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo's script starts");
        let body = download.stdout.as_mut().expect("it is a pipe");
        body.read_exact(&mut [0]).expect("the download begins");
        script_ok(&["exec", master, "tandemctl", "handover"]);
        self.wait_for_owner(other(master));
        wait_until("it is counted", || kept(master, "keeps 1 connection of before the handover"));
        assert!(kept(other(master), "passes packets on to "));
        // As its length says.
        let whole = download.wait_with_output().expect("curl ends");
        assert!(whole.status.success(), "{}", text(&whole));
        wait_until("nothing is kept any more", || {
            !kept(master, "keeps ") && !kept(other(master), "passes packets on")
        });
        for config in &self.configs {
            config.restore();
        }
        self.makefile.make_ok("reload");
    }

    fn loses_nothing_under_tls_where_it_loses_nothing_without(&self) {
        let leave: [fn(&str); 2] = [
            |master| _ = script_ok(&["stop", master]),
            |master| _ = script_ok(&["exec", master, "tandemctl", "handover"]),
        ];
        for leave in leave {
            let master = self.settled();
            let load = SecureLoad::start(self.web_tls, 200);
            leave(master);
            self.wait_for_owner(other(master));
            load.assert_nothing_lost();
            script_ok(&["start", master]);
            assert_eq!(self.settled(), other(master));
        }
    }

    fn has_sessions_outlive_their_node(&self) {
        let resumed = |node: &str| {
            let metrics = get(self.stats[usize::from(node == NODES[1])], "/metrics").text();
            let series = "tandem_frontend_tls_handshakes_total{proxy=\"web\",result=\"resumed\"} ";
            let count = metrics.lines().find_map(|line| line.strip_prefix(series)?.parse::<f64>().ok());
            count.unwrap_or_else(|| panic!("{node} does not count: {metrics}"))
        };
        for fault in ["lbd-killed", "handover"] {
            let master = self.settled();
            let before = resumed(other(master));
            let output = Command::new("scripts/resume-test.sh")
                .arg(fault)
                .env("WEB_TLS_PORT", self.web_tls.port().to_string())
                .current_dir(root())
                .output()
                .expect("the test of sessions starts");
            let told = text(&output);
            assert!(output.status.success(), "{told}");
            let went_on =
                format!("{master}  New, TLSv1.3\n{master}  {fault}\n{0}  Reused, TLSv1.3\n", other(master));
            assert_eq!(told, went_on);
            assert_eq!(resumed(other(master)), before + 1.0, "{fault}");
        }
    }

    fn moves_when_the_master_is_cut_off(&self) {
        let master = self.settled();
        script_ok(&["disconnect", master]);
        wait_until("the address is on the other node", || owners().contains(&other(master)));
        wait_until("clients are served", || answers(self.web, "/"));
        script_ok(&["connect", master]);
        assert_eq!(self.settled(), other(master), "{master} is a healthy backup");
        Load::default().run(self.web, 60).assert_nothing_lost();
    }

    fn has_one_owner_after_a_partition(&self) {
        self.settled();
        script_ok(&["partition"]);
        wait_until("each side has an owner", || owners().len() == 2);
        assert!(answers(self.web, "/"));
        script_ok(&["heal"]);
        self.settled();
        Load::default().run(self.web, 60).assert_nothing_lost();
    }

    fn reloads_without_a_flap(&self) {
        let master = self.settled();
        let load = self.load();
        for config in &self.configs {
            config.replace("timing: safe", "timing: fast");
        }
        self.makefile.make_ok("reload");
        assert_eq!(self.settled(), master);
        self.configs[0].replace("timing: safe", "timing: fsat");
        let refused = self.makefile.make("reload");
        let told = text(&refused);
        assert!(!refused.status.success(), "{told}");
        assert!(told.contains("vrrp-lb1.yaml:") && told.contains("fast"), "{told}");
        for config in &self.configs {
            config.restore();
        }
        self.makefile.make_ok("reload");
        assert_eq!(self.settled(), master);
        load.stop().assert_nothing_lost();
    }

    fn survives_chaos(&self) {
        let master = self.settled();
        let load = self.load();
        let victims = [SERVERS[0], master, SERVERS[1]];
        for victim in victims {
            script_ok(&["stop", victim]);
            load.wait_for_requests(100);
        }
        assert_eq!(owners(), [other(master)]);
        for victim in victims {
            script_ok(&["start", victim]);
        }
        assert_eq!(self.settled(), other(master));
        load.stop().assert_nothing_lost();
        wait_until("all servers take their share again", || {
            Load::default().run(self.web, 30).by_instance.len() == SERVERS.len()
        });
    }

    fn is_back_after_both_were_down(&self) {
        for node in NODES {
            script_ok(&["stop", node]);
        }
        assert!(!answers(self.web, "/"));
        for node in NODES {
            script_ok(&["start", node]);
        }
        self.settled();
        Load::default().run(self.web, 60).assert_nothing_lost();
    }

    fn is_measured(&self) {
        let measure = |fault: &str| {
            let output = Command::new("scripts/failover-test.sh").arg(fault).current_dir(root()).output();
            let output = output.expect("the failover test starts");
            let told = text(&output);
            assert!(output.status.success(), "{told}");
            told
        };
        let killed = measure("lbd-killed");
        assert!(killed.contains("VIP on lb") && killed.contains("owners at most "), "{killed}");
        let handover = measure("handover");
        assert!(handover.contains("lost 0 of ") && handover.contains("VIP on lb"), "{handover}");
        self.settled();
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell_last_words(&["lb1", "lb2", "vip-access"]);
            let output = self.makefile.make("demo-2-down");
            eprintln!("--- make demo-2-down: {}", output.status);
        }
    }
}
