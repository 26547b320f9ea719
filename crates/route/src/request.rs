//! What is known of a request.

use std::net::IpAddr;

use crate::Path;

/// What is known of a request, or of a session, when its route is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The client's address.
    pub source: IpAddr,
    /// Whether it comes by TLS.
    pub tls: bool,
    /// The host that is asked for, perhaps with a port, as it was sent; of a TLS session the server name.
    pub host: Option<&'a [u8]>,
    /// The method's name.
    pub method: &'a [u8],
    /// The path.
    pub path: Path<'a>,
    /// What follows the question mark; without one it is empty.
    pub query: &'a [u8],
    /// The field lines of a head that was found valid, each with its line end.
    pub fields: &'a [u8],
}

impl Request<'_> {
    /// A request of which no more is known than where it is from.
    pub fn from_source(source: IpAddr) -> Self {
        Self { source, tls: false, host: None, method: b"", path: Path::default(), query: b"", fields: b"" }
    }
}
