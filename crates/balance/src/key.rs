//! What leads a request always to the same server.

use std::net::IpAddr;

use crate::ring::hash;

/// What leads a request always to the same server, with an algorithm that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Its client's address.
    Client(IpAddr),
    /// The hash of a part of it: see [`Key::of`].
    Part(u64),
    /// It lacks that part: such requests take turns.
    Missing,
}

impl Key {
    /// The key of a part of a request.
    pub fn of(part: impl IntoIterator<Item = u8>) -> Self {
        Self::Part(hash(part))
    }

    /// Where on the ring the request belongs.
    pub(crate) fn hash(self) -> Option<u64> {
        match self {
            // A listener for both families sees IPv4 clients in IPv6 notation.
            Self::Client(client) => Some(match client.to_canonical() {
                IpAddr::V4(ip) => hash(ip.octets()),
                IpAddr::V6(ip) => hash(ip.octets()),
            }),
            Self::Part(hash) => Some(hash),
            Self::Missing => None,
        }
    }
}
