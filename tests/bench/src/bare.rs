//! The floor of all: a loop around epoll that copies bytes, on no runtime. It knows no deadline, no limit, no server but one, and
//! keeps no count: what a proxy costs beside it is what it does for that.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2::{Domain, Protocol, Socket, Type};

/// Events of listeners have the first numbers.
const LISTENERS_MAX: u64 = 16;
const BUFFER: usize = 64 << 10;

/// One side of a session.
struct Side {
    stream: TcpStream,
    /// What the other side has said, and this one has not taken.
    unsent: Vec<u8>,
    has_ended: bool,
}

/// A client and its server.
type Session = [Side; 2];

/// Runs until it is killed. Each pair is where to listen, and where to lead.
pub(crate) fn main(pairs: &[SocketAddr]) -> anyhow::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut listeners = Vec::new();
    for (number, pair) in (0..LISTENERS_MAX).zip(pairs.chunks_exact(2)) {
        let listener = TcpListener::bind(pair[0])?;
        listener.set_nonblocking(true)?;
        epoll::add(&epoll, &listener, EventData::new_u64(number), EventFlags::IN)?;
        listeners.push((listener, pair[1]));
    }
    let edges = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    let mut sessions: Vec<Option<Session>> = Vec::new();
    let (mut free, mut ended) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; BUFFER];
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let number = event.data.u64();
            if let Some((listener, to)) = usize::try_from(number).ok().and_then(|n| listeners.get(n)) {
                while let Ok((client, _)) = listener.accept() {
                    let place = free.pop().unwrap_or_else(|| {
                        sessions.push(None);
                        sessions.len() - 1
                    });
                    let session = [side(client)?, side(connect(*to)?)?];
                    for (side, which) in session.iter().zip(0..) {
                        let data = EventData::new_u64(LISTENERS_MAX + 2 * place as u64 + which);
                        epoll::add(&epoll, &side.stream, data, edges)?;
                    }
                    sessions[place] = Some(session);
                }
                continue;
            }
            let place = usize::try_from((number - LISTENERS_MAX) / 2)?;
            let Some([client, server]) = &mut sessions[place] else { continue };
            let (from, to) = if number % 2 == 0 { (client, server) } else { (server, client) };
            let mut goes_on = carry(from, to, &mut buffer);
            if !from.unsent.is_empty() {
                // There may be room again.
                goes_on = goes_on.and_then(|()| carry(to, from, &mut buffer));
            }
            if goes_on.is_err() || from.has_ended && to.has_ended {
                sessions[place] = None;
                ended.push(place);
            }
        }
        // Not before: an event of this turn may still mean the one that has ended.
        free.append(&mut ended);
    }
}

fn side(stream: TcpStream) -> std::io::Result<Side> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(Side { stream, unsent: Vec::new(), has_ended: false })
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Carries from one side what there is, and the other takes.
fn carry(from: &mut Side, to: &mut Side, buffer: &mut [u8]) -> std::io::Result<()> {
    loop {
        let sent = write(&to.stream, &to.unsent)?;
        to.unsent.drain(..sent);
        if !to.unsent.is_empty() || from.has_ended {
            return Ok(());
        }
        let read = match from.stream.read(buffer) {
            Ok(0) => {
                from.has_ended = true;
                return to.stream.shutdown(Shutdown::Write);
            }
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let sent = write(&to.stream, &buffer[..read])?;
        to.unsent.extend_from_slice(&buffer[sent..read]);
        // Less than there was room for: there is no more.
        if read < buffer.len() && to.unsent.is_empty() {
            return Ok(());
        }
    }
}

fn write(mut stream: &TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    match bytes.is_empty() {
        true => Ok(0),
        false => stream.write(bytes).or_else(|error| match error.kind() {
            ErrorKind::WouldBlock => Ok(0),
            _ => Err(error),
        }),
    }
}
