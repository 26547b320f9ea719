//! What the kernel tells of our TCP sockets, also of those that this process has closed already.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;

use daemon::listening::kernel_address;
use wire::human::things;

/// The kernel's lists of this network namespace, of IPv4 and of IPv6. Reading one takes milliseconds, however short it is: the
/// kernel goes through a table for the sockets of all namespaces.
const LISTS: [(&str, bool); 2] = [("/proc/self/net/tcp", false), ("/proc/self/net/tcp6", true)];
/// Who has not answered so many repetitions is gone, and is not waited for.
const RETRANSMITS_MAX: u32 = 1;

const SYN_RECEIVED: u8 = 0x03;
const LISTEN: u8 = 0x0A;

/// What a client waits for; as text, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A handshake with this client has not ended.
    Handshake(SocketAddr),
    /// So many connections at this address were not accepted yet.
    Backlog(SocketAddr, u32),
    /// So many bytes were not acknowledged by this client. A close counts as one.
    Unacknowledged(SocketAddr, u32),
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(client) => write!(f, "the handshake of {client} is under way"),
            Self::Backlog(address, count) => {
                write!(f, "{} at {address} not accepted yet", things(*count, "connection"))
            }
            Self::Unacknowledged(client, bytes) => {
                write!(f, "{client} has {} not acknowledged", things(*bytes, "byte"))
            }
        }
    }
}

/// The first thing that is under way at one of the addresses `listening`.
///
/// # Errors
/// When the kernel's list cannot be read.
pub fn first_pending(listening: &[SocketAddr]) -> io::Result<Option<Pending>> {
    for (list, is_ipv6) in LISTS {
        if !listening.iter().any(|address| address.is_ipv6() == is_ipv6) {
            continue;
        }
        let file = match File::open(list) {
            Ok(file) => file,
            // Without IPv6 there is no such list.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut lines = BufReader::with_capacity(64 * 1024, file);
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            // The first line names the columns.
            if let Some(socket) = Socket::parse(&line)
                && let Some(pending) = socket.pending()
                && listening.iter().any(|address| socket.is_at(*address))
            {
                return Ok(Some(pending));
            }
            line.clear();
        }
    }
    Ok(None)
}

/// A line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    /// Bytes that the other side has not acknowledged, a FIN being one.
    unacknowledged: u32,
    /// Bytes that were not read yet; of a listener, connections that were not accepted yet.
    waiting: u32,
    retransmits: u32,
}

impl Socket {
    /// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt ...`, all in hexadecimal (proc_pid_net(5)).
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let local = kernel_address(words.nth(1)?)?;
        let remote = kernel_address(words.next()?)?;
        let state = u8::from_str_radix(words.next()?, 16).ok()?;
        let (unacknowledged, waiting) = words.next()?.split_once(':')?;
        Some(Self {
            local,
            remote,
            state,
            unacknowledged: u32::from_str_radix(unacknowledged, 16).ok()?,
            waiting: u32::from_str_radix(waiting, 16).ok()?,
            retransmits: u32::from_str_radix(words.nth(1)?, 16).ok()?,
        })
    }

    fn pending(&self) -> Option<Pending> {
        match self.state {
            LISTEN => (self.waiting > 0).then_some(Pending::Backlog(self.local, self.waiting)),
            _ if self.retransmits > RETRANSMITS_MAX => None,
            SYN_RECEIVED => Some(Pending::Handshake(self.remote)),
            _ => {
                (self.unacknowledged > 0).then_some(Pending::Unacknowledged(self.remote, self.unacknowledged))
            }
        }
    }

    fn is_at(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        self.local.port() == address.port()
            && self.local.is_ipv6() == address.is_ipv6()
            && (ip.is_unspecified() || self.local.ip() == ip)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_both_families_are_read() {
        let line =
            "   3: 0100007F:1F90 0200007F:D3F2 01 0000012C:00000007 01:00000014 00000002     0        0 27 2";
        let socket = Socket::parse(line).unwrap();
        assert_eq!(
            socket,
            Socket {
                local: "127.0.0.1:8080".parse().unwrap(),
                remote: "127.0.0.2:54258".parse().unwrap(),
                state: 1,
                unacknowledged: 300,
                waiting: 7,
                retransmits: 2
            }
        );
        let line = "  0: 00000000000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 1 1";
        let socket = Socket::parse(line).unwrap();
        assert_eq!(socket.local, "[::1]:443".parse().unwrap());
        assert_eq!(socket.pending(), Some(Pending::Backlog(socket.local, 1)));
        assert!(
            Socket::parse("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when").is_none()
        );
    }

    #[test]
    fn what_a_client_has_not_accepted_or_acknowledged_is_busy() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let ours = [listener.local_addr().unwrap()];
            assert_eq!(first_pending(&ours).unwrap(), None);
            let mut client = TcpStream::connect(ours[0]).unwrap();
            // The kernel may still have to take the last packet of the handshake.
            let pending = first_pending(&ours).unwrap();
            assert!(matches!(pending, Some(Pending::Handshake(_) | Pending::Backlog(..))), "{pending:?}");
            let (mut server, _) = listener.accept().unwrap();
            assert_eq!(first_pending(&ours).unwrap(), None);
            // More than the client's buffer takes while it does not read.
            server.set_nonblocking(true).unwrap();
            while server.write(&[0; 64 << 10]).is_ok() {}
            drop(server);
            // Closed, and not acknowledged.
            let pending = first_pending(&ours).unwrap();
            let this = client.local_addr().unwrap();
            assert!(matches!(pending, Some(Pending::Unacknowledged(of, _)) if of == this), "{pending:?}");
            client.read_to_end(&mut Vec::new()).unwrap();
            while first_pending(&ours).unwrap().is_some() {}
        }
    }
}
