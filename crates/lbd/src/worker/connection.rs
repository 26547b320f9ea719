//! One client connection: request after request, until either side has had enough.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

use http1::{Body, BodyReader, Forward, RequestHead, RequestParser};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Worker;
use super::buffer::Buffer;
use super::client_text::ClientText;
use super::connect::{self, Attempts};
use super::deadline::Deadline;
use super::exchange::{Ended, Exchange, Meter, Upload};
use super::failure::{self, Failure};
use super::frontend::Frontend;
use super::hang_up::hang_up;
use super::listener::Arrival;
use super::service::{Backend, Reuse, Seat};
use super::{send, tunnel};
use crate::access_log::{REQUEST_LINE_MAX, Record, Termination, Times};
use crate::counters::WorkerCounters;

/// How long, and for how many bytes, a client that may still be sending is listened to after its last response: closing at
/// once would reset the connection, and could destroy the response on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// How long a new connection is given when lbd leaves: its first request comes on the heels of the handshake.
const FIRST_REQUEST: Duration = Duration::from_millis(200);

/// Whether a connection is idle between requests; a leaving worker wakes those that are.
#[derive(Debug)]
pub(crate) struct Presence {
    frontend: Rc<Frontend>,
    /// Whether a handover waits for it.
    awaited: Cell<bool>,
    idle: RefCell<Option<Waker>>,
}

impl Presence {
    pub(crate) fn new(frontend: Rc<Frontend>) -> Self {
        Self { frontend, awaited: Cell::new(true), idle: RefCell::new(None) }
    }

    pub(crate) fn belongs_to_retired(&self) -> bool {
        self.frontend.is_retired()
    }

    /// No handover waits for this connection any more.
    pub(crate) fn let_go(&self, counters: &WorkerCounters) {
        if self.awaited.replace(false) {
            counters.awaited.down();
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.idle.borrow_mut().take() {
            waker.wake();
        }
    }
}

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
}

/// A request whose head is complete, and when.
struct Request {
    head: RequestHead,
    /// When its first byte was there.
    begun: Instant,
    received: Instant,
    wall: SystemTime,
}

/// What becomes of the client's connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// It takes another request.
    Reuse,
    /// It is closed.
    Close,
    /// It is closed after listening for a moment, because the client may still be sending.
    Linger,
}

/// What one request did, for the log and the counters.
#[derive(Default)]
struct Account {
    meter: Meter,
    attempts: Attempts,
    seat: Option<Seat>,
}

