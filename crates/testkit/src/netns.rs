//! Network namespaces: several hosts on one machine, with cables that can be cut. Needs root.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::sched::{CloneFlags, setns};

/// A network namespace with a loopback interface, removed on drop with everything in it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace. Its name is unique; `label` makes it recognisable in `ip netns list`.
    ///
    /// # Panics
    /// Without root, or without `ip`.
    pub fn new(label: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tandem-{}-{}-{label}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        ip(&format!("netns add {name}"));
        let netns = Self { name };
        ip(&format!("-n {} link set lo up", netns.name));
        // It would inherit from a machine with containers that it forwards, which hides whom its neighbours believe.
        netns.run("sysctl", &["-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"]);
        netns
    }

    /// The name for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives commands that run inside another `/etc/NAME`, such as `hosts`. The machine's own stays as it is.
    ///
    /// # Panics
    /// Without root.
    pub fn etc(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.etc_dir()).expect("root may write to /etc/netns");
        std::fs::write(self.etc_dir().join(name), text).expect("root may write to /etc/netns");
    }

    /// `ip netns exec` mounts the files of this directory over those of /etc.
    fn etc_dir(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str) -> Command {
        Self::command_in(&self.name, program)
    }

    /// A command that will run inside the namespace of that name.
    pub(crate) fn command_in(name: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name, program]);
        command
    }

    /// Takes the calling thread into the namespace of that name, for good.
    ///
    /// # Panics
    /// Without root, or such a namespace.
    pub fn enter(name: &str) {
        let namespace = File::open(format!("/run/netns/{name}")).expect("ip netns names it there");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter");
    }

    /// Does something on a thread of its own that is inside: its sockets are of this host.
    ///
    /// # Panics
    /// When the work does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                Self::enter(&self.name);
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command inside and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let mut command = self.command(program);
        run(command.args(args))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Processes inside end with their own owners; the kernel removes the interfaces.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
        // There is one only if the test made it.
        let _ = std::fs::remove_dir_all(self.etc_dir());
    }
}

/// Hosts around one switch: a bridge in a namespace of its own, and a cable from it to each host's `eth0`.
#[derive(Debug)]
pub struct Network {
    switch: Netns,
    prefix_len: u8,
}

impl Network {
    /// A switch without hosts yet, for a subnet with that prefix length.
    ///
    /// # Panics
    /// Without root, or without `ip`.
    pub fn new(prefix_len: u8) -> Self {
        let switch = Netns::new("switch");
        ip(&format!("-n {} link add switch type bridge forward_delay 0", switch.name));
        ip(&format!("-n {} link set switch up", switch.name));
        Self { switch, prefix_len }
    }

    /// Adds a host of that name (at most 12 characters) with an address on its `eth0`.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn host(&self, name: &str, address: Ipv4Addr) -> Netns {
        let host = Netns::new(name);
        self.plug(&host, name, "eth0", address);
        host
    }

    /// Gives a host another cable, with that name at the switch, and an address on its interface.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn plug(&self, host: &Netns, name: &str, interface: &str, address: Ipv4Addr) {
        let (inside, switch) = (host.name(), self.switch.name());
        // Made with both ends in place: no moment in which the machine's own namespace sees an interface.
        ip(&format!("-n {switch} link add {name} type veth peer name {interface} netns {inside}"));
        ip(&format!("-n {switch} link set {name} master switch up"));
        ip(&format!("-n {inside} address add {address}/{} dev {interface}", self.prefix_len));
        ip(&format!("-n {inside} link set {interface} up"));
    }

    /// Joins two switches by a cable of that name at both, which can be cut and mended here.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn join(&self, other: &Self, name: &str) {
        let (here, there) = (self.switch.name(), other.switch.name());
        ip(&format!("-n {here} link add {name} type veth peer name {name} netns {there}"));
        for switch in [here, there] {
            ip(&format!("-n {switch} link set {name} master switch up"));
        }
    }

    /// Where the switch is.
    pub(crate) const fn switch(&self) -> &Netns {
        &self.switch
    }

    /// Cuts a host's cable at the switch: its packets vanish, and it is not told.
    pub fn cut(&self, name: &str) {
        ip(&format!("-n {} link set {name} nomaster", self.switch.name()));
    }

    /// Mends a cable that was cut.
    pub fn mend(&self, name: &str) {
        ip(&format!("-n {} link set {name} master switch", self.switch.name()));
    }
}

pub(crate) fn ip(args: &str) {
    run(Command::new("ip").args(args.split(' ')));
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
