//! The units as `scripts/install-units` installs them, under a systemd of their own on a copy of this machine.

mod installed;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{
    Netns, Network, Process, Program, VrrpNode, binary, is_root, needs, skip, text_command, wait_for,
    wait_until,
};

const VIP: &str = "10.72.0.100";
const LB: &str = "
frontends: { web: { bind: 0.0.0.0:80, backend: app } }
backends: { app: { servers: { s1: 127.0.0.1:9 } } }
";
const VRRP: &str = "
instances:
  web:
    virtual_router_id: 51
    virtual_addresses: [10.72.0.100/24]
    advert_interval: 200ms
    authentication: { hmac: { key_file: vrrp.key } }
";
const DAEMONS: [&str; 3] = ["healthd", "lbd", "vrrpd"];

/// A machine with systemd and the units.
struct Machine {
    systemd: Process,
    cgroup: PathBuf,
    _host: Netns,
    directory: TempDir,
    network: Network,
}

impl Machine {
    /// Boots, installs the units, and starts all daemons. None where systemd does not come up in namespaces.
    fn start() -> Option<Self> {
        let network = Network::new(24);
        let host = network.host("lb1", Ipv4Addr::new(10, 72, 0, 1));
        let directory = tempfile::tempdir().expect("a directory");
        let programs = binary(Program::Vrrpd);

        // systemd manages the control groups below its own.
        let hierarchy = Path::new("/sys/fs/cgroup/systemd");
        let hierarchy = if hierarchy.exists() { hierarchy } else { Path::new("/sys/fs/cgroup") };
        let cgroup = hierarchy.join(format!("tandem-{}-{}", std::process::id(), host.name()));
        fs::create_dir(&cgroup).ok()?;
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#])
            .arg(&cgroup)
            // As `ip netns exec` does, but with the control groups in sight.
            .args(["nsenter", &format!("--net=/run/netns/{}", host.name())])
            .args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"])
            .arg(repository().join("tests/units/box-init"))
            .arg(directory.path())
            .arg(repository())
            .arg(programs.parent().expect("it lies in a directory"));
        let systemd = Process::spawn("systemd", command, directory.path());
        let mut machine = Self { systemd, cgroup, _host: host, directory, network };
        let is_up = wait_for("systemd is up, or has ended", || {
            let has_ended = machine.systemd.exited().is_some();
            let state = machine.pid().map(|_| text(&machine.run(&["systemctl", "is-system-running"])));
            let is_up = ["running", "degraded"].contains(&state.unwrap_or_default().trim());
            (is_up || has_ended).then_some(is_up)
        });
        if !is_up {
            return None;
        }
        machine.run_ok(&["/opt/tandem/scripts/install-units"]);
        machine.write("etc/tandem/lb.yaml", LB);
        machine.write("etc/tandem/vrrp.yaml", VRRP);
        machine.write("etc/tandem/key", "0123456789abcdef0123456789abcdef");
        // As docs/production.md says.
        let (key, installed) = ("/etc/tandem/key", "/etc/tandem/vrrp.key");
        machine.run_ok(&["install", "-m", "640", "-g", "tandem-vrrpd", key, installed]);
        let units = DAEMONS.map(unit);
        machine.run_ok(&["systemctl", "start", &units[0], &units[1], &units[2]]);
        machine.wait_for_address(true);
        Some(machine)
    }

    /// systemd's process, as this machine knows it.
    fn pid(&self) -> Option<String> {
        let pid = fs::read_to_string(self.directory.path().join("pid")).ok()?;
        (!pid.trim().is_empty()).then(|| pid.trim().to_owned())
    }

