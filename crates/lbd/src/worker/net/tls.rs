//! TLS on a socket: the bytes of a stream inside records (RFC 8446 5, RFC 5246 6).
//!
//! rustls decides and computes; what is received and sent lies in buffers of the worker, which hold memory only while they hold
//! bytes: an idle connection has none. No byte counts as written before the kernel has it, so nobody has to flush.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::RecvFlags;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};
use socket2::SockRef;
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;

use super::buffer::{Buffer, Pool, Reusable as _};

/// The largest record on the wire (RFC 5246 6.2.3; RFC 8446 5.2 allows less).
const RECORD: usize = 5 + (16 << 10) + 2048;
/// What is received at once: two records of the size that everybody sends.
const RECEIVED: usize = 2 * (5 + (16 << 10) + 256);
/// Plain bytes that are written at once: what a buffer for responses holds, and a head before it.
const WRITTEN: usize = 68 << 10;
/// Room beside that for what each record adds, and for what TLS itself has to say.
const SPARE: usize = RECORD + 1024;

/// The buffers of all TLS connections of a worker.
#[derive(Debug)]
pub(crate) struct Buffers {
    received: Pool<Buffer>,
    sent: Pool<Buffer>,
}

impl Buffers {
    /// Keeps so many of each for use.
    pub(crate) fn new(keep: usize) -> Self {
        Self { received: Pool::new(RECEIVED, keep), sent: Pool::new(WRITTEN + SPARE, keep) }
    }

    pub(crate) fn shrink(&self) {
        self.received.shrink();
        self.sent.shrink();
    }
}

/// A TLS connection over a socket. Both directions are one state, which is borrowed for a call alone.
#[derive(Debug)]
pub(crate) struct Tls {
    socket: TcpStream,
    state: RefCell<State>,
}

/// What there is beside the socket.
struct State {
    session: Session,
    buffers: Rc<Buffers>,
    /// Records that were received, and not yet opened.
    received: Buffer,
    /// How many of its first bytes rustls has looked at, and needs more to go on. What is behind them may be whole records.
    examined: usize,
    /// Plain bytes that their reader had no room for.
    plain: Buffer,
    /// Records that are on their way.
    sent: Buffer,
    /// How many of the bytes that are being written they stand for.
    taken: usize,
    /// How many bytes of records the kernel has.
    sent_before: u64,
    /// The other side has ended, by a close_notify or without.
    ended: bool,
    /// Something is missing, and a close_notify would hide that.
    aborted: bool,
}

/// Which side of the connection this is.
enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Deref for Session {
    type Target = CommonState;

    fn deref(&self) -> &CommonState {
        match self {
            Self::Server(session) => session,
            Self::Client(session) => session,
        }
    }
}

/// What a step is for.
enum Wanted<'a> {
    /// To open what was received.
    Open,
    /// To put these bytes into records.
    Seal(&'a [u8]),
    /// To say that none follow.
    Close,
    /// To say what rustls has to say, which there is.
    Answer,
}

/// What became of it.
enum Step {
    /// Something else came first.
    Went,
    /// More has to be received.
    Hungry,
    /// So many bytes are in records.
    Sealed(usize),
    /// The other side has ended its direction.
    Ended,
    /// Both sides have.
    Over,
}

impl Tls {
    /// A server's side of a connection, before its handshake. `early` has been received already.
    pub(crate) fn accept(
        socket: TcpStream,
        early: Option<Buffer>,
        config: Arc<ServerConfig>,
        buffers: Rc<Buffers>,
    ) -> io::Result<Self> {
        let session = UnbufferedServerConnection::new(config).map_err(broken)?;
        let mut state = State::new(Session::Server(session), buffers);
        if let Some(early) = early {
            keep(early.filled(), &mut state.received, &state.buffers.received).map_err(broken)?;
        }
        Ok(Self { socket, state: RefCell::new(state) })
    }

