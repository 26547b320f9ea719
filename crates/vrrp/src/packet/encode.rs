//! Adverts into bytes.

use std::net::IpAddr;

use thiserror::Error;

use super::checksum::checksum;
use super::{Advert, CHECKSUM, ChecksumForm, Endpoints, HmacKeys, Kind, PASSWORD_LENGTH, Sequence};
use crate::units::Version;

/// Why an advert cannot be sent. Each is a mistake of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// One byte counts the addresses.
    #[error("{0} virtual addresses do not fit an advert: give 1 to 255, and exclude the others from adverts")]
    AddressCount(usize),
    /// All addresses are of one family.
    #[error(
        "{0} is not of the family of the address that adverts are sent from: give IPv4 and IPv6 an instance each"
    )]
    Family(IpAddr),
    /// VRRPv2 is for IPv4.
    #[error("VRRPv2 carries no IPv6: use version 3")]
    Version,
    /// Only VRRPv2 has a place for a password.
    #[error("VRRPv3 carries no password: use an HMAC key, or version 2")]
    Password,
}

/// How an advert proves where it comes from.
#[derive(Clone, Copy, Debug)]
pub enum Protection<'a> {
    /// Not at all.
    None,
    /// By a password in plain text, padded with zeros (VRRPv2). It stops accidents, not attackers.
    Password([u8; PASSWORD_LENGTH]),
    /// By a trailer of this sequence.
    Hmac(&'a HmacKeys, Sequence),
}

/// The payload of the IP packet. `form` matters to VRRPv3 over IPv4 only.
///
/// # Errors
/// When the advert has no address or too many, mixes families, or asks of its version what that cannot carry.
pub fn encode(
    advert: &Advert,
    endpoints: Endpoints,
    form: ChecksumForm,
    protection: Protection<'_>,
) -> Result<Vec<u8>, EncodeError> {
    encode_as(Kind::Advertisement, advert, endpoints, form, protection)
}

/// The payload of a packet of another kind, which has all that an advert has.
///
/// # Errors
/// As [`encode`].
pub fn encode_as(
    kind: Kind,
    advert: &Advert,
    endpoints: Endpoints,
    form: ChecksumForm,
    protection: Protection<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let form = match (advert.version, endpoints.source) {
        (Version::V2, IpAddr::V6(_)) => return Err(EncodeError::Version),
        (Version::V2, IpAddr::V4(_)) => ChecksumForm::MessageOnly,
        (Version::V3, IpAddr::V4(_)) => form,
        (Version::V3, IpAddr::V6(_)) => ChecksumForm::PseudoHeader,
    };
    let mut bytes = message(kind, advert, endpoints, protection)?;
    let length = bytes.len();
    if let Protection::Hmac(keys, sequence) = protection {
        bytes.extend(keys.sign(sequence, endpoints.source, &bytes).bytes());
    }
    // Over IPv6 it is the kernel that computes the checksum, so it covers the trailer too.
    let covered = if endpoints.source.is_ipv6() { bytes.len() } else { length };
    let sum = checksum(&bytes[..covered], form, endpoints);
    bytes[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    Ok(bytes)
}

/// The message with a checksum of zero.
fn message(
    kind: Kind,
    advert: &Advert,
    endpoints: Endpoints,
    protection: Protection<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let count = match u8::try_from(advert.addresses.len()) {
        Ok(0) | Err(_) => return Err(EncodeError::AddressCount(advert.addresses.len())),
        Ok(count) => count,
    };
    let password = match protection {
        Protection::Password(_) if advert.version == Version::V3 => return Err(EncodeError::Password),
        Protection::Password(password) => Some(password),
        Protection::None | Protection::Hmac(..) => None,
    };
    let mut bytes = vec![
        advert.version.number() << 4 | kind.number(),
        advert.virtual_router_id.get(),
        advert.priority.get(),
        count,
    ];
    match advert.version {
        Version::V2 => bytes.extend([u8::from(password.is_some()), advert.interval.seconds()]),
        // RFC 9568 section 5.2.6: "The Reserve field MUST be set to zero on transmission and ignored on reception."
        Version::V3 => bytes.extend(advert.interval.centiseconds().to_be_bytes()),
    }
    bytes.extend([0, 0]);
    // RFC 9568 section 5.2.9: "The address family of the addresses, IPv4 or IPv6 but not both, MUST be the same as the VRRP packet's IPvX header address family."
    for address in &advert.addresses {
        match (address, endpoints.source) {
            (IpAddr::V4(address), IpAddr::V4(_)) => bytes.extend(address.octets()),
            (IpAddr::V6(address), IpAddr::V6(_)) => bytes.extend(address.octets()),
            _ => return Err(EncodeError::Family(*address)),
        }
    }
    if advert.version == Version::V2 {
        bytes.extend(password.unwrap_or_default());
    }
    Ok(bytes)
}
