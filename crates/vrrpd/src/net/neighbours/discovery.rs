//! IPv6 neighbour discovery (RFC 4861) through a raw ICMPv6 socket; the kernel computes its checksums.

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::{Claim, Mac, filter};
use crate::net::bpf::NETWORK_HEADER;
use crate::net::event;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// RFC 4861 section 4.4: the sender is a router; this replaces what is in caches.
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
/// Where the target stands in both messages.
const TARGET: std::ops::Range<usize> = 8..24;
/// The last word of the target, by which the kernel filters.
const TARGET_END: u32 = 20;
const HOP_LIMIT: u8 = 255;
/// Where the hop limit stands in the header of IPv6.
const HOP_LIMIT_PLACE: u32 = NETWORK_HEADER + 7;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

#[derive(Debug)]
pub(super) struct Discovery {
    socket: AsyncFd<Socket>,
    index: u32,
    name: String,
    mac: Mac,
}

impl Discovery {
    pub(super) fn open(index: u32, name: &str, mac: Mac) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&watching(std::iter::empty()))?;
        socket.bind_device(Some(name.as_bytes()))?;
        // RFC 4861 section 7.1: a lower hop limit would have been routed, and is not believed.
        socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
        socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_if_v6(index)?;
        Ok(Self { socket: event::register(socket)?, index, name: name.to_owned(), mac })
    }

    pub(super) fn watch(&self, addresses: &[IpAddr]) -> io::Result<()> {
        let words = addresses.iter().filter_map(|address| match address {
            IpAddr::V6(address) => Some(last_word(*address)),
            IpAddr::V4(_) => None,
        });
        self.socket.get_ref().attach_filter(&watching(words))
    }

    pub(super) fn announce(&self, address: Ipv6Addr) -> io::Result<()> {
        let router = if self.is_router() { ROUTER } else { 0 };
        self.send(ADVERTISEMENT, OVERRIDE | router, address, TARGET_ADDRESS, ALL_NODES)
    }

    /// Whether the kernel forwards what arrives here. RFC 9568 section 6.4.2 has the flag in every announcement, for its
    /// routers; of a host's address it would be a lie that makes neighbours send everything there.
    fn is_router(&self) -> bool {
        let setting = format!("/proc/sys/net/ipv6/conf/{}/forwarding", self.name);
        fs::read_to_string(setting).is_ok_and(|value| value.trim() != "0")
    }

    pub(super) fn ask(&self, address: Ipv6Addr) -> io::Result<()> {
        // RFC 4291 section 2.7.1: the group of all nodes whose address ends like this one.
        let [.., a, b, c] = address.octets();
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
        self.send(SOLICITATION, 0, address, SOURCE_ADDRESS, group)
    }

    fn send(&self, kind: u8, flags: u8, target: Ipv6Addr, option: u8, to: Ipv6Addr) -> io::Result<()> {
        let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        message.extend(target.octets());
        message.extend([option, 1]);
        message.extend(self.mac);
        let to = SocketAddrV6::new(to, 0, 0, self.index);
        self.socket.get_ref().send_to(&message, &to.into()).map(drop)
    }

    pub(super) async fn claim(&self) -> io::Result<Claim> {
        let mut buffer = [0_u8; 512];
        loop {
            let mut guard = self.socket.readable().await?;
            let Ok(length) = guard.try_io(|socket| socket.get_ref().read(&mut buffer)) else { continue };
            let message = &buffer[..length?];
            if let Some(claim) = claim(message).filter(|claim| claim.mac != self.mac) {
                return Ok(claim);
            }
        }
    }
}

fn watching(words: impl Iterator<Item = u32>) -> Vec<socket2::SockFilter> {
    filter::passing(&[(0, ADVERTISEMENT), (HOP_LIMIT_PLACE, HOP_LIMIT)], TARGET_END, words)
}

fn last_word(address: Ipv6Addr) -> u32 {
    let [.., a, b, c, d] = address.octets();
    u32::from_be_bytes([a, b, c, d])
}

/// An advertisement that names the station's address. One without the option answers a unicast question, which nobody here
/// asks.
fn claim(message: &[u8]) -> Option<Claim> {
    let target: [u8; 16] = message.get(TARGET)?.try_into().ok()?;
    let mut options = message.get(TARGET.end..)?;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        if kind == TARGET_ADDRESS {
            let mac = options.get(2..8)?.try_into().ok()?;
            return Some(Claim { ip: Ipv6Addr::from(target).into(), mac });
        }
        options = options.get(length.max(8)..)?;
    }
    None
}
