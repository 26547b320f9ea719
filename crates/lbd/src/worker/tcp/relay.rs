//! Bytes in both directions, whatever they mean: a session in TCP mode, or what follows a protocol switch.
//!
//! What comes in small pieces is copied. Where a read fills its buffer more is behind it, and the kernel carries it alone, until
//! the source pauses. While nothing moves, neither a buffer nor a pipe is held.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::worker::deadline::Deadline;
use crate::worker::failure::Failure;
use crate::worker::net::buffer::{Buffer, Lent, Pool};
use crate::worker::net::io::{Io, Reader, Writer};
use crate::worker::net::splice::{Broken, Pipes};

/// Bytes that came before there was a way for them, and where their buffer is from.
pub(crate) type Early<'a> = (Buffer, &'a Pool<Buffer>);

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Nothing moves in either direction.
    pub(crate) idle: Duration,
    /// The same, when only the client still sends, or only the server.
    pub(crate) client_fin: Duration,
    pub(crate) server_fin: Duration,
    /// The client, or the server, takes nothing of what it is sent.
    pub(crate) client: Duration,
    pub(crate) server: Duration,
}

impl Bounds {
    /// The same for all.
    pub(crate) fn alike(time: Duration) -> Self {
        Self { idle: time, client_fin: time, server_fin: time, client: time, server: time }
    }
}

/// What a relay works with.
#[derive(Debug)]
pub(crate) struct Relay<'a> {
    pub(crate) buffers: &'a Pool<Buffer>,
    pub(crate) pipes: &'a Pipes,
    pub(crate) deadline: &'a Deadline,
    pub(crate) bounds: Bounds,
    pub(crate) flow: &'a Flow,
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

/// A buffer, and how much of it has been sent.
type Unsent<'a> = (Lent<'a, Buffer>, usize);

/// What became of a piece.
enum Passed<'a> {
    /// It was sent; whether it was as large as a piece can be.
    All(bool),
    /// The target does not take all of it yet.
    Some(Box<Unsent<'a>>),
    /// The source has ended.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Way {
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
        self.up.stage.get() == Stage::Ended
    }

    /// Whether the client was told that the server has ended its side.
    pub(crate) fn has_client_everything(&self) -> bool {
        self.down.stage.get() == Stage::Ended
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
        let mut first = (self.moved.get() + idle, silent);
        let stalls =
            [(up, bounds.server, Failure::ServerStalled), (down, bounds.client, Failure::ClientStalled)];
        for (stage, bound, failure) in stalls {
            if let Stage::Writes(since) = stage
                && since + bound < first.0
            {
                first = (since + bound, failure);
            }
        }
        first
    }
}