    /// A client's side of a connection to a server of that name, before its handshake. Its first words are made here, which takes
    /// time.
    pub(crate) fn connect(
        socket: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        buffers: Rc<Buffers>,
    ) -> io::Result<Self> {
        let session = UnbufferedClientConnection::new(config, name).map_err(broken)?;
        Ok(Self { socket, state: RefCell::new(State::new(Session::Client(session), buffers)) })
    }

    /// The socket, of which only the connection itself may read and write.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// What was agreed in the handshake.
    pub(crate) fn agreed<T>(&self, what: impl FnOnce(&CommonState) -> T) -> T {
        what(&self.state.borrow().session)
    }

    /// How many bytes of records have been written to the socket.
    pub(crate) fn sent(&self) -> u64 {
        self.state.borrow().sent_before
    }

    /// Waits until something has come that the handshake goes on with. Whether it does: it may be complete.
    pub(crate) fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.state.borrow_mut().poll_handshake(cx, &self.socket)
    }

    /// Goes on with the handshake as far as what has come allows: this is what takes time.
    ///
    /// # Errors
    /// What rustls finds wrong; the alert that says so is sent, if the socket takes it.
    pub(crate) fn shake_hands(&self) -> Result<(), rustls::Error> {
        self.state.borrow_mut().shake_hands(&self.socket)
    }

    /// Waits until there is something to read, or the other side has ended.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state.borrow().has_something() {
            true => Poll::Ready(Ok(())),
            false => self.socket.poll_read_ready(cx),
        }
    }

    /// Reads plain bytes, as many as have come and `to` has room for. None are the end.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().poll_read(cx, &self.socket, to)
    }

    /// Writes plain bytes. What was begun with has to be in front again until it is written.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.state.borrow_mut().poll_write(cx, &self.socket, slices)
    }

    /// Says that nothing follows (close_notify), and ends our side.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.state.borrow_mut().poll_end(cx, &self.socket))?;
        Poll::Ready(SockRef::from(&self.socket).shutdown(Shutdown::Write))
    }

    /// Reads what nobody wants any more, once, and opens none of it: nothing can be read after that.
    pub(crate) fn discard(&self) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        match (state.ended, state.forget()) {
            (true, _) => Ok(0),
            (false, 0) => self.socket.try_read(&mut [0; 16 * 1024]),
            (false, forgotten) => Ok(forgotten),
        }
    }

    /// Has its end tell nobody that everything was said.
    pub(crate) fn abort(&self) {
        self.state.borrow_mut().aborted = true;
    }

    /// Whether neither plain bytes nor the end have come: as far as tokio knew when it last looked, or, `now`, by the kernel's word.
    pub(crate) fn is_quiet(&self, now: bool) -> bool {
        self.state.borrow_mut().is_quiet(&self.socket, now)
    }
}

impl State {
    fn new(session: Session, buffers: Rc<Buffers>) -> Self {
        Self {
            session,
            buffers,
            received: Buffer::default(),
            examined: 0,
            plain: Buffer::default(),
            sent: Buffer::default(),
            taken: 0,
            sent_before: 0,
            ended: false,
            aborted: false,
        }
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>, socket: &TcpStream) -> Poll<io::Result<bool>> {
        // With a request that has come already the last of it goes out with the response. A server may wait for it, whatever it has
        // said already.
        let is_client = matches!(self.session, Session::Client(_));
        if is_client || self.session.is_handshaking() || !self.has_unopened() {
            ready!(self.poll_send(cx, socket))?;
        }
        if !self.session.is_handshaking() {
            return Poll::Ready(Ok(false));
        }
        if !self.has_unopened() {
            ready!(self.poll_receive(cx, socket))?;
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(true))
    }

    fn shake_hands(&mut self, socket: &TcpStream) -> Result<(), rustls::Error> {
        while self.session.is_handshaking() && self.may_answer() {
            match self.open(socket, &mut ReadBuf::new(&mut []))? {
                Step::Went | Step::Sealed(_) => {}
                Step::Hungry | Step::Ended | Step::Over => break,
            }
        }
        self.answer()
    }

