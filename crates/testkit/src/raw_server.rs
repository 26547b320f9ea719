//! A server on a real socket that does exactly what a test says, right or wrong.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use crate::wait::PATIENCE;

/// A scripted server: every connection is handed to the test's own function, on a thread of its own.
///
/// ```no_run
/// # use testkit::{Addresses, RawServer};
/// # let addresses = Addresses::claim();
/// let server = RawServer::start(addresses.socket(11, 7081), |peer| {
///     peer.read_request()?;
///     peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut off")
/// });
/// ```
#[derive(Debug)]
pub struct RawServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicUsize,
    ended: AtomicUsize,
    /// Second handles to the open connections, by their number: to end them with the server.
    open: Mutex<BTreeMap<usize, TcpStream>>,
    requests: Mutex<Vec<String>>,
}

impl RawServer {
    /// Listens, and runs `script` for each connection, which is closed when the script returns.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn start(
        address: SocketAddr,
        script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let shared = Arc::new(Shared::default());
        let (script, state) = (Arc::new(script), Arc::clone(&shared));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stop.load(SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let mut peer = Peer::new(stream, Arc::clone(&state));
                let script = Arc::clone(&script);
                // A script that fails only lost its peer, which is what some scripts are about.
                std::thread::spawn(move || script(&mut peer));
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of the requests read so far, with their final empty line.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// How many of them have ended on this side, their close sent.
    pub fn ended(&self) -> usize {
        self.shared.ended.load(SeqCst)
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        for connection in lock(&self.shared.open).values() {
            // One that is closed already is what we want.
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then gives the address back: the next server may want it.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
    }
}

/// The other end of one connection to a [`RawServer`].
#[derive(Debug)]
pub struct Peer {
    number: usize,
    stream: TcpStream,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
    /// Dropped after the stream, and so after its close.
    _ended: Ended,
}

#[derive(Debug)]
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, SeqCst);
    }
}

impl Peer {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        for timeout in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            timeout(&stream, Some(PATIENCE)).expect("a timeout that is not zero");
        }
        let number = shared.accepted.fetch_add(1, SeqCst);
        let second = stream.try_clone().expect("a descriptor for a second handle");
        lock(&shared.open).insert(number, second);
        let ended = Ended(Arc::clone(&shared));
        Self { number, stream, buffer: Vec::new(), shared, _ended: ended }
    }

    /// The next request's head, with its final empty line. It is also kept for [`RawServer::requests`].
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn read_request(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        lock(&self.shared.requests).push(head.clone());
        Ok(head)
    }

    /// The next `len` bytes of a body.
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn read_body(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < len {
            self.fill()?;
        }
        let rest = self.buffer.split_off(len);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// The next bytes up to and with `end`.
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return self.read_body(at + end.len());
            }
            self.fill()?;
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// All bytes up to the end of what the other side sends.
    ///
    /// # Errors
    /// When it resets instead, or takes too long.
    pub fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut all = std::mem::take(&mut self.buffer);
        self.stream.read_to_end(&mut all)?;
        Ok(all)
    }

    /// Says that nothing more will be sent; more can still be read.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Does nothing until the other side closes.
    ///
    /// # Errors
    /// When it resets instead, or takes too long.
    pub fn stall(&mut self) -> io::Result<()> {
        let mut rest = [0; 4096];
        while self.stream.read(&mut rest)? > 0 {}
        Ok(())
    }

    /// Makes the end of the connection a reset instead of an orderly close.
    ///
    /// # Errors
    /// When the socket has no such option.
    pub fn reset(&mut self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        let received = self.stream.read(&mut chunk)?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(&chunk[..received]);
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The connection ends with its last handle.
        lock(&self.shared.open).remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
