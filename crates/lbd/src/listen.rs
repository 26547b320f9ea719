//! Listening sockets: one for each worker and address, sharing the address through SO_REUSEPORT.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that the kernel holds for a worker that is busy; the kernel caps it at its own `somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens `count` listeners on one address.
///
/// # Errors
/// When the address is not ours, needs a privilege, or somebody else listens on it. The kernel would let another process
/// of the same user share the address, and then half of the connections would go astray: so it is first claimed alone.
pub fn open(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    drop(socket(address, false)?);
    (0..count).map(|_| socket(address, true)).collect()
}

/// Bytes that the kernel takes for a connection beyond what is on its way.
const UNSENT: u32 = 256 * 1024;

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit this one: no system call for each connection.
    socket.set_tcp_nodelay(true)?;
    // Writable again after a few seconds of a slow client's reading, not after megabytes: so its progress can be seen.
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes a listener ignore new SYNs without refusing them, while handshakes under way and the backlog go on.
///
/// A client's kernel repeats its SYN after a second, and reaches whoever listens by then: the next process, or the next node.
///
/// # Errors
/// When the kernel refuses the filter.
pub fn hold_new_connections(listener: &impl std::os::fd::AsFd) -> io::Result<()> {
    // Classic BPF over the TCP header: drop (0) if SYN is set and ACK is not (RFC 9293 3.1: flags are byte 13).
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let filter = [
        socket2::SockFilter::new(LOAD_BYTE, 0, 0, 13),
        socket2::SockFilter::new(AND, 0, 0, SYN | ACK),
        socket2::SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        socket2::SockFilter::new(RETURN, 0, 0, 0),
        socket2::SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&filter)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn workers_share_an_address_and_strangers_do_not() {
        let first = open("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = first.local_addr().unwrap();
        assert_eq!(open(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let all = open(address, 3).unwrap();
        assert_eq!(all.len(), 3);
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn held_connections_are_neither_accepted_nor_refused() {
        let listener = open("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let before = TcpStream::connect(address).unwrap();
        hold_new_connections(&listener).unwrap();
        let held = TcpStream::connect_timeout(&address, Duration::from_millis(200)).unwrap_err();
        assert_eq!(held.kind(), io::ErrorKind::TimedOut);
        // The one from before still waits in the backlog.
        assert_eq!(listener.accept().unwrap().1, before.local_addr().unwrap());
    }
}
