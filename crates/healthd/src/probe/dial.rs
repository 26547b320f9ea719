//! Connecting, with as few calls to the kernel as it takes.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use nix::errno::Errno;
use proxy_protocol::{Header, Version};
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use wire::readiness::register;

/// A connection that is being made, and what is to be said on it first.
pub(super) struct Dial {
    socket: Socket,
    opening: Vec<u8>,
}

/// A connection, what is said on it first, and how much of that went out with it, or why nothing could: that is no failure to
/// connect.
pub(super) struct Connected {
    pub(super) socket: Socket,
    pub(super) opening: Vec<u8>,
    pub(super) sent: io::Result<usize>,
}

impl Connected {
    /// Sends what is left of the opening, where nothing is expected of it.
    pub(super) fn finish_opening(&self) {
        if let Ok(sent) = self.sent
            && let Some(rest) = self.opening.get(sent..).filter(|rest| !rest.is_empty())
        {
            let _ = self.socket.send(rest);
        }
    }
}

impl Dial {
    /// Begins to connect. What is said first follows a PROXY header, if there is to be one.
    pub(super) fn begin(address: SocketAddr, proxy: Option<Version>, opening: Vec<u8>) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        if proxy.is_some() || !opening.is_empty() {
            // The handshake's last step goes with them.
            socket.set_tcp_quickack(false)?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
            _ => match proxy {
                None => Ok(Self { socket, opening }),
                Some(version) => {
                    let opening = [introduction(&socket, address, version)?, opening].concat();
                    Ok(Self { socket, opening })
                }
            },
        }
    }

    /// Waits for the connection. A write is tried before: to a server nearby there is one by then.
    pub(super) async fn connected(self) -> io::Result<Connected> {
        let Self { socket, opening } = self;
        if !opening.is_empty() {
            match socket.send(&opening) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return Err(error);
                }
                sent => return Ok(Connected { socket, opening, sent }),
            }
        }
        let connecting = register(socket.into(), Interest::WRITABLE)?;
        drop(connecting.writable().await?);
        let socket = Socket::from(connecting.into_inner());
        match socket.take_error()? {
            Some(error) => Err(error),
            None => Ok(Connected { socket, opening, sent: Ok(0) }),
        }
    }
}

/// The header of a connection that is carried for nobody. Version 1 has a word for that, which not every server knows: it gets the
/// connection's own addresses.
fn introduction(socket: &Socket, server: SocketAddr, version: Version) -> io::Result<Vec<u8>> {
    let own = match version {
        Version::V1 => socket.local_addr()?.as_socket(),
        Version::V2 => None,
    };
    let header = own.map_or(Header::Local, |source| Header::Proxied { source, destination: server });
    let mut bytes = Vec::new();
    header.encode(version, &mut bytes);
    Ok(bytes)
}
