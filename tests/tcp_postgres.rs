//! TCP mode in front of real PostgreSQL servers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use testkit::{Process, SERVER_PORT, Stack, needs, skip, wait_until};

/// A PostgreSQL server with a database of its own, which has one row: its number.
struct Postgres {
    number: usize,
    address: SocketAddr,
    programs: PathBuf,
    dir: TempDir,
    process: Option<Process>,
}

/// Where Debian has the server's programs; none where it is not installed.
fn programs() -> Option<PathBuf> {
    let mut releases: Vec<_> = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().collect();
    releases.sort_by_key(fs::DirEntry::file_name);
    releases.iter().rev().map(|release| release.path().join("bin")).find(|bin| bin.join("initdb").is_file())
}

impl Postgres {
    fn start(programs: &Path, number: usize, address: SocketAddr) -> Self {
        let dir = tempfile::Builder::new().prefix("tandem-postgres-").tempdir().unwrap();
        if testkit::is_root() {
            // It does not run as root.
            assert!(Command::new("chown").arg("postgres").arg(dir.path()).status().unwrap().success());
        }
        let mut server = Self { number, address, programs: programs.to_owned(), dir, process: None };
        let data = server.data();
        let made = server
            .command("initdb")
            .args(["--auth", "trust", "--username", "test", "--no-sync", "--encoding", "UTF8", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.restart();
        server
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !testkit::is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
        command
    }

    fn restart(&mut self) {
        let mut command = self.command("postgres");
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        command.arg("-D").arg(self.data()).args(["-h", &host, "-p", &port, "-k", ""]).arg("-F");
        self.process = Some(Process::spawn("postgres", command, self.dir.path()));
        wait_until("PostgreSQL answers", || psql(self.address, "select 1").status.success());
        let number = format!(
            "create table if not exists me (number int); truncate me; insert into me values ({})",
            self.number
        );
        assert!(psql(self.address, &number).status.success());
    }

    /// Ends it and its sessions at once.
    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGINT);
            process.wait();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn client(address: SocketAddr) -> Command {
    let mut command = Command::new("psql");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.args(["-h", &host, "-p", &port, "-U", "test", "-d", "postgres", "-X", "-A", "-t", "-q"]);
    command.env("PGCONNECT_TIMEOUT", "20");
    command
}

fn psql(address: SocketAddr, query: &str) -> Output {
    client(address).args(["-c", query]).output().unwrap()
}

fn answer(address: SocketAddr, query: &str) -> String {
    let output = psql(address, query);
    assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_pair_of_databases_behind_one_address() {
    needs!("psql");
    let Some(programs) = programs() else { skip!("PostgreSQL is not installed") };
    let mut servers = Vec::new();
    let stack = Stack::builder()
        .servers(0)
        .frontend("mode: tcp")
        .backend("mode: tcp\non_down: close_sessions")
        .config(|config, addresses| {
            config.check = "{ interval: 200ms, fall: 2 }".to_owned();
            for number in [1, 2] {
                let address = addresses.socket(10 + u8::try_from(number).unwrap(), SERVER_PORT);
                servers.push(Postgres::start(&programs, number, address));
                config.server(&format!("s{number}"), address);
            }
        })
        .start();
    for server in ["s1", "s2"] {
        stack.wait_for_status(server, "UP");
    }
    let seen: Vec<_> = (0..4).map(|_| answer(stack.web(), "select number from me")).collect();
    assert!(seen.iter().any(|one| one == "1") && seen.iter().any(|one| one == "2"), "{seen:?}");

    // A result, and a copy in, of megabytes.
    let long = answer(stack.web(), "select repeat('tandem', 1000000)");
    assert!(long.len() == 6_000_000 && long.starts_with("tandemtandem"), "{} bytes", long.len());
    let rows: String = (0..200_000).map(|row| format!("{row}\n")).collect();
    let file = stack.dir().join("rows");
    fs::write(&file, rows).unwrap();
    let script = format!(
        "create temporary table t (n int);\n\\copy t from '{}'\nselect count(*), sum(n) from t;\n",
        file.display()
    );
    let input = stack.dir().join("script.sql");
    fs::write(&input, script).unwrap();
    let copied = client(stack.web()).arg("-f").arg(&input).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&copied.stdout).trim(), "200000|19999900000", "{copied:?}");

    // A session whose server stops hears of it, and the next one goes to the other.
    stack.tandemctl_ok(&["drain", "app/s2"]);
    wait_until("new sessions go to the first", || answer(stack.web(), "select number from me") == "1");
    let mut waiting = client(stack.web());
    let waiting = waiting
        .args(["-c", "select pg_sleep(600)"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let sleeps =
        "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'";
    wait_until("the server works on it", || answer(servers[0].address, sleeps) == "1");
    stack.tandemctl_ok(&["ready", "app/s2"]);
    servers[0].stop();
    let ended = waiting.wait_with_output().unwrap();
    assert!(!ended.status.success(), "its server is gone");
    assert_eq!(answer(stack.web(), "select number from me"), "2");
    servers[0].restart();
    stack.wait_for_status("s1", "UP");
    wait_until("the first is back", || answer(stack.web(), "select number from me") == "1");
}
