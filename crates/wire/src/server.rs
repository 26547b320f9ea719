//! A daemon's end of its socket.
//!
//! One task accepts, one serves each connection. A connection that is idle, slow or wrong ends by itself; none is waited
//! for by anything else.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Uid};
use serde::Serialize;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::codec::{LineError, LineReader, MAX_LINE, encode};
use crate::topic::{Feed, News, Position};
use crate::{
    Answer, ClientLine, DaemonHello, DaemonLine, Event, Item, PROTOCOL, Ping, Refusal, RefusalCode, Request,
    Snapshot, TopicName, text,
};

/// Connections at once; one more gets an error and is closed.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take for its first line.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may be silent between requests, unless it subscribes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may take to read a line.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Room for items in a line, whose frame takes the rest.
const ITEMS_MAX: usize = MAX_LINE - 1024;
/// The limits of a subscriber's ping interval, in ms.
const PING_MS: std::ops::RangeInclusive<u64> = 10..=60_000;

/// What a daemon answers with.
pub trait Handler: Send + Sync + 'static {
    /// Who answers.
    fn hello(&self) -> DaemonHello;
    /// Carries a request out. Permission has been checked; [`Request::Subscribe`] never comes here.
    fn request(&self, request: Request) -> impl Future<Output = Result<Answer, Refusal>> + Send;
    /// The topic of that name, if this daemon has it.
    fn feed(&self, topic: TopicName) -> Option<Arc<dyn Feed>>;
    /// What goes with a ping.
    fn ping(&self) -> Ping;
    /// Answers a command of the text dialect, given without surrounding space. `privileged` says whether it may change
    /// something.
    fn command(&self, command: &str, privileged: bool) -> impl Future<Output = String> + Send;
}

/// Why a socket cannot be opened.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("{} is in use: another {daemon} is running; stop it, or choose another --run-dir", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Whose socket it is.
        daemon: String,
    },
    /// The system refuses.
    #[error("cannot open the socket {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Opens a listening socket at `path` with the given permission bits. Its directory is made if it is missing, and the
