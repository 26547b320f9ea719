//! Which adverts are believed: the checks of RFC 9568 section 7.1, authentication, and what configuration adds.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::packet::{
    Advert, ChecksumForm, DecodeError, Decoded, Endpoints, HmacKeys, Kind, Presented, Sequence, TTL, Trailer,
    virtual_router_id,
};
use crate::replay::ReplayGuard;
use crate::units::{AdvertInterval, Version, VirtualRouterId};

/// What an instance expects of the adverts that it hears.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// The version that all routers of the virtual router speak.
    pub version: Version,
    /// The virtual router.
    pub virtual_router_id: VirtualRouterId,
    /// The address that this router sends from: what comes from it is its own echo.
    pub own_address: IpAddr,
    /// The configured interval. VRRPv2 adverts with another are discarded (RFC 3768 section 7.1).
    pub interval: AdvertInterval,
    /// The virtual addresses that adverts carry, in any order.
    pub addresses: Vec<IpAddr>,
    /// What to do with an advert that lists other addresses.
    pub address_mismatch: AddressMismatch,
    /// Who may send.
    pub senders: Senders,
    /// What senders have to prove.
    pub authentication: Authentication,
}

/// What to do with an advert that lists other addresses than configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressMismatch {
    /// Believe it and say so. To ignore a master for a difference in its list makes two masters.
    #[default]
    Warn,
    /// Discard it, as RFC 9568 section 7.1 allows.
    Discard,
}

/// Who may send adverts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Senders {
    /// Anybody on the link. The TTL proves that it is the link.
    Link,
    /// These addresses only.
    Peers {
        /// The configured peers.
        addresses: Vec<IpAddr>,
        /// The lowest TTL that is believed. Routed adverts have less than [`TTL`]; 0 accepts every TTL.
        min_ttl: u8,
    },
}

/// What senders have to prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Nothing.
    None,
    /// That they know a word (VRRPv2), padded with zeros.
    Password([u8; 8]),
    /// That they know a key, and that the advert is new.
    Hmac {
        /// The shared keys.
        keys: HmacKeys,
        /// How far the sender's clock may be from ours. `None` asks only that sequences grow.
        window: Option<Duration>,
        /// How far the keys have been introduced.
        mode: HmacMode,
    },
}

/// The steps in which routers begin to sign: each first understands, then signs, and in the end insists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HmacMode {
    /// Does not sign, and believes others whether they sign or not.
    ReceiveOnly,
    /// Signs, and believes others whether they sign or not.
    Send,
    /// Signs, and believes none that does not.
    #[default]
    Require,
}

impl HmacMode {
    /// Whether adverts are signed.
    pub fn signs(self) -> bool {
        self != Self::ReceiveOnly
    }

    /// Whether adverts without a signature are believed.
    pub fn believes_unsigned(self) -> bool {
        self != Self::Require
    }
}

impl Authentication {
    /// The word for messages and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password(_) => "password",
            Self::Hmac { .. } => "hmac",
        }
    }
}

/// An IP packet of protocol 112, as the socket hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// From where to where.
    pub endpoints: Endpoints,
    /// The TTL or hop limit on arrival.
    pub ttl: u8,
    /// What follows the IP header.
    pub payload: &'a [u8],
}

/// An advert that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it is for: only an advert is the election's.
    pub kind: Kind,
    /// Who sent it.
    pub source: IpAddr,
    /// What it says.
    pub advert: Advert,
    /// What its checksum covers, to be counted for each peer.
    pub checksum: ChecksumForm,
    /// Whether it lists other addresses than configured.
    pub addresses_differ: bool,
    /// What its signature tells, where adverts are signed.
    pub signed: Option<Signed>,
}

/// What a signature that fits tells beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// By how many milliseconds the sender's clock is ahead of this router's, the time on the way left out.
    pub clock_ahead_ms: i64,
    /// Why it may be a recording all the same. Then the election believes it only together with a claim of an address.
    pub doubt: Option<Doubt>,
}

/// Why an advert may be a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The clocks are further apart than the window.
    Window,
    /// The sequence is behind what was accepted from this sender.
    Sequence,
}

impl Doubt {
    /// The word for metrics, beside those of errors.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Window => "hmac_stale",
            Self::Sequence => "hmac_replay",
        }
    }
}

