//! The daemon as it ships, with real servers and a real name server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

mod dns;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use dns::Dns;
use health::{CheckCode, Status};
use tempfile::TempDir;
use testkit::{
    Addresses, Config, Daemon, Nginx, PATIENCE, Program, RawServer, get, text_command, wait_until,
};
use wire::client::{Client, ClientError, Follower, News, Update};
use wire::{Answer, Info, Observation, RefusalCode, Request, TopicName, Verdict};

/// healthd, its configuration, and what its tests ask of it.
struct Healthd {
    daemon: Daemon,
    config: Config,
    addresses: Addresses,
    runtime: tokio::runtime::Runtime,
    _dir: TempDir,
}

impl Healthd {
    /// Not started yet, with no servers.
    fn prepare() -> Self {
        let addresses = Addresses::claim();
        let dir = tempfile::tempdir().unwrap();
        let [web, admin, healthd_admin] = [8080, 8404, 8406].map(|port| addresses.socket(1, port));
        let config = Config::new(web, admin, healthd_admin);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { daemon: Daemon::new(Program::Healthd, dir.path()), config, addresses, runtime, _dir: dir }
    }

    fn write_config(&self) {
        fs::write(self.daemon.config(), self.config.to_string()).unwrap();
    }

    fn start(&mut self) {
        self.write_config();
        self.daemon.start();
    }

    fn nginx(&self, instance: u8) -> Nginx {
        Nginx::start(instance.into(), self.addresses.socket(10 + instance, 8080))
    }

    fn request(&self, request: Request) -> Result<Answer, ClientError> {
        let socket = self.daemon.socket();
        self.runtime.block_on(async { Client::connect(&socket, "test").await?.request(request).await })
    }

    fn reload(&self) {
        self.write_config();
        self.request(Request::Reload).unwrap();
    }

    fn info(&self) -> Info {
        match self.request(Request::Info) {
            Ok(Answer::Info(info)) => info,
            other => panic!("{other:?}"),
        }
    }

