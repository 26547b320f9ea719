//! Demo 1 as people run it: started by `make demo-1`, attacked, and torn down. The same for every engine.

use std::net::SocketAddr;
use std::process::Command;

use testkit::{Client, Load, Response, Row, RunningLoad, get, read_csv, skip, wait_for, wait_until};

use crate::kit::{
    Edited, Makefile, SecureLoad, answers, curl, obstacle, root, script, script_ok, serial_presented, text,
};

/// What the Makefile calls the demo's ports of this machine.
pub const PORTS: [&str; 5] = ["WEB_PORT", "WEB_TLS_PORT", "STATS_PORT", "HEALTHD_PORT", "PROMETHEUS_PORT"];

/// Starts the demo in an engine, does to it what the workshop does, and takes it down.
pub fn run(engine: &str) {
    if let Some(reason) = obstacle() {
        skip!("{reason}");
    }
    let demo = Demo::up(engine);
    demo.shows_three_pages_in_turn();
    demo.shares_a_load_test();
    demo.speaks_https();
    demo.presents_a_new_certificate_without_a_reload();
    demo.is_told_about_by_its_tools();
    demo.has_nothing_that_gives_privileges();
    demo.survives_starting_it_twice();
    demo.loses_nothing_when_servers_move();
    demo.loses_nothing_when_healthd_dies();
    demo.is_repaired_when_lbd_dies();
    demo.reloads_and_refuses();
    demo.answers_503_when_all_are_down();
    demo.says_what_does_not_run();
    demo.makefile.take_down("demo-1-down");
}

struct Demo {
    makefile: Makefile,
    web: SocketAddr,
    web_tls: SocketAddr,
    stats: SocketAddr,
    healthd: SocketAddr,
    prometheus: SocketAddr,
    config: Edited,
    /// What the containers are made from.
    composed: Edited,
}

const SERVERS: [&str; 3] = ["nginx1", "nginx2", "nginx3"];

impl Demo {
    fn up(engine: &str) -> Self {
        let (makefile, [web, web_tls, stats, healthd, prometheus]) = Makefile::new(engine, PORTS);
        let config = Edited::new("compose/lb.yaml");
        let composed = Edited::new("compose/demo-1.yml");
        let demo = Self { makefile, web, web_tls, stats, healthd, prometheus, config, composed };
        demo.makefile.make_ok("demo-1");
        demo
    }

    fn rows(&self) -> Vec<Row> {
        // lbd may be on its way back: then there is nothing to read.
        let read = || Client::try_connect(self.stats, None)?.try_get("/;csv");
        read().map_or_else(|_| Vec::new(), |response: Response| read_csv(&response.text()))
    }

    fn row(&self, name: &str) -> Row {
        wait_for(&format!("statistics of {name}"), || {
            self.rows().into_iter().find(|row| row.text("svname") == name && row.text("pxname") == "nginx")
        })
    }

    fn wait_for_status(&self, server: &str, status: &str) {
        wait_until(&format!("{server} is {status}"), || self.row(server).text("status") == status);
    }

    fn load(&self) -> RunningLoad {
        let load = Load::default().start(self.web);
        load.wait_for_requests(20);
        load
    }

    fn shows_three_pages_in_turn(&self) {
        let mut client = Client::connect(self.web);
        let seen: Vec<_> = (0..6).map(|_| client.get("/").instance()).collect();
        let mut first: Vec<_> = seen[..3].to_vec();
        first.sort_unstable();
        assert_eq!(first, [Some(1), Some(2), Some(3)], "{seen:?}");
        assert_eq!(seen[..3], seen[3..], "{seen:?}");
    }

    fn shares_a_load_test(&self) {
        let output = Command::new("scripts/load-test.sh")
            .args([&format!("http://{}", self.web), "300", "0.002"])
            .current_dir(root())
            .output()
            .expect("the load test starts");
        let told = text(&output);
        assert!(output.status.success(), "{told}");
        assert!(told.contains("100%") || told.contains("100.0"), "every request succeeds: {told}");
        for server in 1..=3 {
            assert!(told.contains(&format!("NGINX Instance {server}")), "{told}");
        }
    }