impl Connection {
    pub(crate) fn new(
        worker: Rc<Worker>,
        frontend: Rc<Frontend>,
        presence: Rc<Presence>,
        arrival: Arrival,
    ) -> Self {
        let Arrival { client, peer, owes_request } = arrival;
        let deadline = Deadline::after(frontend.rules().timeouts.request_head);
        Self {
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
        }
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn serve(mut self) {
        let mut first = true;
        let after = loop {
            let after = match self.next_request(first).await {
                Ok(Some(request)) => self.answer(request).await,
                Ok(None) => After::Close,
                Err((failure, begun)) => self.refuse_head(failure, begun).await,
            };
            if after != After::Reuse {
                break after;
            }
            first = false;
        };
        if let Some(input) = self.input.take() {
            self.worker.requests.give(input);
        }
        if after == After::Linger {
            self.linger().await;
        }
    }

    /// Waits for the next request's head. None when the connection ends between requests.
    async fn next_request(&mut self, first: bool) -> Result<Option<Request>, (Failure, Instant)> {
        let rules = self.frontend.rules();
        if self.input.is_none() {
            let patience = if first { rules.timeouts.request_head } else { rules.timeouts.keep_alive };
            self.deadline.set(patience);
            self.input = self.first_bytes(first).await;
            if self.input.is_none() {
                return Ok(None);
            }
        }
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
                        return Ok(Some(Request { head, begun, received, wall: SystemTime::now() }));
                    }
                    Ok(None) => {}
                    Err(fault) => return Err((Failure::Request(fault), begun)),
                }
            }
            at_once = false;
            match self.deadline.guard(input.fill(&mut self.client)).await {
                Ok(Ok(n)) if n > 0 => {}
                Ok(_) if input.is_empty() => return Ok(None),
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
            if client.poll_read_ready(cx).is_ready() {
                // A connection just accepted counts as readable until a read has found it empty.
                let mut buffer = worker.requests.lend();
                if let Poll::Ready(result) = buffer.poll_fill(cx, client) {
                    return Poll::Ready(result.is_ok_and(|n| n > 0).then(|| buffer.keep()));
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
            match &mut *presence.idle.borrow_mut() {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            Poll::Pending
        });
        deadline.guard(received).await.unwrap_or(None)
    }

    /// Answers one request.
    async fn answer(&mut self, request: Request) -> After {
        let backend = self.frontend.backend();
        let mut account = Account::default();
        self.frontend.counters().requests.inc();
        backend.counters().requests.inc();
        backend.counters().in_flight.up();
        backend.earn_retries();
        let result = self.forward(&request, &backend, &mut account).await;

        if let Some(seat) = &account.seat {
            seat.leave();
        }
        let (after, failure) = match result {
            Ok(after) => (after, None),
            Err(failure) => (self.answer_failure(failure, &request, &account).await, Some(failure)),
        };
        self.settle(&request, &backend, &account, failure);
        backend.counters().in_flight.down();
        // What follows in the buffer is the next request; an empty buffer goes back until there is one.
        if self.input.as_ref().is_some_and(Buffer::is_empty)
            && let Some(input) = self.input.take()
        {
            self.worker.requests.give(input);
        }
        after
    }

    /// Sends the request to a server, to another one if that fails early, and the response to the client.
    async fn forward(
        &mut self,
        request: &Request,
        backend: &Rc<Backend>,
        account: &mut Account,
    ) -> Result<After, Failure> {
        let rules = self.frontend.rules();
        let head = &request.head;
        if matches!(head.body, Body::Length(length) if length > rules.body_max) {
            return Err(Failure::RequestTooLong);
        }
        let Some(input) = self.input.as_mut() else { return Err(Failure::ClientClosed) };
        let mut head_out = self.worker.heads.lend();
        let forward = Forward {
            client: self.client_text.ip(),
            proto: "http",
            default_host: &backend.name,
            forwarded_for: rules.forwarded_for,
        };
        head.write(input.filled(), &forward, &mut head_out);

        // What has arrived of the body goes out with the head: one write, and still there for another attempt.
        let mut body = BodyReader::new(head.body);
        let step = body.step(&input.filled()[head.len..]).map_err(Failure::RequestBody)?;
        head_out.extend_from_slice(&input.filled()[head.len..head.len + step.forward]);
        let allowance = rules.body_max.checked_sub(step.forward as u64).ok_or(Failure::RequestTooLong)?;
        account.meter.bytes_in.set((head.len + step.consumed) as u64);
        input.consume(head.len + step.consumed);
        let complete = step.done;
        if complete
            && input.is_empty()
            && let Some(input) = self.input.take()
        {
            self.worker.requests.give(input);
        }

        let mut repeated = false;
        loop {
            // A reused connection may close while the request is on its way to it.
            let repeatable = complete && head.method.is_idempotent();
            let reuse = match repeatable {
                _ if repeated => Reuse::Never,
                true => Reuse::Any,
                false => Reuse::Fresh,
            };
            let attempts = &mut account.attempts;
            let abort_on_close = backend.rules().abort_on_close;
            let upstream = tokio::select! {
                biased;
                upstream = connect::acquire(
                    &self.worker, backend, self.peer.ip(), reuse, attempts, &self.deadline
                ) => upstream,
                () = hang_up(&self.client, abort_on_close) => {
                    return Err(Failure::ClientLeft(account.attempts.waits_for()));
                }
            };
            let (mut server, seat, reused) = match upstream {
                Ok(upstream) => upstream,
                Err((failure, seat)) => {
                    account.seat = seat.or(account.seat.take());
                    return Err(failure);
                }
            };
            let persistent = || head.persistent && !self.worker.is_leaving() && !self.frontend.is_retired();
            let exchange = Exchange {
                deadline: &self.deadline,
                client_timeout: rules.timeouts.client,
                server_timeout: backend.rules().timeouts.server,
                responses: &self.worker.responses,
                heads: &self.worker.heads,
                pipes: &self.worker.pipes,
                method: head.method,
                version: head.version,
                upgrade: head.upgrade,
                persistent: &persistent,
                abort_on_close,
                body_allowance: allowance,
                meter: &account.meter,
            };
            let input = if complete { None } else { self.input.as_mut() };
            let upload = Upload { head: &head_out, body: &mut body, input };
            let ended = exchange.run(&mut self.client, &mut server.stream, upload).await;
            if reused && account.meter.answered.get().is_some() {
                // An answer on an old connection shows as well as a new connection that the server lives.
                seat.reached();
            }
            account.seat = Some(seat);
            match ended {
                // A server that stops closes idle connections and those just made alike. Repeating is safe for what is
                // idempotent (RFC 9110 9.2.2); where the server may be at fault, the budget bounds it.
                Err(Failure::Unanswered) if repeatable && !repeated && (reused || backend.spend_retry()) => {
                    repeated = true;
                    account.repeat(backend);
                }
                Err(failure) => return Err(failure),
                Ok(Ended::Complete { client_reusable, server_reusable, uploaded }) => {
                    if server_reusable && let Some(seat) = &account.seat {
                        seat.server.keep(server, Instant::now());
                    }
                    return Ok(match client_reusable {
                        true => After::Reuse,
                        false if head.persistent || !uploaded => After::Linger,
                        false => After::Close,
                    });
                }
                Ok(Ended::Tunnel(early)) => {
                    self.presence.let_go(self.worker.counters());
                    let pending = self.input.take();
                    let ends = (early, pending.as_ref().map_or(&[][..], Buffer::filled));
                    let idle = rules.timeouts.tunnel;
                    let (buffers, meter) = (&self.worker.responses, &account.meter);
                    let ended = tunnel::run(
                        &mut self.client,
                        &mut server.stream,
                        ends,
                        buffers,
                        &self.deadline,
                        idle,
                        meter,
                    )
                    .await;
                    self.input = pending;
                    return ended.map(|()| After::Close);
                }
            }
        }
    }

    /// Gives the client the answer that a failure calls for, if it can still have one.
    async fn answer_failure(&mut self, failure: Failure, request: &Request, account: &Account) -> After {
        if account.meter.started.get() {
            if account.meter.unframed.get() {
                // The end of this body is the end of the connection: only a reset tells that it is not whole.
                let _ = SockRef::from(&self.client).set_linger(Some(Duration::ZERO));
            }
            return After::Close;
        }
        account.meter.status.set(failure.status().unwrap_or(0));
        let Some(status) = failure.status() else { return After::Close };
        let response = failure::response(status, request.head.method == http1::Method::Head);
        account.meter.add_out(response.len());
        self.send_last(&response).await
    }

    /// A head that was refused, or that never came: answered, counted and logged without ever reaching a server.
    async fn refuse_head(&mut self, failure: Failure, begun: Instant) -> After {
        let wall = SystemTime::now();
        let counters = self.frontend.counters();
        counters.requests.inc();
        let received = self.input.as_ref().map_or(&[][..], Buffer::filled);
        counters.bytes_in.add(received.len() as u64);
        keep_line(received, &mut self.request_line);
        let status = failure.status().unwrap_or(0);
        let mut bytes = 0;
        if let Some(reason) = failure.refusal() {
            counters.refused.inc();
            self.worker.counters().refuse(reason);
        }
        let mut after = After::Close;
        if status > 0 {
            let response = failure::response(status, false);
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
                self.client.readable().await?;
                let n = worker.requests.lend().fill(&mut self.client).await?;
                if n == 0 {
                    break;
                }
                heard += n;
            }
            io::Result::Ok(())
        };
        // Whether the client stayed to the end or not, this connection is over.
        let _ = self.deadline.guard(work).await;
    }

    /// Counts and logs a request that has ended.
    fn settle(&self, request: &Request, backend: &Backend, account: &Account, failure: Option<Failure>) {
        let Account { meter, attempts, seat } = account;
        let (bytes_in, bytes_out, status) = (meter.bytes_in.get(), meter.bytes_out.get(), meter.status.get());
        let now = Instant::now();
        let times = Times {
            request: Some(request.received - request.begun),
            queue: attempts.queue_time(),
            connect: attempts.connect_time,
            response: meter
                .sent
                .get()
                .zip(meter.answered.get())
                .map(|(sent, answered)| answered.saturating_duration_since(sent)),
            total: now - request.begun,
        };

        let front = self.frontend.counters();
        front.bytes_in.add(bytes_in);
        front.bytes_out.add(bytes_out);
        if status > 0 {
            front.responses.record(status);
        }
        if let Some(reason) = failure.and_then(Failure::refusal) {
            front.refused.inc();
            self.worker.counters().refuse(reason);
        }
        let server = seat.as_ref().map(|seat| seat.server.counters());
        for counters in std::iter::once(backend.counters()).chain(server) {
            counters.bytes_in.add(bytes_in);
            counters.bytes_out.add(bytes_out);
            if status > 0 {
                counters.responses.record(status);
            }
            match failure {
                Some(failure) if failure.is_bad_response() => {
                    counters.response_errors.inc();
                    if meter.started.get() {
                        counters.server_aborts.inc();
                    }
                }
                Some(failure) if failure.is_clients() => counters.client_aborts.inc(),
                _ => {}
            }
            if let Some(time) = times.queue {
                counters.queue_time.record(crate::verdicts::millis(time));
            }
            if let Some(time) = times.connect {
                counters.connect_time.record(crate::verdicts::millis(time));
            }
            if let Some(time) = times.response {
                counters.response_time.record(crate::verdicts::millis(time));
            }
            counters.total_time.record(crate::verdicts::millis(times.total));
            counters.last_request.set(self.worker.clock.millis() + 1);
        }
        if let Some(server) = server {
            server.requests.inc();
            if failure.is_none() && status >= 500 {
                server.server_errors.inc();
            }
        }
        if let Some(answered) = meter.answered.get() {
            backend.counters().latency.record(answered - request.received);
        }

        let all = self.worker.counters().connections.get();
        self.log(&Record {
            client: self.peer,
            client_text: self.client_text.with_port(),
            received: request.wall,
            frontend: self.frontend.name(),
            backend: &backend.name,
            server: seat.as_ref().map(|seat| &*seat.server.name),
            times,
            status,
            bytes: bytes_out,
            termination: failure.map_or(Termination::NORMAL, Failure::termination),
            concurrency: [
                all,
                front.connections.get(),
                backend.counters().in_flight.get(),
                server.map_or(0, |server| server.in_flight.get()),
            ],
            retries: attempts.retries,
            redispatched: attempts.redispatched,
            queued_behind: attempts.queued_behind,
            request: &self.request_line,
        });
    }

    fn log(&self, record: &Record<'_>) {
        let dropped = self.worker.log.borrow_mut().append(self.frontend.rules().access_log, record);
        self.worker.counters().log_dropped.add(dropped);
    }
}

impl Account {
    /// A request goes out again, to another server, because its connection was closed without an answer.
    fn repeat(&mut self, backend: &Backend) {
        if let Some(seat) = self.seat.take() {
            self.attempts.again(backend, &seat);
        }
    }
}

/// Whether a request has arrived that tokio has not told of yet.
fn has_arrived(client: &TcpStream) -> bool {
    SockRef::from(client).peek(&mut [MaybeUninit::uninit()]).is_ok_and(|n| n > 0)
}

/// Keeps the first line for the log; an empty one before it is none (RFC 9112 2.2).
fn keep_line(received: &[u8], line: &mut Vec<u8>) {
    let received = received.strip_prefix(b"\r\n").unwrap_or(received);
    let end = received.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(received.len());
    line.clear();
    line.extend_from_slice(&received[..end.min(REQUEST_LINE_MAX)]);
}
