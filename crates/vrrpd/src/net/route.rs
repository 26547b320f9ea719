//! Where a default route leads to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteVia,
};

use super::next_hops::{self, NextHop};

/// Whether a route is for all that no other route is for.
pub(super) fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0
}

/// The number of the next hop or group of next hops (`ip nexthop`) that a route leads to, if it says nothing else.
pub(super) fn next_hop(route: &RouteMessage) -> Option<u32> {
    let mut id = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(_) | RouteAttribute::MultiPath(_) => return None,
            RouteAttribute::NhId(number) => id = Some(*number),
            _ => {}
        }
    }
    id
}

/// The router that a route through an interface leads to. Of several next hops through it the first that lives.
pub(super) fn gateway(route: &RouteMessage, index: u32, hops: &[NextHop]) -> Option<IpAddr> {
    if let Some(id) = next_hop(route) {
        return next_hops::gateway(hops, id, index);
    }
    let through = |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::Oif(oif) if *oif == index);
    if route.attributes.iter().any(through) {
        return neighbour(&route.attributes);
    }
    let hops = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    hops?
        .iter()
        .filter(|hop| hop.interface_index == index && lives(hop))
        .find_map(|hop| neighbour(&hop.attributes))
}

fn lives(hop: &RouteNextHop) -> bool {
    !hop.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown)
}

/// IPv4 may lead to a router that has only an IPv6 address (RTA_VIA).
fn neighbour(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) | RouteAttribute::Via(RouteVia::Inet(ip)) => {
            Some(Ipv4Addr::into(*ip))
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) | RouteAttribute::Via(RouteVia::Inet6(ip)) => {
            Some(Ipv6Addr::into(*ip))
        }
        _ => None,
    })
}
