//! One client connection: request after request, until either side has had enough.

mod account;
mod forward;
mod opening;
mod own;
mod route;
mod upgraded;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::SystemTime;

use config::Scheme;
use http1::{RequestFault, RequestHead, RequestParser, empty_lines};
use tokio::time::Instant;

use self::upgraded::Upgraded;
use super::answer;
use super::linger::{LINGER, hear_out, linger};
use crate::shared::access_log::{CookieStates, REQUEST_LINE_MAX, Record, Times};
use crate::worker::Worker;
use crate::worker::client_text::ClientText;
use crate::worker::failure::Failure;
use crate::worker::frontend::Frontend;
use crate::worker::http2::stream::Stream;
use crate::worker::http2::{PREFACE_LINE, driver};
use crate::worker::leaving::{First, Leaving};
use crate::worker::net::buffer::Buffer;
use crate::worker::net::io::Io;
use crate::worker::net::listener::Arrival;
use crate::worker::net::send;
use crate::worker::presence::Presence;
use crate::worker::upstream::service::Reserved;

/// A client's connection and what it holds on to between requests.
pub(crate) struct Connection {
    worker: Rc<Worker>,
    frontend: Rc<Frontend>,
    presence: Rc<Presence>,
    client: Io,
    /// The port that the client has connected to.
    port: u16,
    /// By which scheme, whatever a proxy in front says.
    scheme: Scheme,
    client_text: ClientText,
    /// Whether its first request is on its way for certain.
    owes_request: bool,
    /// What was received and not yet used. Idle connections have none.
    input: Option<Buffer>,
    request_line: Vec<u8>,
    /// The connection to a server that waits for the next request of this client alone.
    reserved: Option<Reserved>,
    /// What the request is known by, where somebody wants to know it.
    request_id: Vec<u8>,
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
    /// It goes on with HTTP/2, whose preface was received.
    Http2,
    /// It is closed after listening for a moment: at most a request on its way can come, and nobody who has seen the end sends one.
    Farewell,
}

/// Why there is no next request.
enum NoRequest {
    /// The connection is over.
    Over(After),
    /// Its head, which has begun to come then, cannot be served.
    Refused(Failure, Instant),
}

impl Connection {
    pub(crate) fn new(
        worker: Rc<Worker>,
        frontend: Rc<Frontend>,
        presence: Rc<Presence>,
        arrival: Arrival,
    ) -> Box<Self> {
        let Arrival { client, port, input, owes_request, .. } = arrival;
        let client_text = ClientText::new(presence.client());
        let port = presence.destination().map_or(port, |destination| destination.port());
        let scheme = if client.is_tls() { Scheme::Https } else { Scheme::Http };
        let mut connection = Box::new(Self {
            worker,
            frontend,
            presence,
            client,
            port,
            scheme,
            client_text,
            owes_request,
            input,
            request_line: Vec::new(),
            reserved: None,
            request_id: Vec::new(),
            upgraded: None,
        });
        connection.give_empty_input();
        connection
    }

    // RFC 9112 section 9.3.2: "it MUST send the corresponding responses in the same order that the requests were received"
    /// Serves requests until the connection ends.
    ///
    /// While it is idle this is all that there is of it: requests are served at one of the worker's desks.
    pub(crate) async fn serve(mut self: Box<Self>) {
        let worker = self.worker.clone();
        let mut first = true;
        let after = loop {
            if self.input.is_none()
                && let Err(after) = self.arrives(first).await
            {
                break after;
            }
            let after;
            first = false;
            (self, after) = worker.desks.serve(self).await;
            if after != After::Reuse {
                break after;
            }
        };
        if after == After::Http2 {
            let Self { worker, frontend, presence, client, port, input, .. } = *self;
            // Boxed, as below.
            return Box::pin(driver::serve(worker, frontend, presence, client, port, input)).await;
        }
        if after == After::Upgrade {
            // Boxed, so that idle connections do without room for it.
            Box::pin(self.carry_upgraded()).await;
        }
        if let Some(input) = self.input.take() {
            self.worker.give_input(input);
        }
        if let After::Linger | After::Farewell = after {
            linger(&mut self.client, &self.worker, &self.presence, after).await;
        }
    }

    /// Serves the one request of a stream.
    pub(crate) async fn serve_one(self: Box<Self>) -> Box<Self> {
        let worker = self.worker.clone();
        let (mut connection, after) = worker.desks.serve(self).await;
        match after {
            After::Linger => hear_out(&connection.client, &connection.presence).await,
            // Boxed, so that other streams do without room for it.
            After::Upgrade => Box::pin(connection.carry_upgraded()).await,
            _ => {}
        }
        if let Some(input) = connection.input.take() {
            worker.give_input(input);
        }
        connection
    }

