//! Bytes in both directions, whatever they mean: a session in TCP mode, or what follows a protocol switch.
//!
//! What comes in small pieces is copied. Where a read fills its buffer more is behind it, and the kernel carries it alone, until
//! the source pauses. While nothing moves, neither a buffer nor a pipe is held.
//!
//! Relays are many and long. So what one is at is a few words that its task looks at each time it is woken, and no chain of
//! futures, which would take a multiple of that.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::worker::Worker;
use crate::worker::deadline::Deadline;
use crate::worker::failure::Failure;
use crate::worker::net::buffer::{Buffer, Pool};
use crate::worker::net::io::{Io, Reader, Writer};
use crate::worker::net::splice::{Broken, LentPipe, Moved};

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Nothing moves in either direction.
    pub(crate) idle: Bound,
    /// The same, when only the client still sends, or only the server.
    pub(crate) client_fin: Bound,
    pub(crate) server_fin: Bound,
    /// The client, or the server, takes nothing of what it is sent.
    pub(crate) client: Bound,
    pub(crate) server: Bound,
}

/// A time in milliseconds, of seven weeks at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound(u32);

impl From<Duration> for Bound {
    fn from(time: Duration) -> Self {
        Self(u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
    }
}

impl From<Bound> for Duration {
    fn from(bound: Bound) -> Self {
        Self::from_millis(bound.0.into())
    }
}

impl Bounds {
    /// The same for all.
    pub(crate) fn alike(time: Duration) -> Self {
        let time = time.into();
        Self { idle: time, client_fin: time, server_fin: time, client: time, server: time }
    }
}

/// Both directions of what is carried.
#[derive(Debug)]
pub(crate) struct Relay {
    up: Carrier,
    down: Carrier,
}

/// What a relay works with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) deadline: &'a Deadline,
    pub(crate) flow: &'a Flow,
    pub(crate) bounds: &'a Bounds,
}

/// What carries one direction.
#[derive(Debug)]
struct Carrier {
    way: Way,
    at: Task,
    /// Whether the last piece was as large as one can be.
    is_large: bool,
}

/// What it is at.
#[derive(Debug)]
enum Task {
    /// It waits for bytes.
    Receive,
    /// The target does not take all of a piece at once.
    Send(Box<Unsent>),
    /// The kernel carries.
    Splice(Box<Burst>),
    /// The source has ended, and the target is to be told.
    End,
    /// It has been told.
    Rest,
}

/// A buffer, and how much of it has been sent.
#[derive(Debug)]
struct Unsent {
    buffer: Buffer,
    sent: usize,
    /// Whether it came before there was a way for it.
    early: bool,
}

/// What the kernel carries, and how much that was already.
#[derive(Debug)]
struct Burst {
    pipe: LentPipe,
    carried: u64,
}

/// How far a relay has come.
#[derive(Debug)]
pub(crate) struct Flow {
    up: Direction,
    down: Direction,
    /// When something moved last.
    moved: Cell<Instant>,
}

/// One direction of it.
#[derive(Debug, Default)]
struct Direction {
    stage: Cell<Stage>,
    bytes: Cell<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Its source is to send more.
    #[default]
    Reads,
    /// Its target has been held to take some since then.
    Writes(Instant),
    /// Its source has ended, and its target has been told.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Way {
    fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    /// What it means when reading, and when writing fails.
    fn failures(self) -> (Failure, Failure) {
        match self {
            Self::Up => (Failure::ClientReset, Failure::ServerBroke),
            Self::Down => (Failure::ServerBroke, Failure::ClientReset),
        }
    }
}

impl Flow {
    pub(crate) fn new() -> Self {
        Self { up: Direction::default(), down: Direction::default(), moved: Cell::new(Instant::now()) }
    }

