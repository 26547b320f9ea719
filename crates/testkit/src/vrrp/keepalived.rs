//! keepalived in a network namespace.

use std::fs;
use std::process::{Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{directory, write};
use crate::Netns;
use crate::process::Process;

/// A host with a real keepalived, with one instance called `web`.
#[derive(Debug)]
pub struct Keepalived {
    /// The host.
    pub host: Netns,
    process: Process,
    dir: TempDir,
}

impl Keepalived {
    /// Starts it. `globals` are lines of its `global_defs`, `lines` those of the instance.
    pub fn start(host: Netns, globals: &str, lines: &str) -> Self {
        let dir = directory("keepalived");
        write(
            &dir.path().join("keepalived.conf"),
            &format!("global_defs {{\n{globals}\n}}\nvrrp_instance web {{\ninterface eth0\n{lines}\n}}\n"),
        );
        let process = spawn(&host, &dir);
        Self { host, process, dir }
    }

    /// Starts it again after its end.
    pub fn restart(&mut self) {
        self.process = spawn(&self.host, &self.dir);
    }

    /// Stops it in good order: it gives mastership up.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::SIGTERM);
        self.process.wait()
    }

    /// Kills it (SIGKILL): all its processes fall silent, and its addresses stay.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let router = fs::read_to_string(self.dir.path().join("vrrp.pid")).expect("keepalived writes its pid");
        let router = router.trim().parse().expect("a pid");
        // A child whose parent dies leaves in good order; a parent whose child dies starts another.
        self.process.signal(Signal::SIGSTOP);
        kill(Pid::from_raw(router), Signal::SIGKILL).expect("it runs");
        self.process.kill();
        for file in ["keepalived.pid", "vrrp.pid"] {
            // The next start would mistake another process of that number for the one that was killed.
            let _ = fs::remove_file(self.dir.path().join(file));
        }
    }

    /// What it said.
    pub fn log(&self) -> String {
        self.process.stdout() + &self.process.stderr()
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Its child ends with it only in good order.
        if self.process.exited().is_none() {
            self.process.signal(Signal::SIGTERM);
            self.process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- keepalived said:\n{}", self.log());
        }
    }
}

fn spawn(host: &Netns, dir: &TempDir) -> Process {
    let mut command: Command = host.command("/usr/sbin/keepalived");
    command.args(["--vrrp", "--dont-fork", "--log-console", "--log-detail"]);
    for (option, file) in
        [("--use-file", "keepalived.conf"), ("--pid", "keepalived.pid"), ("--vrrp_pid", "vrrp.pid")]
    {
        command.arg(option).arg(dir.path().join(file));
    }
    Process::spawn("keepalived", command, dir.path())
}
