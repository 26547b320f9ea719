//! Connecting, with as few calls to the kernel as it takes.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

/// Connects, and sends the first of `bytes`, if there are any. How many of them went out, or why none could: that is no failure
/// to connect.
///
/// A write is tried before it is waited for: a server nearby is connected by then. And the handshake's last step goes with it.
pub(super) async fn dial(address: SocketAddr, bytes: &[u8]) -> io::Result<(TcpStream, io::Result<usize>)> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if !bytes.is_empty() {
        socket.set_tcp_quickack(false)?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
        _ => {}
    }
    if !bytes.is_empty() {
        match socket.send(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Err(error);
            }
            sent => return Ok((TcpStream::from_std(socket.into())?, sent)),
        }
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok((stream, Ok(0))),
    }
}
