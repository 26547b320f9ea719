//! tshark, the referee of packets.

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::directory;
use crate::Netns;
use crate::process::Process;
use crate::wait::wait_until;

/// A running capture of a host's `eth0`: VRRP, ARP and neighbour discovery.
#[derive(Debug)]
pub struct Tshark {
    process: Process,
    dir: TempDir,
}

impl Tshark {
    /// Starts it, and waits until it sees packets.
    pub fn start(host: &Netns) -> Self {
        let dir = directory("tshark");
        let mut command = host.command("tshark");
        command.args(["-i", "eth0", "-f", "proto 112 or ip6 proto 112 or arp or icmp6", "-w"]);
        command.arg(dir.path().join("packets"));
        let process = Process::spawn("tshark", command, dir.path());
        wait_until("tshark captures", || process.stderr().contains("Capturing on"));
        Self { process, dir }
    }

    /// How many packets so far pass a display filter. What was just sent may be missing.
    pub fn count(&self, filter: &str) -> usize {
        self.packets(filter, &["frame.number"]).len()
    }

    /// The fields of the packets that pass a display filter, in their order; an empty text where there is no such field.
    /// Several values of a field are joined by commas.
    ///
    /// # Panics
    /// When tshark does not know the filter or a field.
    pub fn packets(&self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let mut command = std::process::Command::new("tshark");
        command.arg("-r").arg(self.dir.path().join("packets")).args(["-Y", filter, "-T", "fields"]);
        command.args(["-o", "ip.check_checksum:TRUE"]);
        command.args(fields.iter().flat_map(|field| ["-e", field]));
        let output = command.output().expect("tshark is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // The file of a running capture may end in the middle of a packet.
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || error.contains("cut short"), "{command:?}: {error}");
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// Ends the capture; everything seen is in [`Tshark::packets`].
    pub fn finish(&mut self) {
        self.process.signal(Signal::SIGINT);
        self.process.wait();
    }
}
