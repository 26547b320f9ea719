//! Servers that are known by name, and a real name server that changes its mind.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use testkit::{Config, Load, Process, SERVER_PORT, Stack, needs, text_command, wait_until};

/// dnsmasq with a table of names that tests change.
struct NameServer {
    dnsmasq: Process,
    table: PathBuf,
    _dir: tempfile::TempDir,
}

impl NameServer {
    /// Answers on an address with the names given, and with "no such name" for all others.
    fn start(address: SocketAddr, names: &[(&str, SocketAddr)]) -> Self {
        let dir = tempfile::Builder::new().prefix("tandem-names-").tempdir().unwrap();
        let table = dir.path().join("hosts");
        write_table(&table, names);
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-hosts",
                "--no-resolv",
                "--local=/#/",
            ])
            .args(["--bind-interfaces", "--local-ttl=1", "--pid-file="])
            .arg(format!("--listen-address={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--addn-hosts={}", table.display()));
        if testkit::is_root() {
            // Otherwise it would become a user who may not read the table.
            command.arg("--user=root");
        }
        let dnsmasq = Process::spawn("dnsmasq", command, dir.path());
        wait_until("dnsmasq listens", || std::net::TcpStream::connect(address).is_ok());
        Self { dnsmasq, table, _dir: dir }
    }

    /// Answers with these names from now on.
    fn change(&self, names: &[(&str, SocketAddr)]) {
        write_table(&self.table, names);
        self.dnsmasq.signal(Signal::SIGHUP);
    }
}

fn write_table(table: &PathBuf, names: &[(&str, SocketAddr)]) {
    let lines: String = names.iter().map(|(name, address)| format!("{} {name}\n", address.ip())).collect();
    fs::write(table, lines).unwrap();
}

/// Two servers, known by the names `one.test` and `two.test`.
fn start() -> (Stack, NameServer) {
    let mut names = None;
    let stack = Stack::builder()
        .servers(2)
        .config(|config, addresses| {
            let server = addresses.socket(1, 7053);
            let table = [("one.test", addresses.socket(11, 0)), ("two.test", addresses.socket(12, 0))];
            names = Some(NameServer::start(server, &table));
            config.server("s1", format!("one.test:{SERVER_PORT}"));
            config.server("s2", format!("two.test:{SERVER_PORT}"));
            config.more = format!("resolvers: {{ nameservers: [\"{server}\"], max_ttl: 1s }}");
        })
        .start();
    (stack, names.expect("the configuration was made"))
}

#[test]
fn a_server_that_returns_with_another_address_is_found() {
    needs!("dnsmasq");
    let (mut stack, names) = start();
    let load = Load::default().start(stack.web());
    load.wait_for_requests(20);
    stack.nginx[0].stop();
    stack.wait_for_status("s1", "DOWN");
    let moved = stack.addresses.socket(150, SERVER_PORT);
    stack.nginx[0].restart_on(moved);
    names.change(&[("one.test", moved), ("two.test", stack.server_address(2))]);
    stack.wait_for_status("s1", "UP");
    assert_eq!(stack.stat("app", "s1").text("addr"), moved.to_string());
    load.wait_for_requests(50);
    load.stop().assert_nothing_lost();
    assert!(Load::default().run(stack.web(), 20).by_instance.contains_key(&1));
}

#[test]
fn a_name_that_appears_late_joins() {
    needs!("dnsmasq");
    let (mut stack, names) = start();
    stack.config.server("s3", format!("three.test:{SERVER_PORT}"));
    stack.add_nginx();
    stack.reload();
    wait_until("s3 is down", || stack.status("s3").starts_with("DOWN"));
    let [one, two, three] = [1, 2, 3].map(|number| stack.server_address(number));
    names.change(&[("one.test", one), ("two.test", two), ("three.test", three)]);
    stack.wait_for_status("s3", "UP");
}

#[test]
fn a_name_that_is_gone_does_not_come_up_on_somebody_elses_address() {
    needs!("dnsmasq");
    let (mut stack, names) = start();
    let old = stack.server_address(1);
    for number in [0, 1] {
        stack.nginx[number].stop();
    }
    names.change(&[]);
    for server in ["s1", "s2"] {
        stack.wait_for_status(server, "DOWN");
    }
    wait_until("the names are known to be gone", || {
        let resolvers = text_command(&stack.healthd.socket(), "show resolvers");
        resolvers.matches("NXDOMAIN").count() == 2
    });
    // The second server comes back on the address that was the first one's; the first has not come back.
    stack.nginx[1].restart_on(old);
    names.change(&[("two.test", old)]);
    stack.wait_for_status("s2", "UP");
    Load::default().run(stack.web(), 50).assert_nothing_lost();
    assert!(stack.status("s1").starts_with("DOWN"), "s1 has no address, and is {}", stack.status("s1"));
}

