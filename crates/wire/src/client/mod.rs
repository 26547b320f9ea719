//! The other end of a daemon's socket.

mod follow;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

pub use follow::{Follower, News};

use crate::codec::{LineError, LineReader, encode};
use crate::{
    Answer, ClientHello, ClientLine, DaemonHello, DaemonLine, Event, Item, PROTOCOL, Ping, Refusal, Request,
    TopicName,
};

/// How long a daemon may take to accept a connection and say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a daemon may take for each line of an answer: longer than it gives itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most lines of an answer or a snapshot.
const PARTS_MAX: usize = 1024;
/// Pings that may be missing before a daemon counts as dead.
const PINGS_MISSED: u32 = 3;

/// Why a daemon could not be asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there, or the socket's mode forbids it.
    #[error("cannot connect to {}: {source}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon refused the request.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The daemon did not answer, or send its ping, in time.
    #[error("no answer in time: the daemon hangs, or is overloaded")]
    TimedOut,
    /// The daemon closed the connection.
    #[error("the daemon closed the connection")]
    Closed,
    /// The daemon said something that is not in the protocol.
    #[error("the daemon does not speak protocol {PROTOCOL}: {0}")]
    Protocol(String),
    /// A line of a subscription is missing.
    #[error("line {got} of the subscription came instead of line {expected}")]
    Gap {
        /// The sequence number due.
        expected: u64,
        /// The one that came.
        got: u64,
    },
}

impl From<LineError> for ClientError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::TooLong => Self::Protocol(error.to_string()),
            LineError::Cut | LineError::Io(_) => Self::Closed,
        }
    }
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    lines: LineReader<OwnedReadHalf>,
    out: OwnedWriteHalf,
    hello: DaemonHello,
    pid: Option<i32>,
    last_id: u64,
}

impl Client {
    /// Connects to the socket at `path` and exchanges hellos as `name`, within two seconds.
    ///
    /// # Errors
    /// When nobody answers there, or not in this protocol.
    pub async fn connect(path: &Path, name: &str) -> Result<Self, ClientError> {
        timeout(HELLO_TIMEOUT, Self::greet(path, name)).await.unwrap_or(Err(ClientError::TimedOut))
    }

    async fn greet(path: &Path, name: &str) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|source| ClientError::Unreachable { path: path.to_owned(), source })?;
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0);
        let (reader, out) = stream.into_split();
        let hello = DaemonHello { protocol: 0, daemon: String::new(), version: String::new(), epoch: 0 };
        let mut client = Self { lines: LineReader::new(reader), out, hello, pid, last_id: 0 };
        let hello = ClientHello { protocol: PROTOCOL, client: name.to_owned() };
        // A daemon that has too many clients says so and closes before it hears a hello: then the reason is to be read.
        let sent = client.send(&ClientLine::Hello { hello }).await;
        match client.next().await?.line {
            Some(DaemonLine::Hello { hello }) => client.hello = hello,
            Some(DaemonLine::Error { error, .. }) => return Err(ClientError::Refused(error)),
            _ => return Err(ClientError::Protocol("no hello".into())),
        }
        sent.map(|()| client)
    }

    /// The process that listens there, where this one can see it.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Who answers.
    pub fn daemon(&self) -> &DaemonHello {
        &self.hello
    }

    /// Asks, and waits at most ten seconds for each line of the answer. The parts of a long answer are put together.
    ///
    /// # Errors
    /// When the daemon refuses, or fails to answer.
    pub async fn request(&mut self, request: Request) -> Result<Answer, ClientError> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&ClientLine::Request { id, request }).await?;
        let mut whole: Option<Answer> = None;
        for _ in 0..PARTS_MAX {
            let incoming =
                timeout(ANSWER_TIMEOUT, self.next()).await.unwrap_or(Err(ClientError::TimedOut))?;
            match incoming.line {
                Some(DaemonLine::Answer { id: of, ok, more }) if of == id => {
                    let answer = match whole.take() {
                        None => ok,
                        Some(before) => join(before, ok)?,
                    };
                    if !more {
                        return Ok(answer);
                    }
                    whole = Some(answer);
                }
                Some(DaemonLine::Error { id: of, error }) if of.is_none_or(|of| of == id) => {
                    return Err(ClientError::Refused(error));
                }
                // Answers to requests that were given up on, and lines of a newer protocol.
                _ => {}
            }
        }
        Err(ClientError::Protocol(format!("no answer within {PARTS_MAX} lines")))
    }

    /// Subscribes to a topic. The daemon is to say something at least every `ping`.
    ///
    /// # Errors
    /// When the daemon refuses, or fails to answer.
    pub async fn subscribe(mut self, topic: TopicName, ping: Duration) -> Result<Subscription, ClientError> {
        let ping_ms = u64::try_from(ping.as_millis()).unwrap_or(u64::MAX);
        self.request(Request::Subscribe { topic, ping_ms }).await?;
        let patience = ping.saturating_mul(PINGS_MISSED);
        Ok(Subscription { client: self, patience, heard: Instant::now(), seq: 0, pending: None })
    }

    async fn send(&mut self, line: &ClientLine) -> Result<(), ClientError> {
        let line = encode(line).map_err(|error| ClientError::Protocol(error.to_string()))?;
        match timeout(ANSWER_TIMEOUT, self.out.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ClientError::Closed),
            Err(_) => Err(ClientError::TimedOut),
        }
    }

    /// The next line. Cancel safe.
    async fn next(&mut self) -> Result<Incoming, ClientError> {
        match self.lines.next().await? {
            Some(line) => parse(line),
            None => Err(ClientError::Closed),
        }
    }
}

