//! One client's connection, in one task: lines come in, answers, events and pings go out.
//!
//! At most one request is carried out at a time, and no line is read meanwhile, so a client that asks faster than it
//! reads is slowed down by its own socket. Events and pings go on during a request. A client that does not read is
//! dropped after [`WRITE_TIMEOUT`]; nothing is queued for it but what the socket holds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::beat::Beat;
use super::link::Link;
use super::seats::Seat;
use super::{ASKED_MAX, Handler, parts, request};
use crate::codec::{LineError, LineReader, MAX_LINE, encode};
use crate::topic::{Feed, News, Position};
use crate::{
    Answer, ClientHello, DaemonLine, Event, Refusal, RefusalCode, Request, Snapshot, TopicName, text,
};

/// How long a client may take for its first line.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may be silent between requests, unless it subscribes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the daemon may take for a request or a command.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a client may take to read a line.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client that is cut off may take to read why, and what it may say meanwhile.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const CLOSE_BYTES: u64 = 256 * 1024;
/// How long a subscriber is left alone after it was told something: what changes meanwhile is told together.
const REST: Duration = Duration::from_millis(5);
/// As many bytes of events are sent at once.
const BATCH: usize = 32 * 1024;
/// The limits of a subscriber's ping interval, in ms.
const PING_MS: std::ops::RangeInclusive<u64> = 10..=60_000;

/// Why a connection ends.
enum End {
    /// The client has had enough, or the connection failed.
    Closed,
    /// The client does not read.
    Lagged,
    /// The client did something wrong, and is told so.
    Refused(Refusal),
}

impl From<LineError> for End {
    fn from(error: LineError) -> Self {
        match error {
            LineError::TooLong => Self::Refused(Refusal::new(RefusalCode::BadLine, error.to_string())),
            LineError::Cut | LineError::Io(_) => Self::Closed,
        }
    }
}

/// A request that is being carried out.
type Pending = Pin<Box<dyn Future<Output = (u64, Result<Answer, Refusal>)> + Send>>;

/// A client's subscription.
struct Subscription {
    feed: Arc<dyn Feed>,
    changes: watch::Receiver<()>,
    position: Option<Position>,
    ping: Beat,
    seq: u64,
    /// Whether something has changed since the subscriber was told last.
    behind: bool,
    /// Until then it is left alone.
    rested: Instant,
}

pub(super) struct Connection<H> {
    lines: LineReader<Link>,
    out: Link,
    handler: Arc<H>,
    privileged: bool,
    seat: Seat,
    client: String,
}

impl<H: Handler> Connection<H> {
    /// Serves a client to the end. `closing` bounds how many clients are given time to read the end.
    pub(super) async fn serve(
        stream: UnixStream,
        handler: Arc<H>,
        privileged: bool,
        seat: Seat,
        closing: Arc<Semaphore>,
    ) {
        // A client that the system has no room for finds its connection closed.
        let Ok(out) = Link::new(stream) else { return };
        let (lines, client) = (LineReader::new(out.clone()), String::new());
        let mut connection = Self { lines, out, handler, privileged, seat, client };
        match connection.talk().await {
            Ok(()) | Err(End::Closed) => {}
            Err(End::Lagged) => {
                tracing::warn!(client = connection.client, "dropped a client that does not read its socket");
                return;
            }
            // The client is being cut off; it may well be gone.
            Err(End::Refused(error)) => {
                let _ = connection.send(&DaemonLine::Error { id: None, error }).await;
            }
        }
        connection.close(&closing).await;
    }

    /// Ends what the client reads, and hears it out: closing what it still writes to would be an error for it, which hides
    /// what it was told.
    async fn close(self, closing: &Semaphore) {
        let Self { mut lines, out, seat, .. } = self;
        drop(seat);
        let Ok(_place) = closing.try_acquire() else { return };
        if out.end().is_ok() {
            let mut rest = lines.get_mut().take(CLOSE_BYTES);
            let _ = timeout(CLOSE_TIMEOUT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
        }
    }

    async fn talk(&mut self) -> Result<(), End> {
        let first = match timeout(HELLO_TIMEOUT, next_line(&mut self.lines, &self.seat)).await {
            Ok(Ok(Some(line))) => line.to_vec(),
            // `printf 'show info'` forgets the newline, and means the same.
            Ok(Err(NoLine::Broken(LineError::Cut))) => self.lines.rest().to_vec(),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(NoLine::Broken(error))) => return Err(error.into()),
            Ok(Err(NoLine::GivenUp)) => {
                return Err(lagged("nothing was said here, and others want to; connect again".to_owned()));
            }
            Err(_) => {
                let message = format!("nothing was said within {HELLO_TIMEOUT:?}");
                return Err(End::Refused(Refusal::new(RefusalCode::BadLine, message)));
            }
        };
        if !self.seat.ask() {
            return Err(busy());
        }
        if first.first() != Some(&b'{') {
            return self.answer_text(&first).await;
        }
        let ClientHello { client, .. } = request::hello(&first).map_err(End::Refused)?;
        self.client = client;
        self.send(&DaemonLine::Hello { hello: self.handler.hello() }).await?;
        self.answer_requests().await
    }

