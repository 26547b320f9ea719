//! One request and its response: chooses a server, sends the request there, and carries both bodies at once.
//!
//! Everything runs in the task of the client's connection. Uploading and downloading are two futures polled by it, so that
//! a server may answer early, ask to continue, or refuse, while the request's body is still coming. Each has its own deadline
//! (`turns.rs`); the timer is set to the first.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use balance::Written;
use http1::{
    Body, BodyReader, CHUNK_END, ClientSide, INTERIM_MAX, LAST_CHUNK, Method, ResponseHead, ResponseLimits,
    ResponseParser, Version, begin_chunk,
};
use tokio::time::Instant;

use super::edits::ResponseEdits;
use super::turns::{Progress, Sent, Side, Turn, Turns};
use crate::worker::deadline::Deadline;
use crate::worker::failure::{Failure, Wait};
use crate::worker::net::buffer::{Buffer, Pool};
use crate::worker::net::io::{Io, Reader, Writer};
use crate::worker::net::send;
use crate::worker::net::splice::{Broken, Pipes};
use crate::worker::upstream::service::Stick;

/// What one exchange needs to know.
pub(crate) struct Exchange<'a> {
    pub(crate) deadline: &'a Deadline,
    pub(crate) turns: Turns,
    pub(crate) responses: &'a Pool<Buffer>,
    pub(crate) heads: &'a Pool<Vec<u8>>,
    pub(crate) pipes: &'a Rc<Pipes>,
    /// What becomes of the response's head.
    pub(crate) edits: Option<ResponseEdits<'a>>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// Whether the request asks to switch to another protocol.
    pub(crate) upgrade: bool,
    /// Whether the client's connection may serve another request: asked when the response's head goes out.
    pub(crate) persistent: &'a dyn Fn() -> bool,
    /// Whether a client that ends its side has given up.
    pub(crate) abort_on_close: bool,
    /// Whether a 408 says that the server took the connection for idle: it had answered before, and the request is held to be
    /// repeated.
    pub(crate) dismissible: bool,
    /// How much more content the request's body may have.
    pub(crate) body_allowance: u64,
    /// The cookie that the response is to set.
    pub(crate) stick: Option<&'a Stick>,
    pub(crate) meter: &'a Meter,
}

/// What an exchange has carried so far; read when it is over, however it ended.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Bytes from the client, the head included.
    pub(crate) bytes_in: Cell<u64>,
    /// Bytes to the server, the head included.
    pub(crate) bytes_sent: Cell<u64>,
    /// Bytes to the client, the head included.
    pub(crate) bytes_out: Cell<u64>,
    /// The status of the response that the client is sent.
    pub(crate) status: Cell<Option<u16>>,
    /// When the connection to the server was there.
    pub(crate) begun: Cell<Option<Instant>>,
    /// When the response's head had arrived.
    pub(crate) answered: Cell<Option<Instant>>,
    pub(crate) progress: Cell<Progress>,
    /// What became of the cookie by which the client stays with its server.
    pub(crate) cookie: Cell<Option<Written>>,
    /// Whether the server ended its side in order.
    ended: Cell<bool>,
}

impl Meter {
    pub(crate) fn add_in(&self, n: usize) {
        self.bytes_in.set(self.bytes_in.get() + n as u64);
    }

    fn add_sent(&self, n: usize) {
        self.bytes_sent.set(self.bytes_sent.get() + n as u64);
    }

    /// Whether the server ended its side in order, which a reset is not.
    pub(crate) fn was_ended(&self) -> bool {
        self.ended.get()
    }

    /// Adds what a tunnel has carried, from the client and to it.
    pub(crate) fn add(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.set(self.bytes_in.get() + bytes_in);
        self.bytes_out.set(self.bytes_out.get() + bytes_out);
    }

    pub(crate) fn add_out(&self, n: usize) {
        self.bytes_out.set(self.bytes_out.get() + n as u64);
    }
}

/// How an exchange ended well.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The response is complete.
    Complete {
        /// Whether the client's connection can take another request.
        client_reusable: bool,
        /// Whether the server's connection can.
        server_reusable: bool,
        /// Whether the request's body was read to its end.
        uploaded: bool,
    },
    /// The server switched protocols; what it sent beyond its head is here.
    Tunnel(Buffer),
}

/// The request: its head as it is to be sent, and what of its body is still to come.
pub(crate) struct Upload<'a> {
    /// The head, and the part of the body that had already arrived.
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a mut BodyReader,
    /// Holds what arrived of the body; none when the request was complete at once.
    pub(crate) input: Option<&'a mut Buffer>,
    /// Whether the client waits to be asked for the body.
    pub(crate) withheld: bool,
}

