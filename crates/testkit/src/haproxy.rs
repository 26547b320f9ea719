//! HAProxy, for tests that compare.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::client::Client;
use crate::process::Process;
use crate::stack::Stack;
use crate::wait::wait_until;

/// A running HAProxy.
#[derive(Debug)]
pub struct Haproxy {
    address: SocketAddr,
    process: Process,
}

impl Haproxy {
    /// How its servers are checked where their states matter: failures are found out soon, and a busy machine is no failure.
    pub const CHECK: &str = "check inter 1s fastinter 200ms downinter 200ms fall 3 rise 2";

    /// Starts it beside a stack, in a mode and with usual timeouts. `sections` has its other sections in its own words, with an
    /// address to bind to. Returns when it listens there.
    ///
    /// # Panics
    /// When it does not start.
    pub fn beside(stack: &Stack, mode: &str, sections: impl FnOnce(SocketAddr) -> String) -> Self {
        let address = stack.addresses.socket(1, 7090);
        let defaults = format!(
            "defaults\n mode {mode}\n timeout client 40s\n timeout server 40s\n timeout connect 5s\n timeout check 10s\n"
        );
        let config = defaults + &sections(address);
        let mut process = Self::run(&config, stack.dir());
        // Its sockets for commands come after its listeners.
        let commands =
            || config.split("stats socket ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        wait_until("haproxy listens", || {
            assert!(process.exited().is_none(), "haproxy ended at once: {}", process.stderr());
            Client::try_connect(address, None).is_ok()
                && commands().all(|path| UnixStream::connect(path).is_ok())
        });
        Self { address, process }
    }

    /// Runs it with a whole configuration, which is kept in `dir`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(config: &str, dir: &Path) -> Process {
        let file = dir.join("haproxy.cfg");
        fs::write(&file, config).expect("an own file");
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-db").arg("-f").arg(&file);
        Process::spawn("haproxy", command, dir)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