    fn verdicts(&self) -> HashMap<String, Verdict> {
        match self.request(Request::Verdicts) {
            Ok(Answer::Verdicts(verdicts)) => {
                verdicts.into_iter().map(|verdict| (verdict.server.clone(), verdict)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn verdict(&self, server: &str) -> Verdict {
        self.verdicts().remove(server).unwrap_or_else(|| panic!("no server {server}"))
    }

    fn wait_for(&self, server: &str, what: &str, condition: impl Fn(&Verdict) -> bool) -> Verdict {
        wait_until(&format!("{server} {what}"), || self.verdicts().get(server).is_some_and(&condition));
        self.verdict(server)
    }

    fn wait_for_status(&self, server: &str, status: Status) -> Verdict {
        self.wait_for(server, &format!("is {status}"), |verdict| verdict.status == status)
    }

    /// The one line of the log with all of these words. The log is written behind the daemon's back, so it is waited for.
    fn event(&self, words: &[&str]) -> String {
        let lines = || -> Vec<String> {
            let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
            self.daemon.stderr().lines().filter(has_all).map(str::to_owned).collect()
        };
        wait_until(&format!("an event with {words:?}"), || !lines().is_empty());
        let lines = lines();
        let [line] = lines.as_slice() else { panic!("one event, not {lines:?}") };
        line.clone()
    }

    fn metric(&self, series: &str) -> Option<f64> {
        let metrics = get(self.config.healthd_admin, "/metrics").text();
        let line = metrics.lines().find_map(|line| line.strip_prefix(series))?;
        line.trim().parse().ok()
    }

    fn command(&self, command: &str) -> String {
        text_command(&self.daemon.socket(), command)
    }
}

fn last_code(verdict: &Verdict) -> Option<CheckCode> {
    verdict.check.as_ref().map(|check| check.code)
}

#[test]
fn servers_go_down_and_come_back() {
    let mut healthd = Healthd::prepare();
    let mut nginx = [healthd.nginx(1), healthd.nginx(2)];
    for (server, nginx) in ["s1", "s2"].into_iter().zip(&nginx) {
        healthd.config.server(server, nginx.address());
    }
    healthd.start();
    // Readiness waits for the first check of each.
    let verdicts = healthd.verdicts();
    assert!(verdicts.values().all(|verdict| verdict.status == Status::Up), "{verdicts:?}");
    assert_eq!(verdicts["s1"].address, Some(nginx[0].address()));
    assert_eq!(verdicts["s1"].check.as_ref().unwrap().http_status, Some(200));
    healthd.event(&["server=s1", "from=UNKNOWN", "to=UP", "code=L7OK", "200 OK"]);

    nginx[0].stop();
    let down = healthd.wait_for_status("s1", Status::Down);
    assert_eq!((last_code(&down), down.downs, down.failed_checks), (Some(CheckCode::L4Con), 1, 3));
    let event = healthd.event(&["server=s1", "to=DOWN"]);
    for field in ["backend=app", "from=UP", "code=L4CON", "reason=\"Connection refused\"", "streak=3/3"] {
        assert!(event.contains(field), "{field} is missing in {event}");
    }
    assert!(
        healthd.command("show servers state").contains("\napp s1 DOWN "),
        "{}",
        healthd.command("show stat")
    );

    nginx[0].restart();
    let up = healthd.wait_for_status("s1", Status::Up);
    assert!(up.downtime_ms > 0 && up.downs == 1, "{up:?}");
    healthd.event(&["server=s1", "from=DOWN", "to=UP", "streak=2/2"]);
    // Nothing happened to the other one.
    healthd.event(&["server=s2"]);

    assert_eq!(
        healthd.metric("tandem_health_server_status{proxy=\"app\",server=\"s1\",state=\"up\"}"),
        Some(1.0)
    );
    assert_eq!(
        healthd.metric("tandem_health_transitions_total{proxy=\"app\",server=\"s1\",to=\"down\"}"),
        Some(1.0)
    );
    assert_eq!(healthd.daemon.stop().code(), Some(0));
    assert!(!healthd.daemon.socket().exists());
}

#[test]
fn a_reload_keeps_what_stays() {
    let mut healthd = Healthd::prepare();
    let mut nginx = [healthd.nginx(1), healthd.nginx(2), healthd.nginx(3)];
    healthd.config.server("s1", nginx[0].address());
    healthd.config.server("s2", nginx[1].address());
    healthd.start();
    nginx[0].stop();
    healthd.wait_for_status("s1", Status::Down);
    nginx[0].restart();
    let before = healthd.wait_for_status("s1", Status::Up);

    // The other check, the other order, a new server, and one that is gone.
    healthd.config.check = "{ tcp: {}, interval: 100ms, fall: 2, rise: 4 }".to_owned();
    healthd.config.remove_server("s1");
    healthd.config.remove_server("s2");
    healthd.config.server("s3", nginx[2].address());
    healthd.config.server("s1", nginx[0].address());
    healthd.reload();
    let s1 =
        healthd.wait_for("s1", "is checked otherwise", |verdict| last_code(verdict) == Some(CheckCode::L4Ok));
    assert_eq!((s1.status, s1.downs, s1.rise, s1.fall), (Status::Up, 1, 4, 2));
    assert!(s1.since_ms >= before.since_ms, "its status is as old as it was: {s1:?}");
    healthd.wait_for_status("s3", Status::Up);
    assert_eq!(healthd.verdicts().len(), 2);
    let order = healthd.command("show servers state");
    assert!(order.find("app s3").unwrap() < order.find("app s1").unwrap(), "{order}");
    assert_eq!(healthd.info().generation, 2);
    assert_eq!(healthd.metric("tandem_health_checks_total{code=\"L7OK\",proxy=\"app\",server=\"s2\"}"), None);

    // The new check of a server that died meanwhile takes it down by its own rules.
    nginx[0].stop();
    let down = healthd.wait_for_status("s1", Status::Down);
    assert_eq!(down.downs, 2);
    healthd.event(&["server=s1", "to=DOWN", "streak=2/2"]);

    // Another address: the status stays until checks there decide.
    healthd.config.server("s1", nginx[1].address());
    healthd.reload();
    let moved = healthd.wait_for("s1", "has moved", |verdict| verdict.address == Some(nginx[1].address()));
    assert_eq!(moved.downs, 2);
    healthd.wait_for_status("s1", Status::Up);
    healthd.event(&["server=s1", "to=UP", "streak=4/4"]);
}

#[test]
fn a_bad_file_changes_nothing() {
    let mut healthd = Healthd::prepare();
    let nginx = healthd.nginx(1);
    healthd.config.server("s1", nginx.address());
    healthd.start();
    let good = fs::read_to_string(healthd.daemon.config()).unwrap();
    fs::write(healthd.daemon.config(), good.replace("interval: 200ms", "interval: often")).unwrap();
    let refusal = match healthd.request(Request::Reload) {
        Err(ClientError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal.code, RefusalCode::Failed);
    assert!(refusal.message.contains("lb.yaml:") && refusal.message.contains("often"), "{}", refusal.message);
    assert_eq!(healthd.info().generation, 1);
    assert_eq!(healthd.info().reload_error, Some(refusal.message));
    assert_eq!(healthd.metric("tandem_healthd_config_reload_ok"), Some(0.0));
    assert!(get(healthd.config.healthd_admin, "/").text().contains("The last reload was refused"));
    assert_eq!(healthd.verdict("s1").status, Status::Up);
    healthd.event(&["reload refused"]);

    // By signal, a good one again; a listening address is the one thing that waits for the next start.
    let moved = good
        .replace(&healthd.config.healthd_admin.to_string(), &healthd.addresses.socket(2, 8406).to_string());
    fs::write(healthd.daemon.config(), moved).unwrap();
    healthd.daemon.reload();
    wait_until("the good file is in force", || healthd.info().generation == 2);
    assert_eq!(healthd.info().reload_error, None);
    healthd.event(&["healthd.admin.bind has changed"]);
    assert_eq!(get(healthd.config.healthd_admin, "/ready").status, 200);
    // And by a command.
    let said = text_command(&healthd.daemon.socket(), "reload");
    assert_eq!(said, "generation 3: 1 server in 1 backend\n\n");
}

#[test]
fn a_new_healthd_knows_since_when_servers_are_as_they_are() {
    let mut healthd = Healthd::prepare();
    let mut nginx = [healthd.nginx(1), healthd.nginx(2)];
    for (server, nginx) in ["s1", "s2"].into_iter().zip(&nginx) {
        healthd.config.server(server, nginx.address());
    }
    healthd.start();
    nginx[1].stop();
    healthd.wait_for_status("s2", Status::Down);
    let file = healthd.daemon.socket().with_file_name("healthd.since");
    wait_until("that is kept", || fs::read_to_string(&file).is_ok_and(|text| text.contains("\"down\"")));
    let before = ["s1", "s2"].map(|server| healthd.verdict(server).since_ms);
    healthd.daemon.kill();
    healthd.daemon.start();
    assert!(healthd.wait_for_status("s1", Status::Up).since_ms >= before[0]);
    assert!(healthd.wait_for_status("s2", Status::Down).since_ms >= before[1]);

    // What has changed meanwhile, is so from now on.
    healthd.daemon.kill();
    nginx[1].restart();
    healthd.daemon.start();
    let [kept, changed] = ["s1", "s2"].map(|server| healthd.wait_for_status(server, Status::Up).since_ms);
    assert!(changed < before[1].min(kept), "{changed} ms");

    healthd.daemon.kill();
    fs::write(&file, "{").unwrap();
    healthd.daemon.start();
    healthd.event(&["since when servers have been up or down is not known", "healthd.since is not what"]);
    assert!(healthd.wait_for_status("s1", Status::Up).since_ms < before[0]);
}

#[test]
fn what_lbd_saw_brings_the_next_check_forward() {
    let mut healthd = Healthd::prepare();
    let mut nginx = healthd.nginx(1);
    healthd.config.check =
        "{ http: { path: /health }, interval: 1h, fast_interval: 100ms, timeout: 2s, fall: 3, rise: 2 }"
            .to_owned();
    healthd.config.server("s1", nginx.address());
    healthd.start();
    assert_eq!(healthd.wait_for_status("s1", Status::Up).failed_checks, 0);
    nginx.stop();
    let observation = |server: &str| Observation {
        backend: "app".to_owned(),
        server: server.to_owned(),
        connect_failures: 2,
        bad_responses: 1,
    };
    // One observation is enough: after the first failed check the others follow in the fast interval.
    healthd
        .request(Request::Observe { observations: vec![observation("s1"), observation("nobody")] })
        .unwrap();
    let down = healthd.wait_for_status("s1", Status::Down);
    assert_eq!((down.failed_checks, last_code(&down)), (3, Some(CheckCode::L4Con)));
    let counted = |kind| healthd.metric(&format!("tandem_health_observations_total{{kind=\"{kind}\"}}"));
    assert_eq!((counted("connect_failure"), counted("bad_response")), (Some(2.0), Some(1.0)));
}

#[test]
fn a_follower_sees_a_restart_and_no_flap() {
    let mut healthd = Healthd::prepare();
    let nginx = healthd.nginx(1);
    let hung = RawServer::start(healthd.addresses.socket(21, 8080), |peer| peer.stall());
    healthd.config.check = "{ http: { path: / }, interval: 200ms, timeout: 20s }".to_owned();
    healthd.config.server("s1", nginx.address());
    healthd.config.server("hung", hung.address());
    healthd.start();
    let mut follower =
        Follower::new(&healthd.daemon.socket(), "test", TopicName::Verdicts, Duration::from_millis(500));
    let mut statuses: HashMap<String, Vec<Status>> = HashMap::new();
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let follow = async {
            // Until the follower has heard of the server's checks a few times.
            let mut checks = 0;
            while checks < 3 {
                let items = match follower.next().await {
                    News::Connected(hello) => {
                        epochs.push(hello.epoch);
                        continue;
                    }
                    News::Update(Update::Snapshot(items)) => items,
                    News::Update(Update::Event(item)) => vec![item],
                    News::Update(_) | News::Disconnected(_) => continue,
                };
                for verdict in items.into_iter().filter_map(wire::Item::into_verdict) {
                    checks += usize::from(verdict.server == "s1" && verdict.check.is_some());
                    statuses.entry(verdict.server).or_default().push(verdict.status);
                }
            }
        };
        let followed = healthd.runtime.block_on(async { tokio::time::timeout(PATIENCE, follow).await });
        followed.expect("the follower hears of three checks");
        healthd.daemon.kill();
        healthd.daemon.start();
    }
    assert_eq!(epochs.len(), 2);
    assert_ne!(epochs[0], epochs[1], "a restart is a new epoch");
    assert!(
        statuses["s1"].iter().all(|status| matches!(status, Status::Up | Status::Unknown)),
        "{statuses:?}"
    );
    assert!(statuses["hung"].iter().all(|status| *status == Status::Unknown), "{statuses:?}");
}

#[test]
fn a_hung_server_does_not_hold_readiness() {
    let mut healthd = Healthd::prepare();
    let hung = RawServer::start(healthd.addresses.socket(21, 8080), |peer| peer.stall());
    let nginx = healthd.nginx(1);
    healthd.config.check = "{ http: { path: / }, interval: 200ms, timeout: 60s }".to_owned();
    healthd.config.server("s1", nginx.address());
    healthd.config.server("hung", hung.address());
    healthd.write_config();
    let _ready = healthd.daemon.spawn();
    let admin = healthd.config.healthd_admin;
    wait_until("healthd answers", || testkit::Client::try_connect(admin, None).is_ok());
    let early = get(admin, "/ready");
    if early.status != 200 {
        assert_eq!((early.status, early.text().as_str()), (503, "not ready: the first checks are running\n"));
    }
    assert_eq!(get(admin, "/health").status, 200);
    wait_until("healthd is ready without the hung server", || get(admin, "/ready").status == 200);
    assert_eq!(healthd.verdict("hung").status, Status::Unknown);
    assert_eq!(healthd.verdict("s1").status, Status::Up);
}

#[test]
fn a_restarted_container_is_followed_to_its_new_address() {
    let mut healthd = Healthd::prepare();
    let mut nginx = healthd.nginx(1);
    let [before, after] = [11, 31].map(|last| healthd.addresses.ip(last));
    // The TTL is that of Docker's name server: only the failing check makes healthd ask again.
    let dns = Dns::start_with_ttl(healthd.addresses.socket(2, 5353), &format!("{before} nginx1\n"), 600);
    healthd.config.more = format!(
        "resolvers: {{ nameservers: \"{}\", min_ttl: 100ms, max_ttl: 10m, timeout: 500ms }}",
        dns.address
    );
    healthd.config.server("s1", "nginx1:8080");
    healthd.config.server("s2", "nginx2:8080");
    healthd.start();
    assert_eq!(healthd.wait_for_status("s1", Status::Up).address, Some((before, 8080).into()));
    // A name that is not there yet is a state with its reason.
    let absent = healthd.wait_for_status("s2", Status::Down);
    let reason = format!("nginx2: no such host (NXDOMAIN from {})", dns.address);
    assert_eq!((absent.address, absent.resolve_error.as_deref()), (None, Some(reason.as_str())));
    assert_eq!(last_code(&absent), Some(CheckCode::SockErr));

    // While the container is stopped its name is gone; its last address is still checked, and it is told why.
    nginx.stop();
    dns.change("");
    let down = healthd.wait_for("s1", "is down and without a name", |verdict| {
        verdict.status == Status::Down && verdict.resolve_error.is_some()
    });
    assert_eq!((down.address, last_code(&down)), (Some((before, 8080).into()), Some(CheckCode::L4Con)));
    assert!(down.resolve_error.unwrap().contains("nginx1: no such host"));

    nginx.restart_on((after, 8080).into());
    dns.change(&format!("{after} nginx1\n{after} nginx2\n"));
    let up = healthd.wait_for_status("s1", Status::Up);
    assert_eq!((up.address, up.resolve_error), (Some((after, 8080).into()), None));
    healthd.wait_for_status("s2", Status::Up);
    // Told once, not at each retry.
    healthd.event(&["name does not resolve", "name=nginx2"]);
    let names = healthd.command("show resolvers");
    assert!(names.contains(&format!("\nnginx1 {after} ")), "{names}");
    assert!(healthd.metric("tandem_health_resolver_queries_total{outcome=\"nxdomain\"}").unwrap() >= 2.0);
}

#[test]
fn a_name_server_that_dies_changes_no_verdict() {
    let mut healthd = Healthd::prepare();
    let nginx = healthd.nginx(1);
    let mut dns =
        Dns::start(healthd.addresses.socket(2, 5353), &format!("{} nginx1.test\n", nginx.address().ip()));
    healthd.config.more =
        format!("resolvers: {{ nameservers: \"{}\", min_ttl: 100ms, timeout: 200ms }}", dns.address);
    healthd.config.server("s1", "nginx1.test:8080");
    healthd.start();
    healthd.wait_for_status("s1", Status::Up);
    dns.stop();
    let kept = healthd.wait_for("s1", "tells of the name server", |verdict| verdict.resolve_error.is_some());
    assert_eq!((kept.status, kept.address), (Status::Up, Some(nginx.address())));
    let page = get(healthd.config.healthd_admin, "/").text();
    assert!(page.contains("the last known addresses stay in use"), "{page}");
    dns.run();
    healthd.wait_for("s1", "resolves again", |verdict| verdict.resolve_error.is_none());
    assert_eq!(healthd.verdict("s1").downs, 0);
}

#[test]
fn a_name_that_changes_all_the_time_is_told_of_once_in_a_while() {
    let mut healthd = Healthd::prepare();
    let dns =
        Dns::start(healthd.addresses.socket(2, 5353), &format!("{} app.test\n", healthd.addresses.ip(100)));
    healthd.config.more = format!("resolvers: {{ nameservers: \"{}\", min_ttl: 100ms }}", dns.address);
    healthd.config.server("s1", "app.test:8080");
    healthd.start();
    for number in 101..110 {
        let next = healthd.addresses.ip(number);
        dns.change(&format!("{next} app.test\n"));
        healthd
            .wait_for("s1", "has the next address", |verdict| verdict.address == Some((next, 8080).into()));
    }
    let told = healthd.daemon.stderr().matches("name resolves").count();
    assert!((1..=5).contains(&told), "{told} lines about 10 lists");
    assert!(healthd.metric("tandem_health_resolver_queries_total{outcome=\"resolved\"}").unwrap() >= 10.0);
}

#[test]
fn what_the_host_lacks_takes_no_server_down() {
    let mut healthd = Healthd::prepare();
    let nginx = healthd.nginx(1);
    healthd.config.server("s1", nginx.address());
    healthd.start();
    let socket = healthd.daemon.socket();
    let pid = healthd.daemon.pid();
    let limit = |descriptors: &str| {
        let status = Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &format!("--nofile={descriptors}:")])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "prlimit of util-linux");
    };
    let codes_until = |follower: &mut Follower, wanted: CheckCode| {
        let follow = async {
            loop {
                let News::Update(Update::Event(item)) = follower.next().await else { continue };
                let Some(verdict) = item.into_verdict() else { continue };
                assert_eq!(verdict.status, Status::Up, "{verdict:?}");
                if last_code(&verdict) == Some(wanted) {
                    return verdict;
                }
            }
        };
        let followed = healthd.runtime.block_on(async { tokio::time::timeout(PATIENCE, follow).await });
        followed.expect("a check that ends so")
    };
    let mut follower = Follower::new(&socket, "test", TopicName::Verdicts, Duration::from_millis(500));
    codes_until(&mut follower, CheckCode::L7Ok);
    // No descriptor is left for a check; those in use stay open.
    limit("3");
    let starved = codes_until(&mut follower, CheckCode::SockErr);
    let check = starved.check.unwrap();
    assert!(check.text.contains("Too many open files"), "{check:?}");
    assert_eq!((starved.streak, starved.failed_checks), (0, 0));
    for _ in 0..5 {
        codes_until(&mut follower, CheckCode::SockErr);
    }
    limit("1000");
    codes_until(&mut follower, CheckCode::L7Ok);
    drop(follower);
    assert!(healthd.metric("tandem_health_checks_starved_total").unwrap() >= 6.0);
    healthd.event(&["server cannot be checked", "server=s1"]);
}

#[test]
fn servers_that_are_not_checked() {
    let mut healthd = Healthd::prepare();
    let raw = RawServer::start(healthd.addresses.socket(21, 8080), |peer| peer.stall());
    healthd.config.server("s1", raw.address());
    healthd.config.server("s2", format!("{{ address: \"{}\", state: maint }}", raw.address()));
    healthd.config.server("named", "localhost:8080");
    healthd.config.check = "off".to_owned();
    healthd.start();
    for server in ["s1", "s2"] {
        let verdict = healthd.verdict(server);
        assert_eq!((verdict.status, verdict.check.is_none()), (Status::Unchecked, true));
        assert_eq!(verdict.address, Some(raw.address()));
    }
    healthd.wait_for("named", "is resolved all the same", |verdict| verdict.address.is_some());

    // Checked from now on, but for the one in maintenance.
    healthd.config.check = "{ tcp: {}, interval: 100ms }".to_owned();
    healthd.reload();
    healthd.wait_for_status("s1", Status::Up);
    assert_eq!(healthd.verdict("s2").status, Status::Unchecked);
    healthd.config.check = "off".to_owned();
    healthd.reload();
    let unchecked = healthd.wait_for_status("s1", Status::Unchecked);
    assert_eq!(unchecked.check, None);
}

#[test]
fn the_pages_of_the_admin_address() {
    let mut healthd = Healthd::prepare();
    let nginx = healthd.nginx(1);
    healthd.config.server("s1", nginx.address());
    healthd.start();
    let page = get(healthd.config.healthd_admin, "/");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.field("content-security-policy"), Some(daemon::page::CONTENT_SECURITY_POLICY));
    assert!(page.text().contains("no server of 1 is down"), "{}", page.text());
    assert_eq!(get(healthd.config.healthd_admin, "/nothing").status, 404);
    assert!(healthd.command("show backend").contains("app"));
}

#[test]
fn wrong_starts_have_their_exit_codes() {
    let mut healthd = Healthd::prepare();
    let nginx = healthd.nginx(1);
    healthd.config.server("s1", nginx.address());
    healthd.config.check = "{ http: { path: /health }, intervall: 2s }".to_owned();
    healthd.write_config();
    let _ready = healthd.daemon.spawn();
    assert_eq!(healthd.daemon.wait().code(), Some(78));
    assert!(healthd.daemon.stderr().contains("interval"), "{}", healthd.daemon.stderr());

    healthd.config.check = Config::QUICK_CHECK.to_owned();
    healthd.start();
    let second = Command::new(testkit::binary(Program::Healthd))
        .arg("--config")
        .arg(healthd.daemon.config())
        .arg("--run-dir")
        .arg(healthd.daemon.config().parent().map(PathBuf::from).unwrap())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(71));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("healthd.sock"), "{said}");
    assert_eq!(healthd.verdict("s1").status, Status::Up, "the first one is untouched");
}