    /// Runs a command inside, as root.
    fn run(&self, command: &[&str]) -> Output {
        Command::new("nsenter")
            .args(["--target", &self.pid().expect("systemd runs")])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", "env", "-i"])
            .arg("PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(command)
            .output()
            .expect("nsenter starts")
    }

    fn run_ok(&self, command: &[&str]) -> String {
        let output = self.run(command);
        let log = || text(&self.run(&["journalctl", "--no-pager", "-n", "60"]));
        assert!(output.status.success(), "{command:?}: {}\n{}", text(&output), log());
        text(&output)
    }

    /// Writes a file inside; its directory is there.
    fn write(&self, path: &str, content: &str) {
        let script = format!("cat >'/{path}' <<'END'\n{content}\nEND");
        self.run_ok(&["sh", "-c", &script]);
    }

    /// What systemd knows of a daemon's unit.
    fn show(&self, daemon: &str, property: &str) -> String {
        self.run_ok(&["systemctl", "show", "--value", "-p", property, &unit(daemon)]).trim().to_owned()
    }

    /// Sends a daemon a signal, and returns which process that was.
    fn signal(&self, daemon: &str, signal: &str) -> String {
        // There is none while systemd waits to start it again, and 0 would be the test itself.
        let mut pid = String::new();
        wait_until("it has a process", || {
            pid = self.show(daemon, "MainPID");
            pid != "0"
        });
        self.run_ok(&["kill", "-s", signal, &pid]);
        pid
    }

    fn wait_for_another(&self, daemon: &str, before: &str) {
        wait_until(&format!("another {daemon} runs"), || {
            self.show(daemon, "ActiveState") == "active" && self.show(daemon, "MainPID") != before
        });
    }

    fn wait_for_address(&self, is_there: bool) {
        wait_until(&format!("the address is there: {is_there}"), || {
            self.run_ok(&["ip", "-o", "address"]).contains(VIP) == is_there
        });
    }

    /// Gives a unit further settings, which have to be shorter than its own to be waited for.
    fn drop_in(&self, daemon: &str, settings: &str) {
        let directory = format!("etc/systemd/system/{}.d", unit(daemon));
        self.run_ok(&["mkdir", "-p", &format!("/{directory}")]);
        self.write(&format!("{directory}/test.conf"), &format!("[Service]\n{settings}"));
        self.run_ok(&["systemctl", "daemon-reload"]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.systemd.kill();
        // The kernel gives control groups up when the last process in them has gone.
        let _ = Command::new("timeout")
            .args([
                "10",
                "sh",
                "-c",
                r#"until find "$0" -depth -type d -exec rmdir {} +; do sleep 0.1; done"#,
            ])
            .arg(&self.cgroup)
            .output();
    }
}

fn unit(daemon: &str) -> String {
    format!("tandem-{daemon}.service")
}

fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ lies in it").to_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

macro_rules! machine {
    () => {{
        needs!("ip", "unshare", "nsenter", "setpriv", "systemctl", "systemd-sysusers", "systemd-analyze");
        if !is_root() {
            skip!("a systemd of its own needs root");
        }
        let Some(machine) = Machine::start() else { skip!("systemd does not come up in namespaces here") };
        machine
    }};
}

#[test]
fn what_is_installed_gives_each_daemon_what_it_needs_and_no_more() {
    let machine = machine!();
    for (daemon, capabilities) in
        [("healthd", "0000000000000000"), ("lbd", "0000000000000400"), ("vrrpd", "0000000000003000")]
    {
        let status = machine.run_ok(&["cat", &format!("/proc/{}/status", machine.show(daemon, "MainPID"))]);
        let user = machine.run_ok(&["id", "-u", &format!("tandem-{daemon}")]);
        let has = |line: String| assert!(status.contains(&line), "{daemon}: no {line:?} in {status}");
        has(format!("Uid:\t{}\t", user.trim()));
        has("NoNewPrivs:\t1\n".to_owned());
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            has(format!("{set}:\t{capabilities}\n"));
        }
        let unit = format!("/usr/lib/systemd/system/{}", unit(daemon));
        let verified = text(&machine.run(&["systemd-analyze", "verify", &unit]));
        // systemd knows these from 254 on, and says of earlier ones that they are passed over.
        let is_known =
            |line: &&str| !line.contains("'RestartSteps'") && !line.contains("'RestartMaxDelaySec'");
        assert_eq!(verified.lines().filter(is_known).collect::<Vec<_>>(), [""; 0]);
        // Of 10, less is better.
        machine.run_ok(&["systemd-analyze", "security", "--no-pager", "--threshold=30", &self::unit(daemon)]);
    }
    machine.run_ok(&["test", "-x", "/usr/local/lib/tandem/aws-address"]);

    let run_as = |user: &str, command: &str| {
        let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
        machine.run(&["setpriv", &user, &group, "--init-groups", "sh", "-c", command])
    };
    for (user, may) in [("tandem-vrrpd", true), ("tandem-lbd", false), ("tandem-healthd", false)] {
        assert_eq!(run_as(user, "cat /etc/tandem/vrrp.key").status.success(), may, "{user} reads the key");
        assert_eq!(run_as(user, "touch /run/tandem/vrrpd/x").status.success(), may, "{user} writes there");
    }
    let denied = text(&run_as("tandem-lbd", "tandemctl handover"));
    assert!(denied.contains("Permission denied"), "{denied}");
    // An operator.
    let groups = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=tandem", "tandemctl", "reload"];
    machine.run_ok(&groups);
}

#[test]
fn addresses_outlive_no_vrrpd_that_is_not_started_again() {
    let machine = machine!();
    // It does not hear that it is to stop, and is killed: what removes the address is ExecStopPost.
    machine.drop_in("vrrpd", "KillSignal=SIGURG\nTimeoutStopSec=1s");
    machine.run_ok(&["systemctl", "stop", &unit("vrrpd")]);
    machine.wait_for_address(false);
    assert_eq!(machine.show("vrrpd", "Result"), "timeout");

    machine.run_ok(&["systemctl", "start", &unit("vrrpd")]);
    machine.wait_for_address(true);
    machine.write("etc/tandem/vrrp.yaml", "instances: nonsense");
    machine.signal("vrrpd", "KILL");
    wait_until("it is given up", || machine.show("vrrpd", "ActiveState") == "failed");
    assert_eq!(machine.show("vrrpd", "ExecMainStatus"), "78");
    machine.wait_for_address(false);
    assert_eq!(machine.show("lbd", "ActiveState"), "active", "others go on");
}

/// A session of TCP is in flight for as long as it lasts.
const ECHO: &str = "
lbd: { handover_timeout: 200ms }
frontends: { echo: { mode: tcp, bind: 0.0.0.0:81, backend: echo } }
backends: { echo: { mode: tcp, check: off, servers: { s1: 10.72.0.8:7 } } }
";

/// A connection that the node keeps for as long as it lasts.
fn keep_one(machine: &Machine, client: &Netns) -> TcpStream {
    machine.wait_for_address(true);
    let mut connection = client.inside(|| TcpStream::connect((VIP, 81)).expect("the node serves"));
    connection.set_read_timeout(Some(Duration::from_secs(20))).expect("it is not zero");
    assert_answered(&mut connection);
    machine.run_ok(&["tandemctl", "handover"]);
    assert!(machine.run_ok(&["ip", "-o", "address", "show", "dev", "lo"]).contains(VIP));
    // Its packets come by the other node now.
    for _ in 0..3 {
        assert_answered(&mut connection);
    }
    connection
}

fn assert_answered(connection: &mut TcpStream) {
    connection.write_all(b"word").expect("it is open");
    let mut answer = [0; 4];
    connection.read_exact(&mut answer).expect("it is answered");
    assert_eq!(&answer, b"word");
}

fn wait_for_nothing_kept(machine: &Machine) {
    wait_until("neither rules nor an address are left", || {
        machine.run_ok(&["nft", "list", "tables"]).is_empty()
            && !machine.run_ok(&["ip", "-o", "address"]).contains(VIP)
    });
}

/// In its sandbox vrrpd may set rules for packets, and what a unit that is stopped leaves of them its ExecStopPost takes away.
#[test]
fn connections_are_kept_over_a_handover_and_no_longer_than_vrrpd() {
    needs!("nft");
    let machine = machine!();
    let client = machine.network.host("client", Ipv4Addr::new(10, 72, 0, 9));
    let server = machine.network.host("server", Ipv4Addr::new(10, 72, 0, 8));
    let listener = server.inside(|| TcpListener::bind("10.72.0.8:7").expect("the port is free"));
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || io::copy(&mut &connection, &mut &connection));
        }
    });
    machine.write("etc/tandem/lb.yaml", ECHO);
    machine.write("etc/tandem/vrrp.yaml", &format!("{VRRP}    keep_connections: 1h\n"));
    assert!(!machine.run_ok(&["vrrpd", "--check"]).contains("cannot keep"));
    machine.run_ok(&["tandemctl", "reload"]);

    let key = machine.directory.path().join("vrrp.key");
    fs::write(&key, "0123456789abcdef0123456789abcdef").expect("it can be written");
    fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("it is the test's own");
    let lines = format!(
        "virtual_router_id: 51\npriority: 90\nvirtual_addresses: [{VIP}/24]\nadvert_interval: 200ms\npreempt: off\ntrack: []\n\
         authentication: {{ hmac: {{ key_file: {} }} }}\nkeep_connections: 1h",
        key.display()
    );
    let other = machine.network.host("lb2", Ipv4Addr::new(10, 72, 0, 2));
    let other = VrrpNode::start(other, &lines);
    other.wait_for_state("backup");

    let connection = keep_one(&machine, &client);
    drop(connection);
    wait_for_nothing_kept(&machine);

    let told = text_command(&other.vrrpd.socket(), "handover");
    assert!(told.starts_with("handed over web in "), "{told}");
    let _connection = keep_one(&machine, &client);
    // It is killed before it can put anything right.
    machine.drop_in("vrrpd", "KillSignal=SIGURG\nTimeoutStopSec=1s");
    machine.run_ok(&["systemctl", "stop", &unit("vrrpd")]);
    assert_eq!(machine.show("vrrpd", "Result"), "timeout");
    wait_for_nothing_kept(&machine);
}