/// Why an advert is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReceiveError {
    /// This router's own advert, returned by the network.
    #[error("this router's own advert came back")]
    Own,
    /// A stranger, where peers are configured.
    #[error("{0} is not a configured peer")]
    Source(IpAddr),
    /// It was routed.
    #[error("TTL {ttl}, but {least} or more is asked for: the advert was routed, or is forged")]
    Ttl {
        /// The TTL that arrived.
        ttl: u8,
        /// The lowest that is believed.
        least: u8,
    },
    /// No advert at all.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The sender speaks another version.
    #[error("version {found}, but this router speaks {expected}: configure the same on all routers")]
    Version {
        /// The version that arrived.
        found: Version,
        /// The configured version.
        expected: Version,
    },
    /// Another virtual router of the same network.
    #[error("virtual router {0} is not this one")]
    VirtualRouterId(VirtualRouterId),
    /// Another way of authentication.
    #[error("authentication by {found}, but {expected} is configured: configure the same on all routers")]
    AuthenticationType {
        /// The way that arrived.
        found: &'static str,
        /// The configured way.
        expected: &'static str,
    },
    /// Another password.
    #[error("the password is not the configured one")]
    Password,
    /// A trailer of another scheme.
    #[error("the HMAC trailer has an unknown form")]
    HmacForm,
    /// A key that is not configured.
    #[error("key {0} is not configured: give all routers the new key before one signs with it")]
    HmacKey(u8),
    /// The HMAC does not fit: another key, or a forgery.
    #[error("the HMAC is wrong: the keys differ, or the advert is forged")]
    Hmac,
    /// VRRPv2 routers have to agree on the interval.
    #[error("advert interval {} s, but {} s is configured: VRRPv2 needs the same on all routers", found.seconds(), expected.seconds())]
    Interval {
        /// The interval that arrived.
        found: AdvertInterval,
        /// The configured interval.
        expected: AdvertInterval,
    },
    /// Other virtual addresses, and configuration says to discard that.
    #[error("the advert lists other virtual addresses than configured")]
    Addresses,
}

impl ReceiveError {
    /// The word for metrics: one for each check.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Source(_) => "source",
            Self::Ttl { .. } => "ttl",
            Self::Decode(error) => error.label(),
            Self::Version { .. } => "version_mismatch",
            Self::VirtualRouterId(_) => "virtual_router_id_mismatch",
            Self::AuthenticationType { .. } => "authentication_mismatch",
            Self::Password => "password",
            Self::HmacForm => "hmac_form",
            Self::HmacKey(_) => "hmac_key",
            Self::Hmac => "hmac",
            Self::Interval { .. } => "interval_mismatch",
            Self::Addresses => "addresses",
        }
    }
}

/// Looks at every advert before the election hears of it.
#[derive(Clone, Debug)]
pub struct Receiver {
    expectations: Expectations,
    replay: ReplayGuard,
}

impl Receiver {
    /// A receiver that has heard nobody yet.
    pub fn new(expectations: Expectations) -> Self {
        Self { expectations, replay: ReplayGuard::default() }
    }

    /// Takes new expectations. What was heard stays known, so that a reload opens no door to replays.
    pub fn reload(&mut self, expectations: Expectations) {
        self.expectations = expectations;
    }

    /// Checks one packet. `unix` is the wall clock, as the time since the Unix epoch; only an HMAC is compared with it.
    ///
    /// # Errors
    /// The first check that failed. The packet must change nothing then.
    pub fn receive(&mut self, datagram: Datagram<'_>, unix: Duration) -> Result<Received, ReceiveError> {
        // RFC 9568 section 7.1: "If any one of the above checks fails, the receiver MUST discard the packet"
        let source = datagram.endpoints.source;
        let expected = &self.expectations;
        // RFC 9568 section 7.1: "It MUST verify that the VRID is configured on the receiving interface"
        // First, because nothing that is wrong with another virtual router is wrong with this one.
        if let Some(other) =
            virtual_router_id(datagram.payload).filter(|id| *id != expected.virtual_router_id)
        {
            return Err(ReceiveError::VirtualRouterId(other));
        }
        self.check_sender(source, datagram.ttl)?;
        let decoded = Decoded::read(datagram.payload, datagram.endpoints)?;
        let advert = &decoded.advert;
        // RFC 9568 section 7.1: "It MUST verify that the VRRP version is 3."
        // Or 2, by RFC 3768, where that is configured.
        if advert.version != expected.version {
            return Err(ReceiveError::Version { found: advert.version, expected: expected.version });
        }
        if advert.version == Version::V2 && advert.interval.seconds() != expected.interval.seconds() {
            return Err(ReceiveError::Interval { found: advert.interval, expected: expected.interval });
        }
        let addresses_differ =
            decoded.kind == Kind::Advertisement && !same_addresses(&advert.addresses, &expected.addresses);
        if addresses_differ && expected.address_mismatch == AddressMismatch::Discard {
            return Err(ReceiveError::Addresses);
        }
        // Last, so that a replay mark moves only for an advert that counts.
        let signed = self.authenticate(&decoded, source, unix)?;
        Ok(Received {
            kind: decoded.kind,
            source,
            advert: decoded.advert,
            checksum: decoded.checksum,
            addresses_differ,
            signed,
        })
    }

