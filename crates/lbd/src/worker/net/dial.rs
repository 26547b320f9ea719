//! Connecting, and what this host may lack for it.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

use super::io::Io;

/// Connects to a server.
pub(crate) async fn open(address: SocketAddr) -> io::Result<Io> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    Ok(Io::Tcp(socket.connect(address).await?))
}

/// Whether this host lacks descriptors or memory.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}

/// Whether this host has no local port left for connections to this one server.
pub(crate) fn lacks_port(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EADDRNOTAVAIL)
}
