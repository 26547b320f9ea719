//! A client's connection: takes in what comes, has each request served, sends what there is, and ends it so that no request is lost.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http2::{Code, Event, FIELD_OVERHEAD, Follows, Limits, StreamId};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::link::Link;
use super::slot;
use super::stream::{Opening, Stream};
use super::web_socket::handshake;
use crate::worker::Worker;
use crate::worker::deadline::Cut;
use crate::worker::frontend::{Frontend, Rules};
use crate::worker::http::connection::{After, Connection};
use crate::worker::http::linger::{LINGER, linger};
use crate::worker::leaving::Leaving;
use crate::worker::net::buffer::Buffer;
use crate::worker::net::io::Io;
use crate::worker::net::listener::Arrival;
use crate::worker::presence::{Listed, Presence};

/// Streams at once: what browsers and proxies are used to (RFC 9113 section 6.5.2 asks for no less).
const STREAMS: u32 = 100;
/// Tasks of streams at once: those that a client has reset may need a moment to end.
const UNDER_WAY: usize = 2 * STREAMS as usize;
/// What a stream may send before it is read: as much as of a request of HTTP/1.1 lies in the kernel.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same of all streams of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What waits for the socket: enough to keep it busy while streams take turns.
const WAITING: usize = 256 * 1024;
/// How many streams a client may reset before their end, where it resets most of them: each costs a server a request.
const RESETS: u64 = 500;
/// How long a connection without a stream holds what its streams needed: the next ones come soon, or late.
const HELD: Duration = Duration::from_secs(1);
/// Long after a connection has ended.
const EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A connection's driver.
struct Driver {
    link: Rc<Link>,
    client: Io,
    /// What was received, and not yet taken in.
    input: Option<Buffer>,
    /// The port that the client has connected to.
    port: u16,
    /// If there is no stream, since when.
    idle: Option<Idle>,
    /// It was said that no more streams are taken.
    leaves: bool,
}

/// A connection without a stream.
#[derive(Clone, Copy)]
struct Idle {
    since: Instant,
    /// It holds nothing that it does not need.
    slim: bool,
}

/// Serves a client whose connection begins with the preface of HTTP/2, or with what may become one.
///
/// `port` is the one that it has connected to, and `input` what was received.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    frontend: Rc<Frontend>,
    presence: Rc<Presence>,
    client: Io,
    port: u16,
    input: Option<Buffer>,
) {
    frontend.counters().http2.connections.inc();
    let rules = frontend.rules();
    presence.deadline().set(rules.timeouts.request_head);
    let end = (client.local().ok(), client.is_tls());
    let link = Link::new(worker.clone(), frontend, presence.clone(), end, limits(&rules));
    let mut driver = Driver { link: Rc::new(link), client, input, port, idle: None, leaves: false };
    driver.drive().await;
    linger(&mut driver.client, &worker, &presence, After::Farewell).await;
}

fn limits(rules: &Rules) -> Limits {
    Limits {
        streams: STREAMS,
        stream_window: STREAM_WINDOW,
        connection_window: CONNECTION_WINDOW,
        // What is too long is answered, and logged, as everywhere; what is far too long is not even read.
        fields: rules.limits.head + FIELD_OVERHEAD * rules.limits.fields,
        waiting: WAITING,
    }
}

