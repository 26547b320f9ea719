//! Bytes into adverts. Nothing here trusts a length, and nothing is looked at that was not checked to be there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use super::checksum::checksum;
use super::hmac::{TRAILER_LENGTH, Trailer};
use super::{Advert, CHECKSUM, ChecksumForm, Endpoints, HEADER_LENGTH, Kind, PASSWORD_LENGTH};
use crate::units::{AdvertInterval, Priority, Version, VirtualRouterId};

/// Why bytes are no advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Neither version 2 nor 3, or version 2 over IPv6.
    #[error("version {0} is unknown, or does not go with this address family")]
    Version(u8),
    /// Shorter than its fields say.
    #[error("{length} bytes, but the fields need {needed}")]
    Length {
        /// The length that arrived.
        length: usize,
        /// The length that the count of addresses asks for.
        needed: usize,
    },
    /// Not an advertisement.
    #[error("packet type {0} is unknown, only 1 is known")]
    Type(u8),
    /// Damaged, or computed in a way that nobody uses.
    #[error("the checksum is {found:#06x}, but should be {expected:#06x}")]
    Checksum {
        /// The checksum that arrived.
        found: u16,
        /// The checksum in the form that we send.
        expected: u16,
    },
    /// The virtual router 0, which there is not.
    #[error("virtual router 0 does not exist")]
    VirtualRouterId,
    /// An interval of 0 would make every backup take over at once.
    #[error("the advert interval is 0")]
    Interval,
    /// VRRPv2 authentication other than none and password.
    #[error("authentication type {0} is unknown, only 0 (none) and 1 (password) are known")]
    AuthenticationType(u8),
}

impl DecodeError {
    /// The word for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Version(_) => "version",
            Self::Length { .. } => "length",
            Self::Type(_) => "type",
            Self::Checksum { .. } => "checksum",
            Self::VirtualRouterId => "virtual_router_id",
            Self::Interval => "interval_zero",
            Self::AuthenticationType(_) => "authentication_type",
        }
    }
}

/// How the sender says that it may be trusted. Nothing is verified yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// Not at all.
    None,
    /// By the password of VRRPv2.
    Password([u8; PASSWORD_LENGTH]),
    /// By a trailer.
    Hmac(Trailer),
}

/// An advert whose form is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// What it is for.
    pub kind: Kind,
    /// What it says.
    pub advert: Advert,
    /// What its checksum covers.
    pub checksum: ChecksumForm,
    /// Its authentication.
    pub presented: Presented,
    /// The bytes without trailer and padding: what an HMAC covers.
    pub message: &'a [u8],
}

/// The virtual router that a packet speaks of, to find the instance that should look into it.
pub fn virtual_router_id(payload: &[u8]) -> Option<VirtualRouterId> {
    VirtualRouterId::new(*payload.get(1)?)
}

impl<'a> Decoded<'a> {
    /// Reads the payload of an IP packet. Bytes after the message are padding, or a trailer when they can be one.
    ///
    /// # Errors
    /// The first check that failed, in the order of RFC 9568 section 7.1.
    pub fn read(payload: &'a [u8], endpoints: Endpoints) -> Result<Self, DecodeError> {
        let too_short = |needed| DecodeError::Length { length: payload.len(), needed };
        let header = *payload.first_chunk::<HEADER_LENGTH>().ok_or(too_short(HEADER_LENGTH))?;
        let [version_and_type, virtual_router_id, priority, count, fifth, sixth, ..] = header;

        let (version, address_length) = match (version_and_type >> 4, endpoints.source) {
            (2, IpAddr::V4(_)) => (Version::V2, 4),
            (3, IpAddr::V4(_)) => (Version::V3, 4),
            (3, IpAddr::V6(_)) => (Version::V3, 16),
            (version, _) => return Err(DecodeError::Version(version)),
        };
        let addresses_end = HEADER_LENGTH + usize::from(count) * address_length;
        let needed = addresses_end + if version == Version::V2 { PASSWORD_LENGTH } else { 0 };
        // An advert without any address says nothing (RFC 9568 section 5.2.5).
        if count == 0 {
            return Err(too_short(needed + address_length));
        }
        // RFC 9568 section 7.1: "It MUST verify that the received packet contains the complete VRRP packet"
        let message = payload.get(..needed).ok_or(too_short(needed))?;
        let trailer = payload.get(needed..).and_then(Trailer::read);
        // RFC 9568 section 5.2.2: "A packet with unknown type MUST be discarded."
        // RFC 9568 section 7.1: "It MUST verify that the VRRP packet type is 1 (ADVERTISEMENT)."
        let number = version_and_type & 0xf;
        let kind = Kind::from_number(number).ok_or(DecodeError::Type(number))?;
        // RFC 9568 section 7.1: "It MUST verify the VRRP checksum."
        let checksum = checksum_form(payload, message, version, trailer.is_some(), endpoints)?;

        let virtual_router_id =
            VirtualRouterId::new(virtual_router_id).ok_or(DecodeError::VirtualRouterId)?;
        let presented = match (version, fifth, trailer) {
            (Version::V2, 0, None) | (Version::V3, _, None) => Presented::None,
            (Version::V2, 0, Some(trailer)) | (Version::V3, _, Some(trailer)) => Presented::Hmac(trailer),
            (Version::V2, 1, _) => {
                Presented::Password(message.last_chunk().copied().ok_or(too_short(needed))?)
            }
            (Version::V2, other, _) => return Err(DecodeError::AuthenticationType(other)),
        };
        let interval = match version {
            Version::V2 => AdvertInterval::from_seconds(sixth),
            Version::V3 => AdvertInterval::from_centiseconds(u16::from_be_bytes([fifth, sixth])),
        };
        let advert = Advert {
            version,
            virtual_router_id,
            priority: Priority::from_wire(priority),
            interval: interval.ok_or(DecodeError::Interval)?,
            addresses: addresses(&message[HEADER_LENGTH..addresses_end], address_length),
        };
        Ok(Self { kind, advert, checksum, presented, message })
    }
}

/// Which form of checksum the sender used.
fn checksum_form(
    payload: &[u8],
    message: &[u8],
    version: Version,
    trailer: bool,
    endpoints: Endpoints,
) -> Result<ChecksumForm, DecodeError> {
    let forms: &[ChecksumForm] = match (version, endpoints.source) {
        (Version::V2, _) => &[ChecksumForm::MessageOnly],
        (Version::V3, IpAddr::V4(_)) => &[ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly],
        (Version::V3, IpAddr::V6(_)) => &[ChecksumForm::PseudoHeader],
    };
    // Over IPv6 it is the sender's kernel that computes the checksum, so it covers the trailer too.
    let covered = if trailer && endpoints.source.is_ipv6() {
        payload.get(..message.len() + TRAILER_LENGTH).unwrap_or(message)
    } else {
        message
    };
    let found = u16::from_be_bytes([message[CHECKSUM.start], message[CHECKSUM.start + 1]]);
    let matching = forms.iter().find(|form| checksum(covered, **form, endpoints) == found);
    matching
        .copied()
        .ok_or_else(|| DecodeError::Checksum { found, expected: checksum(covered, forms[0], endpoints) })
}

fn addresses(bytes: &[u8], length: usize) -> Vec<IpAddr> {
    let address = |bytes: &[u8]| match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(octets), _) => Some(IpAddr::V4(Ipv4Addr::from(octets))),
        (_, Ok(octets)) => Some(IpAddr::V6(Ipv6Addr::from(octets))),
        _ => None,
    };
    bytes.chunks_exact(length).filter_map(address).collect()
}
