//! One request and its response: chooses a server, sends the request there, and carries both bodies at once.
//!
//! Everything runs in the task of the client's connection. Uploading and downloading are two futures polled by it, so that
//! a server may answer early, ask to continue, or refuse, while the request's body is still coming.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http1::{
    Body, BodyReader, ClientSide, INTERIM_MAX, Method, ResponseHead, ResponseLimits, ResponseParser, Version,
};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::buffer::{Buffer, Pool};
use super::deadline::Deadline;
use super::failure::{Failure, Wait};
use super::hang_up::hang_up;
use super::send;
use super::splice::{Broken, Pipes};

/// What one exchange needs to know.
pub(crate) struct Exchange<'a> {
    pub(crate) deadline: &'a Deadline,
    pub(crate) client_timeout: Duration,
    pub(crate) server_timeout: Duration,
    pub(crate) responses: &'a Pool<Buffer>,
    pub(crate) heads: &'a Pool<Vec<u8>>,
    pub(crate) pipes: &'a Pipes,
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// Whether the request asks to switch to another protocol.
    pub(crate) upgrade: bool,
    /// Whether the client's connection may serve another request: asked when the response's head goes out.
    pub(crate) persistent: &'a dyn Fn() -> bool,
    /// Whether a client that ends its side has given up.
    pub(crate) abort_on_close: bool,
    /// Bytes that the request's body may still have.
    pub(crate) body_allowance: u64,
    pub(crate) meter: &'a Meter,
}

