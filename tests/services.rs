//! The services of a node as the images have them: s6 starts each daemon as a user of its own, in a box of its own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use testkit::{Netns, Network, Process, Program, binary, is_root, needs, skip, wait_for, wait_until};

const VIP: &str = "10.71.0.100";
const LB: &str = "
frontends: { web: { bind: 0.0.0.0:8080, backend: app } }
backends: { app: { servers: { s1: 127.0.0.1:9 } } }
";
const VRRP: &str = "
instances:
  web:
    virtual_router_id: 51
    virtual_addresses: [10.71.0.100/24]
    advert_interval: 200ms
    authentication: { hmac: { key_file: vrrp.key } }
";
/// Makes a directory a box's: `box_node` is what the demo in network namespaces has its nodes from.
const PREPARE: &str = r#"
    set -euo pipefail
    subnet=10.71.0
    . scripts/netns/box.sh
    . scripts/netns/node.sh
    mkdir -p "$1"/{etc/tandem,run,local}
    box_etc "$1/etc"
    box_node "$1" "$2"
"#;

/// A load-balancer node.
struct Node {
    init: Process,
    _host: Netns,
    root: TempDir,
    _network: Network,
}

impl Node {
    /// Starts the services, and waits until all are ready.
    fn start() -> Self {
        let network = Network::new(24);
        let host = network.host("lb1", Ipv4Addr::new(10, 71, 0, 1));
        let root = tempfile::tempdir().expect("a directory");
        let programs = binary(Program::Vrrpd);
        binary(Program::Tandemctl);
        let prepared = Command::new("bash")
            .args(["-c", PREPARE, "bash"])
            .arg(root.path())
            .arg(programs.parent().expect("it lies in a directory"))
            .current_dir(repository())
            .output()
            .expect("bash starts");
        assert!(prepared.status.success(), "{}", text(&prepared));
        let mut init = host.command("unshare");
        init.args(["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"])
            .arg(repository().join("scripts/netns/box-init"))
            .arg(root.path())
            .args(["lb1", "/etc/s6/tandem/init", "healthd", "lbd", "vrrpd"]);
        let config = root.path().join("etc/tandem");
        let write = |name: &str, text: &str| fs::write(config.join(name), text).expect("there is room");
        write("lb.yaml", LB);
        write("vrrp.yaml", VRRP);
        write("vrrp.key", "0123456789abcdef0123456789abcdef\n");
        let node =
            Self { init: Process::spawn("init", init, root.path()), _host: host, root, _network: network };
        for daemon in ["healthd", "lbd", "vrrpd"] {
            wait_until(&format!("{daemon} is ready"), || node.service(daemon, "ready") == "true");
        }
        node.wait_for_address(true);
        node
    }

