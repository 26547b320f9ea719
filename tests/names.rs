//! Servers that are known by name, and a real name server that changes its mind.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use testkit::{Load, Process, SERVER_PORT, Stack, needs, text_command, wait_until};

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
