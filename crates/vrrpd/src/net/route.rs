//! Where a default route leads to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteVia,
};

/// The router that a default route through an interface leads to. Of several next hops through it the first that lives. Groups
/// of next hops (`ip nexthop`) are told by the kernel as several, unless `nexthop_compat_mode` is off.
pub(super) fn default_gateway(route: &RouteMessage, index: u32) -> Option<IpAddr> {
    if route.header.destination_prefix_length != 0 {
        return None;
    }
    let through = |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::Oif(oif) if *oif == index);
    if route.attributes.iter().any(through) {
        return gateway(&route.attributes);
    }
    let hops = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    hops?
        .iter()
        .filter(|hop| hop.interface_index == index && lives(hop))
        .find_map(|hop| gateway(&hop.attributes))
}

fn lives(hop: &RouteNextHop) -> bool {
    !hop.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown)
}

/// IPv4 may lead to a router that has only an IPv6 address (RTA_VIA).
fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
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