/// What an exchange has carried so far; read when it is over, however it ended.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Bytes from the client, the head included.
    pub(crate) bytes_in: Cell<u64>,
    /// Bytes to the client, the head included.
    pub(crate) bytes_out: Cell<u64>,
    /// The status of the server's final response; zero while there is none.
    pub(crate) status: Cell<u16>,
    /// When the request had been sent to the server.
    pub(crate) sent: Cell<Option<Instant>>,
    /// When the response's head had arrived.
    pub(crate) answered: Cell<Option<Instant>>,
    /// Whether the server has sent anything.
    heard: Cell<bool>,
    /// Whether anything of the final response has gone to the client.
    pub(crate) started: Cell<bool>,
    /// Whether the end of the response's body is the end of the connection.
    pub(crate) unframed: Cell<bool>,
    /// Whose turn it is: tells who stalled when the deadline passes.
    waiting: Cell<Side>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Side {
    #[default]
    Server,
    Client,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

impl Meter {
    pub(crate) fn add_in(&self, n: usize) {
        self.bytes_in.set(self.bytes_in.get() + n as u64);
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
}

impl Exchange<'_> {
    /// Carries the request to the server and the response to the client.
    pub(crate) async fn run(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        upload: Upload<'_>,
    ) -> Result<Ended, Failure> {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let uploaded = Cell::new(false);
        self.expect(Side::Server);
        // Pinned where they are made: these futures are large, and handing one on by value would copy it.
        let Upload { head, body, input } = upload;
        let up = pin!(self.upload(from_client, to_server, head, body, input, &uploaded));
        let down = pin!(self.download(from_server, to_client, &uploaded));
        match self.deadline.guard(both(up, down)).await {
            Ok(result) => result,
            Err(_) => Err(self.stalled()),
        }
    }

    /// Sets the deadline for the next step of one side.
    fn expect(&self, side: Side) {
        self.meter.waiting.set(side);
        self.deadline.set(match side {
            Side::Client => self.client_timeout,
            Side::Server => self.server_timeout,
        });
    }

    fn stalled(&self) -> Failure {
        match (self.meter.waiting.get(), self.meter.answered.get()) {
            (Side::Client, _) => Failure::ClientStalled,
            (Side::Server, None) => Failure::ServerTimeout,
            (Side::Server, Some(_)) => Failure::ServerStalled,
        }
    }

    /// Sends the head and the rest of the body, and then fails if the client hangs up. A server that no longer reads is no
    /// failure yet: its answer decides.
    async fn upload(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        head: &[u8],
        body: &mut BodyReader,
        input: Option<&mut Buffer>,
        uploaded: &Cell<bool>,
    ) -> Result<(), Failure> {
        if send::all(&mut to, head, || self.expect(Side::Server)).await.is_err() {
            return Ok(());
        }
        let mut allowance = self.body_allowance;
        if let Some(buffer) = input {
            while !body.is_done() {
                let step = body.step(buffer.filled()).map_err(Failure::RequestBody)?;
                allowance = allowance.checked_sub(step.forward as u64).ok_or(Failure::RequestTooLong)?;
                if step.forward > 0 {
                    self.expect(Side::Server);
                    if send::all(&mut to, &buffer.filled()[..step.forward], || self.expect(Side::Server))
                        .await
                        .is_err()
                    {
                        return Ok(());
                    }
                }
                buffer.consume(step.consumed);
                if step.consumed == 0 && !step.done {
                    if buffer.is_empty() {
                        match self.splice(body, Side::Client, allowance, from.as_ref(), to.as_ref()).await {
                            Ok(0) => {}
                            Ok(moved) => {
                                allowance -= moved;
                                continue;
                            }
                            Err(Broken::Source) => return Err(Failure::ClientReset),
                            Err(Broken::Target) => return Ok(()),
                        }
                    }
                    self.expect(Side::Client);
                    match buffer.fill(&mut from).await {
                        Ok(0) | Err(_) => return Err(Failure::ClientReset),
                        Ok(n) => self.meter.add_in(n),
                    }
                }
            }
        }
        let now = Instant::now();
        self.meter.sent.set(Some(now));
        self.meter.waiting.set(Side::Server);
        self.deadline.set_at(now + self.server_timeout);
        uploaded.set(true);
        hang_up(from.as_ref(), self.abort_on_close).await;
        Err(if self.meter.started.get() { Failure::ClientReset } else { Failure::ClientLeft(Wait::Response) })
    }

    /// Passes the response on.
    async fn download(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        uploaded: &Cell<bool>,
    ) -> Result<Ended, Failure> {
        // While nothing has arrived, nothing is held for it.
        let readable = poll_fn(|cx| from.as_ref().poll_read_ready(cx)).await;
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
            // A client of HTTP/1.0 knows no interim responses (RFC 9110 15.2).
            if self.version == Version::Http11 {
                let awaited = self.meter.waiting.get();
                self.pass_head(&head, true, &buffer, &mut head_out);
                self.send(&mut to, &mut head_out, &[]).await?;
                self.expect(awaited);
            }
            buffer.consume(head.len);
        };
        if head.is_switching() && !(self.upgrade && uploaded.get()) {
            // Nobody asked, or the request is not over: what follows would mean one thing to the server and another to the client (RFC 9110 7.8).
            return Err(Failure::ServerClosed);
        }
        self.meter.answered.set(Some(Instant::now()));
        self.meter.status.set(head.status);
        if head.is_switching() {
            self.pass_head(&head, false, &buffer, &mut head_out);
            self.send(&mut to, &mut head_out, &[]).await?;
            buffer.consume(head.len);
            return Ok(Ended::Tunnel(buffer.keep()));
        }

        let stripped = self.version == Version::Http10 && head.body == Body::Chunked;
        let mut body = if stripped { BodyReader::decoded(head.body) } else { BodyReader::new(head.body) };
        self.meter.unframed.set(stripped || head.body == Body::UntilClose);
        // Without a length the end of the body is the end of the connection. A body that the client has not finished
        // sending leaves the connection in no state for another request.
        let client_reusable =
            (self.persistent)() && uploaded.get() && !stripped && head.body != Body::UntilClose;
        self.pass_head(&head, client_reusable, &buffer, &mut head_out);
        buffer.consume(head.len);
        if buffer.is_empty() && !body.is_done() {
            // A server that collects small writes sends the body when it knows that the head has arrived, and the kernel would
            // tell it with the next request, or after 40 ms.
            let _ = from.as_ref().set_quickack(true);
        }

        loop {
            let step = body.step(buffer.filled()).map_err(|_| Failure::ServerBroke)?;
            if step.forward > 0 || !head_out.is_empty() {
                self.send(&mut to, &mut head_out, &buffer.filled()[..step.forward]).await?;
            }
            buffer.consume(step.consumed);
            if step.done {
                break;
            }
            if step.consumed == 0 {
                if buffer.is_empty() {
                    let spliced =
                        self.splice(&mut body, Side::Server, u64::MAX, from.as_ref(), to.as_ref()).await;
                    let moved = spliced.map_err(|broken| match broken {
                        Broken::Source => Failure::ServerBroke,
                        Broken::Target => Failure::ClientReset,
                    })?;
                    if moved > 0 {
                        continue;
                    }
                }
                self.expect(Side::Server);
                match buffer.fill(&mut from).await {
                    Ok(0) => {
                        body.end_of_stream().map_err(|_| Failure::ServerBroke)?;
                        break;
                    }
                    Ok(_) => {}
                    Err(_) => return Err(Failure::ServerBroke),
                }
            }
        }
        Ok(Ended::Complete {
            client_reusable,
            server_reusable: head.persistent
                && uploaded.get()
                && head.body != Body::UntilClose
                && buffer.is_empty(),
            uploaded: uploaded.get(),
        })
    }

    /// Carries what comes next of a body inside the kernel, if it is long and need not be looked at. How many bytes that
    /// were; none if it has to be copied, or its source has ended.
    async fn splice(
        &self,
        body: &mut BodyReader,
        source: Side,
        most: u64,
        from: &TcpStream,
        to: &TcpStream,
    ) -> Result<u64, Broken> {
        let bytes = body.next_data_len().map(|bytes| bytes.min(most));
        let Some((mut pipe, bytes)) = self.pipes.lend(bytes).zip(bytes) else { return Ok(0) };
        let waits = |for_source| self.expect(if for_source { source } else { source.other() });
        let moved = |n| match source {
            Side::Client => self.meter.add_in(n),
            Side::Server => self.meter.add_out(n),
        };
        let carried = pipe.carry(from, to, bytes, waits, moved).await?;
        body.advance(carried);
        Ok(carried)
    }

    async fn response_head(
        &self,
        parser: &mut ResponseParser,
        buffer: &mut Buffer,
        from: &mut ReadHalf<'_>,
    ) -> Result<ResponseHead, Failure> {
        loop {
            if !buffer.is_empty() {
                let head = parser.parse(buffer.filled(), self.method).map_err(Failure::Response)?;
                if let Some(head) = head {
                    return Ok(head);
                }
            }
            match buffer.fill(from).await {
                Ok(0) | Err(_) => return Err(self.closed_early()),
                Ok(_) => self.meter.heard.set(true),
            }
        }
    }

    /// The server closed before its response's head was complete.
    fn closed_early(&self) -> Failure {
        if self.meter.heard.get() { Failure::ServerClosed } else { Failure::Unanswered }
    }

    fn pass_head(&self, head: &ResponseHead, persistent: bool, buffer: &Buffer, out: &mut Vec<u8>) {
        let side = ClientSide { version: self.version, persistent, upgrade: head.status == 101 };
        head.write(buffer.filled(), &side, out);
    }

    async fn send(&self, to: &mut WriteHalf<'_>, head: &mut Vec<u8>, body: &[u8]) -> Result<(), Failure> {
        self.expect(Side::Client);
        self.meter.started.set(self.meter.answered.get().is_some());
        let n = head.len() + body.len();
        send::head_and_body(to, head, body, || self.expect(Side::Client))
            .await
            .map_err(|_| Failure::ClientReset)?;
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