/// What came from a daemon.
struct Incoming {
    /// The sequence number of a line of a subscription.
    seq: Option<u64>,
    /// What it says; none if it is of a kind that this version does not know.
    line: Option<DaemonLine>,
}

/// The line of an event.
#[derive(Deserialize)]
struct EventLine {
    event: Event,
}

/// Reads a daemon's line by the field that names its kind, so that errors are about that kind.
fn parse(line: &[u8]) -> Result<Incoming, ClientError> {
    // Most lines are events, and most events are of kinds that this version knows.
    if let Ok(EventLine { event }) = serde_json::from_slice(line) {
        return Ok(Incoming { seq: Some(event.seq), line: Some(DaemonLine::Event { event }) });
    }
    const KINDS: [&str; 6] = ["hello", "ok", "error", "snapshot", "event", "ping"];
    let broken = |error: serde_json::Error| ClientError::Protocol(error.to_string());
    let mut value: Value = serde_json::from_slice(line).map_err(broken)?;
    let seq = value.pointer("/snapshot/seq").or(value.pointer("/event/seq")).and_then(Value::as_u64);
    let is_unknown = |item: &Value| Item::deserialize(item).is_err();
    if !KINDS.iter().any(|kind| value.get(kind).is_some())
        || value.pointer("/event/item").is_some_and(is_unknown)
    {
        return Ok(Incoming { seq, line: None });
    }
    // Items of kinds that this version does not know are left out, not stumbled over.
    if let Some(items) = value.pointer_mut("/snapshot/items").and_then(Value::as_array_mut) {
        items.retain(|item| !is_unknown(item));
    }
    let line = serde_json::from_value(value).map_err(broken)?;
    Ok(Incoming { seq, line: Some(line) })
}

fn join(before: Answer, next: Answer) -> Result<Answer, ClientError> {
    Ok(match (before, next) {
        (Answer::Stat(mut all), Answer::Stat(more)) => {
            all.extend(more);
            Answer::Stat(all)
        }
        (Answer::Verdicts(mut all), Answer::Verdicts(more)) => {
            all.extend(more);
            Answer::Verdicts(all)
        }
        (Answer::Resolvers(mut all), Answer::Resolvers(more)) => {
            all.extend(more);
            Answer::Resolvers(all)
        }
        (Answer::Instances(mut all), Answer::Instances(more)) => {
            all.extend(more);
            Answer::Instances(all)
        }
        (Answer::Anycast(mut all), Answer::Anycast(more)) => {
            all.extend(more);
            Answer::Anycast(all)
        }
        _ => return Err(ClientError::Protocol("the parts of an answer do not fit together".into())),
    })
}

/// What a subscription tells.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one is handed on at a time, and most are events")]
pub enum Update {
    /// The whole state. It replaces everything known before.
    Snapshot(Vec<Item>),
    /// One changed item, whole.
    Event(Item),
    /// Nothing changed; the daemon lives.
    Ping(Ping),
}

/// A subscription to a topic.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    patience: Duration,
    /// When the last line came. It outlives calls, so that a caller that often stops waiting notices silence too.
    heard: Instant,
    seq: u64,
    /// The parts of a snapshot that have come so far, and how many they are.
    pending: Option<(usize, Vec<Item>)>,
}

impl Subscription {
    /// Whose topic it is.
    pub fn daemon(&self) -> &DaemonHello {
        self.client.daemon()
    }

    /// Which process that is.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.client.pid()
    }

    /// Another silence after which the daemon counts as dead.
    #[must_use]
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The next update. Cancel safe.
    ///
    /// # Errors
    /// When the daemon is gone or silent, or a line is missing: subscribe again, and replace everything.
    pub async fn next(&mut self) -> Result<Update, ClientError> {
        let mut late = false;
        loop {
            let incoming = match timeout_at(self.heard + self.patience, self.client.next()).await {
                Ok(incoming) => incoming?,
                // It may be this program that did not look for so long: look once more.
                Err(_) if !late => {
                    late = true;
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(_) => return Err(ClientError::TimedOut),
            };
            self.heard = Instant::now();
            if let Some(seq) = incoming.seq {
                self.check(seq)?;
            }
            match incoming.line {
                Some(DaemonLine::Snapshot { snapshot }) => {
                    let (parts, mut items) = self.pending.take().unwrap_or_default();
                    items.extend(snapshot.items);
                    if !snapshot.more {
                        return Ok(Update::Snapshot(items));
                    }
                    if parts == PARTS_MAX {
                        let message = format!("a snapshot of more than {PARTS_MAX} lines");
                        return Err(ClientError::Protocol(message));
                    }
                    self.pending = Some((parts + 1, items));
                }
                Some(DaemonLine::Event { event }) => return Ok(Update::Event(event.item)),
                Some(DaemonLine::Ping { ping }) => return Ok(Update::Ping(ping)),
                Some(DaemonLine::Error { error, .. }) => return Err(ClientError::Refused(error)),
                _ => {}
            }
        }
    }

    fn check(&mut self, got: u64) -> Result<(), ClientError> {
        let expected = self.seq + 1;
        if got != expected {
            return Err(ClientError::Gap { expected, got });
        }
        self.seq = got;
        Ok(())
    }
}