/// `s1` is known by a name, `s2` by its address.
fn start_with_hold(check: &str) -> (Stack, NameServer) {
    let mut names = None;
    let stack = Stack::builder()
        .servers(2)
        .config(|config, addresses| {
            let server = addresses.socket(1, 7053);
            names = Some(NameServer::start(server, &[("one.test", addresses.socket(11, 0))]));
            config.server("s1", format!("one.test:{SERVER_PORT}"));
            config.check = check.to_owned();
            config.backend = "when_all_down: try".to_owned();
            config.more = format!("resolvers: {{ nameservers: [\"{server}\"], max_ttl: 1s, hold: 1s }}");
        })
        .without_lbd()
        .start();
    (stack, names.expect("the configuration was made"))
}

#[test]
fn a_name_that_is_gone_takes_its_server_down_though_its_old_address_answers() {
    needs!("dnsmasq");
    let (mut stack, names) = start_with_hold(Config::QUICK_CHECK);
    stack.lbd.start();
    stack.wait_for_status("s1", "UP");
    names.change(&[("other.test", stack.server_address(2))]);
    wait_until("s1 is down", || stack.status("s1").starts_with("DOWN"));
    let row = stack.stat("app", "s1");
    assert!(row.text("last_chk").contains("no such host"), "the reason is {:?}", row.text("last_chk"));
    stack.healthd.wait_to_tell("name is gone");
    // Whoever has the address now is not asked, even where servers that are down are tried.
    stack.nginx[1].stop();
    wait_until("s2 is down", || stack.status("s2").starts_with("DOWN"));
    let before = stack.nginx[0].requests().len();
    for _ in 0..10 {
        assert_eq!(stack.get("/").status, 503);
    }
    assert_eq!(stack.nginx[0].requests().len(), before);
    names.change(&[("one.test", stack.server_address(1))]);
    stack.wait_for_status("s1", "UP");
    assert_eq!(stack.get("/").instance(), Some(1));
}

#[test]
fn an_unchecked_server_whose_name_is_gone_gets_no_requests() {
    needs!("dnsmasq");
    let (mut stack, names) = start_with_hold("off");
    stack.lbd.start();
    let instances = |stack: &Stack| Load::default().run(stack.web(), 20).by_instance;
    wait_until("both serve", || instances(&stack).len() == 2);
    // A healthd that starts knows no address yet, and takes none away.
    stack.healthd.kill();
    stack.healthd.start();
    assert_eq!(instances(&stack).len(), 2);
    names.change(&[("other.test", stack.server_address(2))]);
    wait_until("one serves", || instances(&stack).len() == 1);
    names.change(&[("one.test", stack.server_address(1))]);
    wait_until("both serve again", || instances(&stack).len() == 2);
}

#[test]
fn a_healthd_that_starts_while_the_name_server_is_away_takes_no_server_down() {
    needs!("dnsmasq");
    let (mut stack, mut names) = start();
    let load = Load::default().start(stack.web());
    stack.healthd.kill();
    names.dnsmasq.kill();
    stack.healthd.start();
    stack.healthd.wait_to_tell("name does not resolve");
    load.wait_for_requests(100);
    assert_eq!(["s1", "s2"].map(|server| stack.status(server)), ["UP", "UP"]);
    load.stop().assert_nothing_lost();
}

#[test]
fn a_server_is_found_at_whichever_address_of_its_name_works() {
    needs!("dnsmasq");
    let mut names = None;
    let mut stack = Stack::builder()
        .servers(2)
        .config(|config, addresses| {
            let server = addresses.socket(1, 7053);
            // Nobody listens at the first two.
            let table = [8, 9, 11, 12].map(|last| ("app.test", addresses.socket(last, 0)));
            names = Some(NameServer::start(server, &table));
            config.servers.clear();
            config.server("s1", format!("app.test:{SERVER_PORT}"));
            config.more = format!("resolvers: {{ nameservers: [\"{server}\"], max_ttl: 1s }}");
            config.server(
                "s2",
                format!("{{ address: \"{}\", state: drain }}", addresses.socket(12, SERVER_PORT)),
            );
        })
        .start();
    stack.wait_for_status("s1", "UP");
    assert_eq!(stack.stat("app", "s1").text("addr"), stack.server_address(1).to_string());
    assert_eq!(stack.get("/").instance(), Some(1));
    stack.nginx[0].stop();
    wait_until("s1 goes on at the other address", || {
        stack.stat("app", "s1").text("addr") == stack.server_address(2).to_string()
    });
    assert_eq!(stack.status("s1"), "UP");
    wait_until("it is served there", || stack.get("/").instance() == Some(2));
}

#[test]
fn a_name_server_that_is_silent_changes_nothing() {
    needs!("dnsmasq");
    let (stack, mut names) = start();
    let load = Load::default().start(stack.web());
    names.dnsmasq.kill();
    // Long enough for every answer to have expired.
    wait_until("healthd has asked in vain", || stack.healthd.stderr().contains("name does not resolve"));
    assert_eq!(["s1", "s2"].map(|server| stack.status(server)), ["UP", "UP"]);
    load.wait_for_requests(100);
    load.stop().assert_nothing_lost();
}