impl Driver {
    /// Until there is nothing left to do for this connection.
    async fn drive(&mut self) {
        let link = self.link.clone();
        let presence = &link.presence;
        loop {
            match presence.deadline().guard(poll_fn(|cx| self.poll(cx))).await {
                // Whether it ended in order or not: there is nobody to tell.
                Ok(_) => break,
                Err(_) if presence.deadline().is_cut() => {
                    link.worker.cut_streams(presence, Cut::Operator);
                    break;
                }
                Err(_) if self.slims() => {}
                Err(_) if self.leaves => break,
                Err(_) => self.leave(),
            }
        }
        if let Some(input) = self.input.take() {
            link.worker.requests.give(input);
        }
        // Those that are left find that out at once.
        link.cut_off();
        let left = poll_fn(|cx| {
            presence.wake_with(cx.waker());
            if link.under_way() == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = tokio::time::timeout(LINGER, left).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.leaves && self.is_unwanted() {
            self.leave();
        }
        if self.link.has_reset(RESETS) {
            self.link.connection().fail(Code::EnhanceYourCalm);
        }
        loop {
            let held_back = self.take_in();
            let flushed = self.poll_flush(cx)?;
            let is_over = self.link.connection().is_over();
            if is_over && flushed.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if is_over || self.is_busy() {
                break;
            }
            if held_back {
                continue;
            }
            if self.link.worker.intake.is_full() {
                self.give_way(cx);
                break;
            }
            match self.poll_receive(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(received) => received.map(drop)?,
                Poll::Pending => break,
            }
        }
        self.rest();
        self.link.presence.wake_with(cx.waker());
        Poll::Pending
    }

    /// Whether requests are to go elsewhere from now on.
    fn is_unwanted(&self) -> bool {
        self.link.worker.leaving() != Leaving::No || !self.link.frontend.takes_requests()
    }

    /// Has the client go elsewhere with its next request. What it has sent before it knows is served.
    fn leave(&mut self) {
        self.leaves = true;
        self.idle = None;
        self.link.connection().leave();
    }

    /// Whether nothing is received for now: there is more to be sent, or under way, than there should be.
    fn is_busy(&self) -> bool {
        self.link.connection().is_stuffed() || self.link.under_way() >= UNDER_WAY
    }

    /// Lets the tasks of what was taken in go first, if there is something to receive.
    fn give_way(&mut self, cx: &mut Context<'_>) {
        if self.client.reader().poll_ready(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Moves the deadline while there is nothing to take in: requests have their own.
    fn rest(&mut self) {
        let deadline = self.link.presence.deadline();
        if self.link.under_way() > 0 {
            self.idle = None;
            deadline.set(EVER);
        } else if self.idle.is_none() {
            let since = Instant::now();
            self.idle = Some(Idle { since, slim: false });
            deadline.set_at(since + self.patience().min(HELD));
        }
    }

    /// How long a connection may be idle.
    fn patience(&self) -> Duration {
        let timeouts = self.link.frontend.rules().timeouts;
        match self.leaves {
            true => LINGER,
            // The first request has the time of any first request.
            false if self.link.connection().last().is_none() => timeouts.request_head,
            false => timeouts.keep_alive,
        }
    }

    /// Gives back what a connection holds that has been idle for a moment. Not twice.
    fn slims(&mut self) -> bool {
        let patience = self.patience();
        let Some(idle) = self.idle.as_mut().filter(|idle| !idle.slim) else { return false };
        idle.slim = true;
        self.link.slim();
        self.link.presence.deadline().set_at(idle.since + patience);
        true
    }

    /// Takes in what was received, as far as it is whole. Whether there is more that has to wait.
    fn take_in(&mut self) -> bool {
        let Some(mut input) = self.input.take() else { return false };
        let mut held_back = false;
        while !input.is_empty() {
            if self.is_busy() {
                held_back = true;
                break;
            }
            let (used, event) = self.link.connection().receive(input.filled());
            if let Some(event) = event {
                self.happened(event, input.filled());
            } else if used == 0 {
                break;
            }
            input.consume(used);
        }
        match input.is_empty() {
            true => self.link.worker.requests.give(input),
            false => self.input = Some(input),
        }
        held_back
    }

    fn happened(&mut self, event: Event, received: &[u8]) {
        let link = self.link.clone();
        let mut connection = link.connection();
        match event {
            Event::Request(id, follows) => {
                drop(connection);
                self.begin(id, follows);
            }
            Event::Content(id, range, ended) => {
                if let Some(lane) = connection.user(id) {
                    lane.push(&received[range]);
                    lane.ended |= ended;
                    lane.wake();
                }
            }
            Event::Trailers(id) => {
                let lines = connection.text().to_vec();
                if let Some(lane) = connection.user(id) {
                    lane.trailers = lines;
                    lane.ended = true;
                    lane.wake();
                }
            }
            Event::Reset(id) => {
                if let Some(lane) = connection.user(id) {
                    lane.gone = true;
                    lane.wake();
                }
            }
            Event::RoomOfStream(id) => {
                if let Some(lane) = connection.user(id).filter(|lane| lane.needs_room) {
                    lane.wake();
                }
            }
            Event::RoomOfConnection => link.has_room(&mut connection),
            Event::RoomOfStreams => {
                connection.users().filter(|lane| lane.needs_room).for_each(super::link::Lane::wake);
            }
            Event::Malformed => {
                let counters = &link.frontend.counters().http2;
                counters.streams.inc();
                counters.malformed.inc();
            }
        }
    }

    /// Has a request served, whose head was taken in last.
    fn begin(&mut self, id: StreamId, follows: Follows) {
        let link = &self.link;
        let (worker, presence) = (&link.worker, &link.presence);
        link.frontend.counters().http2.streams.inc();
        let (opening, input) = {
            let connection = link.connection();
            let head = connection.text();
            let mut input = worker.lend_input(head.len(), follows != Follows::Nothing);
            let web_socket = (follows == Follows::WebSocket).then(|| handshake(worker.ids.next()));
            let (key, web_socket) =
                web_socket.map_or((Vec::new(), None), |(key, accept)| (key, Some(accept)));
            // The key comes before the empty line.
            let (lines, end) = head.split_at(head.len().saturating_sub(2));
            for part in [lines, &key, end] {
                // What does not fit is more than a head may be, and is refused for that.
                let room = input.size() - input.filled().len();
                input.append(&part[..part.len().min(room)]);
            }
            (Opening::new(id, head, follows, web_socket), input)
        };
        worker.intake.enter();
        if let Some(slot) = link.unpark() {
            slot.give((opening, input));
            return;
        }
        let listed = Listed::new(worker, presence);
        let arrival = Arrival {
            client: Io::Stream(Box::new(Stream::new(link, opening))),
            peer: presence.client(),
            port: self.port,
            input: Some(input),
            server_name: None,
            owes_request: true,
        };
        let connection = Connection::new(worker.clone(), link.frontend.clone(), listed.presence(), arrival);
        tokio::task::spawn_local(slot::serve(link.clone(), connection, listed));
    }

    /// Sends what there is to be sent.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let link = self.link.clone();
        let mut connection = link.connection();
        let mut writer = self.client.writer();
        let (mut sent, mut pending) = (0, false);
        while sent < connection.out().len() && !pending {
            match Pin::new(&mut writer).poll_write(cx, &connection.out()[sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => sent += written?,
                Poll::Pending => pending = true,
            }
        }
        if sent > 0 {
            connection.out().drain(..sent);
            link.has_room(&mut connection);
        }
        if pending {
            return Ok(Poll::Pending);
        }
        Ok(Poll::Ready(()))
    }

    /// Receives once. Nothing received means that the client has ended the connection.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { link, client, input, .. } = self;
        let mut reader = client.reader();
        if let Some(input) = input {
            return input.poll_fill(cx, &mut reader);
        }
        let received = ready!(link.worker.requests.poll_read(cx, &mut reader))?.keep();
        let n = received.filled().len();
        *input = Some(received);
        Poll::Ready(Ok(n))
    }
}
