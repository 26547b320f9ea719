//! Adverts as bytes: RFC 3768 section 5 and RFC 9568 section 5.
//!
//! ```text
//! v2: 0x21 vrid prio count | authtype seconds      checksum | address * 4 ... | 8 bytes of authentication
//! v3: 0x31 vrid prio count | 0 (4 bits) centisec.  checksum | address * 4 or 16 ...
//! ```
//! A 28-byte [`Trailer`] may follow, and after that whatever padding the network adds.

mod checksum;
mod decode;
mod encode;
mod hmac;

use std::net::IpAddr;

pub use checksum::ChecksumForm;
pub use decode::{DecodeError, Decoded, Presented, virtual_router_id};
pub use encode::{EncodeError, Protection, encode, encode_as};
pub use hmac::{HmacKey, HmacKeys, KeyError, Sequence, Sequencer, TRAILER_LENGTH, Trailer};

use crate::units::{AdvertInterval, Priority, Version, VirtualRouterId};

/// The number of VRRP among the protocols of IP.
pub const IP_PROTOCOL: u8 = 112;
/// The TTL or hop limit of every advert: one that was routed has less (RFC 9568 section 5.1.1.3).
pub const TTL: u8 = 255;

/// The length of the fields before the addresses.
const HEADER_LENGTH: usize = 8;
/// Where the checksum stands.
const CHECKSUM: std::ops::Range<usize> = 6..8;
/// The authentication field that ends every VRRPv2 advert.
const PASSWORD_LENGTH: usize = 8;

/// What a packet is for: the type of RFC 9568 section 5.2.2, which knows one. The others are between routers that keep connections
/// over a handover; everybody else discards them, as the RFC says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// An advert.
    #[default]
    Advertisement,
    /// Its sender keeps connections of the addresses, though it is not master; with priority 0, none any more.
    Keeps,
    /// Its sender is master, and passes on what is not its own to those who keep connections.
    Passes,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Advertisement, Self::Keeps, Self::Passes];

    const fn number(self) -> u8 {
        match self {
            Self::Advertisement => 1,
            Self::Keeps => 13,
            Self::Passes => 14,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// What an advert says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// The version of its format.
    pub version: Version,
    /// The virtual router that it speaks of.
    pub virtual_router_id: VirtualRouterId,
    /// The sender's priority; [`Priority::RELEASE`] when the sender leaves.
    pub priority: Priority,
    /// The time until the sender's next advert.
    pub interval: AdvertInterval,
    /// The virtual addresses, in IPv6 a link-local one first.
    pub addresses: Vec<IpAddr>,
}

/// The addresses of the IP packet that carries an advert. Both are of the virtual addresses' family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The sender's own address.
    pub source: IpAddr,
    /// The multicast group or the unicast peer.
    pub destination: IpAddr,
}
