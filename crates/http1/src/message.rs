//! What requests and responses have in common: methods, versions and how a body is delimited.

/// The protocol version of a message; those before 1.0 and from 2 on are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, or a later minor version.
    Http11,
}

/// A request method. Methods are case-sensitive (RFC 9110 section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`: the response has no body.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// `TRACE`.
    Trace,
    /// `PATCH`.
    Patch,
    /// `CONNECT`: never in a [`RequestHead`](crate::RequestHead), see
    /// [`RequestFault::Connect`](crate::RequestFault::Connect).
    Connect,
    /// Any other token, passed on as it is.
    Other,
}

impl Method {
    /// The method of that name.
    pub fn from_bytes(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Whether the request asks for no change at the server (RFC 9110 section 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    // RFC 9110 section 9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests"
    /// Whether sending the request twice means the same as once (RFC 9110 section 9.2.2), so that a proxy may repeat it.
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// There is none.
    Empty,
    /// That many bytes; never 0, which is [`Body::Empty`].
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// Everything until the server closes the connection. Only responses have it.
    UntilClose,
}