    /// Bytes from the client.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.up.bytes.get()
    }

    /// Bytes to the client.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.down.bytes.get()
    }

    /// When something was carried last, or at least tried.
    pub(crate) fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Whether the server was told that the client has ended its side.
    pub(crate) fn has_server_everything(&self) -> bool {
        self.has_ended(Way::Up)
    }

    /// Whether the client was told that the server has ended its side.
    pub(crate) fn has_client_everything(&self) -> bool {
        self.has_ended(Way::Down)
    }

    fn has_ended(&self, way: Way) -> bool {
        self.of(way).stage.get() == Stage::Ended
    }

    fn of(&self, way: Way) -> &Direction {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    /// When the first wait is over, and whose fault that is then.
    fn due(&self, bounds: &Bounds) -> (Instant, Failure) {
        let (up, down) = (self.up.stage.get(), self.down.stage.get());
        let (idle, silent) = match (up, down) {
            (Stage::Ended, _) => (bounds.server_fin, Failure::ServerStalled),
            (_, Stage::Ended) => (bounds.client_fin, Failure::ClientStalled),
            _ => (bounds.idle, Failure::ClientStalled),
        };
        let mut first = (self.moved.get() + idle.into(), silent);
        let stalls =
            [(up, bounds.server, Failure::ServerStalled), (down, bounds.client, Failure::ClientStalled)];
        for (stage, bound, failure) in stalls {
            if let Stage::Writes(since) = stage
                && since + bound.into() < first.0
            {
                first = (since + bound.into(), failure);
            }
        }
        first
    }
}

impl Relay {
    /// Of a client and a server of which so much has been read already: `pending` is the client's, `early` the server's.
    pub(crate) fn new(pending: Buffer, early: Buffer) -> Self {
        Self { up: Carrier::new(Way::Up, pending), down: Carrier::new(Way::Down, early) }
    }

    /// From now on nothing waits for longer than it may.
    pub(crate) fn begin(&self, course: Course<'_>) {
        for carrier in [&self.up, &self.down] {
            if let Task::Send(_) = carrier.at {
                course.writes(carrier.way);
            }
        }
        course.rearm();
    }

    /// Carries bytes until both sides have ended, one has failed, or nothing moves for too long.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        course: Course<'_>,
        client: &mut Io,
        server: &mut Io,
    ) -> Poll<Result<(), Failure>> {
        // Until both directions have ended, or one has failed.
        let both = |cx: &mut Context<'_>| {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let up = self.up.poll(cx, course, from_client, to_server)?;
            let down = self.down.poll(cx, course, from_server, to_client)?;
            if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
        };
        let ended = ready!(course.deadline.poll_guard(cx, both));
        Poll::Ready(match ended.unwrap_or_else(|_| Err(course.flow.due(course.bounds).1)) {
            // The server has said everything and reads no more, as it may.
            Err(Failure::ServerBroke) if course.flow.has_client_everything() => Ok(()),
            other => other,
        })
    }
}

impl Carrier {
    fn new(way: Way, early: Buffer) -> Self {
        let at = match early.is_empty() {
            true => Task::Receive,
            false => Task::Send(Box::new(Unsent { buffer: early, sent: 0, early: true })),
        };
        Self { way, at, is_large: false }
    }