impl Exchange<'_> {
    /// Carries the request to the server and the response to the client.
    pub(crate) async fn run(
        &self,
        client: &mut Io,
        server: &mut Io,
        upload: Upload<'_>,
    ) -> Result<Ended, Failure> {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let now = Instant::now();
        self.meter.begun.set(Some(now));
        self.meter.progress.set(Progress::Silent);
        self.meter.ended.set(false);
        self.meter.bytes_sent.set(0);
        self.turns.take(Turn::ServerReads, now);
        self.rearm();
        // Pinned where they are made: these futures are large, and handing one on by value would copy it.
        let up = pin!(self.upload(from_client, to_server, upload));
        let down = pin!(self.download(from_server, to_client));
        match self.deadline.guard(both(up, down)).await {
            Ok(result) => result,
            Err(_) => Err(self.stalled()),
        }
    }

    /// It is somebody's turn from now on.
    fn expect(&self, turn: Turn) {
        self.turns.take(turn, Instant::now());
        self.rearm();
    }

    /// The request has come so far on its way to the server.
    fn request_is(&self, sent: Sent) {
        self.turns.request_is(sent, self.meter.progress.get(), Instant::now());
        self.rearm();
    }

    fn rearm(&self) {
        if let Some(due) = self.turns.due() {
            self.deadline.set_at(due);
        }
    }

    fn stalled(&self) -> Failure {
        match (self.turns.stalled(), self.meter.progress.get()) {
            (Side::Client, _) => Failure::ClientStalled,
            (Side::Server, Progress::Silent | Progress::Heard | Progress::Interim) => Failure::ServerTimeout,
            (Side::Server, Progress::Answered | Progress::Started { .. }) => Failure::ServerStalled,
        }
    }

    /// Sends the head and the rest of the body, and then fails if the client hangs up. A server that no longer reads is no
    /// failure yet: its answer decides.
    async fn upload(
        &self,
        mut from: Reader<'_>,
        mut to: Writer<'_>,
        upload: Upload<'_>,
    ) -> Result<(), Failure> {
        let Upload { head, body, input, withheld } = upload;
        let server_reads = || self.expect(Turn::ServerReads);
        if send::all(&mut to, head, server_reads).await.is_err() {
            self.request_is(Sent::Broken);
            return Ok(());
        }
        self.meter.add_sent(head.len());
        let mut allowance = self.body_allowance;
        if let Some(buffer) = input {
            if withheld {
                self.request_is(Sent::Withheld);
                // An error will show in what is read.
                let _ = poll_fn(|cx| from.poll_ready(cx)).await;
                self.request_is(Sent::Partly);
            }
            loop {
                let step = body.step(buffer.filled_mut()).map_err(Failure::RequestBody)?;
                allowance = allowance.checked_sub(step.data as u64).ok_or(Failure::RequestTooLong)?;
                if step.forward > 0 {
                    server_reads();
                    if send::all(&mut to, &buffer.filled()[..step.forward], server_reads).await.is_err() {
                        self.request_is(Sent::Broken);
                        return Ok(());
                    }
                    self.meter.add_sent(step.forward);
                }
                buffer.consume(step.consumed);
                if step.done {
                    break;
                }
                if buffer.is_empty() {
                    let turns = (Turn::ClientSends, Turn::ServerReads);
                    let add = |n| {
                        self.meter.add_in(n);
                        self.meter.add_sent(n);
                    };
                    match self.splice(body, turns, allowance, &from, &to, add).await {
                        Ok(0) => {}
                        Ok(moved) => {
                            allowance -= moved;
                            continue;
                        }
                        Err(Broken::Source) => return Err(Failure::ClientReset),
                        Err(Broken::Target) => {
                            self.request_is(Sent::Broken);
                            return Ok(());
                        }
                    }
                }
                self.expect(Turn::ClientSends);
                match buffer.fill(&mut from).await {
                    Ok(0) | Err(_) => return Err(Failure::ClientReset),
                    Ok(n) => self.meter.add_in(n),
                }
            }
        }
        self.request_is(Sent::Wholly);
        from.gone(self.abort_on_close).await;
        let started = self.meter.progress.get().has_started();
        Err(if started { Failure::ClientReset } else { Failure::ClientLeft(Wait::Response) })
    }

    /// Passes the response on.
    async fn download(&self, mut from: Reader<'_>, mut to: Writer<'_>) -> Result<Ended, Failure> {
        // While nothing has arrived, nothing is held for it.
        let readable = poll_fn(|cx| from.poll_ready(cx)).await;
        readable.map_err(|_| self.closed_early())?;
        let mut buffer = self.responses.lend();
        let mut head_out = self.heads.lend();

        let mut parser = ResponseParser::new(ResponseLimits::SERVERS);
        let mut interim = 0;
        let head = loop {
            let head = self.response_head(&mut parser, &mut buffer, &mut from).await?;
            if !head.is_interim() {
                break head;
            }
            interim += 1;
            if interim > INTERIM_MAX {
                return Err(Failure::ServerClosed);
            }
            self.interim(&head, &buffer, &mut head_out, &mut to).await?;
            buffer.consume(head.len);
        };
        let uploaded = self.turns.sent() == Sent::Wholly;
        if head.is_switching() && !(self.upgrade && uploaded) {
            // Nobody asked, or the request is not over: what follows would mean one thing to the server and another to the client (RFC 9110 7.8).
            return Err(Failure::ServerClosed);
        }
        // RFC 9110 section 15.5.9: a server that says 408 closes. One that does not may have thought about what it says.
        let ends = !head.persistent || self.method.is_idempotent();
        if self.dismissible && head.status == 408 && ends && interim == 0 {
            return Err(Failure::Dismissed);
        }
        self.meter.answered.set(Some(Instant::now()));
        self.meter.status.set(Some(head.status));
        self.meter.progress.set(Progress::Answered);
        if head.is_switching() {
            let side = ClientSide { version: self.version, persistent: false, chunked: false, upgrade: true };
            self.write_head(&head, buffer.filled(), &side, &mut head_out)?;
            self.meter.progress.set(Progress::Started { unframed: false });
            self.send(&mut to, &mut head_out, &[], &[]).await?;
            buffer.consume(head.len);
            return Ok(Ended::Tunnel(buffer.keep()));
        }

        // A client of HTTP/1.0 knows no chunks: the end of its connection is the end of the body. For others a body without a
        // length gets chunks (RFC 9112 section 6.1), so that the connection lives on and a body that was cut off shows.
        let until_close = head.body == Body::UntilClose;
        let knows_chunks = self.version == Version::Http11;
        let stripped = !knows_chunks && head.body == Body::Chunked;
        let chunked = knows_chunks && until_close;
        let unframed = stripped || until_close && !chunked;
        let mut body = if stripped { BodyReader::decoded(head.body) } else { BodyReader::new(head.body) };
        // A server that keeps its connection reads the rest of a request that it answered early.
        let carried_on = head.persistent && self.turns.sent() == Sent::Partly;
        let client_reusable = (self.persistent)() && !unframed && (uploaded || carried_on);
        let side = ClientSide { version: self.version, persistent: client_reusable, chunked, upgrade: false };
        self.write_head(&head, buffer.filled(), &side, &mut head_out)?;
        buffer.consume(head.len);
        if buffer.is_empty() && !body.is_done() {
            // A server that collects small writes sends the body when it knows that the head has arrived, and the kernel would
            // tell it with the next request, or after 40 ms.
            from.acknowledge();
        }

        loop {
            let step = body.step(buffer.filled_mut()).map_err(|_| Failure::ServerBroke)?;
            let mut end: &[u8] = &[];
            if chunked && step.forward > 0 {
                begin_chunk(step.forward, &mut head_out);
                end = CHUNK_END;
            }
            if step.forward > 0 || !head_out.is_empty() {
                self.meter.progress.set(Progress::Started { unframed });
                self.send(&mut to, &mut head_out, &buffer.filled()[..step.forward], end).await?;
            }
            buffer.consume(step.consumed);
            if step.done {
                break;
            }
            if buffer.is_empty() {
                let turns = (Turn::ServerSends, Turn::ClientReads);
                let add = |n| self.meter.add_out(n);
                let spliced = self.splice(&mut body, turns, u64::MAX, &from, &to, add).await;
                let moved = spliced.map_err(|broken| match broken {
                    Broken::Source => Failure::ServerBroke,
                    Broken::Target => Failure::ClientReset,
                })?;
                if moved > 0 {
                    continue;
                }
            }
            self.expect(Turn::ServerSends);
            match buffer.fill(&mut from).await {
                Ok(0) => {
                    body.end_of_stream().map_err(|_| Failure::ServerBroke)?;
                    if chunked {
                        self.send(&mut to, &mut head_out, LAST_CHUNK, &[]).await?;
                    }
                    break;
                }
                Ok(_) => {}
                Err(_) => return Err(Failure::ServerBroke),
            }
        }
        let quiet = buffer.is_empty();
        if carried_on && quiet {
            self.rest_of_request(&mut buffer, &mut from).await;
        }
        let uploaded = self.turns.sent() == Sent::Wholly;
        // RFC 9112 section 9.3: "A server MUST read the entire request message body or close the connection after sending its response"
        // RFC 9112 section 9.6: "A client that receives a "close" connection option MUST cease sending requests on that connection"
        Ok(Ended::Complete {
            client_reusable: client_reusable && uploaded,
            // Behind a 408 the server closes, whether it says so or not (RFC 9110 section 15.5.9).
            server_reusable: head.persistent && head.status != 408 && uploaded && buffer.is_empty(),
            uploaded,
        })
    }

    /// Writes the head of the final response, edited, and sets the cookie by which the client stays with its server, if it has to.
    fn write_head(
        &self,
        head: &ResponseHead,
        received: &[u8],
        side: &ClientSide,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        head.write(received, side, out);
        if let Some(edits) = &self.edits {
            edits.apply(out, &mut self.heads.lend())?;
        }
        if let Some(stick) = self.stick {
            self.meter.cookie.set(stick.set(out));
        }
        Ok(())
    }

    /// Passes on an interim response, if the client knows such (RFC 9110 section 15.2).
    async fn interim(
        &self,
        head: &ResponseHead,
        buffer: &Buffer,
        out: &mut Vec<u8>,
        to: &mut Writer<'_>,
    ) -> Result<(), Failure> {
        if self.version == Version::Http11 {
            let side = ClientSide { version: self.version, persistent: true, chunked: false, upgrade: false };
            head.write(buffer.filled(), &side, out);
            self.meter.progress.set(Progress::Interim);
            self.send(to, out, &[], &[]).await?;
            self.meter.progress.set(Progress::Heard);
        }
        if head.status == 100 && self.turns.sent() == Sent::Withheld {
            self.request_is(Sent::Partly);
        } else {
            self.turns.await_head(Instant::now());
            self.rearm();
        }
        Ok(())
    }

    /// Waits, after an early response, until the rest of the request has been sent, or the server says or does something
    /// else: then it reads no more of it.
    async fn rest_of_request(&self, buffer: &mut Buffer, from: &mut Reader<'_>) {
        self.turns.response_is_over();
        self.rearm();
        poll_fn(|cx| match self.turns.sent() {
            Sent::Partly | Sent::Withheld => buffer.poll_fill(cx, from).map(drop),
            Sent::Wholly | Sent::Broken => Poll::Ready(()),
        })
        .await;
    }

    /// Carries what comes next of a body inside the kernel, if it is long and need not be looked at. How many bytes that
    /// were; none if it has to be copied, or its source has ended.
    async fn splice(
        &self,
        body: &mut BodyReader,
        (source, target): (Turn, Turn),
        most: u64,
        from: &Reader<'_>,
        to: &Writer<'_>,
        moved: impl Fn(usize),
    ) -> Result<u64, Broken> {
        let bytes = body.next_data_len().map(|bytes| bytes.min(most));
        let Some((from, to)) = from.plain().zip(to.plain()) else { return Ok(0) };
        let Some((mut pipe, bytes)) = self.pipes.lend(bytes).zip(bytes) else { return Ok(0) };
        let waits = |for_source| self.expect(if for_source { source } else { target });
        let carried = pipe.carry(from, to, bytes, waits, moved).await?;
        body.advance(carried);
        Ok(carried)
    }

    async fn response_head(
        &self,
        parser: &mut ResponseParser,
        buffer: &mut Buffer,
        from: &mut Reader<'_>,
    ) -> Result<ResponseHead, Failure> {
        loop {
            if !buffer.is_empty() {
                let head = parser.parse(buffer.filled(), self.method).map_err(Failure::Response)?;
                if let Some(head) = head {
                    return Ok(head);
                }
            }
            match buffer.fill(from).await {
                Ok(0) => {
                    self.meter.ended.set(true);
                    return Err(self.closed_early());
                }
                Err(_) => return Err(self.closed_early()),
                Ok(_) => self.meter.progress.set(Progress::Heard),
            }
        }
    }

    /// The server closed before its response's head was complete.
    fn closed_early(&self) -> Failure {
        match self.meter.progress.get() {
            Progress::Silent => Failure::Unanswered,
            _ => Failure::ServerClosed,
        }
    }

    async fn send(
        &self,
        to: &mut Writer<'_>,
        head: &mut Vec<u8>,
        body: &[u8],
        end: &[u8],
    ) -> Result<(), Failure> {
        self.expect(Turn::ClientReads);
        let n = head.len() + body.len() + end.len();
        let client_reads = || self.expect(Turn::ClientReads);
        send::head_and_body(to, head, body, end, client_reads).await.map_err(|_| Failure::ClientReset)?;
        self.meter.add_out(n);
        Ok(())
    }
}

/// Runs the upload and the download at once, until the download ends or the upload fails.
fn both(
    mut up: Pin<&mut impl Future<Output = Result<(), Failure>>>,
    mut down: Pin<&mut impl Future<Output = Result<Ended, Failure>>>,
) -> impl Future<Output = Result<Ended, Failure>> {
    let mut up_ended = false;
    poll_fn(move |cx| {
        if !up_ended && let Poll::Ready(result) = up.as_mut().poll(cx) {
            up_ended = true;
            if let Err(failure) = result {
                return Poll::Ready(Err(failure));
            }
        }
        down.as_mut().poll(cx)
    })
}