    /// Lets go of a stream, and of what its request held.
    pub(crate) fn finish_stream(&mut self) {
        self.reserved = None;
        if let Io::Stream(stream) = &mut self.client {
            stream.finish();
        }
    }

    /// Goes on with another stream of the same client, whose head this is.
    pub(crate) fn renew_stream(&mut self, renew: impl FnOnce(&mut Stream), input: Buffer) {
        self.input = Some(input);
        if let Io::Stream(stream) = &mut self.client {
            renew(stream);
        }
    }

    /// Serves requests until the connection is idle, or ends.
    pub(super) async fn serve_requests(&mut self) -> After {
        loop {
            let after = match self.next_request().await {
                Ok(request) => self.answer(request).await,
                Err(NoRequest::Over(after)) => after,
                Err(NoRequest::Refused(failure, begun)) => self.refuse_head(failure, begun).await,
            };
            if after != After::Reuse || self.input.is_none() {
                return after;
            }
        }
    }

    /// Waits for the next request's first bytes, or until the connection is over.
    async fn arrives(&mut self, first: bool) -> Result<(), After> {
        let timeouts = self.frontend.rules().timeouts;
        self.presence.deadline().set(if first { timeouts.request_head } else { timeouts.keep_alive });
        self.input = Some(self.first_bytes(first).await?);
        Ok(())
    }

    /// Reads the next request's head, whose first bytes are there.
    async fn next_request(&mut self) -> Result<Request, NoRequest> {
        let rules = self.frontend.rules();
        let begun = Instant::now();
        self.request_id.clear();
        // The whole head has this long, however slowly its bytes drip (RFC 9110 leaves it to us).
        self.presence.deadline().set_at(begun + rules.timeouts.request_head);
        let mut at_once = true;
        let mut parser = RequestParser::new(rules.limits);
        let input = self.input.get_or_insert_with(|| self.worker.requests.lend().keep());
        loop {
            if !input.is_empty() {
                match parser.parse(input.filled()) {
                    Ok(Some(head)) => {
                        keep_line(input.filled(), &self.client, &mut self.request_line);
                        let received = if at_once { begun } else { Instant::now() };
                        let arrived = Arrived { begun, received, wall: SystemTime::now() };
                        return Ok(Request { head, arrived });
                    }
                    Ok(None) => {}
                    Err(RequestFault::Version)
                        if rules.http2
                            && self.request_line.is_empty()
                            && is_preface(&self.client, input.filled()) =>
                    {
                        return Err(NoRequest::Over(After::Http2));
                    }
                    Err(fault) => return Err(NoRequest::Refused(Failure::Request(fault), begun)),
                }
            }
            at_once = false;
            match self.presence.deadline().guard(input.fill(&mut self.client.reader())).await {
                Ok(Ok(n)) if n > 0 => {}
                Ok(_) if !has_begun(input.filled()) => return Err(NoRequest::Over(After::Close)),
                Err(_) if !has_begun(input.filled()) => return Err(NoRequest::Over(After::Farewell)),
                Ok(_) => return Err(NoRequest::Refused(Failure::ClientClosed, begun)),
                Err(_) => return Err(NoRequest::Refused(Failure::RequestTimeout, begun)),
            }
        }
    }

    /// Waits while the connection is idle, and holds no buffer meanwhile. It is over when the client has ended it, or has been
    /// idle for too long: a request that crosses the end then is not answered by a reset.
    async fn first_bytes(&mut self, first: bool) -> Result<Buffer, After> {
        let Self { worker, frontend, presence, client, .. } = self;
        let deadline = presence.deadline();
        let owes_request = first && self.owes_request;
        let mut leaving = Leaving::No;
        let received = poll_fn(|cx| {
            while let Poll::Ready(received) = worker.requests.poll_read(cx, &mut client.reader()) {
                let Some(mut buffer) = received.ok().filter(|buffer| !buffer.is_empty()) else {
                    return Poll::Ready(Err(After::Close));
                };
                let lines = empty_lines(buffer.filled());
                buffer.consume(lines);
                // With empty lines alone it is as idle as before.
                if !buffer.is_empty() {
                    return Poll::Ready(Ok(buffer.keep()));
                }
            }
            let now = match worker.leaving() {
                Leaving::No if !frontend.takes_requests() => Leaving::End,
                now => now,
            };
            if now != leaving && now != Leaving::No && !owes_request {
                leaving = now;
                deadline.set(leaving.grace(first.then(|| First::of(presence, || client.round_trip()))));
            }
            presence.wake_with(cx.waker());
            Poll::Pending
        });
        match deadline.guard(received).await {
            Ok(received) => received,
            // Perhaps a request has arrived that tokio has not told of yet.
            Err(_) if client.has_arrived() => {
                let mut buffer = worker.requests.lend();
                let ended = !buffer.fill(&mut client.reader()).await.is_ok_and(|n| n > 0);
                let lines = empty_lines(buffer.filled());
                buffer.consume(lines);
                match buffer.is_empty() {
                    _ if ended => Err(After::Close),
                    true => Err(After::Farewell),
                    false => Ok(buffer.keep()),
                }
            }
            Err(_) => Err(After::Farewell),
        }
    }

