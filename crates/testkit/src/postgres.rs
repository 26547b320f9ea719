//! A real PostgreSQL server with a cluster of its own.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::wait::wait_until;

/// A PostgreSQL server, which lets everybody in as the superuser `test`. Its data are gone when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    address: SocketAddr,
    programs: PathBuf,
    dir: TempDir,
    process: Option<Process>,
}

impl Postgres {
    /// Whether it is installed.
    pub fn is_installed() -> bool {
        programs().is_some()
    }

    /// Makes a cluster and starts its server.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub fn start(address: SocketAddr) -> Self {
        let dir =
            tempfile::Builder::new().prefix("tandem-postgres-").tempdir().expect("a directory can be made");
        if crate::is_root() {
            // It does not run as root.
            let owned = Command::new("chown").arg("postgres").arg(dir.path()).status();
            assert!(owned.is_ok_and(|status| status.success()), "there is a user postgres");
        }
        let programs = programs().expect("PostgreSQL is installed");
        let mut server = Self { address, programs, dir, process: None };
        let made = server
            .command("initdb")
            .args(["--auth", "trust", "--username", "test", "--no-sync", "--encoding", "UTF8", "-D"])
            .arg(server.data())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut access = fs::File::options()
            .append(true)
            .open(server.data().join("pg_hba.conf"))
            .expect("initdb has made it");
        access.write_all(b"host all all samenet trust\n").expect("it can be written");
        server.restart();
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory of its cluster.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts it again, and waits until it answers.
    pub fn restart(&mut self) {
        self.launch();
        wait_until("PostgreSQL answers", || self.psql("select 1").status.success());
    }

    /// Starts it again.
    pub fn launch(&mut self) {
        let mut command = self.command("postgres");
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        command.arg("-D").arg(self.data()).args(["-h", &host, "-p", &port, "-k", "", "-N", "200"]).arg("-F");
        self.process = Some(Process::spawn("postgres", command, self.dir.path()));
    }

    /// Has it read its configuration again.
    ///
    /// # Panics
    /// When it does not run.
    pub fn reload(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::SIGHUP);
    }

    /// Ends it and its sessions at once.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGINT);
            process.wait();
        }
    }

    /// What it says of itself.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// What it answers to a query.
    pub fn psql(&self, query: &str) -> Output {
        psql_client(self.address).args(["-c", query]).output().expect("psql runs")
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !crate::is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where Debian has the server's programs; none where it is not installed.
fn programs() -> Option<PathBuf> {
    let mut releases: Vec<_> = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().collect();
    releases.sort_by_key(fs::DirEntry::file_name);
    releases.iter().rev().map(|release| release.path().join("bin")).find(|bin| bin.join("initdb").is_file())
}

/// A `psql` for what answers there, as `test` in the database `postgres`.
pub fn psql_client(address: SocketAddr) -> Command {
    let mut command = Command::new("psql");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.args(["-h", &host, "-p", &port, "-U", "test", "-d", "postgres", "-X", "-A", "-t", "-q"]);
    command.env("PGCONNECT_TIMEOUT", "20");
    command
}
