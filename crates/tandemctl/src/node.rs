//! The daemons of this node: their sockets, and why one cannot be reached.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use wire::client::{Client, ClientError};
use wire::server::CONTROL_GROUP;
use wire::{Answer, AnycastStatus, Info, InstanceStatus, RefusalCode, Request, StatRow, Verdict};

use crate::failure::Failure;

/// The daemons, in the order in which they are shown.
pub(crate) const DAEMONS: [&str; 3] = ["lbd", "healthd", "vrrpd"];

/// The longest answer in text, in bytes.
const TEXT_MAX: u64 = 64 << 20;

/// How long a daemon may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a daemon may take to put a configuration in force, to hand addresses over, or to have another one in its place.
const LONG_PATIENCE: Duration = Duration::from_secs(10);

/// Where the daemons have a directory each.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    run_dir: PathBuf,
    /// An lbd that finishes what it has, instead of the one that serves.
    process: Option<u32>,
}

impl Node {
    pub(crate) const fn new(run_dir: PathBuf, process: Option<u32>) -> Self {
        Self { run_dir, process }
    }

    fn socket(&self, daemon: &str) -> PathBuf {
        match self.process {
            Some(pid) if daemon == "lbd" => {
                wire::own_dir(&self.run_dir, daemon).join(format!("lbd.{pid}.sock"))
            }
            _ => wire::socket(&self.run_dir, daemon),
        }
    }

    /// Whether the daemon is meant to run here, as far as its socket tells. A node without a virtual address has no vrrpd; whoever
    /// may not look cannot know.
    pub(crate) fn has(&self, daemon: &str) -> bool {
        daemon != "vrrpd" || self.socket(daemon).try_exists().unwrap_or(true)
    }

    /// A daemon that took too long.
    pub(crate) fn silent(&self, daemon: &'static str) -> Failure {
        Failure::Unreachable(Unreachable {
            daemon,
            socket: self.socket(daemon),
            cause: ClientError::TimedOut,
        })
    }

    /// The answer to a command in text, which may be long.
    pub(crate) async fn text(&self, daemon: &'static str, command: &str) -> Result<String, Failure> {
        let socket = self.socket(daemon);
        let ask = async {
            let mut stream = UnixStream::connect(&socket).await?;
            stream.write_all(format!("{command}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.take(TEXT_MAX).read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let cause = match timeout(LONG_PATIENCE, ask).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(source)) => ClientError::Unreachable { path: socket.clone(), source },
            Err(_) => ClientError::TimedOut,
        };
        Err(Failure::Unreachable(Unreachable { daemon, socket, cause }))
    }

    /// Connects to a daemon, within two seconds.
    pub(crate) async fn connect(&self, daemon: &'static str) -> Result<Connection, Unreachable> {
        let socket = self.socket(daemon);
        match Client::connect(&socket, "tandemctl").await {
            Ok(client) => Ok(Connection { daemon, socket, client }),
            Err(cause) => Err(Unreachable { daemon, socket, cause }),
        }
    }
}

/// A connection to one daemon.
pub(crate) struct Connection {
    daemon: &'static str,
    socket: PathBuf,
    client: Client,
}

impl Connection {
    /// Asks, and waits for the answer for a bounded time.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Answer, Failure> {
        let patience = match request {
            Request::Reload | Request::Upgrade | Request::Handover { .. } => LONG_PATIENCE,
            _ => PATIENCE,
        };
        let answer =
            timeout(patience, self.client.request(request)).await.unwrap_or(Err(ClientError::TimedOut));
        answer.map_err(|cause| match cause {
            ClientError::Refused(refusal) => {
                let mut message = format!("{}: {}", self.daemon, refusal.message);
                if refusal.code == RefusalCode::Forbidden {
                    message.push_str(&format!("\n{}", who_may(&self.socket)));
                }
                Failure::Refused(message)
            }
            cause => {
                Failure::Unreachable(Unreachable { daemon: self.daemon, socket: self.socket.clone(), cause })
            }
        })
    }

    /// The daemon itself.
    pub(crate) async fn info(&mut self) -> Result<Info, Failure> {
        match self.ask(Request::Info).await? {
            Answer::Info(info) => Ok(info),
            other => Err(self.unexpected(&other)),
        }
    }

    /// lbd's statistics.
    pub(crate) async fn rows(&mut self) -> Result<Vec<StatRow>, Failure> {
        match self.ask(Request::Stat).await? {
            Answer::Stat(rows) => Ok(rows),
            other => Err(self.unexpected(&other)),
        }
    }

    /// healthd's verdicts.
    pub(crate) async fn verdicts(&mut self) -> Result<Vec<Verdict>, Failure> {
        match self.ask(Request::Verdicts).await? {
            Answer::Verdicts(verdicts) => Ok(verdicts),
            other => Err(self.unexpected(&other)),
        }
    }

    /// vrrpd's instances.
    pub(crate) async fn instances(&mut self) -> Result<Vec<InstanceStatus>, Failure> {
        match self.ask(Request::Instances).await? {
            Answer::Instances(instances) => Ok(instances),
            other => Err(self.unexpected(&other)),
        }
    }

    /// vrrpd's anycast services.
    pub(crate) async fn services(&mut self) -> Result<Vec<AnycastStatus>, Failure> {
        match self.ask(Request::Anycast).await? {
            Answer::Anycast(services) => Ok(services),
            other => Err(self.unexpected(&other)),
        }
    }

    /// An answer that is not one to what was asked.
    pub(crate) fn unexpected(&self, answer: &Answer) -> Failure {
        Failure::Refused(format!("{} answered something else than was asked: {answer:?}", self.daemon))
    }
}

/// A daemon that cannot be reached, and what to do about it.
#[derive(Debug)]
pub(crate) struct Unreachable {
    pub(crate) daemon: &'static str,
    pub(crate) socket: PathBuf,
    pub(crate) cause: ClientError,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { daemon, socket, cause } = self;
        let path = socket.display();
        let kind = match cause {
            ClientError::Unreachable { source, .. } => Some(source.kind()),
            _ => None,
        };
        match kind {
            Some(ErrorKind::NotFound) => write!(
                f,
                "{daemon} cannot be reached: there is no socket {path}\n\
                 Start {daemon}, or say with --run-dir where its socket is."
            ),
            Some(ErrorKind::ConnectionRefused) => write!(
                f,
                "{daemon} cannot be reached: nobody listens on {path}\n\
                 {daemon} is not running. Start it; if it ended by itself, its log says why."
            ),
            Some(ErrorKind::PermissionDenied) => {
                write!(f, "{daemon} cannot be reached: no permission for {path}\n{}", who_may(socket))
            }
            _ => write!(
                f,
                "{daemon} does not answer on {path}: {cause}\nLook into its log; if it hangs, restart it."
            ),
        }
    }
}

impl std::error::Error for Unreachable {}

/// Who may use a socket, as far as its owner tells.
fn who_may(socket: &Path) -> String {
    let owner = std::fs::metadata(socket).ok().map(|metadata| {
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let user =
            User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or(uid.to_string(), |user| user.name);
        let group =
            Group::from_gid(Gid::from_raw(gid)).ok().flatten().map_or(gid.to_string(), |group| group.name);
        (user, group)
    });
    match owner {
        Some((user, _)) if user == "root" => "Only root may: try again with `sudo`.".into(),
        Some((user, group)) => {
            format!(
                "Only root, the user `{user}` and members of the groups `{group}` and `{CONTROL_GROUP}` may: try again \
                 with `sudo`."
            )
        }
        None => "Only root and the user that the daemons run as may: try again with `sudo`.".into(),
    }
}
