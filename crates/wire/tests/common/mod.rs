//! A small daemon on a real socket, and clients that say whatever a test wants.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use wire::server::{Handler, Permitted, bind, serve};
use wire::text::{self, Command};
use wire::topic::{Feed, Key, Topic};
use wire::{
    Answer, DaemonHello, Info, Item, LifeState, PROTOCOL, Ping, Refusal, Request, Resolution, TopicName,
    Verdict,
};

/// More than enough for anything here.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const HELLO: &str = "{\"hello\":{\"protocol\":1,\"client\":\"test\"}}\n";

/// The group whose members may change what the daemon does; it need not have a name.
pub const CONTROL_GROUP: u32 = 54_321;

const COMMANDS: [Command; 2] = [
    Command { usage: "show info", help: "The daemon." },
    Command { usage: "reload", help: "Read the configuration again." },
];

/// A verdict with a name and a number to tell its states apart.
pub fn verdict(server: &str, downs: u64) -> Verdict {
    Verdict {
        backend: "nginx".into(),
        server: server.into(),
        status: health::Status::Up,
        address: None,
        resolve_error: None,
        check: None,
        streak: 0,
        rise: 2,
        fall: 3,
        since_ms: 0,
        failed_checks: 0,
        downs,
        downtime_ms: 0,
        admin_state: None,
        member: None,
    }
}

pub struct Answers {
    pub epoch: u64,
    pub verdicts: Arc<Topic<Verdict>>,
    pub pings: AtomicU64,
    /// A reload ends when this is told.
    pub reloaded: Notify,
}

impl Handler for Answers {
    fn hello(&self) -> DaemonHello {
        DaemonHello {
            protocol: PROTOCOL,
            daemon: "healthd".into(),
            version: "0.0.0".into(),
            epoch: self.epoch,
        }
    }

    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Info => Ok(Answer::Info(Info {
                daemon: "healthd".into(),
                version: "0.0.0".into(),
                pid: std::process::id(),
                uptime_ms: 1,
                state: LifeState::Ready,
                config: "lb.yaml".into(),
                generation: 1,
                reload_error: None,
                details: [].into(),
            })),
            Request::Verdicts => {
                let items = self.verdicts.items().into_iter();
                Ok(Answer::Verdicts(items.filter_map(Item::into_verdict).collect()))
            }
            // One name that fits into no line.
            Request::Resolvers => Ok(Answer::Resolvers(vec![Resolution {
                name: "x".repeat(wire::codec::MAX_LINE),
                addresses: vec![],
                error: None,
                next_query_ms: 0,
                resolved: 0,
                failed: 0,
            }])),
            Request::Reload => {
                self.reloaded.notified().await;
                Ok(Answer::Done("reloaded".into()))
            }
            other => Err(Refusal::not_for("healthd", &other)),
        }
    }

    fn feed(&self, topic: TopicName) -> Option<Arc<dyn Feed>> {
        match topic {
            TopicName::Verdicts => Some(self.verdicts.clone()),
            TopicName::Liveness | TopicName::Instances | TopicName::Anycast => None,
        }
    }

    fn ping(&self) -> Ping {
        Ping { tick_age_ms: Some(self.pings.fetch_add(1, Ordering::Relaxed)), ..Ping::default() }
    }

    async fn command(&self, command: &str, privileged: bool) -> String {
        match command {
            "help" => text::help(&COMMANDS),
            "show info" => "Name: healthd\n".to_owned(),
            "reload" if !privileged => text::DENIED.to_owned(),
            "reload" => String::new(),
            other => text::unknown(other, &COMMANDS),
        }
    }
}

/// A daemon that answers until it is dropped.
pub struct Daemon {
    pub answers: Arc<Answers>,
    pub path: PathBuf,
    task: JoinHandle<()>,
}

impl Daemon {
    pub fn start(path: &Path, epoch: u64) -> Self {
        let listener = bind(path, 0o666, "healthd").unwrap();
        let verdicts = Arc::new(Topic::new(TopicName::Verdicts, key, |verdict: &Verdict| {
            Item::Verdict(verdict.clone())
        }));
        let answers =
            Arc::new(Answers { epoch, verdicts, pings: AtomicU64::new(0), reloaded: Notify::new() });
        let task = tokio::spawn(serve(listener, Permitted::with(Some(CONTROL_GROUP)), answers.clone()));
        Self { answers, path: path.to_owned(), task }
    }

    /// Ends it as a crash does: the connections are closed, the socket stays.
    pub async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Connects and says something.
pub async fn say(path: &Path, what: &str) -> UnixStream {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(what.as_bytes()).await.unwrap();
    stream
}

/// Everything until the daemon closes the connection.
pub async fn rest(mut stream: UnixStream) -> String {
    let mut all = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut all)).await.unwrap().unwrap();
    all
}

/// Says something and nothing more, and reads the answer to its end.
pub async fn ask(path: &Path, what: &str) -> String {
    let mut stream = say(path, what).await;
    stream.shutdown().await.unwrap();
    rest(stream).await
}

fn key(verdict: &Verdict) -> Key {
    (verdict.backend.as_str().into(), verdict.server.as_str().into())
}
