//! The process that keeps the listeners between two lbd. It is lbd's own program under another name, started at the end of a
//! stop, and gone after a few seconds at the latest.
//!
//! Its standard input is a socket from the lbd that stops, which hands the listeners over and then ends. Who asks for them on
//! `RUN_DIR/lbd/lbd.listeners` gets them, if it is a process of the same user. Removing that file ends the holder: so a supervisor says
//! that there will be no next lbd.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use daemon::Context;
use daemon::entrance::OwnFile;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, Signal, getuid, pidfd_open, pidfd_send_signal, setsid, umask};

use super::pass;

/// The name by which the program knows that it is to be a holder.
pub const NAME: &str = "lbd-listeners";

/// How long listeners are kept for the next lbd, from the end of the one before. Clients wait that long in vain if there is none.
const HOLD: Duration = Duration::from_secs(5);
/// How often the holder looks whether it is still wanted.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How long the system may take to end a holder.
const END: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

fn path(context: &Context) -> PathBuf {
    context.own_dir().join("lbd.listeners")
}

/// A holder, as the lbd that stops knows it: ready to be given listeners.
#[derive(Debug)]
pub struct Holder(UnixStream);

impl Holder {
    /// Starts the process, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not.
    pub fn start(context: &Context) -> anyhow::Result<Self> {
        let start = || -> io::Result<Self> {
            let (ours, theirs) = UnixStream::pair()?;
            pass::be_patient(&ours)?;
            // It outlives this process, and nobody waits for it but the init process.
            Command::new("/proc/self/exe")
                .arg0(NAME)
                .arg(path(context))
                .env_clear()
                .current_dir("/")
                .stdin(std::os::fd::OwnedFd::from(theirs))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            pass::hear(&ours)?;
            Ok(Self(ours))
        };
        start().context("cannot start the process that keeps listeners")
    }

    /// Hands listeners over. The holder keeps them for some seconds after the end of this process.
    ///
    /// # Errors
    /// When it does not take them.
    pub fn keep(&mut self, listeners: &[TcpListener]) -> io::Result<()> {
        pass::give(&self.0, listeners)
    }
}

/// Asks the holder for the listeners, if there is one.
///
/// # Errors
/// When there is one, and it does not give them. Where it keeps them, nobody else can listen: so it is ended, unless it is
/// another user's.
pub fn ask(context: &Context) -> anyhow::Result<Vec<TcpListener>> {
    let holder = match UnixStream::connect(path(context)) {
        Ok(holder) => holder,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).context("cannot be reached"),
    };
    anyhow::ensure!(is_same_user(&holder)?, "is a process of another user");
    // Known before it is waited for: who is still there after that is the same process.
    let process = socket_peercred(&holder).and_then(|peer| pidfd_open(peer.pid, PidfdFlags::empty()));
    let ask = || -> io::Result<_> {
        pass::be_patient(&holder)?;
        let listeners = pass::receive(&holder)?;
        pass::say(&holder)?;
        // By then it has closed its own: what this process closes is closed.
        pass::hear_end(&holder)?;
        Ok(listeners)
    };
    let listeners = ask();
    if let Err(error) = &listeners
        && error.kind() != ErrorKind::UnexpectedEof
        && let Ok(process) = process
    {
        end(process.as_fd()).context("does not hand the listeners over, and cannot be ended")?;
    }
    listeners.context("does not hand the listeners over")
}

/// Ends a process, and returns when all is closed that it kept.
pub(super) fn end(process: BorrowedFd<'_>) -> io::Result<()> {
    pidfd_send_signal(process, Signal::KILL)?;
    match poll(&mut [PollFd::from_borrowed_fd(process, PollFlags::IN)], Some(&END))? {
        0 => Err(ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

fn is_same_user(peer: &UnixStream) -> io::Result<bool> {
    Ok(socket_peercred(peer)?.uid == getuid())
}

/// Is a holder, for the socket that the first argument names.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(path) = arguments.next().map(PathBuf::from) else { return ExitCode::FAILURE };
    // Nobody is there to be told: a holder that fails leaves things as they would be without one.
    match hold(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn hold(path: &Path) -> io::Result<()> {
    // What ends lbd's session or process group does not mean the holder.
    setsid()?;
    let lbd = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let door = Door::open(path)?;
    pass::be_patient(&lbd)?;
    pass::say(&lbd)?;
    // The lbd that stops is bounded itself, and nothing is held before it has handed over.
    lbd.set_read_timeout(None)?;
    let listeners = pass::receive(&lbd)?;
    pass::say(&lbd)?;
    pass::hear_end(&lbd)?;
    let until = Instant::now() + HOLD;
    while Instant::now() < until && door.is_ours() {
        if let Some(asks) = door.knock()?
            && hand_over(&asks, &listeners).is_ok()
        {
            drop(listeners);
            // Before the next lbd hears that everything is done, or it would find a socket that is about to go.
            drop(door);
            return Ok(());
        }
    }
    Ok(())
}

fn hand_over(asks: &UnixStream, listeners: &[TcpListener]) -> io::Result<()> {
    if !is_same_user(asks)? {
        return Err(ErrorKind::PermissionDenied.into());
    }
    pass::be_patient(asks)?;
    pass::give(asks, listeners)
}

/// The socket on which the next lbd asks. Its file goes with it.
struct Door {
    socket: UnixListener,
    file: OwnFile,
}

impl Door {
    fn open(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        umask(Mode::RWXG | Mode::RWXO);
        let socket = UnixListener::bind(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, file: OwnFile::at(path.to_owned()) })
    }

    /// Whether nobody has removed the file, or put another in its place.
    fn is_ours(&self) -> bool {
        self.file.is_ours()
    }

    /// Waits a moment for somebody who asks.
    fn knock(&self) -> io::Result<Option<UnixStream>> {
        poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&LOOK))?;
        match self.socket.accept() {
            Ok((asks, _)) => {
                asks.set_nonblocking(false)?;
                Ok(Some(asks))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.file.remove();
    }
}
