//! FRR's vrrpd in a network namespace, with the zebra that it asks for interfaces.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{directory, write};
use crate::Netns;
use crate::process::Process;
use crate::wait::wait_until;

/// Where Debian has FRR's daemons.
const PROGRAMS: &str = "/usr/lib/frr";

/// A host with a real FRR, which takes part in one virtual router. It has its address on an interface of its own, with the
/// virtual router's MAC address, which it takes down while it is a backup.
#[derive(Debug)]
pub struct Frr {
    /// The host.
    pub host: Netns,
    router: Process,
    /// Ends after the router.
    _zebra: Process,
    dir: TempDir,
}

impl Frr {
    /// Whether it is installed.
    pub fn is_installed() -> bool {
        std::path::Path::new(PROGRAMS).join("vrrpd").is_file()
    }

    /// Starts it with VRRPv3. `lines` follow `vrrp ID`: `priority 100`.
    pub fn start(host: Netns, virtual_router_id: u8, address: Ipv4Addr, lines: &[&str]) -> Self {
        let dir = directory("frr");
        // FRR's daemons insist on a user of their own.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("an own directory");
        let interface = format!("vrrp4-2-{virtual_router_id}");
        let mac = format!("00:00:5e:00:01:{virtual_router_id:02x}");
        for args in [
            format!("link add {interface} link eth0 type macvlan mode bridge"),
            format!("link set dev {interface} address {mac}"),
            format!("address add {address}/24 dev {interface}"),
            format!("link set dev {interface} up"),
        ] {
            host.run("ip", &args.split(' ').collect::<Vec<_>>());
        }
        let vrrp: String = lines.iter().map(|line| format!(" vrrp {virtual_router_id} {line}\n")).collect();
        write(
            &dir.path().join("vrrpd.conf"),
            &format!(
                "interface eth0\n vrrp {virtual_router_id} version 3\n{vrrp} vrrp {virtual_router_id} ip {address}\n"
            ),
        );
        write(&dir.path().join("zebra.conf"), "");
        let zebra = spawn(&host, &dir, "zebra");
        wait_until("zebra listens", || dir.path().join("zserv.api").exists());
        let router = spawn(&host, &dir, "vrrpd");
        Self { host, router, _zebra: zebra, dir }
    }

    /// Starts its vrrpd again after its end.
    pub fn start_again(&mut self) {
        self.router = spawn(&self.host, &self.dir, "vrrpd");
    }

    /// Stops its vrrpd in good order.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) {
        self.router.signal(Signal::SIGTERM);
        self.router.wait();
    }

    /// Kills its vrrpd (SIGKILL).
    pub fn kill(&mut self) {
        self.router.kill();
    }
}

fn spawn(host: &Netns, dir: &TempDir, name: &str) -> Process {
    let path = |file: &str| dir.path().join(file);
    let mut command = host.command(&format!("{PROGRAMS}/{name}"));
    command.args(["--log", "stdout", "-P", "0"]);
    command.arg("-i").arg(path(&format!("{name}.pid"))).arg("-z").arg(path("zserv.api"));
    command.arg("--vty_socket").arg(dir.path()).arg("-f").arg(path(&format!("{name}.conf")));
    Process::spawn(name, command, dir.path())
}