    /// The election has believed doubtful adverts of this sender: see [`Action::Vouch`](crate::Action::Vouch).
    pub fn vouch(&mut self, sender: IpAddr) {
        self.replay.vouch(sender);
    }

    /// What is remembered of signed adverts, for the next run: see [`ReplayGuard::marks`].
    pub fn marks(&self) -> impl Iterator<Item = (IpAddr, Sequence)> + '_ {
        self.replay.marks()
    }

    /// Remembers what an earlier run has accepted.
    pub fn recall(&mut self, marks: impl IntoIterator<Item = (IpAddr, Sequence)>) {
        self.replay.recall(marks);
    }

    fn check_sender(&self, source: IpAddr, ttl: u8) -> Result<(), ReceiveError> {
        if source == self.expectations.own_address {
            return Err(ReceiveError::Own);
        }
        let least = match &self.expectations.senders {
            // RFC 9568 section 5.1.2.3: "A VRRP Router receiving a packet with the Hop Limit not equal to 255 MUST discard the packet"
            // RFC 9568 section 5.1.1.3: "A VRRP Router receiving a packet with the TTL not equal to 255 MUST discard the packet"
            Senders::Link => TTL,
            Senders::Peers { addresses, .. } if !addresses.contains(&source) => {
                return Err(ReceiveError::Source(source));
            }
            Senders::Peers { min_ttl, .. } => *min_ttl,
        };
        if ttl < least { Err(ReceiveError::Ttl { ttl, least }) } else { Ok(()) }
    }

    fn authenticate(
        &mut self,
        decoded: &Decoded<'_>,
        source: IpAddr,
        unix: Duration,
    ) -> Result<Option<Signed>, ReceiveError> {
        match (&self.expectations.authentication, decoded.presented) {
            (Authentication::None, Presented::None) => Ok(None),
            (Authentication::Hmac { mode, .. }, Presented::None) if mode.believes_unsigned() => Ok(None),
            (Authentication::Password(expected), Presented::Password(found)) => {
                if *expected == found {
                    Ok(None)
                } else {
                    Err(ReceiveError::Password)
                }
            }
            (Authentication::Hmac { keys, window, .. }, Presented::Hmac(trailer)) => {
                verify(keys, &trailer, source, decoded.message)?;
                let (sequence, clock) = (trailer.sequence(), Sequence::at(unix));
                let is_outside =
                    window.is_some_and(|window| sequence.seconds_apart(clock) > window.as_secs());
                let doubt = if self.replay.accept(source, sequence, clock, *window) {
                    None
                } else {
                    Some(if is_outside { Doubt::Window } else { Doubt::Sequence })
                };
                Ok(Some(Signed { clock_ahead_ms: sequence.milliseconds_ahead_of(clock), doubt }))
            }
            (expected, presented) => {
                let found = match presented {
                    Presented::None => "none",
                    Presented::Password(_) => "password",
                    Presented::Hmac(_) => "hmac",
                };
                Err(ReceiveError::AuthenticationType { found, expected: expected.label() })
            }
        }
    }
}

/// Whether a trailer has the form and the signature that it should have.
fn verify(keys: &HmacKeys, trailer: &Trailer, source: IpAddr, message: &[u8]) -> Result<(), ReceiveError> {
    if !trailer.is_well_formed() {
        return Err(ReceiveError::HmacForm);
    }
    let key = keys.get(trailer.key_id()).ok_or(ReceiveError::HmacKey(trailer.key_id()))?;
    if trailer.is_signed_by(key, source, message) { Ok(()) } else { Err(ReceiveError::Hmac) }
}

/// Routers list the same addresses in different orders.
fn same_addresses(left: &[IpAddr], right: &[IpAddr]) -> bool {
    let sorted = |addresses: &[IpAddr]| {
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        addresses
    };
    left.len() == right.len() && (left == right || sorted(left) == sorted(right))
}
