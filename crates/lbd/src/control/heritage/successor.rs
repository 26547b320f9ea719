//! The program that is installed now, started to have this lbd's place while it serves.
//!
//! A process in between starts it and ends, so that it is a child of the init process at once, as this one is: systemd is told of
//! the ends of its children alone.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::systemd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::predecessor::VARIABLE;
use super::words::{self, Word};
use super::{holder, pass};

/// The name by which the program knows that it is to start another.
pub const NAME: &str = "lbd-successor";

/// How often it is looked whether the process in between has ended.
const LOOK: Duration = Duration::from_millis(1);
/// How long it may take from the word that it is to serve.
const SERVES: Duration = Duration::from_secs(1);

/// What concerns one process, and not the next one: what systemd has passed to this one, and that it watches this one.
const OWN: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How this process was started.
#[derive(Clone, Debug)]
pub struct Origin {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Origin {
    /// By that name, and with these arguments. A name that is no path was looked for: then it is what was found. Links are not followed
    /// now, as they may lead elsewhere later.
    ///
    /// # Errors
    /// When the system does not tell where that is.
    pub fn new(name: Option<&OsStr>, arguments: impl Iterator<Item = OsString>) -> io::Result<Self> {
        let path = name.map(Path::new).filter(|name| name.components().count() > 1);
        let program = match path {
            Some(path) => std::path::absolute(path)?,
            None => std::env::current_exe()?,
        };
        Ok(Self { program, arguments: arguments.collect() })
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }
}

/// A process that is to have this one's place. Dropped before it has, it is ended.
#[derive(Debug)]
pub struct Successor {
    /// The process.
    pub pid: u32,
    /// Its release, as soon as that is known.
    pub version: String,
    /// Where it listens, as soon as that is known.
    pub addresses: Vec<SocketAddr>,
    link: Link,
    process: Option<OwnedFd>,
}

/// The way to a successor.
#[derive(Clone, Debug)]
pub struct Link {
    pid: u32,
    channel: Arc<UnixStream>,
}

impl Successor {
    /// Starts the program, and waits until it could be given something.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn start(origin: &Origin, due: Instant) -> Result<Self, String> {
        let (channel, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let cannot = |error: io::Error| format!("cannot start {}: {error}", origin.program.display());
        let mut command = Command::new("/proc/self/exe");
        command.arg0(NAME).arg(&origin.program).args(&origin.arguments);
        for variable in OWN {
            command.env_remove(variable);
        }
        command.env(VARIABLE, std::process::id().to_string()).stdin(OwnedFd::from(theirs));
        let mut between = command.spawn().map_err(cannot)?;
        // Its own copy of the other end is gone.
        drop(command);
        wait(&mut between, due).map_err(cannot)?;
        let mut asked = None;
        let pid = loop {
            match words::hear(&channel, due) {
                Ok(Word::Started { pid }) => break pid,
                // It was faster than who has started it.
                Ok(Word::Asks { version, .. }) if asked.is_none() => asked = Some(version),
                Ok(Word::Failed { why }) => return Err(why),
                Ok(_) => return Err(NONSENSE.to_owned()),
                Err(error) if error.kind() == ErrorKind::InvalidData => return Err(NONSENSE.to_owned()),
                Err(error) => return Err(cannot(error)),
            }
        };
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let process = process.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let link = Link { pid, channel: Arc::new(channel) };
        let mut successor = Self { pid, version: String::new(), addresses: Vec::new(), link, process };
        successor.version = match asked {
            Some(version) => version,
            None => match successor.link.hear(due)? {
                Word::Asks { version, .. } => version,
                _ => return Err(NONSENSE.to_owned()),
            },
        };
        Ok(successor)
    }

    /// The way to it.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// It has the place, and is on its own.
    pub fn release(&mut self) {
        self.process = None;
    }
}

impl Link {
    /// Gives it the listeners, and waits until it serves. Where it listens then.
    ///
    /// # Errors
    /// Why it does not.
    pub fn install(&self, listeners: &[TcpListener], due: Instant) -> Result<Vec<SocketAddr>, String> {
        let lost = |error: io::Error| format!("{} does not take what it is given: {error}", self.name());
        words::say(&self.channel, &Word::Gives).map_err(lost)?;
        pass::be_patient(&self.channel).map_err(lost)?;
        pass::give(&self.channel, listeners).map_err(lost)?;
        let Word::Ready { addresses } = self.hear(due)? else { return Err(NONSENSE.to_owned()) };
        words::say(&self.channel, &Word::Go)
            .map_err(|error| format!("{} cannot be told to serve: {error}", self.name()))?;
        // By now it may have the clients of a moment.
        match self.hear(Instant::now() + SERVES)? {
            Word::Serves => Ok(addresses),
            _ => Err(NONSENSE.to_owned()),
        }
    }

    /// Tells systemd that it is the service from now on, and tells it so.
    ///
    /// # Errors
    /// When one of them is gone. Then this process still is the service, as far as systemd listens to it.
    pub fn appoint(&self) -> Result<(), String> {
        let told = systemd::main_process(self.pid)
            .map_err(|error| format!("systemd does not hear of {}: {error:#}", self.name()));
        let told = told.and_then(|()| {
            // Its end of the channel is open for as long as it lives.
            words::say(&self.channel, &Word::Done)
                .map_err(|_| format!("{} ended when it had begun to serve; its log says why", self.name()))
        });
        if told.is_err()
            && let Err(error) = systemd::main_process(std::process::id())
        {
            tracing::error!("systemd may take the end of another process for the end of lbd: {error:#}");
        }
        told
    }

    fn hear(&self, due: Instant) -> Result<Word, String> {
        match words::hear(&self.channel, due) {
            Ok(Word::Failed { why }) => Err(format!("{} says: {why}", self.name())),
            Ok(word) => Ok(word),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                Err(format!("{} did not serve in time, and was ended; its log may say why", self.name()))
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(NONSENSE.to_owned()),
            Err(_) => Err(format!("{} ended before it served; its log says why", self.name())),
        }
    }

    fn name(&self) -> String {
        format!("the new lbd, process {},", self.pid)
    }
}

/// Waits for the end of a process, which is killed if that does not come in time.
fn wait(process: &mut Child, due: Instant) -> io::Result<()> {
    while process.try_wait()?.is_none() {
        if Instant::now() >= due {
            process.kill()?;
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Another program, or a release that does this in another way.
const NONSENSE: &str = "the program that was started is none that can succeed this one";

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(process) = self.process.take()
            && let Err(error) = holder::end(process.as_fd())
            && error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error())
        {
            tracing::error!(process = self.pid, %error, "cannot end what was to succeed this lbd");
        }
    }
}

/// Starts the program that the first argument names, with the others, and says so to the lbd at standard input.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Ok(channel) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    let Some(program) = arguments.next() else { return ExitCode::FAILURE };
    let word = match Command::new(&program).args(arguments).spawn() {
        Ok(child) => Word::Started { pid: child.id() },
        Err(error) => {
            Word::Failed { why: format!("cannot start {}: {error}", Path::new(&program).display()) }
        }
    };
    match words::say(&UnixStream::from(channel), &word) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_counts_by_which_it_was_started() {
        let program = |name: &str| Origin::new(Some(OsStr::new(name)), std::iter::empty()).unwrap().program;
        assert_eq!(program("/opt/current/lbd"), Path::new("/opt/current/lbd"));
        assert_eq!(program("./lbd"), std::env::current_dir().unwrap().join("lbd"));
        assert_eq!(program("lbd"), std::env::current_exe().unwrap());
    }
}
