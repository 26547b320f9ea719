//! A real daemon process: what it says, when it is ready, how it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

use std::io::{BufRead, BufReader, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const GOOD: &str = "\
frontends: { web: { bind: ['127.0.0.1:8080'], backend: nginx } }
backends: { nginx: { servers: { nginx1: '127.0.0.1:80' } } }
";
const BAD: &str = "\
frontends: { web: { bind: ['127.0.0.1:8080'], backend: nginy } }
backends: { nginx: { ballance: roundrobin, servers: { nginx1: '127.0.0.1:80' } } }
";

/// More than enough for anything here.
const PATIENCE: Duration = Duration::from_secs(30);

/// An example, which cargo builds along with the tests: target/PROFILE/examples beside target/PROFILE/deps.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// A directory with a configuration file, for one daemon.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.configure(config);
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn configure(&self, config: &str) {
        std::fs::write(self.path().join("lb.yaml"), config).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(example("smallest"));
        for name in ["TANDEM_CONFIG", "TANDEM_RUN_DIR", "TANDEM_LOG", "TANDEM_LOG_FORMAT", "NOTIFY_SOCKET"] {
            command.env_remove(name);
        }
        command.arg("--config").arg(self.path().join("lb.yaml")).arg("--run-dir").arg(self.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    fn start(&self) -> Running {
        Running::new(&mut self.command())
    }
}

/// A daemon whose events are read.
struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn new(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Reads events up to the first that contains `wanted`.
    fn wait_for(&mut self, wanted: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let length = self.stderr.read_line(&mut line).unwrap();
            assert!(length > 0, "the daemon ended without saying `{wanted}`:\n{seen}");
            seen.push_str(&line);
            if line.contains(wanted) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_configuration_is_checked_without_starting() {
    let good = Home::new(GOOD).run(&["--check"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).contains("can be used"));

    let bad = Home::new(BAD).run(&["--check"]);
    assert_eq!(bad.status.code(), Some(78));
    let errors = text(&bad.stderr);
    for expected in ["lb.yaml:", "nginy", "ballance", "balance"] {
        assert!(errors.contains(expected), "{expected} is missing in:\n{errors}");
    }
}

#[test]
fn a_bad_configuration_ends_a_start_with_its_own_code() {
    let output = Home::new(BAD).run(&[]);
    assert_eq!(output.status.code(), Some(78));
    let log = text(&output.stderr);
    assert!(log.contains("ballance") && log.contains("the configuration cannot be used"), "{log}");
}

#[test]
fn wrong_usage_is_explained() {
    let home = Home::new(GOOD);
    for (args, says) in [
        (vec!["--chekc"], "--check"),
        (vec!["--log-format", "xml"], "text, json"),
        (vec!["--log-level", "lbd=loud"], "try error, warn, info, debug or trace"),
        (vec!["--ready-fd", "1"], "3..1024"),
    ] {
        let output = home.run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(says), "{args:?}: {}", text(&output.stderr));
    }
    let output = home.command().env("TANDEM_LOG_FORMAT", "xml").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let output = home.run(&["--version"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), format!("smallest {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn what_the_system_refuses_has_its_own_code() {
    let home = Home::new(GOOD);
    std::fs::create_dir(home.path().join("smallest")).unwrap();
    let _other = UnixListener::bind(home.path().join("smallest/smallest.sock")).unwrap();
    let output = home.run(&[]);
    assert_eq!(output.status.code(), Some(71));
    let log = text(&output.stderr);
    assert!(log.contains("another smallest is running as process"), "{log}");
}

#[test]
fn the_environment_does_what_the_arguments_do() {
    let home = Home::new(GOOD);
    let mut command = Command::new(example("smallest"));
    command
        .env("TANDEM_CONFIG", home.path().join("lb.yaml"))
        .env("TANDEM_RUN_DIR", home.path())
        .env("TANDEM_LOG_FORMAT", "json")
        .env("TANDEM_LOG", "info");
    let mut daemon = Running::new(&mut command);
    let event = daemon.wait_for("ready");
    assert!(event.starts_with("{\"timestamp\":\"") && event.contains("Z\""), "times are in UTC: {event}");
    assert!(event.contains("\"backends\":1"), "{event}");
    assert!(home.path().join("smallest/smallest.sock").exists());
}

#[test]
fn signals_reload_and_stop() {
    let home = Home::new(GOOD);
    let mut daemon = home.start();
    daemon.wait_for("ready");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("configuration reloaded");

    home.configure(BAD);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("ballance");
    let refused = daemon.wait_for("reload refused");
    assert!(refused.contains("lb.yaml:"), "says why: {refused}");

    home.configure(GOOD);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("configuration reloaded");

    daemon.signal(Signal::SIGPIPE);
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for("stopping until told again");
    // Not a reason to hurry, nor to reload.
    daemon.signal(Signal::SIGHUP);
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.exit_code(), Some(0));
}

#[test]
fn a_panic_in_a_task_ends_the_daemon() {
    let output = Command::new(example("panics")).output().unwrap();
    assert_eq!(output.status.signal(), Some(Signal::SIGABRT as i32));
    assert!(text(&output.stderr).contains("a mistake, found by panics"), "{}", text(&output.stderr));
}

#[test]
fn s6_is_told_through_its_descriptor() {
    let home = Home::new(GOOD);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let daemon = home.command();
    // The shell moves the pipe to descriptor 3, where no Rust program can put it without `unsafe`.
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"exec "$@" --ready-fd 3 3>&0 0</dev/null"#, "sh"])
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .stdin(Stdio::from(writer));
    let _daemon = Running::new(&mut command);
    // The shell's own copy of the pipe goes with the command.
    drop(command);
    let mut said = String::new();
    // Its end comes while the daemon still runs.
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said, "\n");
}

#[test]
fn a_descriptor_that_is_not_open_is_an_error() {
    let output = Home::new(GOOD).run(&["--ready-fd", "999"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--ready-fd 999 cannot be written to"));
}

#[test]
fn systemd_is_told_through_its_socket() {
    let home = Home::new(GOOD);
    let path = home.path().join("notify");
    let name = format!("tandem-test-{}", std::process::id());
    let sockets = [
        (path.to_str().unwrap().to_owned(), UnixDatagram::bind(&path).unwrap()),
        (
            format!("@{name}"),
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap(),
        ),
    ];
    for (address, socket) in sockets {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 64];
        let daemon = Running::new(home.command().env("NOTIFY_SOCKET", address));
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(text(&buffer[..length]), "READY=1");
        daemon.signal(Signal::SIGTERM);
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(text(&buffer[..length]), "STOPPING=1");
    }
}

#[test]
fn a_daemon_whose_events_nobody_reads_goes_on() {
    let home = Home::new(GOOD);
    let notify = UnixDatagram::bind(home.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let daemon = Running::new(home.command().env("NOTIFY_SOCKET", home.path().join("notify")));
    let mut buffer = [0; 64];
    notify.recv(&mut buffer).unwrap();
    // Each refused reload logs two lines or more; together far more than a pipe and the queue hold.
    home.configure(&BAD.replace("ballance", &"b".repeat(2_000)));
    for _ in 0..200 {
        daemon.signal(Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(2));
    }
    daemon.signal(Signal::SIGTERM);
    let length = notify.recv(&mut buffer).unwrap();
    assert_eq!(text(&buffer[..length]), "STOPPING=1", "it still hears signals");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), Some(0));
}

#[test]
fn help_manual_and_completions_follow_from_the_options() {
    let said = |arguments: &[&str]| {
        let output = Command::new(example("smallest")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(&["--help"]).contains("[default: /etc/tandem/lb.yaml]"));
    assert!(said(&["--generate", "man"]).contains("/etc/tandem/lb.yaml"));
    for (shell, wanted) in [("bash", "--run-dir"), ("zsh", "--run-dir"), ("fish", "-l run-dir")] {
        assert!(said(&["--generate", shell]).contains(wanted), "{shell}");
    }
}
