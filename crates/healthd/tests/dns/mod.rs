//! A real name server whose records change while it runs.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod odd;
pub(crate) mod watching;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use testkit::{Process, wait_until};

/// A dnsmasq with records that can be changed. Names under `test` and names without a dot are its own; it refuses others.
pub(crate) struct Dns {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Seconds.
    ttl: u32,
    dir: TempDir,
    process: Option<Process>,
}

impl Dns {
    /// Starts it with records in the format of /etc/hosts and a TTL of a second.
    pub(crate) fn start(address: SocketAddr, records: &str) -> Self {
        Self::start_with_ttl(address, records, 1)
    }

    /// Starts it with another TTL in seconds.
    pub(crate) fn start_with_ttl(address: SocketAddr, records: &str, ttl: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut dns = Self { address, ttl, dir, process: None };
        dns.write(records);
        dns.run();
        dns
    }

    /// Starts it again after [`Dns::stop`].
    pub(crate) fn run(&mut self) {
        let mut command = Command::new("/usr/sbin/dnsmasq");
        command
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--bind-interfaces", "--domain-needed", "--local=/test/"])
            .arg(format!("--local-ttl={}", self.ttl))
            .arg(format!("--listen-address={}", self.address.ip()))
            .arg(format!("--port={}", self.address.port()))
            .arg(format!("--addn-hosts={}", self.dir.path().join("records").display()))
            .arg(format!("--pid-file={}", self.dir.path().join("pid").display()));
        self.process = Some(Process::spawn("dnsmasq", command, self.dir.path()));
        wait_until("dnsmasq listens", || std::net::TcpStream::connect(self.address).is_ok());
    }

    /// Replaces its records for the next start.
    pub(crate) fn write(&self, records: &str) {
        fs::write(self.dir.path().join("records"), records).unwrap();
    }

    /// Replaces its records, in the format of /etc/hosts.
    pub(crate) fn change(&self, records: &str) {
        self.write(records);
        self.process.as_ref().unwrap().signal(Signal::SIGHUP);
    }

    /// Stops it: its port is closed then.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }
}
