//! The PROXY protocol, versions 1 and 2: what a proxy says of a connection before its first byte. Pure: bytes come in, and a
//! header comes out, or the other way round.
//!
//! ```
//! use proxy_protocol::{Decoded, Header, Version, decode};
//!
//! let header = Header::Proxied {
//!     source: "192.0.2.1:50000".parse()?,
//!     destination: "192.0.2.2:443".parse()?,
//! };
//! let mut bytes = Vec::new();
//! header.encode(Version::V1, &mut bytes);
//! assert_eq!(bytes, b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n");
//! bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
//! assert_eq!(decode(&bytes), Ok(Some(Decoded { header, len: 42 })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod crc32c;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

/// The most bytes that a header may have.
pub const HEADER_MAX: usize = v2::MAX;

/// How a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text (`v1`).
    V1,
    /// Binary (`v2`).
    V2,
}

impl Version {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The connection is the proxy's own, or from somewhere that has no IP address: its own addresses are what is known of it.
    Local,
    /// It is carried for a client.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// The address that the client has connected to.
        destination: SocketAddr,
    },
}

/// A header, and how many bytes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What it says.
    pub header: Header,
    /// Its length. What follows is the connection's.
    pub len: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// They begin like neither version.
    #[error("there is no PROXY header")]
    Missing,
    /// The line of version 1 is not as it has to be.
    #[error("the line of version 1 is malformed")]
    Line,
    /// The command of version 2 is unknown, or its version is another one.
    #[error("the version or the command is unknown")]
    Command,
    /// The addresses are of a kind that a connection cannot have.
    #[error("the addresses are of a kind that no connection has")]
    Family,
    /// Its parts do not fit into its length.
    #[error("the parts do not fit into the length")]
    Length,
    /// It is longer than [`HEADER_MAX`], or than a line of version 1 may be.
    #[error("the header is too long")]
    TooLong,
    /// Its checksum is another one.
    #[error("the checksum is wrong")]
    Checksum,
}

impl Fault {
    /// A word for it, to be counted by.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "proxy_missing",
            Self::Line => "proxy_line",
            Self::Command => "proxy_command",
            Self::Family => "proxy_family",
            Self::Length => "proxy_length",
            Self::TooLong => "proxy_too_long",
            Self::Checksum => "proxy_checksum",
        }
    }
}

/// Reads the header that a connection begins with; none as long as it is not complete.
///
/// # Errors
/// When it cannot become one, whatever follows.
pub fn decode(bytes: &[u8]) -> Result<Option<Decoded>, Fault> {
    if bytes.starts_with(v1::START) {
        v1::decode(bytes)
    } else if bytes.starts_with(&v2::SIGNATURE) {
        v2::decode(bytes)
    } else if v1::START.starts_with(bytes) || v2::SIGNATURE.starts_with(bytes) {
        Ok(None)
    } else {
        Err(Fault::Missing)
    }
}

impl Header {
    /// Appends the header in a version of the protocol. IPv4 addresses of IPv6 sockets are IPv4 addresses, unless one alone is.
    pub fn encode(&self, version: Version, to: &mut Vec<u8>) {
        let addresses = match *self {
            Self::Local => None,
            Self::Proxied { source, destination } => Some(Addresses::of(source, destination)),
        };
        match version {
            Version::V1 => v1::encode(addresses, to),
            Version::V2 => v2::encode(addresses, to),
        }
    }
}

/// Two addresses of one family.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    ips: Ips,
    ports: [u16; 2],
}

#[derive(Clone, Copy, Debug)]
enum Ips {
    V4([std::net::Ipv4Addr; 2]),
    V6([std::net::Ipv6Addr; 2]),
}

impl Addresses {
    fn of(source: SocketAddr, destination: SocketAddr) -> Self {
        let ips = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ips::V4([source, destination]),
            (source, destination) => Ips::V6([source, destination].map(|ip| match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            })),
        };
        Self { ips, ports: [source.port(), destination.port()] }
    }
}
