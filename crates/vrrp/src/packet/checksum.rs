//! The Internet checksum (RFC 1071) in the forms that routers use.

use std::net::IpAddr;

use super::{CHECKSUM, Endpoints, IP_PROTOCOL};

/// What the checksum of a VRRPv3 advert over IPv4 covers: routers disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChecksumForm {
    /// The message and a pseudo-header of addresses, protocol and length: RFC 5798, keepalived, FRR. IPv6 knows no other.
    #[default]
    PseudoHeader,
    /// The message alone: RFC 9568, Cisco, Juniper. VRRPv2 knows no other.
    MessageOnly,
}

impl ChecksumForm {
    /// The word for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::PseudoHeader => "pseudo_header",
            Self::MessageOnly => "message_only",
        }
    }
}

/// The checksum of a message, whatever stands in its checksum field.
pub(super) fn checksum(message: &[u8], form: ChecksumForm, endpoints: Endpoints) -> u16 {
    let head = message.get(..CHECKSUM.start).unwrap_or(message);
    let tail = message.get(CHECKSUM.end..).unwrap_or_default();
    // Both parts start at even offsets, so that their sums add up.
    let mut total = sum(head) + sum(tail);
    if form == ChecksumForm::PseudoHeader {
        total += pseudo_header(endpoints, message.len());
    }
    !fold(total)
}

fn pseudo_header(endpoints: Endpoints, length: usize) -> u64 {
    let addresses = [endpoints.source, endpoints.destination].map(|address| match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    });
    addresses[0] + addresses[1] + u64::from(IP_PROTOCOL) + u64::try_from(length).unwrap_or_default()
}

fn sum(bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks(2);
    pairs.map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum()
}

fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum & 0xffff) + (sum >> 16),
        }
    }
}
