//! Classic BPF: the kernel drops what other virtual routers of the link say, and what a router has forwarded.

use socket2::SockFilter;
use vrrp::VirtualRouterId;

const LOAD_BYTE: u16 = 0x30;
/// A byte behind the index register.
const LOAD_BYTE_BEHIND: u16 = 0x50;
/// The length of the IPv4 header that begins there, into the index register.
const INDEX_IPV4_HEADER: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// A byte of the network header is found from here on (SKF_NET_OFF of Linux).
const NETWORK_HEADER: u32 = 0xfff0_0000;
/// Where IPv4 has its TTL, and IPv6 its hop limit.
const TTL_V4: u32 = 8;
const HOP_LIMIT: u32 = 7;
/// Where an advert names its virtual router (RFC 9568 section 5.2.3).
const VIRTUAL_ROUTER: u32 = 1;

/// A filter for a raw socket of protocol 112, which passes packets about one virtual router with this TTL or more. A packet
/// that ends before its virtual router speaks of none.
pub(super) fn passing(ipv6: bool, virtual_router: VirtualRouterId, least_ttl: u8) -> Vec<SockFilter> {
    // A raw IPv4 socket is handed the whole packet, and one of IPv6 what follows the header.
    let ttl = NETWORK_HEADER + if ipv6 { HOP_LIMIT } else { TTL_V4 };
    let mut filter = Vec::new();
    if ipv6 {
        filter.push(SockFilter::new(LOAD_BYTE, 0, 0, VIRTUAL_ROUTER));
    } else {
        filter.extend([
            SockFilter::new(INDEX_IPV4_HEADER, 0, 0, 0),
            SockFilter::new(LOAD_BYTE_BEHIND, 0, 0, VIRTUAL_ROUTER),
        ]);
    }
    filter.extend([
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, virtual_router.get().into()),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(LOAD_BYTE, 0, 0, ttl),
        SockFilter::new(JUMP_IF_AT_LEAST, 1, 0, least_ttl.into()),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]);
    filter
}