/// socket of a daemon that died is replaced.
///
/// # Errors
/// When another process answers there, or the system refuses.
pub fn bind(path: &Path, mode: u32, daemon: &str) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(BindError::InUse { path: path.to_owned(), daemon: daemon.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) if is_socket(path) => std::fs::remove_file(path).map_err(failed)?,
        Err(_) => {
            let taken = io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is not a socket is in its place",
            );
            return Err(failed(taken));
        }
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener)
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Serves connections for as long as it is polled; dropping it ends them all.
pub async fn serve(listener: UnixListener, handler: Arc<impl Handler>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let handler = handler.clone();
                    match seats.clone().try_acquire_owned() {
                        Ok(seat) => {
                            connections.spawn(async move {
                                Connection::serve(stream, handler).await;
                                drop(seat);
                            });
                        }
                        // The refusal fits into the socket's buffer, so it does not wait.
                        Err(_) => refuse(&stream),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on the control socket; trying again shortly");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn refuse(stream: &UnixStream) {
    let message = format!("more than {CONNECTIONS_MAX} connections; close some and try again");
    let error = Refusal { code: RefusalCode::Lagged, message };
    if let Ok(line) = encode(&DaemonLine::Error { id: None, error }) {
        // Somebody who is gone already needs no refusal.
        let _ = stream.try_write(&line);
    }
}

/// Why a connection ends.
enum End {
    /// The client has had enough, or the connection failed.
    Closed,
    /// The client did something wrong, and is told so.
    Refused(Refusal),
}

impl From<LineError> for End {
    fn from(error: LineError) -> Self {
        match error {
            LineError::TooLong => Self::Refused(refusal(RefusalCode::BadLine, error)),
            LineError::Cut | LineError::Io(_) => Self::Closed,
        }
    }
}

fn refusal(code: RefusalCode, message: impl ToString) -> Refusal {
    Refusal { code, message: message.to_string() }
}

struct Connection<H> {
    lines: LineReader<OwnedReadHalf>,
    out: OwnedWriteHalf,
    handler: Arc<H>,
    privileged: bool,
}

/// A client's subscription.
struct Subscription {
    feed: Arc<dyn Feed>,
    changes: watch::Receiver<()>,
    position: Option<Position>,
    ping: Interval,
    seq: u64,
}

impl<H: Handler> Connection<H> {
    async fn serve(stream: UnixStream, handler: Arc<H>) {
        let privileged = stream.peer_cred().is_ok_and(|peer| may_change(&peer));
        let (reader, out) = stream.into_split();
        let mut connection = Self { lines: LineReader::new(reader), out, handler, privileged };
        if let Err(End::Refused(error)) = connection.talk().await {
            // The client is being cut off; it may well be gone.
            let _ = connection.send(&DaemonLine::Error { id: None, error }).await;
        }
    }

    async fn talk(&mut self) -> Result<(), End> {
        let first = match timeout(HELLO_TIMEOUT, self.lines.next()).await {
            Ok(Ok(Some(line))) => line.to_vec(),
            // `printf 'show info'` forgets the newline, and means the same.
            Ok(Err(LineError::Cut)) => self.lines.rest().to_vec(),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(End::Refused(refusal(RefusalCode::BadLine, "nothing was said in time"))),
        };
        if first.first() != Some(&b'{') {
            return self.answer_text(&first).await;
        }
        self.greet(&first).await?;
        let mut subscription: Option<Subscription> = None;
        loop {
            let line = tokio::select! {
                line = self.lines.next() => match line? {
                    Some(line) => line.to_vec(),
                    None => return Ok(()),
                },
                () = due(&mut subscription) => {
                    if let Some(subscription) = &mut subscription {
                        self.catch_up(subscription).await?;
                    }
                    continue;
                }
                () = tokio::time::sleep(IDLE_TIMEOUT), if subscription.is_none() => return Ok(()),
            };
            self.answer(&line, &mut subscription).await?;
        }
    }

    async fn answer_text(&mut self, line: &[u8]) -> Result<(), End> {
        let line = String::from_utf8_lossy(line);
        let mut answer = String::new();
        for command in text::commands(&line) {
            answer.push_str(&self.handler.command(command, self.privileged).await);
            answer.push('\n');
        }
        self.write(answer.as_bytes()).await
    }

    async fn greet(&mut self, line: &[u8]) -> Result<(), End> {
        let hello = match serde_json::from_slice(line) {
            Ok(ClientLine::Hello { hello }) => hello,
            _ => {
                let hint = r#"the first line must be a hello: {"hello":{"protocol":1,"client":"NAME"}}"#;
                return Err(End::Refused(refusal(RefusalCode::BadLine, hint)));
            }
        };
        if hello.protocol != PROTOCOL {
            let message = format!("protocol {} is spoken here, not {}", PROTOCOL, hello.protocol);
            return Err(End::Refused(refusal(RefusalCode::BadProtocol, message)));
        }
        self.send(&DaemonLine::Hello { hello: self.handler.hello() }).await
    }

    async fn answer(&mut self, line: &[u8], subscription: &mut Option<Subscription>) -> Result<(), End> {
        let (id, request) = match parse_request(line) {
            Ok(parsed) => parsed,
            Err((Some(id), error)) => return self.send(&DaemonLine::Error { id: Some(id), error }).await,
            Err((None, error)) => return Err(End::Refused(error)),
        };
        if request.changes_something() && !self.privileged {
            let error = refusal(RefusalCode::Forbidden, text::DENIED.trim_end());
            return self.send(&DaemonLine::Error { id: Some(id), error }).await;
        }
        let result = match request {
            Request::Subscribe { topic, ping_ms } => {
                match self.subscribe(topic, ping_ms, subscription.is_some()) {
                    Ok(new) => {
                        *subscription = Some(new);
                        Ok(Answer::Subscribed(topic))
                    }
                    Err(error) => Err(error),
                }
            }
            request => self.handler.request(request).await,
        };
        match result {
            Ok(answer) => self.send_parts(id, answer).await?,
            Err(error) => self.send(&DaemonLine::Error { id: Some(id), error }).await?,
        }
        match subscription {
            Some(new) if new.position.is_none() => self.catch_up(new).await,
            _ => Ok(()),
        }
    }

    fn subscribe(&self, topic: TopicName, ping_ms: u64, subscribed: bool) -> Result<Subscription, Refusal> {
        if subscribed {
            return Err(refusal(
                RefusalCode::Failed,
                "a connection carries one subscription; open another one",
            ));
        }
        if !PING_MS.contains(&ping_ms) {
            let message = format!("ping_ms must be {} to {}", PING_MS.start(), PING_MS.end());
            return Err(refusal(RefusalCode::Failed, message));
        }
        let Some(feed) = self.handler.feed(topic) else {
            return Err(refusal(RefusalCode::NotFound, "this daemon does not have that topic"));
        };
        let mut ping = interval(Duration::from_millis(ping_ms));
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Subscription { changes: feed.changes(), feed, position: None, ping, seq: 0 })
    }

    /// Sends what the subscriber has missed, or that there is nothing.
    async fn catch_up(&mut self, subscription: &mut Subscription) -> Result<(), End> {
        subscription.changes.mark_unchanged();
        let topic = subscription.feed.name();
        let (news, position) = subscription.feed.since(subscription.position);
        subscription.position = Some(position);
        match news {
            News::Snapshot(items) => {
                let parts = parts(items);
                let last = parts.len() - 1;
                for (part, items) in parts.into_iter().enumerate() {
                    subscription.seq += 1;
                    let snapshot = Snapshot { topic, seq: subscription.seq, items, more: part < last };
                    self.send(&DaemonLine::Snapshot { snapshot }).await?;
                }
            }
            News::Changes(items) if items.is_empty() => {
                self.send(&DaemonLine::Ping { ping: self.handler.ping() }).await?;
            }
            News::Changes(items) => {
                for item in items {
                    subscription.seq += 1;
                    let event = Event { topic, seq: subscription.seq, item };
                    self.send(&DaemonLine::Event { event }).await?;
                }
            }
        }
        Ok(())
    }

    async fn send_parts(&mut self, id: u64, answer: Answer) -> Result<(), End> {
        let answers: Vec<Answer> = match answer {
            Answer::Stat(rows) => parts(rows).into_iter().map(Answer::Stat).collect(),
            Answer::Verdicts(verdicts) => parts(verdicts).into_iter().map(Answer::Verdicts).collect(),
            Answer::Resolvers(names) => parts(names).into_iter().map(Answer::Resolvers).collect(),
            small @ (Answer::Done(_) | Answer::Subscribed(_) | Answer::Info(_)) => vec![small],
        };
        let last = answers.len() - 1;
        for (part, ok) in answers.into_iter().enumerate() {
            self.send(&DaemonLine::Answer { id, ok, more: part < last }).await?;
        }
        Ok(())
    }

    async fn send(&mut self, line: &DaemonLine) -> Result<(), End> {
        let line = encode(line).map_err(|_| End::Closed)?;
        self.write(&line).await
    }

    /// A client that does not read is dropped: it connects again, and gets everything as it is then.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.out.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Closed),
        }
    }
}