/// The unit's limit is for one that hangs.
#[test]
fn lbd_stops_for_as_long_as_it_is_configured_to() {
    let machine = machine!();
    machine.drop_in("lbd", "TimeoutStopSec=1s");
    let half = "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n' >&3; systemctl stop --no-block tandem-lbd";
    let rest = "sleep 4; printf '\\r\\n' >&3; head -n 1 <&3";
    let answer = machine.run_ok(&["bash", "-c", &format!("{half}; {rest}")]);
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    wait_until("it has stopped", || machine.show("lbd", "ActiveState") == "inactive");
    assert_eq!(machine.show("lbd", "Result"), "success");
}

/// systemd takes the successor for the service, and the old one for a part of it.
#[test]
fn another_lbd_takes_over_while_the_old_one_finishes() {
    let machine = machine!();
    let program = "/usr/local/lib/tandem/lbd";
    machine.run_ok(&["cp", "/usr/local/bin/lbd", program]);
    machine.drop_in("lbd", &format!("ExecStart=\nExecStart={program}\nWatchdogSec=1s"));
    machine.run_ok(&["systemctl", "restart", &unit("lbd")]);
    machine.wait_for_address(true);
    let vrrpd = || machine.run_ok(&["journalctl", "--no-pager", "-o", "cat", "-u", &unit("vrrpd")]);
    let before = (machine.show("lbd", "MainPID"), vrrpd());

    // A new release is a new file, and a request is under way, whose client takes its time.
    machine.run_ok(&["sh", "-c", &format!("cp {program} {program}.new && mv {program}.new {program}")]);
    let half = "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n' >&3; tandemctl upgrade; tandemctl upgrade";
    let rest = format!("sleep 2; kill -0 {} && printf '\\r\\n' >&3; head -n 1 <&3", before.0);
    let told = machine.run_ok(&["bash", "-c", &format!("{half}; {rest}")]);
    assert!(told.contains(&format!("; process {} finishes what it has: 1 connection", before.0)), "{told}");
    assert!(told.lines().last().is_some_and(|line| line.starts_with("HTTP/1.1 ")), "{told}");
    let main = machine.show("lbd", "MainPID");
    assert!(told.contains(&format!("process {main} (")), "{told}");
    wait_until("the others have ended", || !machine.run(&["kill", "-0", &before.0]).status.success());
    assert_eq!(machine.show("lbd", "ActiveState"), "active");
    assert_eq!(machine.show("lbd", "NRestarts"), "0");
    assert_eq!(vrrpd(), before.1, "vrrpd has nothing to tell");

    // By a signal; and a restart ends those that finish as well.
    let held = "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n' >&3; sleep 60";
    machine.run_ok(&["systemd-run", "--unit=held", "bash", "-c", held]);
    wait_until("it is connected", || machine.run_ok(&["tandemctl", "sessions"]).lines().count() > 1);
    machine.run_ok(&["systemctl", "kill", "-s", "USR2", "--kill-whom=main", &unit("lbd")]);
    machine.wait_for_another("lbd", &main);
    machine.run_ok(&["kill", "-0", &main]);
    machine.run_ok(&["systemctl", "restart", &unit("lbd")]);
    assert!(!machine.run(&["kill", "-0", &main]).status.success(), "it was told to end, too");
    machine.wait_for_address(true);

    // What dies is started again, as ever.
    let killed = machine.signal("lbd", "KILL");
    machine.wait_for_another("lbd", &killed);
    let journal = machine.run_ok(&["journalctl", "--no-pager", "-o", "cat", "-u", &unit("lbd")]);
    assert!(!journal.contains("reception only permitted"), "{journal}");
    assert!(!journal.contains("not our child"), "{journal}");
}

#[test]
fn a_daemon_that_dies_or_hangs_is_back_however_often() {
    let machine = machine!();
    for _ in 0..8 {
        let before = machine.signal("lbd", "KILL");
        machine.wait_for_another("lbd", &before);
    }
    machine.wait_for_address(true);
    for daemon in DAEMONS {
        machine.drop_in(daemon, "WatchdogSec=1s\nTimeoutAbortSec=1s");
        // From its next start on.
        machine.run_ok(&["systemctl", "restart", &unit(daemon)]);
        let before = machine.signal(daemon, "STOP");
        machine.wait_for_another(daemon, &before);
    }
    machine.wait_for_address(true);
}
