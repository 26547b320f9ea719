//! The other end of a daemon's socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use crate::codec::{LineError, LineReader, encode};
use crate::{
    Answer, ClientHello, ClientLine, DaemonHello, DaemonLine, Item, PROTOCOL, Ping, Refusal, Request,
    TopicName,
};

/// How long a daemon may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Pings that may be missing before a daemon counts as dead.
const PINGS_MISSED: u32 = 3;
/// How long to wait before connecting again: from the first to the second, doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

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
    last_id: u64,
}

impl Client {
    /// Connects to the socket at `path` and exchanges hellos as `name`, within two seconds.
    ///
    /// # Errors
    /// When nobody answers there, or not in this protocol.
    pub async fn connect(path: &Path, name: &str) -> Result<Self, ClientError> {
        timeout(ANSWER_TIMEOUT, Self::greet(path, name)).await.unwrap_or(Err(ClientError::TimedOut))
    }

    async fn greet(path: &Path, name: &str) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|source| ClientError::Unreachable { path: path.to_owned(), source })?;
        let (reader, out) = stream.into_split();
        let hello = DaemonHello { protocol: 0, daemon: String::new(), version: String::new(), epoch: 0 };
        let mut client = Self { lines: LineReader::new(reader), out, hello, last_id: 0 };
        let hello = ClientHello { protocol: PROTOCOL, client: name.to_owned() };
        client.send(&ClientLine::Hello { hello }).await?;
        match client.next().await? {
            Some(DaemonLine::Hello { hello }) => client.hello = hello,
            Some(DaemonLine::Error { error, .. }) => return Err(ClientError::Refused(error)),
            _ => return Err(ClientError::Protocol("no hello".into())),
        }
        Ok(client)
    }

    /// Who answers.
    pub fn daemon(&self) -> &DaemonHello {
        &self.hello
    }

    /// Asks, and waits at most two seconds for each line of the answer. The parts of a long answer are put together.
    ///
    /// # Errors
    /// When the daemon refuses, or fails to answer.
    pub async fn request(&mut self, request: Request) -> Result<Answer, ClientError> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&ClientLine::Request { id, request }).await?;
        let mut whole: Option<Answer> = None;
        loop {
            let line = timeout(ANSWER_TIMEOUT, self.next()).await.unwrap_or(Err(ClientError::TimedOut))?;
            match line {
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
    }

    /// Subscribes to a topic. The daemon is to say something at least every `ping`.
    ///
    /// # Errors
    /// When the daemon refuses, or fails to answer.
    pub async fn subscribe(mut self, topic: TopicName, ping: Duration) -> Result<Subscription, ClientError> {
        let ping_ms = u64::try_from(ping.as_millis()).unwrap_or(u64::MAX);
        self.request(Request::Subscribe { topic, ping_ms }).await?;
        Ok(Subscription { client: self, patience: ping * PINGS_MISSED, seq: 0, pending: None })
    }

    async fn send(&mut self, line: &ClientLine) -> Result<(), ClientError> {
        let line = encode(line).map_err(|error| ClientError::Protocol(error.to_string()))?;
        match timeout(ANSWER_TIMEOUT, self.out.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ClientError::Closed),
            Err(_) => Err(ClientError::TimedOut),
        }
    }

    /// The next line; none if it is of a kind that this version does not know. Cancel safe.
    async fn next(&mut self) -> Result<Option<DaemonLine>, ClientError> {
        match self.lines.next().await? {
            Some(line) => parse(line),
            None => Err(ClientError::Closed),
        }
    }
}

/// Reads a daemon's line by the field that names its kind, so that errors are about that kind.
fn parse(line: &[u8]) -> Result<Option<DaemonLine>, ClientError> {
    const KINDS: [&str; 6] = ["hello", "ok", "error", "snapshot", "event", "ping"];
    let broken = |error: serde_json::Error| ClientError::Protocol(error.to_string());
    let mut value: serde_json::Value = serde_json::from_slice(line).map_err(broken)?;
    if !KINDS.iter().any(|kind| value.get(kind).is_some()) {
        return Ok(None);
    }
    // Items of kinds that this version does not know are left out, not stumbled over.
    if let Some(items) = value.pointer_mut("/snapshot/items").and_then(serde_json::Value::as_array_mut) {
        items.retain(|item| Item::deserialize(item).is_ok());
    }
    serde_json::from_value(value).map(Some).map_err(broken)
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
        _ => return Err(ClientError::Protocol("the parts of an answer do not fit together".into())),
    })
}

/// What a subscription tells.
#[derive(Clone, Debug, PartialEq)]
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
    seq: u64,
    /// The parts of a snapshot that have come so far.
    pending: Option<Vec<Item>>,
}

impl Subscription {
    /// Whose topic it is.
    pub fn daemon(&self) -> &DaemonHello {
        self.client.daemon()
    }

    /// The next update. Cancel safe.
    ///
    /// # Errors
    /// When the daemon is gone or silent, or a line is missing: subscribe again, and replace everything.
    pub async fn next(&mut self) -> Result<Update, ClientError> {
        let patience = Instant::now() + self.patience;
        loop {
            let line =
                timeout_at(patience, self.client.next()).await.unwrap_or(Err(ClientError::TimedOut))?;
            match line {
                Some(DaemonLine::Snapshot { snapshot }) => {
                    self.check(snapshot.seq)?;
                    let mut items = self.pending.take().unwrap_or_default();
                    items.extend(snapshot.items);
                    if !snapshot.more {
                        return Ok(Update::Snapshot(items));
                    }
                    self.pending = Some(items);
                }
                Some(DaemonLine::Event { event }) => {
                    self.check(event.seq)?;
                    return Ok(Update::Event(event.item));
                }
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

/// What a follower tells.
#[derive(Debug)]
pub enum News {
    /// Connected to a daemon; a snapshot follows.
    Connected(DaemonHello),
    /// The subscription tells something.
    Update(Update),
    /// The daemon is gone, for this reason. Told once, however often connecting fails after it.
    Disconnected(ClientError),
}

/// Follows a topic for ever: connects, subscribes, and begins again when the daemon goes away.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    name: String,
    topic: TopicName,
    ping: Duration,
    subscription: Option<Subscription>,
    backoff: Duration,
    told: bool,
}

impl Follower {
    /// Follows `topic` at the socket `path` as `name`.
    pub fn new(path: &Path, name: &str, topic: TopicName, ping: Duration) -> Self {
        let (path, name) = (path.to_owned(), name.to_owned());
        Self { path, name, topic, ping, subscription: None, backoff: BACKOFF.0, told: false }
    }

    /// The next news. Cancel safe.
    pub async fn next(&mut self) -> News {
        loop {
            let error = match &mut self.subscription {
                Some(subscription) => match subscription.next().await {
                    Ok(update) => {
                        self.backoff = BACKOFF.0;
                        return News::Update(update);
                    }
                    Err(error) => error,
                },
                None => match self.subscribe().await {
                    Ok(subscription) => {
                        let hello = subscription.daemon().clone();
                        self.subscription = Some(subscription);
                        self.told = false;
                        return News::Connected(hello);
                    }
                    Err(error) => {
                        tokio::time::sleep(self.backoff).await;
                        self.backoff = (self.backoff * 2).min(BACKOFF.1);
                        error
                    }
                },
            };
            self.subscription = None;
            if !self.told {
                self.told = true;
                return News::Disconnected(error);
            }
        }
    }

    async fn subscribe(&self) -> Result<Subscription, ClientError> {
        Client::connect(&self.path, &self.name).await?.subscribe(self.topic, self.ping).await
    }
}
