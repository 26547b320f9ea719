//! Response heads: what a server answers, and how it is passed on.

mod parser;
mod write;

pub use parser::{INTERIM_MAX, ResponseLimits, ResponseParser};
pub use write::ClientSide;

use crate::edits::Edits;
use crate::{Body, Span, Version};

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
    /// The status line ends after the status, without the space that must follow.
    unspaced: bool,
    edits: Edits,
}

impl ResponseHead {
    /// The head is there, and its status has three digits. A body that only the connection's end ends leaves no connection,
    /// and neither does another protocol.
    fn check_invariants(&self, buf: &[u8]) {
        debug_assert!(self.len <= buf.len() && (100..=999).contains(&self.status));
        debug_assert!(self.body != Body::Length(0));
        debug_assert!(!self.persistent || self.body != Body::UntilClose && !self.is_switching());
        self.edits.check_invariants(Span::new(0..self.len - 2));
    }

    // RFC 9110 section 15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client"
    // RFC 9110 section 15.2: "A proxy MUST forward 1xx responses"
    /// Whether this is an interim response, after which another one follows: 1xx, but not 101. It is sent on to clients
    /// of HTTP/1.1 only (RFC 9110 section 15.2).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && !self.is_switching()
    }

    // RFC 9110 section 7.8: "A server MUST NOT switch to a protocol that was not indicated by the client"
    /// Whether the server switches protocols (101): what follows is a tunnel. Only after a request that asked for it;
    /// otherwise the answer is a 502.
    pub fn is_switching(&self) -> bool {
        self.status == 101
    }
}
