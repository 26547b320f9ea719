//! The kernel drops what is about other virtual routers of the link, and what a router has forwarded.

use socket2::SockFilter;
use vrrp::VirtualRouterId;

use crate::net::bpf::{
    INDEX_IPV4_HEADER, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, LOAD_BYTE, LOAD_BYTE_BEHIND, NETWORK_HEADER,
    drop_unless, load, pass,
};

/// Where IPv4 has its TTL, and IPv6 its hop limit.
const TTL_V4: u32 = 8;
const HOP_LIMIT: u32 = 7;
/// Where an advert names its virtual router (RFC 9568 section 5.2.3).
const VIRTUAL_ROUTER_ID: u32 = 1;

/// A filter for a raw socket of protocol 112, which passes packets about one virtual router with this TTL or more. A packet
/// that ends before its id speaks of none.
pub(super) fn passing(ipv6: bool, virtual_router_id: VirtualRouterId, least_ttl: u8) -> Vec<SockFilter> {
    // A raw IPv4 socket is handed the whole packet, and one of IPv6 what follows the header.
    let mut filter = if ipv6 {
        vec![load(LOAD_BYTE, VIRTUAL_ROUTER_ID)]
    } else {
        vec![load(INDEX_IPV4_HEADER, 0), load(LOAD_BYTE_BEHIND, VIRTUAL_ROUTER_ID)]
    };
    filter.extend(drop_unless(JUMP_IF_EQUAL, virtual_router_id.get().into()));
    filter.push(load(LOAD_BYTE, NETWORK_HEADER + if ipv6 { HOP_LIMIT } else { TTL_V4 }));
    filter.extend(drop_unless(JUMP_IF_AT_LEAST, least_ttl.into()));
    filter.push(pass());
    filter
}
