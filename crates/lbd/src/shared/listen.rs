//! Listening sockets: one for each worker and address, sharing the address through SO_REUSEPORT.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::sockopt::{GetStruct, SetStruct};
use nix::sys::socket::{GetSockOpt, SetSockOpt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that the kernel holds for a worker that is busy; the kernel caps it at its own `somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds `count` sockets to one address. They refuse clients until they [`listen`].
///
/// # Errors
/// When the address needs a privilege, or somebody else listens on it. The kernel would let another process
/// of the same user share the address, and then half of the connections would go astray: so it is first claimed alone.
pub fn open(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // Not listening: whoever connects at this moment is refused, and not accepted and reset.
    drop(bound(address, false)?);
    join(address, count)
}

/// Binds `count` more to an address that this process listens on already.
///
/// # Errors
/// When the system refuses.
pub fn join(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    (0..count).map(|_| bound(address, true).map(TcpListener::from)).collect()
}

/// Has clients wait in the backlogs of these, as they do at those that have listened before.
///
/// # Errors
/// When the system refuses.
pub fn listen<'a>(listeners: impl IntoIterator<Item = &'a TcpListener>) -> io::Result<()> {
    listeners.into_iter().try_for_each(|listener| SockRef::from(listener).listen(BACKLOG))
}

/// Bytes that the kernel takes for a connection beyond what is on its way.
const UNSENT: u32 = 256 * 1024;

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(shared)?;
    // A virtual address is on another node until this one is master: its clients find a listener the moment it comes.
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_freebind_v6(true)?;
    }
    prepare(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What a listener needs beside its address. One of the lbd before this may be of another release.
///
/// # Errors
/// When the kernel refuses.
pub fn prepare(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    // Accepted sockets inherit this one: no system call for each connection.
    socket.set_tcp_nodelay(true)?;
    // Writable again after a few seconds of a slow client's reading, not after megabytes: so its progress can be seen.
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_nonblocking(true)
}

/// No packet has a higher TTL (hop limit); hardly any host sends one that high.
const HIGHEST_TTL: i32 = 255;
/// Every packet has that TTL. On a listener it says that there may be connections that have inherited a higher one, also to the
/// next lbd, which inherits the listener.
const LOWEST_TTL: i32 = 1;

/// Packets with a lower TTL are dropped without a word. The kernel checks it for SYNs too, but not for the ACK that ends a
/// handshake.
#[derive(Clone, Copy)]
struct MinTtl;
nix::setsockopt_impl!(MinTtl, libc::IPPROTO_IP, libc::IP_MINTTL, i32, SetStruct<i32>);
nix::getsockopt_impl!(MinTtl, libc::IPPROTO_IP, libc::IP_MINTTL, i32, GetStruct<i32>);

/// The same for IPv6.
#[derive(Clone, Copy)]
struct MinHopCount;
nix::setsockopt_impl!(MinHopCount, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, i32, SetStruct<i32>);
nix::getsockopt_impl!(MinHopCount, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, i32, GetStruct<i32>);

fn set_min_ttl(socket: &impl AsFd, address: SocketAddr, ttl: i32) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => MinTtl.set(socket, &ttl)?,
        SocketAddr::V6(_) => MinHopCount.set(socket, &ttl)?,
    }
    Ok(())
}

/// Makes a listener ignore new SYNs without refusing them, while handshakes under way and the backlog go on.
///
/// A client's kernel repeats its SYN after a second, and reaches whoever listens by then: the next process, or the next node.
/// A socket filter would do the same, but some kernels want `CAP_NET_ADMIN` for one.
///
/// # Errors
/// When the kernel refuses.
pub fn hold_new_connections(listener: &impl AsFd, address: SocketAddr) -> io::Result<()> {
    set_min_ttl(listener, address, HIGHEST_TTL)
}

/// Lets a listener take new SYNs again after [`hold_new_connections`]. Connections whose handshake ended meanwhile, or was under
/// way, have inherited what their listener had, and need [`take_packets`].
///
/// # Errors
/// When the kernel refuses.
pub fn resume_new_connections(listener: &impl AsFd, address: SocketAddr) -> io::Result<()> {
    set_min_ttl(listener, address, LOWEST_TTL)
}

/// Whether new connections of a listener may have to be told to take packets.
///
/// # Errors
/// When the kernel does not tell.
pub fn was_held(listener: &impl AsFd, address: SocketAddr) -> io::Result<bool> {
    let ttl = match address {
        SocketAddr::V4(_) => MinTtl.get(listener)?,
        SocketAddr::V6(_) => MinHopCount.get(listener)?,
    };
    Ok(ttl >= LOWEST_TTL)
}

/// Has a socket take every packet, whatever it has inherited.
///
/// # Errors
/// When the kernel refuses.
pub fn take_packets(socket: &impl AsFd, address: SocketAddr) -> io::Result<()> {
    set_min_ttl(socket, address, 0)
}

/// What the kernel knows of a connection.
#[derive(Clone, Copy)]
struct TcpInfo;
nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, libc::tcp_info, GetStruct<libc::tcp_info>);

/// States in which our end is not acknowledged (`net/tcp_states.h`).
const TCP_FIN_WAIT1: u8 = 4;
const TCP_LAST_ACK: u8 = 9;
const TCP_CLOSING: u8 = 11;

/// Numbers of a socket's memory, of which the last says how many of its packets were dropped (`SK_MEMINFO_DROPS`).
#[derive(Clone, Copy)]
struct Memory;
nix::getsockopt_impl!(Memory, libc::SOL_SOCKET, libc::SO_MEMINFO, [u32; 9], GetStruct<[u32; 9]>);

/// Whether a client has acknowledged the end of what it was sent, and with it all that came before.
///
/// # Errors
/// When the kernel does not tell.
pub fn has_everything(client: &impl AsFd) -> io::Result<bool> {
    let state = TcpInfo.get(client)?.tcpi_state;
    Ok(![TCP_FIN_WAIT1, TCP_CLOSING, TCP_LAST_ACK].contains(&state))
}

/// How long a round trip to a client takes, as far as its handshake has shown.
///
/// # Errors
/// When the kernel does not tell.
pub fn round_trip(client: &impl AsFd) -> io::Result<Duration> {
    Ok(Duration::from_micros(TcpInfo.get(client)?.tcpi_rtt.into()))
}

/// Whether the kernel has dropped what a client sent on this connection: with what it inherited from its listener, that
/// befalls a request that comes before the connection is accepted. The client's kernel will send it again.
///
/// # Errors
/// When the kernel refuses.
pub fn has_dropped(socket: &impl AsFd) -> io::Result<bool> {
    let [.., drops] = Memory.get(socket)?;
    Ok(drops > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn opened(address: SocketAddr, count: usize) -> Vec<TcpListener> {
        let listeners = open(address, count).unwrap();
        listen(&listeners).unwrap();
        listeners
    }

    #[test]
    fn workers_share_an_address_and_strangers_do_not() {
        let first = opened("127.0.0.1:0".parse().unwrap(), 1).remove(0);
        let address = first.local_addr().unwrap();
        assert_eq!(open(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let all = opened(address, 3);
        assert_eq!(all.len(), 3);
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn an_address_may_be_another_nodes() {
        let address = "192.0.2.100:0".parse().unwrap();
        assert_eq!(open(address, 1).unwrap()[0].local_addr().unwrap().ip(), address.ip());
    }

    #[test]
    fn held_connections_are_neither_accepted_nor_refused() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = opened(any.parse().unwrap(), 1).remove(0);
            let address = listener.local_addr().unwrap();
            let before = TcpStream::connect(address).unwrap();
            hold_new_connections(&listener, address).unwrap();
            let held = TcpStream::connect_timeout(&address, Duration::from_millis(200)).unwrap_err();
            assert_eq!(held.kind(), io::ErrorKind::TimedOut);
            // The one from before still waits in the backlog.
            assert_eq!(listener.accept().unwrap().1, before.local_addr().unwrap());
            assert!(was_held(&listener, address).unwrap());
            resume_new_connections(&listener, address).unwrap();
            TcpStream::connect(address).unwrap();
            // The next lbd is to know.
            assert!(was_held(&listener, address).unwrap());
            take_packets(&listener, address).unwrap();
            assert!(!was_held(&listener, address).unwrap());
        }
    }

    #[test]
    fn what_a_held_connection_drops_is_seen_and_comes_again() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = opened(any.parse().unwrap(), 1).remove(0);
            listener.set_nonblocking(false).unwrap();
            let address = listener.local_addr().unwrap();
            let mut client = TcpStream::connect(address).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            assert!(!has_dropped(&server).unwrap());
            // What a connection inherits.
            hold_new_connections(&server, address).unwrap();
            client.write_all(b"x").unwrap();
            while !has_dropped(&server).unwrap() {}
            take_packets(&server, address).unwrap();
            server.read_exact(&mut [0]).unwrap();
        }
    }
}
