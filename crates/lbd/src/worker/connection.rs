//! One client connection: request after request, until either side has had enough.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

use http1::{Body, BodyReader, Forward, RequestHead, RequestParser};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Worker;
use super::buffer::Buffer;
use super::connect::{self, Attempts};
use super::deadline::Deadline;
use super::exchange::{Ended, Exchange, Meter, Upload};
use super::failure::{self, Failure};
use super::frontend::Frontend;
use super::service::{Backend, Seat};
use super::{send, tunnel};
use crate::access_log::{REQUEST_LINE_MAX, Record, Termination, Times};

/// How long, and for how many bytes, a refused client is listened to after its answer: closing at once would reset the
/// connection, and could destroy the answer on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Whether a connection is idle between requests; a stopping worker wakes those that are.
#[derive(Debug)]
pub(crate) struct Presence {
    frontend: Rc<Frontend>,
    idle: RefCell<Option<Waker>>,
}

impl Presence {
    pub(crate) fn new(frontend: Rc<Frontend>) -> Self {
        Self { frontend, idle: RefCell::new(None) }
    }

    pub(crate) fn belongs_to_retired(&self) -> bool {
        self.frontend.is_retired()
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
    /// The client's address as text, formatted once.
    peer_ip: String,
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
        client: TcpStream,
        peer: SocketAddr,
    ) -> Self {
        let deadline = Deadline::after(frontend.rules().timeouts.request_head);
        let peer_ip = peer.ip().to_canonical().to_string();
        Self {
            worker,
            frontend,
            presence,
            client,
            peer,
            peer_ip,
            deadline,
            input: None,
            request_line: Vec::new(),
        }
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn serve(mut self) {
        let mut first = true;
        loop {
            match self.next_request(first).await {
                Ok(Some(request)) => {
                    if !self.answer(request).await {
                        break;
                    }
                }
                Ok(None) => break,
                Err((failure, begun)) => {
                    self.refuse_head(failure, begun).await;
                    break;
                }
            }
            first = false;
        }
        if let Some(input) = self.input.take() {
            self.worker.requests.give(input);
        }
    }

    /// Waits for the next request's head. None when the connection ends between requests.
    async fn next_request(&mut self, first: bool) -> Result<Option<Request>, (Failure, Instant)> {
        let rules = self.frontend.rules();
        if self.input.is_none() {
            let patience = if first { rules.timeouts.request_head } else { rules.timeouts.keep_alive };
            self.deadline.set(patience);
            if !self.wait_for_bytes().await {
                return Ok(None);
            }
        }
        let begun = Instant::now();
        // The whole head has this long, however slowly its bytes drip (RFC 9110 leaves it to us).
        self.deadline.set(rules.timeouts.request_head);
        let mut parser = RequestParser::new(rules.limits);
        let input = self.input.get_or_insert_with(|| self.worker.requests.lend().keep());
        loop {
            if !input.is_empty() {
                match parser.parse(input.filled()) {
                    Ok(Some(head)) => {
                        let line_end = input.filled().iter().position(|byte| *byte == b'\r').unwrap_or(0);
                        self.request_line.clear();
                        self.request_line
                            .extend_from_slice(&input.filled()[..line_end.min(REQUEST_LINE_MAX)]);
                        let received = Instant::now();
                        return Ok(Some(Request { head, begun, received, wall: SystemTime::now() }));
                    }
                    Ok(None) => {}
                    Err(fault) => return Err((Failure::Request(fault), begun)),
                }
            }
            match self.deadline.guard(input.fill(&mut self.client)).await {
                Ok(Ok(n)) if n > 0 => {}
                Ok(_) if input.is_empty() => return Ok(None),
                Ok(_) => return Err((Failure::ClientClosed, begun)),
                Err(_) => return Err((Failure::RequestTimeout, begun)),
            }
        }
    }

    /// Waits while the connection is idle. False when it ended, was idle for too long, or the worker is stopping.
    async fn wait_for_bytes(&self) -> bool {
        let readable = poll_fn(|cx| {
            if let Poll::Ready(result) = self.client.poll_read_ready(cx) {
                return Poll::Ready(result.is_ok());
            }
            if self.worker.is_stopping() || self.frontend.is_retired() {
                return Poll::Ready(false);
            }
            match &mut *self.presence.idle.borrow_mut() {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            Poll::Pending
        });
        self.deadline.guard(readable).await.unwrap_or(false)
    }

    /// Answers one request. Returns whether the connection can take another.
    async fn answer(&mut self, request: Request) -> bool {
        let backend = self.frontend.backend();
        let mut account = Account::default();
        self.frontend.counters().requests.inc();
        backend.counters().requests.inc();
        backend.counters().in_flight.up();
        backend.earn_retries();
        let result = self.forward(&request, &backend, &mut account).await;

        let (keep, failure) = match result {
            Ok(keep) => (keep, None),
            Err(failure) => {
                self.answer_failure(failure, &request, &account).await;
                (false, Some(failure))
            }
        };
        self.settle(&request, &backend, &account, failure);
        backend.counters().in_flight.down();
        // What follows in the buffer is the next request; an empty buffer goes back until there is one.
        if self.input.as_ref().is_some_and(Buffer::is_empty)
            && let Some(input) = self.input.take()
        {
            self.worker.requests.give(input);
        }
        keep
    }

    /// Sends the request to a server, to another one if that fails early, and the response to the client.
    async fn forward(
        &mut self,
        request: &Request,
        backend: &Rc<Backend>,
        account: &mut Account,
    ) -> Result<bool, Failure> {
        let rules = self.frontend.rules();
        let head = &request.head;
        if matches!(head.body, Body::Length(length) if length > rules.body_max) {
            return Err(Failure::RequestTooLong);
        }
        let Some(input) = self.input.as_mut() else { return Err(Failure::ClientClosed) };
        let mut head_out = self.worker.heads.lend();
        let forward = Forward {
            client: &self.peer_ip,
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
            // A reused connection may close while the request is on its way to it. Only what may be repeated takes the risk.
            let repeatable = complete && head.method.is_idempotent();
            let reuse = repeatable && !repeated;
            let upstream =
                connect::acquire(backend, self.peer.ip(), reuse, &mut account.attempts, &self.deadline).await;
            let (mut server, seat, reused) = match upstream {
                Ok(upstream) => upstream,
                Err((failure, seat)) => {
                    account.seat = seat.or(account.seat.take());
                    return Err(failure);
                }
            };
            let exchange = Exchange {
                deadline: &self.deadline,
                client_timeout: rules.timeouts.client,
                server_timeout: backend.rules().timeouts.server,
                responses: &self.worker.responses,
                heads: &self.worker.heads,
                method: head.method,
                version: head.version,
                upgrade: head.upgrade,
                persistent: head.persistent && !self.worker.is_stopping() && !self.frontend.is_retired(),
                body_allowance: allowance,
                meter: &account.meter,
            };
            let input = if complete { None } else { self.input.as_mut() };
            let upload = Upload { head: &head_out, body: &mut body, input };
            let ended = exchange.run(&mut self.client, &mut server.stream, upload).await;
            account.seat = Some(seat);
            match ended {
                // A server that stops closes idle connections and those just made alike. Repeating is safe for what is
                // idempotent (RFC 9110 9.2.2); where the server may be at fault, the budget bounds it.
                Err(Failure::Unanswered) if repeatable && !repeated && (reused || backend.spend_retry()) => {
                    repeated = true;
                    account.repeat(backend);
                }
                Err(failure) => return Err(failure),
                Ok(Ended::Complete { client_reusable, server_reusable }) => {
                    if server_reusable && let Some(seat) = &account.seat {
                        seat.server.keep(server, Instant::now());
                    }
                    return Ok(client_reusable);
                }
                Ok(Ended::Tunnel(early)) => {
                    let pending = self.input.take().unwrap_or_default();
                    let ends = (early, pending);
                    let idle = rules.timeouts.tunnel;
                    let (buffers, meter) = (&self.worker.responses, &account.meter);
                    tunnel::run(
                        &mut self.client,
                        &mut server.stream,
                        ends,
                        buffers,
                        &self.deadline,
                        idle,
                        meter,
                    )
                    .await?;
                    return Ok(false);
                }
            }
        }
    }

    /// Gives the client the answer that a failure calls for, if it can still have one.
    async fn answer_failure(&mut self, failure: Failure, request: &Request, account: &Account) {
        if account.meter.started.get() {
            return;
        }
        account.meter.status.set(failure.status().unwrap_or(0));
        if let Some(status) = failure.status() {
            let response = failure::response(status, request.head.method == http1::Method::Head);
            account.meter.add_out(response.len());
            self.send_and_linger(&response).await;
        }
    }

    /// A head that was refused, or that never came: answered, counted and logged without ever reaching a server.
    async fn refuse_head(&mut self, failure: Failure, begun: Instant) {
        let counters = self.frontend.counters();
        counters.requests.inc();
        counters.refused.inc();
        let received = self.input.as_ref().map_or(&[][..], Buffer::filled);
        counters.bytes_in.add(received.len() as u64);
        let line = received.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        self.request_line.clear();
        self.request_line.extend_from_slice(&line[..line.len().min(REQUEST_LINE_MAX)]);
        let status = failure.status().unwrap_or(0);
        let mut bytes = 0;
        if let Some(reason) = failure.refusal() {
            self.worker.counters().refuse(reason);
        }
        if status > 0 {
            let response = failure::response(status, false);
            bytes = response.len() as u64;
            counters.responses.record(status);
            counters.bytes_out.add(bytes);
            self.send_and_linger(&response).await;
        }
        let total = begun.elapsed();
        self.log(&Record {
            client: self.peer,
            received: SystemTime::now(),
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
            request: &self.request_line,
        });
    }

    /// Sends a last answer, ends our side, and listens for a moment, so that the answer arrives whole.
    async fn send_and_linger(&mut self, response: &[u8]) {
        self.deadline.set(LINGER);
        let worker = self.worker.clone();
        let work = async {
            send::all(&mut self.client, response).await?;
            self.client.shutdown().await?;
            let mut sink = worker.requests.lend();
            let mut heard = 0;
            while heard < LINGER_BYTES {
                let n = sink.fill(&mut self.client).await?;
                if n == 0 {
                    break;
                }
                heard += n;
                sink.consume(n);
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
                Some(Failure::ClientClosed | Failure::ClientReset | Failure::ClientStalled) => {
                    counters.client_aborts.inc();
                }
                _ => {}
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
        }
        if let Some(answered) = meter.answered.get() {
            backend.counters().latency.record(answered - request.received);
        }

        let all = self.worker.counters().connections.get();
        self.log(&Record {
            client: self.peer,
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
            self.attempts.repeat(backend, &seat);
        }
    }
}
