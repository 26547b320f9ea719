//! An interface as the kernel describes it.

use std::net::IpAddr;

use super::Mac;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number, new each time that it is made.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up and has carrier.
    pub running: bool,
    /// Its hardware address; none for tunnels and the like.
    pub mac: Option<Mac>,
    /// How often it got carrier. A cable that was out for a moment is seen by nothing else.
    pub carrier_ups: u32,
    /// Whether removing the first IPv4 address of a subnet leaves the others of it (`promote_secondaries`).
    pub promotes: bool,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<LinkAddress>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// The address.
    pub ip: IpAddr,
    /// The length of its subnet's prefix.
    pub prefix: u8,
    /// Whether vrrpd added it: it carries vrrpd's mark (IFA_PROTO).
    pub ours: bool,
    /// Whether something may be sent from it: an IPv6 address may be tentative, a duplicate, deprecated or temporary.
    pub usable: bool,
}
