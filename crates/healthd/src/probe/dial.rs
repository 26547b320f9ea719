//! Connecting, with as few calls to the kernel as it takes.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use wire::readiness::register;

/// A connection that is being made, and what is to be said on it first.
pub(super) struct Dial<'a> {
    socket: Socket,
    bytes: &'a [u8],
}

/// A connection, and how many of the bytes went out with it, or why none could: that is no failure to connect.
pub(super) struct Connected {
    pub(super) socket: Socket,
    pub(super) sent: io::Result<usize>,
}

impl<'a> Dial<'a> {
    /// Begins to connect.
    pub(super) fn begin(address: SocketAddr, bytes: &'a [u8]) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        if !bytes.is_empty() {
            // The handshake's last step goes with them.
            socket.set_tcp_quickack(false)?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
            _ => Ok(Self { socket, bytes }),
        }
    }

    /// Waits for the connection. A write is tried before: to a server nearby there is one by then.
    pub(super) async fn connected(self) -> io::Result<Connected> {
        if !self.bytes.is_empty() {
            match self.socket.send(self.bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return Err(error);
                }
                sent => return Ok(Connected { socket: self.socket, sent }),
            }
        }
        let connecting = register(self.socket.into(), Interest::WRITABLE)?;
        drop(connecting.writable().await?);
        let socket = Socket::from(connecting.into_inner());
        match socket.take_error()? {
            Some(error) => Err(error),
            None => Ok(Connected { socket, sent: Ok(0) }),
        }
    }
}
