//! vrrpd in a network namespace.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::{directory, write};
use crate::wait::{PATIENCE, wait_until};
use crate::{Daemon, Netns, Program};

/// A host with a vrrpd, with one instance called `web`.
#[derive(Debug)]
pub struct VrrpNode {
    /// The daemon.
    pub vrrpd: Daemon,
    /// The host.
    pub host: Netns,
    dir: TempDir,
}

impl VrrpNode {
    /// A host whose vrrpd does not run yet. `lines` are those of the instance, in the words of vrrp.yaml.
    pub fn new(host: Netns, lines: &str) -> Self {
        let dir = directory("vrrpd");
        let vrrpd = Daemon::new(Program::Vrrpd, dir.path()).within(&host);
        let node = Self { vrrpd, host, dir };
        node.configure(lines);
        node
    }

    /// The same, and vrrpd is ready.
    pub fn start(host: Netns, lines: &str) -> Self {
        let mut node = Self::new(host, lines);
        node.vrrpd.start();
        node
    }

    /// Where its socket, its configuration and other files of the test are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes its configuration; a running vrrpd is not told.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn configure(&self, lines: &str) {
        let lines: String = lines.lines().map(|line| format!("    {}\n", line.trim_start())).collect();
        write(&self.vrrpd.config(), &format!("instances:\n  web:\n{lines}"));
    }

    /// All that vrrpd tells of its instance.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn status(&self) -> Value {
        let stream = UnixStream::connect(self.vrrpd.socket()).expect("vrrpd listens on its socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout that is not zero");
        let request =
            "{\"hello\":{\"protocol\":1,\"client\":\"test\"}}\n{\"id\":1,\"request\":\"instances\"}\n";
        (&stream).write_all(request.as_bytes()).expect("vrrpd reads");
        let answer = BufReader::new(stream).lines().nth(1).expect("a hello and an answer").expect("in time");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let status = answer["ok"]["instances"][0].clone();
        assert!(status.is_object(), "{answer}");
        status
    }

    /// The state of its instance.
    pub fn state(&self) -> String {
        self.status()["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for a state.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn wait_for_state(&self, state: &str) {
        wait_until(&format!("{} is {state}", self.host.name()), || self.state() == state);
    }

    /// How many packets it did not believe, by the check that failed.
    pub fn receive_errors(&self, check: &str) -> u64 {
        self.status()["counters"]["receive_errors"][check].as_u64().unwrap_or(0)
    }

    /// A counter.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn counter(&self, name: &str) -> u64 {
        let status = self.status();
        status["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {status}"))
    }

    /// Waits until the reason of its last transition contains `words`. The log is written by a thread of its own,
    /// perhaps after what it tells of was seen.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn wait_for_reason(&self, words: &str) {
        let last = || self.transitions().pop().unwrap_or_default();
        wait_until(&format!("{words:?} is why"), || last().contains(words));
    }

    /// The reasons of its transitions as the log has them, the oldest first: `backup -> master: the master left`.
    pub fn transitions(&self) -> Vec<String> {
        let log = self.vrrpd.stderr();
        let told = log.lines().filter_map(|line| line.split_once("VRRP web: ")?.1.split(" (took").next());
        told.map(str::to_owned).collect()
    }
}