    async fn answer_text(&mut self, line: &[u8]) -> Result<(), End> {
        let line = String::from_utf8_lossy(line);
        // Each answer is sent before the next is made, so that a line of many commands costs the memory of one.
        for command in text::commands(&line) {
            let answer = self.handler.command(command, self.privileged);
            let mut answer = timeout(REQUEST_TIMEOUT, answer).await.unwrap_or_else(|_| TOO_SLOW.into());
            if !answer.is_empty() && !answer.ends_with('\n') {
                answer.push('\n');
            }
            answer.push('\n');
            self.write(answer.as_bytes()).await?;
        }
        Ok(())
    }

    async fn answer_requests(&mut self) -> Result<(), End> {
        let mut subscription: Option<Subscription> = None;
        let mut pending: Option<Pending> = None;
        let mut idle_since = Instant::now();
        loop {
            if pending.is_none() && subscription.is_none() {
                self.seat.rest();
            }
            tokio::select! {
                line = next_line(&mut self.lines, &self.seat), if pending.is_none() => {
                    let line = match line {
                        Ok(Some(line)) => line,
                        Ok(None) => return Ok(()),
                        Err(NoLine::Broken(error)) => return Err(error.into()),
                        Err(NoLine::GivenUp) => {
                            let open = format!("{ASKED_MAX} connections are open already");
                            return Err(lagged(format!("{open}, and others ask while this one is idle")));
                        }
                    };
                    // It asked before, but its room may have been given away just now.
                    if !self.seat.ask() {
                        return Err(busy());
                    }
                    pending = match request::request(line) {
                        Ok((id, Request::Subscribe { topic, ping_ms })) => {
                            self.subscribe(id, topic, ping_ms, &mut subscription).await?;
                            None
                        }
                        Ok((id, request)) => self.begin(id, request).await?,
                        Err((Some(id), error)) => {
                            self.send(&DaemonLine::Error { id: Some(id), error }).await?;
                            None
                        }
                        Err((None, error)) => return Err(End::Refused(error)),
                    };
                    idle_since = Instant::now();
                }
                (id, result) = finished(&mut pending) => {
                    pending = None;
                    self.answer(id, result).await?;
                    idle_since = Instant::now();
                }
                due = due(&mut subscription) => {
                    let due = due?;
                    if let Some(subscription) = &mut subscription {
                        self.catch_up(subscription).await?;
                    }
                    if due == Due::Ping {
                        self.send(&DaemonLine::Ping { ping: self.handler.ping() }).await?;
                    }
                }
                () = sleep_until(idle_since + IDLE_TIMEOUT), if subscription.is_none() && pending.is_none() => {
                    return Ok(());
                }
            }
        }
    }

    /// Begins to carry out a request, or refuses it.
    async fn begin(&mut self, id: u64, request: Request) -> Result<Option<Pending>, End> {
        if request.changes_something() && !self.privileged {
            let error = Refusal::new(RefusalCode::Forbidden, text::DENIED.trim_end());
            self.send(&DaemonLine::Error { id: Some(id), error }).await?;
            return Ok(None);
        }
        let handler = self.handler.clone();
        Ok(Some(Box::pin(async move {
            let result = timeout(REQUEST_TIMEOUT, handler.request(request)).await;
            (id, result.unwrap_or_else(|_| Err(Refusal::new(RefusalCode::Failed, TOO_SLOW))))
        })))
    }

    async fn subscribe(
        &mut self,
        id: u64,
        topic: TopicName,
        ping_ms: u64,
        subscription: &mut Option<Subscription>,
    ) -> Result<(), End> {
        let feed = if subscription.is_some() {
            let message = "a connection carries one subscription; open another one";
            Err(Refusal::new(RefusalCode::BadRequest, message))
        } else if !PING_MS.contains(&ping_ms) {
            let message = format!("ping_ms must be {} to {}, not {ping_ms}", PING_MS.start(), PING_MS.end());
            Err(Refusal::new(RefusalCode::BadRequest, message))
        } else {
            let missing = || Refusal::new(RefusalCode::NotFound, "this daemon does not have that topic");
            self.handler.feed(topic).ok_or_else(missing)
        };
        let ping = Beat::new(Duration::from_millis(ping_ms)).map_err(|error| {
            Refusal::new(RefusalCode::Failed, format!("no timer for the pings: {error}; try again later"))
        });
        let (feed, ping) = match feed.and_then(|feed| Ok((feed, ping?))) {
            Ok(both) => both,
            Err(error) => return self.send(&DaemonLine::Error { id: Some(id), error }).await,
        };
        self.answer(id, Ok(Answer::Subscribed(topic))).await?;
        let changes = feed.changes();
        let rested = Instant::now();
        let new = Subscription { feed, changes, position: None, ping, seq: 0, behind: false, rested };
        self.catch_up(subscription.insert(new)).await
    }

