//! Hosts on one network, each with the vrrpd that was built along with the tests.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use testkit::{Netns, Network, Process, wait_until};

/// The virtual address of most tests.
pub const VIP: &str = "10.9.0.100";

/// A network for [`Node`]s; none, with the reason recorded, where there can be none.
#[macro_export]
macro_rules! network {
    () => {{
        testkit::needs!("ip");
        if !testkit::is_root() {
            testkit::skip!("network namespaces need root");
        }
        testkit::Network::new(24)
    }};
}

/// A host with a vrrpd that need not run.
pub struct Node {
    // First, so that a failed test's last words are there still.
    process: Option<Process>,
    dir: TempDir,
    pub host: Netns,
    /// Runs vrrpd: a command that takes a command.
    wrapper: Vec<String>,
}

impl Node {
    /// A host `node1` at 10.9.0.1, and so on.
    pub fn new(network: &Network, number: u8, config: &str) -> Self {
        let host = network.host(&format!("node{number}"), [10, 9, 0, number].into());
        let node = Self { host, dir: tempfile::tempdir().unwrap(), wrapper: Vec::new(), process: None };
        node.configure(config);
        node
    }

    pub fn configure(&self, config: &str) {
        std::fs::write(self.dir.path().join("vrrp.yaml"), config).unwrap();
    }

    /// From its next start on vrrpd is run by this command, which takes a command.
    pub fn wrap(&mut self, wrapper: Vec<String>) {
        self.wrapper = wrapper;
    }

    /// The command that runs vrrpd, inside.
    fn command(&self) -> Command {
        let mut command = self.program(&self.wrapper);
        command.arg("--config").arg(self.dir.path().join("vrrp.yaml"));
        command.arg("--run-dir").arg(self.dir.path());
        command
    }

    fn program(&self, wrapper: &[String]) -> Command {
        let program = env!("CARGO_BIN_EXE_vrrpd");
        let Some((outer, args)) = wrapper.split_first() else { return self.host.command(program) };
        let mut command = self.host.command(outer);
        command.args(args).arg(program);
        command
    }

    /// What `vrrpd --check` warns of, run by such a command, or by none.
    pub fn check(&self, wrapper: &[String]) -> String {
        let mut command = self.program(wrapper);
        let output = command.arg("--check").arg("--config").arg(self.file("vrrp.yaml")).output().unwrap();
        assert!(output.status.success(), "a warning is no error: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts vrrpd, without waiting for anything.
    pub fn spawn(&mut self) {
        self.process = Some(Process::spawn("vrrpd", self.command(), self.dir.path()));
    }

    /// Starts vrrpd and waits until it is ready.
    pub fn start(&mut self) {
        let before = self.count("INFO ready");
        self.spawn();
        wait_until("vrrpd is ready", || self.count("INFO ready") > before);
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// Stops vrrpd in its tracks, until `thaw`.
    pub fn freeze(&self) {
        self.process.as_ref().unwrap().freeze();
    }

    pub fn thaw(&self) {
        self.process.as_ref().unwrap().thaw();
    }

    /// Stops vrrpd in good order.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.process().wait()
    }

    /// What `vrrpd --withdraw` says.
    pub fn withdraw(&self) -> String {
        let mut command = self.host.command(env!("CARGO_BIN_EXE_vrrpd"));
        let output = command.arg("--withdraw").arg("--run-dir").arg(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What vrrpd has logged, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("vrrpd.err")).unwrap_or_default()
    }

    /// How many lines of the log contain something.
    pub fn count(&self, what: &str) -> usize {
        self.log().lines().filter(|line| line.contains(what)).count()
    }

    pub fn wait_for_line(&self, what: &str) {
        wait_until(&format!("{what:?} in the log"), || self.count(what) > 0);
    }

    /// Whether an address is on an interface of the host.
    pub fn has(&self, ip: &str) -> bool {
        let all = self.host.run("ip", &["-o", "address", "show"]);
        all.split_whitespace().any(|word| word.split('/').next() == Some(ip))
    }

    pub fn wait_to_have(&self, ip: &str) {
        wait_until(&format!("{ip} is here"), || self.has(ip));
    }

    pub fn wait_not_to_have(&self, ip: &str) {
        wait_until(&format!("{ip} is not here any more"), || !self.has(ip));
    }

    /// Runs `ip` inside.
    pub fn ip(&self, args: &str) -> String {
        self.host.run("ip", &args.split(' ').collect::<Vec<_>>())
    }

    /// Watches what happens to the addresses of the host from now on.
    pub fn watch(&self) -> Watch {
        let dir = tempfile::tempdir().unwrap();
        let mut command = self.host.command("ip");
        command.args(["-o", "monitor", "address"]);
        let process = Process::spawn("monitor", command, dir.path());
        let watch = Watch { process, dir };
        // It has begun to listen when it sees a change.
        wait_until("the watch has begun", || {
            self.ip("address add 192.0.2.1/32 dev lo");
            self.ip("address del 192.0.2.1/32 dev lo");
            watch.has_seen_removal_of("192.0.2.1")
        });
        watch
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Every change of a host's addresses.
pub struct Watch {
    process: Process,
    dir: TempDir,
}

impl Watch {
    pub fn has_seen_removal_of(&self, ip: &str) -> bool {
        let seen = self.process.stdout();
        seen.lines().any(|line| line.contains("Deleted") && line.contains(&format!(" {ip}/")))
    }
}

/// A configuration with one instance and nothing to track; `more` are further lines of it.
pub fn config(priority: u8, more: &[&str]) -> String {
    let more: String = more.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "instances:\n  web:\n    virtual_router_id: 51\n    priority: {priority}\n    virtual_addresses: [{VIP}/24]\n    \
         advert_interval: 200ms\n    track: []\n{more}"
    )
}

/// Two nodes that run: the first has the address.
pub fn pair(network: &Network, more: &[&str]) -> (Node, Node) {
    let mut first = Node::new(network, 1, &config(200, more));
    let mut second = Node::new(network, 2, &config(100, more));
    first.start();
    first.wait_to_have(VIP);
    second.start();
    second.wait_for_line("init -> backup");
    (first, second)
}
