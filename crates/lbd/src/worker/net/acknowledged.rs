//! What the kernel knows of what a server has received.

use std::io;
use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::GetSockOpt;
use nix::sys::socket::sockopt::GetStruct;

/// The first words of `struct tcp_info`, up to and with `tcpi_bytes_acked` (Linux 4.1).
#[derive(Clone, Copy)]
struct TcpInfo;
nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, [u64; 16], GetStruct<[u64; 16]>);

/// What the handshake counts for.
pub(crate) const HANDSHAKE: u64 = 1;

/// How many bytes the other host's kernel has acknowledged on a connection, and the handshake.
///
/// The end of a connection acknowledges what had arrived when the server closed. So where that end has been read, and this
/// number is what it was before a request, the request came to a connection that was closed: RFC 9112 9.6 forbids to act on
/// it, and the kernel did not even hand it over. A reset proves nothing, as what it acknowledges is not counted.
pub(crate) fn acknowledged(socket: &impl AsFd) -> io::Result<u64> {
    let [.., acknowledged] = TcpInfo.get(socket)?;
    Ok(acknowledged)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_arrived_before_the_end_is_acknowledged_and_what_came_later_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for arrives in [true, false] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            assert_eq!(acknowledged(&client).unwrap(), HANDSHAKE);
            client.write_all(b"one").unwrap();
            server.read_exact(&mut [0; 3]).unwrap();
            server.write_all(b"ok").unwrap();
            client.read_exact(&mut [0; 2]).unwrap();
            let before = acknowledged(&client).unwrap();
            assert_eq!(before, HANDSHAKE + 3);
            if arrives {
                client.write_all(b"two").unwrap();
                server.read_exact(&mut [0; 3]).unwrap();
                drop(server);
            } else {
                drop(server);
                // The end has arrived already, and says so; the kernel takes the bytes all the same.
                client.write_all(b"two").unwrap();
            }
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "an end in order");
            assert_eq!(acknowledged(&client).unwrap() > before, arrives);
        }
    }
}
