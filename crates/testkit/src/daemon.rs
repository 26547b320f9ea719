//! The daemons under test: the binaries that ship, run as their supervisor runs them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{PipeReader, Read};
use std::net::TcpListener;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Once;
use std::sync::mpsc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use crate::Netns;
use crate::Systemd;
use crate::process::{Process, adopt_orphans, memory_kib};
use crate::wait::{PATIENCE, wait_until};

/// A program of this project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The load balancer.
    Lbd,
    /// The health checker.
    Healthd,
    /// The owner of the virtual addresses.
    Vrrpd,
    /// The operator's tool.
    Tandemctl,
}

impl Program {
    /// The name of its binary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lbd => "lbd",
            Self::Healthd => "healthd",
            Self::Vrrpd => "vrrpd",
            Self::Tandemctl => "tandemctl",
        }
    }
}

/// The path of a program's binary: in `TANDEM_BIN_DIR`, or beside the running test, built first if it is not there.
///
/// # Panics
/// When it cannot be built.
pub fn binary(program: Program) -> PathBuf {
    static BUILD: Once = Once::new();
    if let Some(dir) = std::env::var_os("TANDEM_BIN_DIR") {
        return Path::new(&dir).join(program.name());
    }
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe().expect("a running test has a path");
    let dir = test.ancestors().nth(2).expect("tests run from target/PROFILE/deps");
    let path = dir.join(program.name());
    if !path.exists() {
        BUILD.call_once(build_daemons);
    }
    assert!(path.exists(), "cargo built no {}", path.display());
    path
}

fn build_daemons() {
    let packages = [Program::Lbd, Program::Healthd, Program::Vrrpd, Program::Tandemctl];
    let status = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(["build", "--quiet"])
        .args(packages.iter().flat_map(|package| ["--package", package.name()]))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.is_ok_and(|status| status.success()), "the daemons do not build");
}

/// A daemon with its run directory and configuration file, which need not run.
#[derive(Debug)]
pub struct Daemon {
    program: Program,
    path: Option<PathBuf>,
    dir: PathBuf,
    namespace: Option<String>,
    args: Vec<String>,
    listeners: Vec<TcpListener>,
    notify_socket: Option<PathBuf>,
    by_systemd_alone: bool,
    watchdog: Option<Duration>,
    open_files: Option<u32>,
    clock: Option<String>,
    process: Option<Process>,
}

impl Daemon {
    /// A daemon that will read `DIR/lb.yaml` (vrrpd: `DIR/vrrp.yaml`), put its socket into `DIR/NAME`, and its output into `DIR/NAME.out` and
    /// `DIR/NAME.err`.
    pub fn new(program: Program, dir: &Path) -> Self {
        Self {
            program,
            path: None,
            dir: dir.to_owned(),
            namespace: None,
            args: Vec::new(),
            listeners: Vec::new(),
            notify_socket: None,
            by_systemd_alone: false,
            watchdog: None,
            open_files: None,
            clock: None,
            process: None,
        }
    }

    /// The same, to be run inside a network namespace.
    pub fn within(mut self, namespace: &Netns) -> Self {
        self.namespace = Some(namespace.name().to_owned());
        self
    }

    /// Further arguments for the next start.
    pub fn args(&mut self, args: &[&str]) {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
    }

    /// From now on it is started as systemd starts a service: with this socket to tell its states to, and for the next start with
    /// these listening sockets.
    pub fn systemd(&mut self, notify_socket: &Path, listeners: Vec<TcpListener>) {
        self.notify_socket = Some(notify_socket.to_owned());
        self.listeners = listeners;
    }

    /// From now on it is another file that is started, and not where it was built.
    pub fn installed_at(&mut self, path: &Path) {
        self.path = Some(path.to_owned());
    }

    /// Starts it as systemd does, which alone hears that it is ready.
    ///
    /// # Panics
    /// When it never says so.
    pub fn start_by(&mut self, systemd: &Systemd) {
        adopt_orphans();
        self.notify_socket = Some(systemd.socket().to_owned());
        self.by_systemd_alone = true;
        drop(self.spawn());
        wait_until("systemd has heard that it is ready", || systemd.has_heard("READY=1"));
    }

    /// Another process has its place from now on. The one that had it.
    ///
    /// # Panics
    /// When it was not started.
    pub fn succeeded_by(&mut self, pid: u32) -> Process {
        let successor = self.process().adopt(pid);
        self.process.replace(successor).expect("it was started")
    }

    /// From now on systemd takes it for hung when it has shown no life for that long.
    pub fn watchdog(&mut self, time: Duration) {
        self.watchdog = Some(time);
    }

    /// The limit of open files for the next start.
    pub fn open_files(&mut self, limit: u32) {
        self.open_files = Some(limit);
    }

