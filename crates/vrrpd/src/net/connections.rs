//! How many TCP connections an address of this node has, by NETLINK_SOCK_DIAG (linux/inet_diag.h).

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::libc::{AF_INET, AF_INET6, IPPROTO_TCP};
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use socket2::Socket;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The kernel's numbers of states in which a connection has something to say or to hear yet: ESTABLISHED, FIN_WAIT1, FIN_WAIT2,
/// CLOSE_WAIT, LAST_ACK and CLOSING.
const OPEN: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// A netlink header, and where `struct inet_diag_msg` has the local address.
const HEADER: usize = 16;
const LOCAL: usize = HEADER + 8;
/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// The connections of each of these addresses.
///
/// # Errors
/// When the kernel refuses.
pub fn count(addresses: &[IpAddr]) -> io::Result<BTreeMap<IpAddr, u64>> {
    let mut counts: BTreeMap<IpAddr, u64> = addresses.iter().map(|address| (*address, 0)).collect();
    // A socket of IPv6 may have a connection of IPv4.
    for family in [AF_INET, AF_INET6] {
        list(u8::try_from(family).map_err(io::Error::other)?, |local| {
            if let Some(count) = counts.get_mut(&local.to_canonical()) {
                *count += 1;
            }
        })?;
    }
    Ok(counts)
}

fn list(family: u8, mut each: impl FnMut(IpAddr)) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let mut socket = Socket::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(&request(family)?)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = socket.read(&mut buffer)?;
        let mut rest = &buffer[..length];
        while let Some((&[a, b, c, d, e, f, ..], _)) = rest.split_first_chunk::<HEADER>() {
            let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let message = rest.get(..length).ok_or(io::ErrorKind::InvalidData)?;
            match u16::from_ne_bytes([e, f]) {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = message.get(HEADER..).and_then(|body| body.first_chunk()).copied();
                    let code = i32::from_ne_bytes(code.unwrap_or_default());
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ => each(local(family, message).ok_or(io::ErrorKind::InvalidData)?),
            }
            rest = rest.get(length.max(HEADER).next_multiple_of(4)..).unwrap_or(&[]);
        }
    }
}

/// `struct inet_diag_req_v2`, which asks for all sockets that are open.
fn request(family: u8) -> io::Result<Vec<u8>> {
    let protocol = u8::try_from(IPPROTO_TCP).map_err(io::Error::other)?;
    let mut body = vec![family, protocol, 0, 0];
    body.extend(OPEN.to_ne_bytes());
    body.extend([0; 48]);
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    Ok(message)
}

fn local(family: u8, message: &[u8]) -> Option<IpAddr> {
    let bytes = message.get(LOCAL..)?;
    if i32::from(family) == AF_INET {
        bytes.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into())
    } else {
        bytes.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into())
    }
}