    /// Sends what the subscriber has missed.
    async fn catch_up(&mut self, subscription: &mut Subscription) -> Result<(), End> {
        subscription.changes.mark_unchanged();
        subscription.behind = false;
        subscription.rested = Instant::now() + REST;
        let topic = subscription.feed.name();
        let (news, position) = subscription.feed.since(subscription.position);
        subscription.position = Some(position);
        match news {
            News::Snapshot(items) => {
                let parts = parts::parts(items);
                let last = parts.len().saturating_sub(1);
                for (part, items) in parts.into_iter().enumerate() {
                    subscription.seq += 1;
                    let snapshot = Snapshot { topic, seq: subscription.seq, items, more: part < last };
                    self.send(&DaemonLine::Snapshot { snapshot }).await?;
                }
            }
            News::Changes(items) => {
                let mut lines = Vec::new();
                for item in items {
                    subscription.seq += 1;
                    let event = Event { topic, seq: subscription.seq, item };
                    lines.extend(self.line(&DaemonLine::Event { event })?);
                    if lines.len() >= BATCH {
                        self.write(&lines).await?;
                        lines.clear();
                    }
                }
                if !lines.is_empty() {
                    self.write(&lines).await?;
                }
            }
        }
        Ok(())
    }

    async fn answer(&mut self, id: u64, result: Result<Answer, Refusal>) -> Result<(), End> {
        let answers = match result {
            Ok(answer) => parts::answers(answer),
            Err(error) => return self.send(&DaemonLine::Error { id: Some(id), error }).await,
        };
        let last = answers.len().saturating_sub(1);
        for (part, ok) in answers.into_iter().enumerate() {
            self.send(&DaemonLine::Answer { id, ok, more: part < last }).await?;
        }
        Ok(())
    }

    async fn send(&mut self, line: &DaemonLine) -> Result<(), End> {
        let line = self.line(line)?;
        self.write(&line).await
    }

    fn line(&self, line: &DaemonLine) -> Result<Vec<u8>, End> {
        match encode(line) {
            Ok(line) if line.len() <= MAX_LINE => Ok(line),
            Ok(line) => {
                tracing::error!(client = self.client, bytes = line.len(), "a message is too long for a line");
                let message = format!("what is to be said does not fit into {MAX_LINE} bytes");
                Err(End::Refused(Refusal::new(RefusalCode::Failed, message)))
            }
            Err(error) => {
                tracing::error!(client = self.client, %error, "a message cannot be written as JSON");
                Err(End::Closed)
            }
        }
    }

    /// A client that does not read is dropped: it connects again, and gets everything as it is then.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.out.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Closed),
            Err(_) => Err(End::Lagged),
        }
    }
}

/// Why there is no next line.
enum NoLine {
    /// The connection broke.
    Broken(LineError),
    /// It has to make room for others.
    GivenUp,
}

/// The next line. What has been said counts, even if it comes with the last chance. Cancel safe.
async fn next_line<'a>(lines: &'a mut LineReader<Link>, seat: &Seat) -> Result<Option<&'a [u8]>, NoLine> {
    tokio::select! {
        biased;
        line = lines.next() => line.map_err(NoLine::Broken),
        () = seat.given_up() => Err(NoLine::GivenUp),
    }
}

/// The end of a connection that there is no room for.
fn busy() -> End {
    lagged(format!("{ASKED_MAX} connections are at work already; close some and try again"))
}

/// The end of a connection that makes room for others.
fn lagged(message: String) -> End {
    End::Refused(Refusal::new(RefusalCode::Lagged, message))
}

/// The answer of a daemon that takes too long.
const TOO_SLOW: &str = "the daemon took too long; what was asked for may still happen";

/// Waits until the request that is being carried out is done: for ever, without one.
async fn finished(pending: &mut Option<Pending>) -> (u64, Result<Answer, Refusal>) {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}

/// What a subscriber is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// What has changed.
    News,
    /// What has changed, and a ping.
    Ping,
}

/// Waits until a subscriber is to be sent something: for ever, without one.
async fn due(subscription: &mut Option<Subscription>) -> Result<Due, End> {
    let Some(Subscription { changes, behind, rested, ping, .. }) = subscription else {
        return std::future::pending().await;
    };
    let news = async {
        if !*behind {
            // The feed holds the sender, so that this cannot fail.
            let _ = changes.changed().await;
            // Kept, as the rest may be broken off.
            *behind = true;
        }
        sleep_until(*rested).await;
    };
    tokio::select! {
        // Pings first, so that a topic that changes all the time cannot starve them.
        biased;
        ping = ping.next() => ping.map_or(Err(End::Closed), |()| Ok(Due::Ping)),
        () = news => Ok(Due::News),
    }
}