    /// Carries what there is. Ready when the source has ended, and the target knows.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        course: Course<'_>,
        mut from: Reader<'_>,
        mut to: Writer<'_>,
    ) -> Poll<Result<(), Failure>> {
        let way = self.way;
        let (from_failed, to_failed) = way.failures();
        loop {
            self.at = match &mut self.at {
                Task::Receive => {
                    ready!(from.poll_ready(cx)).map_err(|_| from_failed)?;
                    let burst = if self.is_large { Burst::begin(course.worker, &from, &to) } else { None };
                    match burst {
                        Some(burst) => Task::Splice(burst),
                        None => ready!(self.poll_pass_on(cx, course, &mut from, &mut to))?,
                    }
                }
                Task::Send(unsent) => {
                    let Unsent { buffer, sent, early } = &mut **unsent;
                    ready!(course.poll_send(cx, way, &mut to, buffer.filled(), sent))?;
                    self.is_large = !*early && buffer.is_full();
                    let pool = course.pool_of(way, *early);
                    pool.give(std::mem::take(buffer));
                    Task::Receive
                }
                Task::Splice(burst) => {
                    let Some((from, to)) = from.plain().zip(to.plain()) else {
                        return Poll::Ready(Err(from_failed));
                    };
                    let Burst { pipe, carried } = &mut **burst;
                    let moved = |moved| match moved {
                        Moved::In(bytes) => {
                            *carried += bytes as u64;
                            course.writes(way);
                        }
                        Moved::Out { bytes, left } => {
                            course.count(way, bytes);
                            if left > 0 {
                                course.writes(way);
                            }
                        }
                    };
                    let ended =
                        ready!(pipe.poll_burst(cx, from, to, moved)).map_err(|broken| match broken {
                            Broken::Source => from_failed,
                            Broken::Target => to_failed,
                        })?;
                    course.enter(way, Stage::Reads);
                    self.is_large = *carried >= course.worker.responses.size() as u64;
                    if ended { Task::End } else { Task::Receive }
                }
                Task::End => {
                    // Where both have ended, the connections are closed, which tells it by itself.
                    if !course.flow.has_ended(way.opposite()) || to.plain().is_none() {
                        ready!(Pin::new(&mut to).poll_shutdown(cx)).map_err(|_| to_failed)?;
                    }
                    course.enter(way, Stage::Ended);
                    Task::Rest
                }
                Task::Rest => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads once, and passes on what the target takes at once. What is to be done next.
    fn poll_pass_on(
        &mut self,
        cx: &mut Context<'_>,
        course: Course<'_>,
        from: &mut Reader<'_>,
        to: &mut Writer<'_>,
    ) -> Poll<Result<Task, Failure>> {
        let way = self.way;
        let buffer = ready!(course.worker.responses.poll_read(cx, from)).map_err(|_| way.failures().0)?;
        if buffer.is_empty() {
            return Poll::Ready(Ok(Task::End));
        }
        self.is_large = buffer.is_full();
        let mut sent = 0;
        Poll::Ready(match course.poll_send(cx, way, to, buffer.filled(), &mut sent) {
            Poll::Ready(result) => result.map(|()| Task::Receive),
            Poll::Pending => {
                course.writes(way);
                Ok(Task::Send(Box::new(Unsent { buffer: buffer.keep(), sent, early: false })))
            }
        })
    }
}

impl Burst {
    /// One between these two, if the kernel can carry their bytes, and there is a pipe.
    fn begin(worker: &Worker, from: &Reader<'_>, to: &Writer<'_>) -> Option<Box<Self>> {
        from.plain().zip(to.plain())?;
        Some(Box::new(Self { pipe: worker.pipes.lend_any()?, carried: 0 }))
    }
}

impl Course<'_> {
    /// Where a buffer of that direction is from.
    fn pool_of(&self, way: Way, early: bool) -> &Pool<Buffer> {
        match way {
            Way::Up if early => &self.worker.requests,
            _ => &self.worker.responses,
        }
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        way: Way,
        to: &mut Writer<'_>,
        bytes: &[u8],
        sent: &mut usize,
    ) -> Poll<Result<(), Failure>> {
        while *sent < bytes.len() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &bytes[*sent..]));
            let written = written.ok().filter(|written| *written > 0).ok_or(way.failures().1)?;
            *sent += written;
            if *sent < bytes.len() {
                self.writes(way);
            }
        }
        self.count(way, bytes.len());
        self.enter(way, Stage::Reads);
        Poll::Ready(Ok(()))
    }

    fn count(&self, way: Way, n: usize) {
        let bytes = &self.flow.of(way).bytes;
        bytes.set(bytes.get() + n as u64);
    }

    /// The target is to take some from now on.
    fn writes(&self, way: Way) {
        self.enter(way, Stage::Writes(Instant::now()));
    }

    fn enter(&self, way: Way, stage: Stage) {
        self.flow.of(way).stage.set(stage);
        self.flow.moved.set(match stage {
            Stage::Writes(now) => now,
            Stage::Reads | Stage::Ended => Instant::now(),
        });
        self.rearm();
    }

    fn rearm(&self) {
        self.deadline.set_at(self.flow.due(self.bounds).0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        idle: Bound(100_000),
        client_fin: Bound(20_000),
        server_fin: Bound(30_000),
        client: Bound(7_000),
        server: Bound(5_000),
    };

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn each_wait_has_its_bound_and_who_lets_it_pass_is_blamed() {
        let now = Instant::now();
        let flow = Flow::new();
        let due = |up, down| {
            flow.up.stage.set(up);
            flow.down.stage.set(down);
            let (at, failure) = flow.due(&BOUNDS);
            ((at - now).as_secs(), failure)
        };
        let (later, writes) = (Stage::Writes(now + Duration::from_secs(3)), Stage::Writes(now));
        let (client, server) = (Failure::ClientStalled, Failure::ServerStalled);
        for (up, down, expected) in [
            (Stage::Reads, Stage::Reads, (100, client)),
            (Stage::Ended, Stage::Reads, (30, server)),
            (Stage::Reads, Stage::Ended, (20, client)),
            (writes, Stage::Reads, (5, server)),
            (Stage::Reads, writes, (7, client)),
            (later, writes, (7, client)),
            (writes, later, (5, server)),
            (Stage::Ended, writes, (7, client)),
        ] {
            assert_eq!(due(up, down), expected, "{up:?} {down:?}");
        }
    }
}
