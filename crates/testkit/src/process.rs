//! A child process that cannot outlive its test.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, set_child_subreaper, waitpid};

use crate::wait::{wait_for, wait_until};

/// How much of a process's output is looked at: its end.
const OUTPUT_LIMIT: usize = 16 << 20;

/// A running child process, killed on drop. Its output goes to files.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Handle,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// How a process is waited for.
#[derive(Debug)]
enum Handle {
    Child(Child),
    /// One of a child's children that came to this process when the child ended, and how it has ended.
    Orphan(Pid, Option<ExitStatus>),
}

impl Handle {
    fn pid(&self) -> Pid {
        match self {
            Self::Child(child) => Pid::from_raw(i32::try_from(child.id()).expect("a pid fits an i32")),
            Self::Orphan(pid, _) => *pid,
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => child.try_wait(),
            Self::Orphan(pid, ended) => {
                if ended.is_none() {
                    let pid = rustix::process::Pid::from_raw(pid.as_raw());
                    let waited = waitpid(pid, WaitOptions::NOHANG)?;
                    *ended = waited.map(|(_, status)| ExitStatus::from_raw(status.as_raw()));
                }
                Ok(*ended)
            }
        }
    }
}

/// Has what this process's children leave behind come to it, and not to the init process.
///
/// # Panics
/// When the kernel is too old for that.
pub fn adopt_orphans() {
    set_child_subreaper(rustix::process::Pid::from_raw(1)).expect("Linux 3.4");
}

impl Process {
    /// Starts a command. Its standard output and error are appended to `DIR/NAME.out` and `DIR/NAME.err`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(name: &str, mut command: Command, dir: &Path) -> Self {
        let stdout = dir.join(format!("{name}.out"));
        let stderr = dir.join(format!("{name}.err"));
        let append = |path: &Path| {
            File::options().append(true).create(true).open(path).expect("a file in the test's own directory")
        };
        let child = command
            .stdout(append(&stdout))
            .stderr(append(&stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        Self { name: name.to_owned(), child: Handle::Child(child), stdout, stderr }
    }

    /// One that a process has started which has ended since [`adopt_orphans`]. It writes where this one writes.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn adopt(&self, pid: u32) -> Self {
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid fits an i32"));
        let (name, stdout, stderr) = (self.name.clone(), self.stdout.clone(), self.stderr.clone());
        let mut adopted = Self { name, child: Handle::Orphan(pid, None), stdout, stderr };
        adopted.exited();
        adopted
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid().as_raw().cast_unsigned()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.pid();
        kill(pid, signal)
            .unwrap_or_else(|error| panic!("cannot send {signal} to {} ({pid}): {error}", self.name));
    }

    /// Stops it in its tracks (SIGSTOP), as a machine that is out of breath does. Returns when each thread stands still.
    ///
    /// # Panics
    /// When one does not.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let stands = |task: &Path| {
            // Behind the name, which may hold anything, comes the state.
            let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        wait_until("each thread stands still", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
            tasks.filter_map(Result::ok).all(|task| stands(&task.path()))
        });
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the process is our child")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for(&format!("the end of {}", self.name.clone()), || self.exited())
    }

    /// Kills it, if it still runs, and waits for its end.
    pub fn kill(&mut self) -> ExitStatus {
        if let Some(status) = self.exited() {
            return status;
        }
        self.signal(Signal::SIGKILL);
        self.wait()
    }

    /// What it has written to standard output: the last 16 MiB.
    pub fn stdout(&self) -> String {
        end_of_file(&self.stdout)
    }

    /// What it has written to standard error: the last 16 MiB.
    pub fn stderr(&self) -> String {
        end_of_file(&self.stderr)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let status = match self.child.try_wait() {
            Ok(Some(status)) => Some(status),
            _ => {
                // An error means that it has just ended by itself.
                let _ = kill(self.child.pid(), Signal::SIGKILL);
                match &mut self.child {
                    Handle::Child(child) => drop(child.wait()),
                    Handle::Orphan(pid, _) => {
                        let pid = rustix::process::Pid::from_raw(pid.as_raw());
                        let _ = waitpid(pid, WaitOptions::empty());
                    }
                }
                None
            }
        };
        if std::thread::panicking() {
            let state = match status {
                None => "was running".to_owned(),
                Some(status) => match (status.code(), status.signal()) {
                    (Some(code), _) => format!("had exited with {code}"),
                    (None, signal) => format!("had been ended by signal {}", signal.unwrap_or_default()),
                },
            };
            eprintln!(
                "--- {} {state}; the end of its standard error:\n{}",
                self.name,
                tail(&self.stderr(), 40)
            );
        }
    }
}

/// Lets this process have as many descriptors as the system allows, and returns that number.
///
/// # Panics
/// When the kernel does not tell.
pub fn raise_descriptors() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the kernel tells its limits");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit nobody needs a privilege");
    hard
}

/// The resident memory of a process in KiB.
///
/// # Panics
/// When it does not run.
pub fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

fn end_of_file(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(OUTPUT_LIMIT)..]).into_owned()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