/// Waits until a subscriber is to be sent something: never, without one.
async fn due(subscription: &mut Option<Subscription>) {
    let Some(subscription) = subscription else { return std::future::pending().await };
    tokio::select! {
        changed = subscription.changes.changed() => {
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
        _ = subscription.ping.tick() => {}
    }
}

/// Root, the daemon's user, and its group.
fn may_change(peer: &UCred) -> bool {
    peer.uid() == 0 || peer.uid() == Uid::effective().as_raw() || peer.gid() == Gid::effective().as_raw()
}

fn parse_request(line: &[u8]) -> Result<(u64, Request), (Option<u64>, Refusal)> {
    let value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|error| (None, refusal(RefusalCode::BadLine, format!("not a JSON object: {error}"))))?;
    let id = value.get("id").and_then(serde_json::Value::as_u64);
    let Some(id) = id else {
        return Err((None, refusal(RefusalCode::BadLine, "a request needs a number as `id`")));
    };
    // Without the id, so that serde's message is about the request itself.
    match serde_json::from_value(value) {
        Ok(request) => Ok((id, request)),
        Err(error) => Err((Some(id), refusal(RefusalCode::UnknownRequest, error))),
    }
}

/// Splits a list so that each part fits into a line; never into nothing.
fn parts<T: Serialize>(items: Vec<T>) -> Vec<Vec<T>> {
    let mut parts = vec![Vec::new()];
    let mut room = ITEMS_MAX;
    for item in items {
        let size = serde_json::to_vec(&item).map_or(0, |json| json.len() + 1);
        if size > room {
            parts.push(Vec::new());
            room = ITEMS_MAX;
        }
        room = room.saturating_sub(size);
        // There is always a last part: the list starts with one.
        if let Some(part) = parts.last_mut() {
            part.push(item);
        }
    }
    parts
}

impl Request {
    /// Whether only root, the daemon's user and its group may ask for it.
    pub fn changes_something(&self) -> bool {
        match self {
            Self::SetServer { .. } | Self::Reload | Self::Observe { .. } => true,
            Self::Subscribe { .. } | Self::Info | Self::Stat | Self::Verdicts | Self::Resolvers => false,
        }
    }
}

impl Item {
    /// The verdict, if it is one.
    pub fn into_verdict(self) -> Option<crate::Verdict> {
        match self {
            Self::Verdict(verdict) => Some(verdict),
            Self::Liveness(_) => None,
        }
    }
}
