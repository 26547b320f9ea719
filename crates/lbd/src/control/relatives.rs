//! The lbd before and after this one, while they run beside it.
//!
//! One that was succeeded is found at a socket that has its process in its name. Whoever serves looks there for all that still finish:
//! those that its predecessor has succeeded, too.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use wire::client::{Client, ClientError};
use wire::{Answer, Info, Request, human};

use crate::control::app::{Shared, lock};
use crate::shared::millis;

/// So many may finish beside the one that serves. Each has its memory, its descriptors and its place in operators' heads.
pub const PREDECESSORS_MAX: usize = 4;
/// How often they are asked.
const LOOK: Duration = Duration::from_secs(1);
/// How long one may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Those of one lbd.
#[derive(Debug, Default)]
pub struct Relatives {
    /// Whether a successor has been given what operators have set: nothing more can be.
    pub changes_held: bool,
    /// Who has its place.
    pub successor: Option<Successor>,
    /// Who finishes beside it.
    pub predecessors: Vec<Predecessor>,
    /// Told when there may be more.
    pub look: Arc<Notify>,
}

/// Who has the place of an lbd.
#[derive(Clone, Copy, Debug)]
pub struct Successor {
    /// The process.
    pub pid: u32,
    /// When everything that the other one still has is broken off.
    pub due: Instant,
}

/// An lbd that finishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// The process.
    pub pid: u32,
    /// Its release.
    pub version: String,
    /// Its client connections.
    pub connections: u64,
    /// In how long it breaks them off.
    pub ends_in: Duration,
}

impl fmt::Display for Predecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, version, connections, ends_in } = self;
        let connections = human::things(*connections, "connection");
        let ends_in = human::duration(millis(*ends_in));
        write!(f, "process {pid} ({version}) still has {connections}, for {ends_in} at most")
    }
}

impl Relatives {
    /// What else is worth knowing of an lbd.
    pub fn details(&self, now: Instant) -> Vec<(&'static str, String)> {
        let mut details = Vec::new();
        if let Some(Successor { pid, due }) = self.successor {
            details.push(("succeeded_by", pid.to_string()));
            details.push((ENDS_IN, millis(due.saturating_duration_since(now)).to_string()));
        }
        if !self.predecessors.is_empty() {
            let all: Vec<_> = self.predecessors.iter().map(ToString::to_string).collect();
            details.push(("predecessors", all.join("; ")));
        }
        details
    }

    /// The connections of all who finish.
    pub fn connections(&self) -> u64 {
        self.predecessors.iter().map(|one| one.connections).sum()
    }
}

const ENDS_IN: &str = "ends_in_ms";

/// Where an lbd is found that was succeeded, in the directory of all.
pub fn socket(dir: &Path, pid: u32) -> PathBuf {
    dir.join(format!("lbd.{pid}.sock"))
}

/// The sockets of a directory that have a process in their names, but for this one's.
fn sockets(dir: &Path) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let pid = |path: &Path| -> Option<u32> {
        path.file_name()?.to_str()?.strip_prefix("lbd.")?.strip_suffix(".sock")?.parse().ok()
    };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let all = paths.filter_map(|path| Some((pid(&path)?, path)));
    all.filter(|(pid, _)| *pid != std::process::id()).collect()
}

/// How many are there that finish.
pub fn count(dir: &Path) -> usize {
    sockets(dir).iter().filter(|(_, path)| is_there(path)).count()
}

/// Whether somebody listens at a socket, who may have no room for one more.
fn is_there(path: &Path) -> bool {
    let connect =
        || Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?.connect(&SockAddr::unix(path)?);
    connect().or_else(|error| if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) }).is_ok()
}

/// Has all who finish end what is idle, and waits until they have no request under way, for so long at most: the virtual addresses are
/// about to leave this node.
pub async fn drain(dir: PathBuf, patience: Duration) {
    let all = async {
        let sockets = spawn_blocking(move || sockets(&dir)).await.unwrap_or_default();
        let mut draining = JoinSet::new();
        for (_, path) in sockets {
            draining.spawn(async move { Client::connect(&path, "lbd").await?.request(Request::Drain).await });
        }
        // Who does not answer has ended, or is waited for in vain.
        while draining.join_next().await.is_some() {}
    };
    let _ = timeout(patience, all).await;
}

/// Looks for ever who finishes beside this lbd, as long as anybody does, and whenever it is told to.
pub async fn follow(state: Shared, dir: PathBuf) {
    let look = lock(&state).relatives().look.clone();
    loop {
        let beside = dir.clone();
        // Disks may hang. It does not panic.
        let sockets = spawn_blocking(move || sockets(&beside)).await.unwrap_or_default();
        let is_any = !sockets.is_empty();
        let mut predecessors = Vec::new();
        for (pid, path) in sockets {
            match timeout(ANSWER, ask(&path)).await {
                Ok(Ok(info)) => predecessors.extend(predecessor(&info)),
                // It has ended, and not well. The file is in nobody's way, but for that.
                Ok(Err(ClientError::Unreachable { source, .. }))
                    if source.kind() == ErrorKind::ConnectionRefused =>
                {
                    let _ = fs::remove_file(&path);
                }
                Ok(Err(_)) | Err(_) => {
                    let state = lock(&state);
                    let known = state.relatives().predecessors.iter().find(|known| known.pid == pid);
                    predecessors.extend(known.cloned());
                }
            }
        }
        predecessors.sort_unstable_by_key(|one| one.ends_in);
        let before = std::mem::replace(&mut lock(&state).relatives_mut().predecessors, predecessors.clone());
        for ended in before.iter().filter(|one| !predecessors.iter().any(|other| other.pid == one.pid)) {
            tracing::info!(process = ended.pid, "an lbd that was succeeded has ended");
        }
        tokio::select! {
            () = sleep(LOOK), if is_any => {}
            () = look.notified() => {}
        }
    }
}

async fn ask(path: &Path) -> Result<Info, ClientError> {
    match Client::connect(path, "lbd").await?.request(Request::Info).await? {
        Answer::Info(info) => Ok(info),
        _ => Err(ClientError::Protocol("another answer than was asked for".to_owned())),
    }
}

/// None while it serves, as before a successor has its place.
fn predecessor(info: &Info) -> Option<Predecessor> {
    let number = |name: &str| info.details.get(name)?.parse().ok();
    Some(Predecessor {
        pid: info.pid,
        version: info.version.clone(),
        ends_in: Duration::from_millis(number(ENDS_IN)?),
        connections: number("connections").unwrap_or(0),
    })
}