    /// Runs a command inside, as root.
    fn run(&self, command: &[&str]) -> Output {
        let pid = wait_for("the box has a process", || {
            let pid = fs::read_to_string(self.root.path().join("pid")).ok()?;
            (!pid.trim().is_empty()).then(|| pid.trim().to_owned())
        });
        Command::new("nsenter")
            .args(["--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--"])
            .args(["env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(command)
            .output()
            .expect("nsenter starts")
    }

    /// Runs a command inside, as a user with all its groups.
    fn run_as(&self, user: &str, command: &[&str]) -> Output {
        let group = format!("--regid={}", if user == "nobody" { "nogroup" } else { user });
        let user = format!("--reuid={user}");
        self.run(&[&["setpriv", &user, &group, "--init-groups"], command].concat())
    }

    /// What s6 knows of a service.
    fn service(&self, daemon: &str, field: &str) -> String {
        let output = self.run(&["s6-svstat", "-o", field, &format!("/run/service/{daemon}")]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn control(&self, daemon: &str, what: &str) {
        let output = self.run(&["s6-svc", what, &format!("/run/service/{daemon}")]);
        assert!(output.status.success(), "{}", text(&output));
    }

    /// A line of what the kernel tells of a daemon's process.
    fn status(&self, daemon: &str, field: &str) -> String {
        let output = self.run(&["cat", &format!("/proc/{}/status", self.service(daemon, "pid"))]);
        let status = text(&output);
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {field} of {daemon}: {status}")).trim().to_owned()
    }

    fn wait_for_address(&self, is_there: bool) {
        wait_until(&format!("the address is there: {is_there}"), || {
            text(&self.run(&["ip", "-o", "address"])).contains(VIP) == is_there
        });
    }

    fn configure_vrrpd(&self, text: &str) {
        fs::write(self.root.path().join("etc/tandem/vrrp.yaml"), text).expect("there is room");
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in it").to_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

macro_rules! node {
    () => {{
        needs!("ip", "unshare", "nsenter", "setpriv", "socat", "s6-svscan");
        if !is_root() {
            skip!("boxes need root");
        }
        Node::start()
    }};
}

/// Whoever breaks into lbd has nothing of vrrpd's.
#[test]
fn each_daemon_has_a_user_and_no_more_rights_than_it_needs() {
    let node = node!();
    for (daemon, user, capabilities) in [
        ("healthd", "64848", "0000000000000000"),
        ("lbd", "64849", "0000000000000000"),
        // NET_ADMIN and NET_RAW.
        ("vrrpd", "64850", "0000000000003000"),
    ] {
        assert_eq!(node.status(daemon, "Uid").split_whitespace().next(), Some(user), "{daemon}");
        for set in ["CapEff", "CapPrm", "CapAmb"] {
            assert_eq!(node.status(daemon, set), capabilities, "{set} of {daemon}");
        }
    }

    // Its key and its directory are its own.
    let key = "/run/vrrpd/vrrp.key";
    assert!(node.run_as("tandem-vrrpd", &["cat", key]).status.success());
    for other in ["tandem-lbd", "tandem-healthd", "nobody"] {
        assert!(!node.run_as(other, &["cat", key]).status.success(), "{other} reads the key");
        for path in ["/run/tandem/vrrpd/mine", "/run/tandem/vrrpd.sock.new", "/run/tandem/mine"] {
            assert!(!node.run_as(other, &["touch", path]).status.success(), "{other} writes {path}");
        }
        assert!(!node.run_as(other, &["ln", "-sf", "x", "/run/tandem/vrrpd.sock"]).status.success());
    }

    // Who may change what: each daemon the one that it works with, operators all.
    let change = |user: &str, daemon: &str| {
        let command = format!("echo reload | socat -t 10 stdio /run/tandem/{daemon}.sock");
        let said = text(&node.run_as(user, &["sh", "-c", &command]));
        assert!(
            said.starts_with("generation") || said.starts_with("Permission denied"),
            "{user}, {daemon}: {said}"
        );
        said.starts_with("generation")
    };
    for (user, may) in [
        ("tandem-healthd", [true, false, false]),
        ("tandem-lbd", [true, true, false]),
        ("tandem-vrrpd", [false, true, true]),
        ("nobody", [false; 3]),
    ] {
        assert_eq!(["healthd", "lbd", "vrrpd"].map(|daemon| change(user, daemon)), may, "{user}");
    }
    let operator = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=tandem", "tandemctl", "reload"];
    let reloaded = node.run(&operator);
    assert!(reloaded.status.success(), "{}", text(&reloaded));
}

#[test]
fn a_vrrpd_that_cannot_start_again_has_its_addresses_taken_and_stays_down() {
    let node = node!();
    node.configure_vrrpd("instances: nonsense\n");
    node.control("vrrpd", "-k");
    wait_until("it is given up", || node.service("vrrpd", "wantedup") == "false");
    node.wait_for_address(false);
    wait_until("it is said", || node.init.stderr().contains("vrrpd stays down until its configuration"));
    assert_eq!(node.service("vrrpd", "up"), "false");
    assert_eq!(node.service("lbd", "up"), "true", "others go on");

    node.configure_vrrpd(VRRP);
    node.control("vrrpd", "-u");
    node.wait_for_address(true);
}

#[test]
fn an_address_outlives_a_crash_and_no_vrrpd_that_is_not_started_again() {
    let node = node!();
    let before = node.service("vrrpd", "pid");
    node.control("vrrpd", "-k");
    wait_until("another one runs", || !["-1", &before].contains(&node.service("vrrpd", "pid").as_str()));
    assert!(!node.init.stderr().contains("removed"), "{}", node.init.stderr());
    wait_until("it is ready", || node.service("vrrpd", "ready") == "true");
    node.wait_for_address(true);

    // Killed, it removes nothing itself.
    node.control("vrrpd", "-O");
    node.control("vrrpd", "-k");
    node.wait_for_address(false);
    wait_until("s6 has been told", || node.init.stderr().contains(&format!("removed {VIP}/24")));
}
