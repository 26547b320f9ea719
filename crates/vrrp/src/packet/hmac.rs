//! The authentication trailer of keepalived 2.4 (draft-cassen-vrrp-auth-hmac): HMAC-SHA256, truncated to 128 bits.
//!
//! ```text
//! type = 1 | key id | 0 0 | seconds (4) | fraction (2) | counter (2) | HMAC (16)
//! ```
//! The HMAC covers a pseudo-header (address family, version, virtual router, 0, source address in 16 bytes), the message
//! with a checksum of zero, and the trailer with an HMAC of zero.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;

use super::CHECKSUM;

/// The length of a trailer on the wire.
pub const TRAILER_LENGTH: usize = 28;
/// The only scheme there is.
const SCHEME: u8 = 1;
const TAG_LENGTH: usize = 16;
/// Trailer bytes before the HMAC.
const PREFIX_LENGTH: usize = TRAILER_LENGTH - TAG_LENGTH;

/// A secret that all routers of a virtual router share. Its bytes are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacKey(Vec<u8>);

/// Why bytes are no key, or a set of keys is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Too short to be safe, or longer than a block of SHA-256.
    #[error("a key of {0} bytes: give 32 to 64, for example from `openssl rand -hex 32`")]
    Length(usize),
    /// Key id 0, which is not assigned.
    #[error("key id 0: give ids from 1 to 255")]
    Id,
    /// Two keys of the same id.
    #[error("two keys have the id {0}")]
    Duplicate(u8),
    /// The key to send with is missing.
    #[error("the active key {0} is none of the keys")]
    Active(u8),
}

impl HmacKey {
    /// A key of 32 to 64 bytes.
    ///
    /// # Errors
    /// When it is shorter or longer.
    pub fn new(bytes: Vec<u8>) -> Result<Self, KeyError> {
        if (32..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(KeyError::Length(bytes.len())) }
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

/// The keys that are accepted, and which of them signs. Several, so that keys can be replaced without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacKeys {
    active: u8,
    keys: Vec<(u8, HmacKey)>,
}

impl HmacKeys {
    /// Keys by id, and the id of the one that signs.
    ///
    /// # Errors
    /// When an id is 0 or given twice, or the active key is missing.
    pub fn new(active: u8, keys: Vec<(u8, HmacKey)>) -> Result<Self, KeyError> {
        for (index, (id, _)) in keys.iter().enumerate() {
            if *id == 0 {
                return Err(KeyError::Id);
            }
            if keys[..index].iter().any(|(earlier, _)| earlier == id) {
                return Err(KeyError::Duplicate(*id));
            }
        }
        if keys.iter().any(|(id, _)| *id == active) {
            Ok(Self { active, keys })
        } else {
            Err(KeyError::Active(active))
        }
    }

    /// The id of the key that signs.
    pub const fn active(&self) -> u8 {
        self.active
    }

    /// The key of an id.
    pub fn get(&self, id: u8) -> Option<&HmacKey> {
        self.keys.iter().find(|(known, _)| *known == id).map(|(_, key)| key)
    }

    /// A trailer for a message, signed with the active key.
    pub(super) fn sign(&self, sequence: Sequence, source: IpAddr, message: &[u8]) -> Trailer {
        let mut trailer =
            Trailer { scheme: SCHEME, key_id: self.active, reserved: 0, sequence, tag: [0; TAG_LENGTH] };
        if let Some(mac) = self.get(self.active).and_then(|key| trailer.mac(key, source, message)) {
            let digest = mac.finalize().into_bytes();
            trailer.tag.copy_from_slice(&digest[..TAG_LENGTH]);
        }
        trailer
    }
}

/// A strictly growing number: seconds since the Unix epoch, a fraction of 1/65536 s, and a counter for ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(u64);

impl Sequence {
    /// The sequence of a moment of the wall clock, given as the time since the Unix epoch.
    pub fn at(unix: Duration) -> Self {
        let seconds = unix.as_secs() & 0xffff_ffff;
        let fraction = (u64::from(unix.subsec_nanos()) << 16) / 1_000_000_000;
        Self(seconds << 32 | fraction << 16)
    }

    /// The 64 bits as on the wire.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits as on the wire.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether this comes after `other`, in serial number arithmetic (RFC 1982): a wrap of the seconds is no event.
    pub const fn is_after(self, other: Self) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead != 0 && ahead < 1 << 63
    }

    /// The sequence of so much later.
    pub fn later(self, time: Duration) -> Self {
        Self(self.0.wrapping_add(Self::at(time).0))
    }

    /// By how many milliseconds this is later than `other`; negative where it is earlier.
    pub const fn milliseconds_ahead_of(self, other: Self) -> i64 {
        // Two's complement: what is less than half of the circle behind is negative.
        let ahead = self.0.wrapping_sub(other.0).cast_signed();
        // In units of 1/65536 s, so that the product fits.
        ((ahead >> 16) * 1000) >> 16
    }