    fn speaks_https(&self) {
        for (version, spoken) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let url = format!("https://localhost:{}/", self.web_tls.port());
            let output = curl(&[version, "-w", "HTTP/%{http_version}", &url]);
            let told = text(&output);
            assert!(output.status.success() && told.contains("NGINX Instance"), "{told}");
            assert!(told.ends_with(&format!("HTTP/{spoken}")), "{version}: {told}");
        }
        for url in ["https://lb", "https://lb:8443"] {
            let page = script_ok(&["exec", "lb", "curl", "-sS", "--cacert", "/etc/tandem/tls/ca.pem", url]);
            assert!(page.contains("NGINX Instance"), "{page}");
        }
    }

    /// Nor does anybody but lbd and root get to see its key.
    fn presents_a_new_certificate_without_a_reload(&self) {
        let (load, before) = (SecureLoad::start(self.web_tls, 200), serial_presented(self.web_tls));
        assert!(before.starts_with("serial="), "{before}");
        script_ok(&["renew"]);
        wait_until("the new certificate is presented", || serial_presented(self.web_tls) != before);
        load.assert_nothing_lost();
        for file in ["demo.pem", "tickets"] {
            let mode =
                script_ok(&["exec", "lb", "stat", "-c", "%a %U %G", &format!("/etc/tandem/tls/{file}")]);
            assert_eq!(mode.trim(), "640 root tandem-lbd", "{file}");
        }
        let files = script_ok(&["exec", "lb", "ls", "/etc/tandem/tls"]);
        assert_eq!(files.split_whitespace().collect::<Vec<_>>(), ["ca.pem", "demo.pem", "tickets"]);
    }

    fn is_told_about_by_its_tools(&self) {
        let status = self.makefile.make_ok("demo-1-status");
        for word in ["nginx1", "nginx2", "nginx3", "UP"] {
            assert!(status.contains(word), "{status}");
        }
        let stat =
            script_ok(&["exec", "lb", "sh", "-c", "echo 'show stat' | socat stdio /run/tandem/lbd.sock"]);
        assert_eq!(stat.lines().filter(|line| line.starts_with("nginx,nginx")).count(), 3, "{stat}");
        assert!(get(self.stats, "/").text().contains("nginx1"), "curl | grep nginx1");
        assert_eq!(get(self.healthd, "/ready").status, 200);
        wait_until("Prometheus scrapes both daemons", || {
            let answer = get(self.prometheus, "/api/v1/query?query=sum(up)").text();
            answer.contains("\"success\"") && answer.contains("\"2\"")
        });
    }

    /// A box has the machine's own programs.
    fn has_nothing_that_gives_privileges(&self) {
        if self.makefile.engine() == "netns" {
            return;
        }
        for service in ["lb", "nginx1", "prometheus"] {
            // What the containers' root may not look into has no programs.
            let found = script(&["exec", service, "find", "/", "-xdev", "-type", "f", "-perm", "/6000"]);
            assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{service}: {}", text(&found));
            let status = script_ok(&["exec", service, "grep", "NoNewPrivs", "/proc/1/status"]);
            assert_eq!(status.split_whitespace().last(), Some("1"), "{service}");
        }
    }

    fn survives_starting_it_twice(&self) {
        let load = self.load();
        self.makefile.make_ok("demo-1");
        load.stop().assert_nothing_lost();
    }

    fn loses_nothing_when_servers_move(&self) {
        let load = self.load();
        let address = |server: &str| self.row(server).text("addr").to_owned();
        let mut servers = ["nginx1", "nginx2"];
        servers.sort_by_key(|server| address(server).parse::<SocketAddr>().unwrap());
        let [low, high] = servers;
        let before = address(high);
        for server in servers {
            script_ok(&["stop", server]);
            self.wait_for_status(server, "DOWN");
        }
        // Engines give the lowest free address: the first to come back gets the one that the other had.
        for server in [high, low] {
            script_ok(&["start", server]);
            self.wait_for_status(server, "UP");
        }
        load.stop().assert_nothing_lost();
        assert_ne!(before, address(high), "{high} was to come back with another address");
        wait_until("each has an address of its own", || address(high) != address(low));
        let report = Load::default().run(self.web, 60);
        report.assert_nothing_lost();
        assert_eq!(report.by_instance.len(), 3, "{report:?}");
    }

    fn loses_nothing_when_healthd_dies(&self) {
        let downs = || SERVERS.map(|server| self.row(server).number("chkdown"));
        let load = self.load();
        let before = downs();
        let old = self.pid("healthd");
        script_ok(&["kill", "lb", "healthd"]);
        wait_until("s6 has started healthd again", || {
            self.try_pid("healthd").is_some_and(|pid| pid != old) && answers(self.healthd, "/ready")
        });
        load.wait_for_requests(100);
        load.stop().assert_nothing_lost();
        for server in SERVERS {
            assert_eq!(self.row(server).text("status"), "UP");
        }
        let after = downs();
        assert!(
            after.iter().zip(before).all(|(&after, before)| after <= before),
            "{before:?} became {after:?}"
        );
    }

    fn is_repaired_when_lbd_dies(&self) {
        script_ok(&["stop", "nginx2"]);
        self.wait_for_status("nginx2", "DOWN");
        let old = self.pid("lbd");
        script_ok(&["kill", "lb", "lbd"]);
        wait_until("s6 has started lbd again", || {
            self.try_pid("lbd").is_some_and(|pid| pid != old) && answers(self.stats, "/ready")
        });
        Load::default().run(self.web, 100).assert_nothing_lost();
        let row = self.row("nginx2");
        assert_eq!((row.text("status"), row.number("stot"), row.number("econ")), ("DOWN", 0, 0), "{row:?}");
        script_ok(&["start", "nginx2"]);
        self.wait_for_status("nginx2", "UP");
    }

    fn reloads_and_refuses(&self) {
        let algorithm = || self.row("BACKEND").text("algo").to_owned();
        let load = self.load();
        assert_eq!(algorithm(), "roundrobin");
        self.config.replace("balance: roundrobin", "balance: leastconn");
        self.makefile.make_ok("reload");
        wait_until("leastconn is in force", || algorithm() == "leastconn");

        self.config.replace("balance: roundrobin", "balance: leastcon");
        let refused = self.makefile.make("reload");
        let told = text(&refused);
        assert!(!refused.status.success(), "{told}");
        assert!(told.contains("lb.yaml:") && told.contains("leastconn"), "{told}");
        assert_eq!(algorithm(), "leastconn");

        self.config.restore();
        self.makefile.make_ok("reload");
        wait_until("roundrobin is back", || algorithm() == "roundrobin");
        load.stop().assert_nothing_lost();
    }

    fn answers_503_when_all_are_down(&self) {
        for server in SERVERS {
            script_ok(&["stop", server]);
        }
        for server in SERVERS {
            self.wait_for_status(server, "DOWN");
        }
        assert_eq!(get(self.web, "/").status, 503);
        for server in SERVERS {
            script_ok(&["start", server]);
        }
        for server in SERVERS {
            self.wait_for_status(server, "UP");
        }
        Load::default().run(self.web, 60).assert_nothing_lost();
    }

    /// In the engine's own words, and with its last ones.
    fn says_what_does_not_run(&self) {
        if self.makefile.engine() == "netns" {
            // There no file says what runs.
            return;
        }
        let started = "command: [start-prometheus, prometheus-1.yml]";
        let refused = |command: &str, words: &[&str]| {
            self.composed.replace(started, command);
            let output = self.makefile.make("demo-1");
            let told = text(&output);
            assert!(!output.status.success(), "{told}");
            for word in words {
                assert!(told.contains(word), "no {word:?} in {told}");
            }
        };
        refused(
            "command: [no-such-program]",
            &["no-such-program", "executable file not found", "make demo-1-down"],
        );
        refused("command: [sh, -c, echo farewell; exit 3]", &["prometheus: exited, exit code 3", "farewell"]);
        self.composed.restore();
        self.makefile.make_ok("demo-1");
    }

    fn try_pid(&self, process: &str) -> Option<u32> {
        let output = script(&["exec", "lb", "pgrep", "-x", process]);
        String::from_utf8_lossy(&output.stdout).split_whitespace().next()?.parse().ok()
    }

    fn pid(&self, process: &str) -> u32 {
        self.try_pid(process).unwrap_or_else(|| panic!("{process} does not run"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::kit::tell_last_words(&["lb", "nginx1"]);
            let output = self.makefile.make("demo-1-down");
            eprintln!("--- make demo-1-down: {}", output.status);
        }
    }
}