    /// What follows in the buffer is the next request, without empty lines; an empty buffer goes back until there is one.
    fn give_empty_input(&mut self) {
        if let Some(input) = &mut self.input {
            input.consume(empty_lines(input.filled()));
        }
        if let Some(input) = self.input.take_if(|input| input.is_empty()) {
            self.worker.give_input(input);
        }
    }

    /// A head that was refused, or that never came: answered, counted and logged without ever reaching a server.
    async fn refuse_head(&mut self, failure: Failure, begun: Instant) -> After {
        let wall = SystemTime::now();
        let counters = self.frontend.counters();
        counters.requests.inc();
        let received = self.input.as_ref().map_or(&[][..], Buffer::filled);
        counters.bytes_in.add(received.len() as u64);
        keep_line(received, &self.client, &mut self.request_line);
        let status = failure.status();
        let mut bytes = 0;
        if let Some(reason) = failure.refusal() {
            counters.refused.inc();
            self.worker.counters().refuse(reason);
        }
        let mut after = After::Close;
        if let Some(status) = status {
            let routes = self.frontend.routes();
            let is_head = self.request_line.starts_with(b"HEAD ");
            let response = answer::response(status, is_head, routes.error_page(status));
            drop(routes);
            bytes = response.len() as u64;
            counters.responses.record(status);
            counters.bytes_out.add(bytes);
            after = self.send_last(&response).await;
        }
        let total = begun.elapsed();
        self.log(&Record {
            client: self.presence.client(),
            client_text: self.client_text.with_port(),
            received: wall,
            frontend: self.frontend.name(),
            tls: self.presence.tls(),
            backend: self.frontend.name(),
            server: None,
            times: Times { total, ..Times::default() },
            status,
            bytes,
            termination: failure.termination(),
            cookie: CookieStates::NONE,
            concurrency: [
                self.worker.counters().connections.get(),
                self.frontend.counters().connections.get(),
                0,
                0,
            ],
            retries: 0,
            redispatched: false,
            queued_behind: 0,
            request: Some(&self.request_line),
            request_id: self.logged_id(),
        });
        after
    }

    /// What the log calls the request, where it has names.
    fn logged_id(&self) -> Option<&[u8]> {
        self.frontend.rules().logs_request_ids.then_some(&self.request_id)
    }

    /// Sends a last answer.
    async fn send_last(&mut self, response: &[u8]) -> After {
        self.presence.deadline().set(LINGER);
        match self.presence.deadline().guard(send::all(&mut self.client.writer(), response, || {})).await {
            Ok(Ok(())) => After::Linger,
            Ok(Err(_)) | Err(_) => After::Close,
        }
    }
}

/// Whether these are the first bytes of a head, and not of an empty line before it.
fn has_begun(received: &[u8]) -> bool {
    !matches!(received[empty_lines(received)..], [] | [b'\r'])
}

// RFC 9113 section 3.3: "Implementations that support HTTP/2 over TLS MUST use protocol negotiation in TLS"
/// Whether a client goes on with HTTP/2, as it may: without TLS, or because that has been negotiated.
fn is_preface(client: &Io, received: &[u8]) -> bool {
    let may = client.tls().is_none_or(|tls| tls.agreed(|agreed| agreed.alpn_protocol() == Some(b"h2")));
    may && received.starts_with(PREFACE_LINE)
}

/// Keeps the first line for the log, which tells of HTTP/2 where it is.
fn keep_line(received: &[u8], client: &Io, line: &mut Vec<u8>) {
    let received = &received[empty_lines(received)..];
    let end = received.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(received.len());
    line.clear();
    line.extend_from_slice(&received[..end.min(REQUEST_LINE_MAX)]);
    if client.is_stream() && line.ends_with(b" HTTP/1.1") {
        line.truncate(line.len() - 3);
        line.extend_from_slice(b"2.0");
    }
}
