//! One client connection: request after request, until either side has had enough.

mod account;
mod forward;
mod upgraded;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use http1::{RequestHead, RequestParser, empty_lines};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::upgraded::Upgraded;
use super::Worker;
use super::buffer::Buffer;
use super::client_text::ClientText;
use super::deadline::Deadline;
use super::failure::{self, Failure};
use super::frontend::Frontend;
use super::listener::Arrival;
use super::presence::Presence;
use super::send;
use crate::access_log::{REQUEST_LINE_MAX, Record, Times};

/// How long, and for how many bytes, a client that may still be sending is listened to after its last response: closing at
/// once would reset the connection, and could destroy the response on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// How long a new connection is given when lbd leaves: its first request comes on the heels of the handshake.
const FIRST_REQUEST: Duration = Duration::from_millis(200);

/// A client's connection and what it holds on to between requests.
pub(crate) struct Connection {
    worker: Rc<Worker>,
    frontend: Rc<Frontend>,
    presence: Rc<Presence>,
    client: TcpStream,
    peer: SocketAddr,
    client_text: ClientText,
    accepted: Instant,
    /// Whether its first request is on its way for certain.
    owes_request: bool,
    deadline: Deadline,
    /// What was received and not yet used. Idle connections have none.
    input: Option<Buffer>,
    request_line: Vec<u8>,
    /// What is left to do for a request that switched protocols.
    upgraded: Option<Box<Upgraded>>,
}

/// A request whose head is complete.
struct Request {
    head: RequestHead,
    arrived: Arrived,
}

/// When a request arrived.
#[derive(Clone, Copy)]
struct Arrived {
    /// When its first byte was there.
    begun: Instant,
    received: Instant,
    wall: SystemTime,
}

/// What becomes of the client's connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It takes another request.
    Reuse,
    /// It is closed.
    Close,
    /// It is closed after listening for a moment, because the client may still be sending.
    Linger,
    /// It carries another protocol.
    Upgrade,
}

impl Connection {
    pub(crate) fn new(
        worker: Rc<Worker>,
        frontend: Rc<Frontend>,
        presence: Rc<Presence>,
        arrival: Arrival,
    ) -> Box<Self> {
        let Arrival { client, peer, owes_request } = arrival;
        let deadline = Deadline::after(frontend.rules().timeouts.request_head);
        Box::new(Self {
            worker,
            frontend,
            presence,
            client,
            peer,
            client_text: ClientText::new(peer),
            accepted: Instant::now(),
            owes_request,
            deadline,
            input: None,
            request_line: Vec::new(),
            upgraded: None,
        })
    }

    // RFC 9112 section 9.3.2: "it MUST send the corresponding responses in the same order that the requests were received"
    /// Serves requests until the connection ends.
    ///
    /// While it is idle this is all that there is of it: requests are served at one of the worker's desks.
    pub(crate) async fn serve(mut self: Box<Self>) {
        let worker = self.worker.clone();
        let mut first = true;
        let mut after = After::Close;
        while self.arrives(first).await {
            first = false;
            (self, after) = worker.desks.lend().serve(self).await;
            if after != After::Reuse {
                break;
            }
            after = After::Close;
        }
        if after == After::Upgrade {
            // Boxed, so that idle connections do without room for it.
            Box::pin(self.carry_upgraded()).await;
        }
        if let Some(input) = self.input.take() {
            self.worker.requests.give(input);
        }
        if after == After::Linger {
            self.linger().await;
        }
    }

    /// Serves requests until the connection is idle, or ends.
    pub(super) async fn serve_requests(&mut self) -> After {
        loop {
            let after = match self.next_request().await {
                Ok(Some(request)) => self.answer(request).await,
                Ok(None) => After::Close,
                Err((failure, begun)) => self.refuse_head(failure, begun).await,
            };
            if after != After::Reuse || self.input.is_none() {
                return after;
            }
        }
    }

    /// Waits for the next request's first bytes. False when the connection ends instead.
    async fn arrives(&mut self, first: bool) -> bool {
        let timeouts = self.frontend.rules().timeouts;
        self.deadline.set(if first { timeouts.request_head } else { timeouts.keep_alive });
        self.input = self.first_bytes(first).await;
        self.input.is_some()
    }

    /// Reads the next request's head, whose first bytes are there. None when the connection ends before it.
    async fn next_request(&mut self) -> Result<Option<Request>, (Failure, Instant)> {
        let rules = self.frontend.rules();
        let begun = Instant::now();
        // The whole head has this long, however slowly its bytes drip (RFC 9110 leaves it to us).
        self.deadline.set_at(begun + rules.timeouts.request_head);
        let mut at_once = true;
        let mut parser = RequestParser::new(rules.limits);
        let input = self.input.get_or_insert_with(|| self.worker.requests.lend().keep());
        loop {
            if !input.is_empty() {
                match parser.parse(input.filled()) {
                    Ok(Some(head)) => {
                        keep_line(input.filled(), &mut self.request_line);
                        let received = if at_once { begun } else { Instant::now() };
                        let arrived = Arrived { begun, received, wall: SystemTime::now() };
                        return Ok(Some(Request { head, arrived }));
                    }
                    Ok(None) => {}
                    Err(fault) => return Err((Failure::Request(fault), begun)),
                }
            }
            at_once = false;
            match self.deadline.guard(input.fill(&mut self.client)).await {
                Ok(Ok(n)) if n > 0 => {}
                Ok(_) | Err(_) if !has_begun(input.filled()) => return Ok(None),
                Ok(_) => return Err((Failure::ClientClosed, begun)),
                Err(_) => return Err((Failure::RequestTimeout, begun)),
            }
        }
    }