    /// Whether there are plain bytes, or the end, or what may turn out to be one of them.
    fn has_something(&self) -> bool {
        !self.plain.is_empty() || self.ended || self.has_unopened()
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        loop {
            self.deliver(to);
            if to.remaining() == 0 || self.ended {
                return Poll::Ready(Ok(()));
            }
            if self.has_unopened() && self.may_answer() {
                self.open(socket, to).map_err(broken)?;
            } else if to.filled().len() > before {
                return Poll::Ready(Ok(()));
            } else if self.has_unopened() {
                // Whoever asks TLS itself for answers, and does not take them, is not heard any further.
                ready!(self.poll_send(cx, socket))?;
            } else {
                ready!(self.poll_receive(cx, socket))?;
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        while self.taken == 0 && len > 0 {
            for slice in slices {
                let sealed = self.seal(slice)?;
                self.taken += sealed;
                if sealed < slice.len() {
                    break;
                }
            }
            if self.taken == 0 {
                if self.sent.is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
                }
                ready!(self.poll_send(cx, socket))?;
            }
        }
        debug_assert!(len >= self.taken, "what a write was begun with is gone");
        ready!(self.poll_send(cx, socket))?;
        Poll::Ready(Ok(std::mem::take(&mut self.taken)))
    }

    /// Sends a close_notify.
    fn poll_end(&mut self, cx: &mut Context<'_>, socket: &TcpStream) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx, socket))?;
        loop {
            match self.step(&Wanted::Close, &mut ReadBuf::new(&mut [])).map_err(broken)? {
                Step::Sealed(_) | Step::Hungry | Step::Over => break,
                Step::Went | Step::Ended => {}
            }
        }
        self.poll_send(cx, socket)
    }

    fn is_quiet(&mut self, socket: &TcpStream, now: bool) -> bool {
        loop {
            while self.has_unopened() && self.plain.is_empty() && self.may_answer() {
                if self.open(socket, &mut ReadBuf::new(&mut [])).is_err() {
                    return false;
                }
            }
            if self.has_something() {
                return false;
            }
            let got = self.receive(|space| match now {
                true => now_received(socket, space),
                false => received(socket, space),
            });
            if let Err(error) = got {
                return error.kind() == io::ErrorKind::WouldBlock;
            }
        }
    }

    /// Whether there is something received that may be a whole record.
    fn has_unopened(&self) -> bool {
        self.received.filled().len() > self.examined
    }

    /// Whether there is room for whatever rustls answers.
    fn may_answer(&self) -> bool {
        self.sent.filled().len() <= WRITTEN
    }

    /// Drops what has come and was not read. How much that was.
    fn forget(&mut self) -> usize {
        let Self { buffers, received, plain, examined, .. } = self;
        *examined = 0;
        let dropped = [received, plain].map(|buffer| {
            let len = buffer.filled().len();
            buffer.consume(len);
            give_back(buffer, &buffers.received);
            len
        });
        dropped.into_iter().sum()
    }

    /// Moves plain bytes that wait to their reader.
    fn deliver(&mut self, to: &mut ReadBuf<'_>) {
        if !self.plain.is_empty() {
            let n = self.plain.filled().len().min(to.remaining());
            to.put_slice(&self.plain.filled()[..n]);
            self.plain.consume(n);
            give_back(&mut self.plain, &self.buffers.received);
        }
    }

    /// Puts as many of the bytes into records as there is room for.
    fn seal(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = WRITTEN.saturating_sub(self.sent.filled().len());
        let bytes = &bytes[..bytes.len().min(room)];
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            match self.step(&Wanted::Seal(bytes), &mut ReadBuf::new(&mut [])).map_err(broken)? {
                Step::Sealed(n) => return Ok(n),
                Step::Went | Step::Ended => {}
                Step::Hungry | Step::Over => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Lets rustls do one thing. Plain bytes go to `to`, and what it has no room for waits.
    ///
    /// Only whoever opens shows it what it has not looked at: records are opened one by one, as their bytes are wanted.
    fn step(&mut self, wanted: &Wanted<'_>, to: &mut ReadBuf<'_>) -> Result<Step, rustls::Error> {
        let Self { session, buffers, received, plain, sent, .. } = self;
        let shown = match wanted {
            Wanted::Open => received.filled().len(),
            Wanted::Seal(_) | Wanted::Close | Wanted::Answer => self.examined,
        };
        let records = &mut received.filled_mut()[..shown];
        let hands = Hands { buffers, plain, sent };
        let (discard, step) = match session {
            Session::Server(session) => hands.carry_out(session.process_tls_records(records), wanted, to),
            Session::Client(session) => hands.carry_out(session.process_tls_records(records), wanted, to),
        };
        received.consume(discard);
        self.examined = match step {
            Ok(Step::Hungry) => shown - discard,
            _ => self.examined.saturating_sub(discard),
        };
        self.ended |= matches!(step, Ok(Step::Ended | Step::Over));
        give_back(&mut self.received, &self.buffers.received);
        step
    }

    /// Opens what has come; where that is wrong, the other side is told, if it listens.
    fn open(&mut self, socket: &TcpStream, to: &mut ReadBuf<'_>) -> Result<Step, rustls::Error> {
        let step = self.step(&Wanted::Open, to);
        if step.is_err() {
            // The alert is the last word, and the error what counts.
            self.aborted = true;
            let _ = self.answer();
            self.try_send(socket);
        }
        step
    }

    /// Takes out all that rustls has to say by itself.
    fn answer(&mut self) -> Result<(), rustls::Error> {
        while self.session.wants_write() && self.may_answer() {
            self.step(&Wanted::Answer, &mut ReadBuf::new(&mut []))?;
        }
        Ok(())
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, socket: &TcpStream) -> Poll<io::Result<()>> {
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match self.receive(|space| received(socket, space)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Receives once.
    fn receive(&mut self, from: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        lend(&mut self.received, &self.buffers.received);
        let received = self.received.put(|space| match space.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "a handshake is longer than it may be")),
            false => from(space),
        });
        give_back(&mut self.received, &self.buffers.received);
        self.ended |= received? == 0;
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, socket: &TcpStream) -> Poll<io::Result<()>> {
        while !self.sent.is_empty() {
            match socket.try_write(self.sent.filled()) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => self.was_sent(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        give_back(&mut self.sent, &self.buffers.sent);
        Poll::Ready(Ok(()))
    }

    fn was_sent(&mut self, written: usize) {
        self.sent.consume(written);
        self.sent_before += written as u64;
    }

    /// Sends what the socket takes now. Whoever writes next meets what is wrong with it.
    fn try_send(&mut self, socket: &TcpStream) {
        while !self.sent.is_empty() {
            match socket.try_write(self.sent.filled()) {
                Ok(written) if written > 0 => self.was_sent(written),
                Ok(_) | Err(_) => return,
            }
        }
        give_back(&mut self.sent, &self.buffers.sent);
    }
}

/// Where the bytes of a step go.
struct Hands<'a> {
    buffers: &'a Buffers,
    plain: &'a mut Buffer,
    sent: &'a mut Buffer,
}

impl Hands<'_> {
    /// Does what rustls asks for. How many received bytes are done with, and what became of the step.
    fn carry_out<Data>(
        self,
        status: UnbufferedStatus<'_, '_, Data>,
        wanted: &Wanted<'_>,
        to: &mut ReadBuf<'_>,
    ) -> (usize, Result<Step, rustls::Error>) {
        let Self { buffers, plain, sent } = self;
        let UnbufferedStatus { mut discard, state } = status;
        let step = match state {
            Ok(ConnectionState::ReadTraffic(mut state)) => {
                debug_assert!(plain.is_empty(), "a record is opened before the last one is read");
                let mut kept = Ok(());
                while let Some(Ok(record)) = state.next_record() {
                    discard += record.discard;
                    let (fits, rest) = record.payload.split_at(record.payload.len().min(to.remaining()));
                    to.put_slice(fits);
                    kept = kept.and(keep(rest, plain, &buffers.received));
                }
                kept.map(|()| Step::Went)
            }
            Ok(ConnectionState::EncodeTlsData(mut state)) => {
                put(sent, &buffers.sent, |space| state.encode(space)).map(|_| Step::Went)
            }
            Ok(ConnectionState::TransmitTlsData(state)) => {
                // It is in the buffer that goes out before anything else.
                state.done();
                Ok(Step::Went)
            }
            Ok(ConnectionState::WriteTraffic(mut state)) => match wanted {
                Wanted::Open | Wanted::Answer => Ok(Step::Hungry),
                Wanted::Seal(bytes) => put(sent, &buffers.sent, |space| state.encrypt(bytes, space))
                    .map(|_| Step::Sealed(bytes.len())),
                Wanted::Close => {
                    put(sent, &buffers.sent, |space| state.queue_close_notify(space)).map(|_| Step::Sealed(0))
                }
            },
            Ok(ConnectionState::PeerClosed) => Ok(Step::Ended),
            Ok(ConnectionState::Closed) => Ok(Step::Over),
            // Early data is not taken.
            Ok(_) => Ok(Step::Hungry),
            Err(error) => Err(error),
        };
        (discard, step)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Whoever is closed in order is told so (RFC 8446 6.1), if the socket takes it.
impl Drop for Tls {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if !state.ended && !state.aborted && state.sent.is_empty() && !state.session.is_handshaking() {
            while matches!(state.step(&Wanted::Close, &mut ReadBuf::new(&mut [])), Ok(Step::Went)) {}
            state.try_send(&self.socket);
        }
    }
}

/// Buffers come back by themselves when a connection is over.
impl Drop for State {
    fn drop(&mut self) {
        let Self { buffers, received, plain, sent, .. } = self;
        buffers.received.give(std::mem::take(received));
        buffers.received.give(std::mem::take(plain));
        buffers.sent.give(std::mem::take(sent));
    }
}

/// Reads from a socket, as a half of it does: a short read tells tokio that it is empty, so that no other has to find that out.
fn received(socket: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
    let mut got = None;
    let tried = socket.try_io(Interest::READABLE, || {
        let n = now_received(socket, space)?;
        got = Some(n);
        if n > 0 && n < space.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    });
    got.map_or(tried, Ok)
}

/// The same, whatever tokio knows.
fn now_received(socket: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, space, RecvFlags::DONTWAIT)?.1)
}

/// Has a buffer have memory.
fn lend(buffer: &mut Buffer, pool: &Pool<Buffer>) {
    if buffer.is_empty() && !buffer.has_room() {
        *buffer = pool.lend().keep();
    }
}

/// Gives an empty buffer's memory back.
fn give_back(buffer: &mut Buffer, pool: &Pool<Buffer>) {
    if buffer.is_empty() && buffer.has_room() {
        pool.give(std::mem::take(buffer));
    }
}

/// Has `what` put something behind what a buffer holds.
fn put<E: fmt::Display>(
    buffer: &mut Buffer,
    pool: &Pool<Buffer>,
    what: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<usize, rustls::Error> {
    lend(buffer, pool);
    let put = buffer.put(what).map_err(|error| no_room(&error.to_string()));
    give_back(buffer, pool);
    put
}

/// Keeps bytes in a buffer.
fn keep(bytes: &[u8], buffer: &mut Buffer, pool: &Pool<Buffer>) -> Result<(), rustls::Error> {
    if bytes.is_empty() {
        return Ok(());
    }
    lend(buffer, pool);
    match buffer.append(bytes) {
        true => Ok(()),
        false => Err(no_room("there is no memory for a record")),
    }
}

/// Not the other side's doing, and nothing that rustls says by itself.
fn no_room(why: &str) -> rustls::Error {
    rustls::Error::Other(rustls::OtherError(Arc::new(io::Error::new(io::ErrorKind::OutOfMemory, why))))
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
