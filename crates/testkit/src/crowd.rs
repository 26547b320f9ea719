//! Thousands of clients on one thread, each a connection that sends what it is told and keeps what it gets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::client::Client;
use crate::wait::wait_until;

/// What a member keeps of what it receives: its beginning.
const KEPT: usize = 1024;

/// Many raw connections to one address.
#[derive(Debug, Default)]
pub struct Crowd {
    /// The connections, in the order in which they were made.
    pub members: Vec<Member>,
}

/// One connection of a crowd.
#[derive(Debug)]
pub struct Member {
    stream: TcpStream,
    /// The beginning of what it has received.
    pub received: Vec<u8>,
    /// How much it has received.
    pub length: usize,
    /// Whether the other side has ended the connection.
    pub ended: bool,
}

impl Crowd {
    /// That many connections.
    ///
    /// # Panics
    /// When nobody listens, or this process may not have so many.
    pub fn connect(address: SocketAddr, count: usize) -> Self {
        let mut crowd = Self::default();
        crowd.join(count, || Client::connect(address));
        crowd
    }

    /// More connections, made in a way of the test's own.
    ///
    /// # Panics
    /// When a connection cannot be had.
    pub fn join(&mut self, count: usize, mut connect: impl FnMut() -> Client) {
        self.members.extend((0..count).map(|_| Member::new(connect().into_stream())));
    }

    /// Every member that has not been answered sends the bytes, as far as its socket takes them. Returns how many bytes
    /// were taken.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> usize {
        let unanswered = self.members.iter_mut().filter(|member| member.length == 0);
        unanswered.map(|member| member.send(bytes.as_ref())).sum()
    }

    /// Every member takes what has arrived.
    pub fn receive(&mut self) {
        self.members.iter_mut().for_each(Member::receive);
    }

    /// Receives until each member passes.
    ///
    /// # Panics
    /// When some do not in time.
    pub fn wait_for_all(&mut self, what: &str, passes: impl Fn(&Member) -> bool) {
        wait_until(what, || {
            self.receive();
            self.members.iter().all(&passes)
        });
    }

    /// How many members have that status as their first answer; 0 for those that got none.
    pub fn count(&self, status: u16) -> usize {
        self.members.iter().filter(|member| member.status() == status).count()
    }
}

impl Member {
    fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).expect("an open socket");
        Self { stream, received: Vec::new(), length: 0, ended: false }
    }

    /// The status of the first answer; 0 if there is none.
    pub fn status(&self) -> u16 {
        let digits = self.received.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
        digits.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
    }

    /// Sends the bytes, as far as its socket takes them, and returns how many that were. After the end nothing is sent.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        // A broken connection is noticed when it is read.
        if self.ended { 0 } else { self.stream.write(bytes).unwrap_or(0) }
    }

    /// Says that it will send nothing more.
    pub fn finish_sending(&self) {
        // It may be over already.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Takes what has arrived.
    pub fn receive(&mut self) {
        let mut bytes = [0; 16 << 10];
        while !self.ended {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.length += n;
                    let room = KEPT.saturating_sub(self.received.len()).min(n);
                    self.received.extend_from_slice(&bytes[..room]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
    }
}