    /// Waits while the connection is idle, and holds no buffer meanwhile. None when the connection ended, was idle for too
    /// long, or the worker is leaving.
    async fn first_bytes(&mut self, first: bool) -> Option<Buffer> {
        let Self { worker, frontend, presence, client, deadline, accepted, .. } = self;
        let owes_request = first && self.owes_request;
        let received = poll_fn(|cx| {
            while let Poll::Ready(received) = worker.requests.poll_read(cx, &mut client.split().0) {
                let Some(mut buffer) = received.ok().filter(|buffer| !buffer.is_empty()) else {
                    return Poll::Ready(None);
                };
                let lines = empty_lines(buffer.filled());
                buffer.consume(lines);
                // With empty lines alone it is as idle as before.
                if !buffer.is_empty() {
                    return Poll::Ready(Some(buffer.keep()));
                }
            }
            if (worker.is_leaving() || frontend.is_retired()) && !owes_request {
                let grace =
                    if first { FIRST_REQUEST.saturating_sub(accepted.elapsed()) } else { Duration::ZERO };
                if !grace.is_zero() {
                    deadline.set(grace);
                } else if !has_arrived(client) {
                    return Poll::Ready(None);
                }
            }
            presence.wake_with(cx.waker());
            Poll::Pending
        });
        deadline.guard(received).await.unwrap_or(None)
    }

    /// What follows in the buffer is the next request, without empty lines; an empty buffer goes back until there is one.
    fn give_empty_input(&mut self) {
        if let Some(input) = &mut self.input {
            input.consume(empty_lines(input.filled()));
        }
        if let Some(input) = self.input.take_if(|input| input.is_empty()) {
            self.worker.requests.give(input);
        }
    }

    /// A head that was refused, or that never came: answered, counted and logged without ever reaching a server.
    async fn refuse_head(&mut self, failure: Failure, begun: Instant) -> After {
        let wall = SystemTime::now();
        let counters = self.frontend.counters();
        counters.requests.inc();
        let received = self.input.as_ref().map_or(&[][..], Buffer::filled);
        counters.bytes_in.add(received.len() as u64);
        keep_line(received, &mut self.request_line);
        let status = failure.status();
        let mut bytes = 0;
        if let Some(reason) = failure.refusal() {
            counters.refused.inc();
            self.worker.counters().refuse(reason);
        }
        let mut after = After::Close;
        if let Some(status) = status {
            let response = failure::response(status, self.request_line.starts_with(b"HEAD "));
            bytes = response.len() as u64;
            counters.responses.record(status);
            counters.bytes_out.add(bytes);
            after = self.send_last(&response).await;
        }
        let total = begun.elapsed();
        self.log(&Record {
            client: self.peer,
            client_text: self.client_text.with_port(),
            received: wall,
            frontend: self.frontend.name(),
            backend: self.frontend.name(),
            server: None,
            times: Times { total, ..Times::default() },
            status,
            bytes,
            termination: failure.termination(),
            concurrency: [
                self.worker.counters().connections.get(),
                self.frontend.counters().connections.get(),
                0,
                0,
            ],
            retries: 0,
            redispatched: false,
            queued_behind: 0,
            request: &self.request_line,
        });
        after
    }

    /// Sends a last answer.
    async fn send_last(&mut self, response: &[u8]) -> After {
        self.deadline.set(LINGER);
        match self.deadline.guard(send::all(&mut self.client, response, || {})).await {
            Ok(Ok(())) => After::Linger,
            Ok(Err(_)) | Err(_) => After::Close,
        }
    }

    // RFC 9112 section 9.6: "The server MUST NOT process any further requests received on that connection"
    /// Ends our side and listens for a moment, so that what was sent arrives (RFC 9112 9.6).
    async fn linger(&mut self) {
        self.deadline.set(LINGER);
        let worker = self.worker.clone();
        let work = async {
            self.client.shutdown().await?;
            self.presence.let_go(worker.counters());
            let mut heard = 0;
            while heard < LINGER_BYTES {
                // Most clients say nothing more: nothing is held for them.
                let (mut from, _) = self.client.split();
                let said = poll_fn(|cx| worker.requests.poll_read(cx, &mut from)).await?;
                if said.is_empty() {
                    break;
                }
                heard += said.filled().len();
            }
            io::Result::Ok(())
        };
        // Whether the client stayed to the end or not, this connection is over.
        let _ = self.deadline.guard(work).await;
    }
}

/// Whether a request has arrived that tokio has not told of yet.
fn has_arrived(client: &TcpStream) -> bool {
    SockRef::from(client).peek(&mut [MaybeUninit::uninit()]).is_ok_and(|n| n > 0)
}

/// Whether these are the first bytes of a head, and not of an empty line before it.
fn has_begun(received: &[u8]) -> bool {
    !matches!(received[empty_lines(received)..], [] | [b'\r'])
}

/// Keeps the first line for the log.
fn keep_line(received: &[u8], line: &mut Vec<u8>) {
    let received = &received[empty_lines(received)..];
    let end = received.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(received.len());
    line.clear();
    line.extend_from_slice(&received[..end.min(REQUEST_LINE_MAX)]);
}