    /// By how much its wall clock is wrong from the next start on, in the words of faketime, which has to be installed: `-40s`.
    pub fn clock(&mut self, offset: &str) {
        self.clock = Some(offset.to_owned());
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends instead, or never says so.
    pub fn start(&mut self) {
        let mut ready = self.spawn();
        let (sender, receiver) = mpsc::channel();
        // The end of the daemon closes the pipe, so this thread ends with it at the latest.
        std::thread::spawn(move || {
            let mut byte = [0; 1];
            sender.send(matches!(ready.read(&mut byte), Ok(1) if byte == *b"\n"))
        });
        let name = self.program.name();
        match receiver.recv_timeout(PATIENCE) {
            Ok(true) => {}
            Ok(false) => panic!("{name} ended before it was ready:\n{}", self.stderr()),
            Err(_) => panic!("{name} was not ready in {PATIENCE:?}:\n{}", self.stderr()),
        }
    }

    /// Starts it and does not wait. What is returned gets a newline when the daemon is ready.
    ///
    /// # Panics
    /// When it runs already, or cannot be started.
    pub fn spawn(&mut self) -> PipeReader {
        assert!(!self.is_running(), "{} runs already", self.program.name());
        let (reader, writer) = std::io::pipe().expect("a pipe");
        // The shell moves the pipe from descriptor 0, where Rust can put it, to descriptor 9, and becomes the daemon.
        let limit = self.open_files.map(|limit| format!("ulimit -n {limit}; ")).unwrap_or_default();
        let passed = Passed::new(std::mem::take(&mut self.listeners));
        let ready = if self.by_systemd_alone { "" } else { "--ready-fd 9 9>&0" };
        let script = format!(r#"{limit}{}exec "$@" {ready} 0</dev/null"#, passed.script());
        let shell = if passed.0.is_empty() { "sh" } else { "bash" };
        let mut command = match &self.namespace {
            Some(name) => Netns::command_in(name, shell),
            None => Command::new(shell),
        };
        if let Some(socket) = &self.notify_socket {
            command.env("NOTIFY_SOCKET", socket);
        }
        if let Some(offset) = &self.clock {
            // The dynamic linker knows the machine's $LIB.
            command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1");
            command.env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        if let Some(time) = self.watchdog {
            command.env("WATCHDOG_USEC", time.as_micros().to_string());
        }
        command
            .args(["-c", &script, shell])
            .arg(self.path.clone().unwrap_or_else(|| binary(self.program)))
            .arg("--config")
            .arg(self.config())
            .arg("--run-dir")
            .arg(&self.dir)
            .args(&self.args)
            .stdin(Stdio::from(writer));
        self.process = Some(Process::spawn(self.program.name(), command, &self.dir));
        reader
    }

    /// The path of its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join(if self.program == Program::Vrrpd { "vrrp.yaml" } else { "lb.yaml" })
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        let name = self.program.name();
        self.dir.join(name).join(format!("{name}.sock"))
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.exited().is_none())
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it was not started.
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// Asks it to read its configuration again (SIGHUP). It answers in its log.
    pub fn reload(&self) {
        self.process().signal(Signal::SIGHUP);
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Asks it to stop (SIGTERM), without waiting.
    pub fn terminate(&self) {
        self.process().signal(Signal::SIGTERM);
    }

    /// Asks it to stop (SIGTERM), and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Kills it (SIGKILL).
    ///
    /// # Panics
    /// When it was not started.
    pub fn kill(&mut self) {
        self.process.as_mut().expect("it was started").kill();
    }

    /// Stops it in its tracks (SIGSTOP), as a machine that is out of breath does. Returns when each thread stands still.
    ///
    /// # Panics
    /// When one does not.
    pub fn freeze(&self) {
        self.process().freeze();
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.process().thaw();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.as_mut().expect("it was started").wait()
    }

    /// What it has written to standard output, over all its starts: the access log.
    pub fn stdout(&self) -> String {
        self.process().stdout()
    }

    /// What it has written to standard error, over all its starts: its events.
    pub fn stderr(&self) -> String {
        self.process().stderr()
    }

    /// Waits until it has told of an event. A thread of its own writes them, perhaps after what they tell of was seen.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_to_tell(&self, words: &str) {
        wait_until(&format!("{words:?} is told"), || self.stderr().contains(words));
    }

    /// Its resident memory in KiB.
    ///
    /// # Panics
    /// When it does not run.
    pub fn memory_kib(&self) -> u64 {
        memory_kib(self.pid())
    }

    /// How many descriptors it has open: those of pipes, and all others.
    ///
    /// # Panics
    /// When it does not run.
    pub fn descriptors(&self) -> (usize, usize) {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs");
        // One may be closed while this looks.
        let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let (pipes, others): (Vec<_>, Vec<_>) =
            targets.partition(|target| target.to_string_lossy().starts_with("pipe:"));
        (pipes.len(), others.len())
    }

    /// The file that its standard output goes to, for what [`Daemon::stdout`] does not reach back to.
    pub fn stdout_file(&self) -> PathBuf {
        self.dir.join(format!("{}.out", self.program.name()))
    }

    fn process(&self) -> &Process {
        self.process.as_ref().unwrap_or_else(|| panic!("{} was not started", self.program.name()))
    }
}

/// Listening sockets on their way to a daemon, out of the way of its other descriptors, and not closed when it starts.
struct Passed(Vec<RawFd>);

impl Passed {
    fn new(listeners: Vec<TcpListener>) -> Self {
        let pass = |listener| fcntl(listener, FcntlArg::F_DUPFD(64)).expect("a descriptor is free");
        Self(listeners.into_iter().map(pass).collect())
    }

    /// What puts them where systemd does.
    fn script(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let moves = self.0.iter().zip(3..).map(|(from, to)| format!("{to}<&{from} {from}<&- "));
        let count = self.0.len();
        format!("exec {}; export LISTEN_FDS={count} LISTEN_PID=$$; ", moves.collect::<String>())
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.0.iter().for_each(|passed| nix::unistd::close(*passed).expect("it is open"));
    }
}

/// Runs a program to its end, its standard input empty.
///
/// # Panics
/// When it cannot be started.
pub fn run(program: Program, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    let null = File::open("/dev/null").expect("/dev/null opens");
    Command::new(binary(program)).args(args).stdin(null).output().expect("the binary starts")
}