impl Relay<'_> {
    /// Carries bytes until both sides have ended, one has failed, or nothing moves for too long.
    ///
    /// `pending` is what the client has sent already, `early` what the server has.
    pub(crate) async fn run(
        &self,
        client: &mut Io,
        server: &mut Io,
        (pending, early): (Early<'_>, Early<'_>),
    ) -> Result<(), Failure> {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        self.rearm();
        let mut up = pin!(self.carry(Way::Up, from_client, to_server, pending));
        let mut down = pin!(self.carry(Way::Down, from_server, to_client, early));
        let (mut up_ended, mut down_ended) = (false, false);
        // Until both directions have ended, or one has failed.
        let both = poll_fn(|cx| {
            if !up_ended && let Poll::Ready(result) = up.as_mut().poll(cx) {
                result?;
                up_ended = true;
            }
            if !down_ended && let Poll::Ready(result) = down.as_mut().poll(cx) {
                result?;
                down_ended = true;
            }
            if up_ended && down_ended { Poll::Ready(Ok(())) } else { Poll::Pending }
        });
        match self.deadline.guard(both).await.unwrap_or_else(|_| Err(self.flow.due(&self.bounds).1)) {
            // The server has said everything and reads no more, as it may.
            Err(Failure::ServerBroke) if self.flow.has_client_everything() => Ok(()),
            other => other,
        }
    }

    /// Carries one direction to its end, and passes the end on.
    ///
    /// What is larger than a wait for bytes is boxed: it is short, and relays are many and long.
    async fn carry(
        &self,
        way: Way,
        mut from: Reader<'_>,
        mut to: Writer<'_>,
        (early, pool): Early<'_>,
    ) -> Result<(), Failure> {
        let (from_failed, to_failed) = way.failures();
        if !early.is_empty() {
            self.writes(way);
            Box::pin(self.send(way, &mut to, Box::new((pool.lend_again(early), 0)))).await?;
        }
        let mut is_large = false;
        loop {
            poll_fn(|cx| from.poll_ready(cx)).await.map_err(|_| from_failed)?;
            if is_large && let Some(burst) = Box::pin(self.splice(way, &from, &to)).await {
                let (carried, ended) = burst?;
                if ended {
                    break;
                }
                is_large = carried >= self.buffers.size() as u64;
                continue;
            }
            match poll_fn(|cx| self.poll_pass_on(cx, way, &mut from, &mut to)).await? {
                Passed::All(large) => is_large = large,
                Passed::Some(rest) => {
                    is_large = rest.0.is_full();
                    Box::pin(self.send(way, &mut to, rest)).await?;
                }
                Passed::End => break,
            }
        }
        poll_fn(|cx| Pin::new(&mut to).poll_shutdown(cx)).await.map_err(|_| to_failed)?;
        self.enter(way, Stage::Ended);
        Ok(())
    }

    /// Reads once, and passes on what the target takes at once.
    fn poll_pass_on<'b>(
        &'b self,
        cx: &mut Context<'_>,
        way: Way,
        from: &mut Reader<'_>,
        to: &mut Writer<'_>,
    ) -> Poll<Result<Passed<'b>, Failure>> {
        let buffer = ready!(self.buffers.poll_read(cx, from)).map_err(|_| way.failures().0)?;
        if buffer.is_empty() {
            return Poll::Ready(Ok(Passed::End));
        }
        self.writes(way);
        let mut sent = 0;
        Poll::Ready(match self.poll_send(cx, way, to, buffer.filled(), &mut sent) {
            Poll::Ready(result) => result.map(|()| Passed::All(buffer.is_full())),
            Poll::Pending => Ok(Passed::Some(Box::new((buffer, sent)))),
        })
    }

    /// Sends what is left of a buffer.
    async fn send(&self, way: Way, to: &mut Writer<'_>, mut rest: Box<Unsent<'_>>) -> Result<(), Failure> {
        let (buffer, sent) = &mut *rest;
        poll_fn(|cx| self.poll_send(cx, way, to, buffer.filled(), sent)).await
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

    /// Has the kernel carry what comes until the source pauses. How much that was, and whether the source has ended; none if it
    /// has to be copied.
    async fn splice(
        &self,
        way: Way,
        from: &Reader<'_>,
        to: &Writer<'_>,
    ) -> Option<Result<(u64, bool), Failure>> {
        let (from, to) = from.plain().zip(to.plain())?;
        let mut pipe = self.pipes.lend_any()?;
        let moved = |n| self.count(way, n);
        let burst = pipe.carry_burst(from, to, || self.writes(way), moved).await;
        self.enter(way, Stage::Reads);
        let (from_failed, to_failed) = way.failures();
        Some(burst.map_err(|broken| match broken {
            Broken::Source => from_failed,
            Broken::Target => to_failed,
        }))
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
        self.deadline.set_at(self.flow.due(&self.bounds).0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        idle: Duration::from_secs(100),
        client_fin: Duration::from_secs(20),
        server_fin: Duration::from_secs(30),
        client: Duration::from_secs(7),
        server: Duration::from_secs(5),
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
