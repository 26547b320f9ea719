//! A cable between two switches on which packets overtake each other. Not every kernel has netem.

use std::time::Duration;

use tempfile::TempDir;

use crate::netns::{Netns, Network, ip};
use crate::process::Process;
use crate::wait::wait_until;

/// Carries what two switches have for each other, each frame after a random delay of its own. Needs python3.
#[derive(Debug)]
pub struct SlowJoint {
    _carrier: Process,
    _between: Netns,
    _dir: TempDir,
}

impl SlowJoint {
    /// Joins two switches by a cable of that name at both, which can be cut and mended at either.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn new(switches: &[Network; 2], name: &str, most: Duration) -> Self {
        let between = Netns::new("between");
        for (network, end) in switches.iter().zip(["one", "other"]) {
            let (switch, between) = (network.switch().name(), between.name());
            ip(&format!("-n {switch} link add {name} type veth peer name {end} netns {between}"));
            ip(&format!("-n {switch} link set {name} master switch up"));
            ip(&format!("-n {between} link set {end} up"));
        }
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let mut command = between.command("python3");
        command.args(["-c", include_str!("delays.py"), "one", "other", &most.as_secs_f64().to_string()]);
        let carrier = Process::spawn("delays", command, dir.path());
        wait_until("frames are carried", || carrier.stdout().contains("ready"));
        Self { _carrier: carrier, _between: between, _dir: dir }
    }
}