    /// The whole seconds between the two, whichever comes first.
    pub fn seconds_apart(self, other: Self) -> u64 {
        let ahead = (self.0 >> 32).wrapping_sub(other.0 >> 32) & 0xffff_ffff;
        ahead.min((1 << 32) - ahead)
    }
}

/// Gives the sequences of one sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequencer {
    last: Option<Sequence>,
}

impl Sequencer {
    /// Goes on where an earlier run ended, of which `kept` is known, and perhaps `margin` more was sent. A wall clock that has
    /// moved on since was not set back, and tells by itself what comes next.
    pub fn resume(kept: Sequence, margin: Duration, unix: Duration) -> Self {
        let moved_on = Sequence::at(unix).is_after(kept);
        Self { last: Some(if moved_on { kept } else { kept.later(margin) }) }
    }

    /// The next sequence: the wall clock's, or one more than the last when the clock did not move on.
    ///
    /// A clock that was set back by more than `window` is followed, because receivers that check the time would refuse
    /// everything else. Give `None` when they check growth only.
    pub fn next(&mut self, unix: Duration, window: Option<Duration>) -> Sequence {
        let clock = Sequence::at(unix);
        let next = match self.last {
            Some(last) if !clock.is_after(last) => {
                let stranded = window.is_some_and(|window| last.seconds_apart(clock) > window.as_secs());
                if stranded { clock } else { Sequence(last.0.wrapping_add(1)) }
            }
            _ => clock,
        };
        self.last = Some(next);
        next
    }
}

/// The trailer as received, not verified yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    scheme: u8,
    key_id: u8,
    reserved: u16,
    sequence: Sequence,
    tag: [u8; TAG_LENGTH],
}

impl Trailer {
    /// Reads the first 28 bytes. `None` when there are fewer, or when they start with the zero of padding.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (&prefix, rest) = bytes.split_first_chunk::<PREFIX_LENGTH>()?;
        let &tag = rest.first_chunk::<TAG_LENGTH>()?;
        let [scheme, key_id, reserved @ .., b0, b1, b2, b3, b4, b5, b6, b7] = prefix;
        (scheme != 0).then(|| Self {
            scheme,
            key_id,
            reserved: u16::from_be_bytes(reserved),
            sequence: Sequence(u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7])),
            tag,
        })
    }

    fn prefix(&self) -> [u8; PREFIX_LENGTH] {
        let mut prefix = [0; PREFIX_LENGTH];
        prefix[0] = self.scheme;
        prefix[1] = self.key_id;
        prefix[2..4].copy_from_slice(&self.reserved.to_be_bytes());
        prefix[4..].copy_from_slice(&self.sequence.0.to_be_bytes());
        prefix
    }

    /// The bytes of the wire.
    pub(super) fn bytes(&self) -> [u8; TRAILER_LENGTH] {
        let mut bytes = [0; TRAILER_LENGTH];
        bytes[..PREFIX_LENGTH].copy_from_slice(&self.prefix());
        bytes[PREFIX_LENGTH..].copy_from_slice(&self.tag);
        bytes
    }

    /// Whether the scheme is known and the reserved field is zero.
    pub fn is_well_formed(&self) -> bool {
        self.scheme == SCHEME && self.reserved == 0
    }

    /// Which key signed it, so it says.
    pub const fn key_id(&self) -> u8 {
        self.key_id
    }

    /// Its place in the sender's sequence, so it says.
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Whether `key` signed this trailer for `message` from `source`. Compares in constant time.
    pub fn is_signed_by(&self, key: &HmacKey, source: IpAddr, message: &[u8]) -> bool {
        self.mac(key, source, message).is_some_and(|mac| mac.verify_truncated_left(&self.tag).is_ok())
    }

    /// `None` when the message is shorter than a header, or the key is refused, which no length of ours is.
    fn mac(&self, key: &HmacKey, source: IpAddr, message: &[u8]) -> Option<Hmac<Sha256>> {
        let (&version_and_type, &virtual_router_id) = (message.first()?, message.get(1)?);
        let mut pseudo_header = [0; 20];
        pseudo_header[1] = version_and_type >> 4;
        pseudo_header[2] = virtual_router_id;
        match source {
            IpAddr::V4(address) => {
                pseudo_header[0] = 4;
                pseudo_header[4..8].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                pseudo_header[0] = 6;
                pseudo_header[4..].copy_from_slice(&address.octets());
            }
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).ok()?;
        mac.update(&pseudo_header);
        mac.update(message.get(..CHECKSUM.start)?);
        mac.update(&[0, 0]);
        mac.update(message.get(CHECKSUM.end..)?);
        mac.update(&self.prefix());
        mac.update(&[0; TAG_LENGTH]);
        Some(mac)
    }
}
