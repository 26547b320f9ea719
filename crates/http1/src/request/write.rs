//! The head that a server gets.

use super::RequestHead;
use super::forwarded::{ForwardedFields, ForwardedFor};
use super::line::Form;
use crate::edits::Kind;
use crate::{Span, Version};

/// What a server is told besides what the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward<'a> {
    /// The client's IP address.
    pub client: &'a str,
    /// `http` or `https`.
    pub proto: &'a str,
    /// The port that the client connected to.
    pub port: u16,
    /// The Host of a request without one, which only HTTP/1.0 allows: the server's address as configured. RFC 9112
    /// section 3.2 would allow an empty one, but servers refuse it (nginx with 400).
    pub default_host: &'a str,
    /// What becomes of what the client sent about where the request is from.
    pub forwarded_for: ForwardedFor,
    /// Which fields tell it where the request is from.
    pub forwarded: ForwardedFields,
    /// Whether the server is told that no other request will come on this connection.
    pub close: bool,
}

impl<'a> Forward<'a> {
    /// The usual, for plain HTTP and a client that nothing is known of.
    pub const fn new(default_host: &'a str) -> Self {
        Self {
            client: "unknown",
            proto: "http",
            port: 80,
            default_host,
            forwarded_for: ForwardedFor::Append,
            forwarded: ForwardedFields::USUAL,
            close: false,
        }
    }
}

impl RequestHead {
    /// Appends the head to send to the server, with its empty line: HTTP/1.1, without hop-by-hop fields, with Host and the
    /// fields that tell where the request is from. `buf` is the buffer that the head was parsed from.
    pub fn write(&self, buf: &[u8], forward: &Forward<'_>, out: &mut Vec<u8>) {
        out.reserve(
            self.len + 2 * forward.client.len() + forward.proto.len() + forward.default_host.len() + 160,
        );

        let fields = self.write_line(buf, forward.default_host, out);
        let dropped = |kind| match kind {
            Kind::Drop | Kind::Coding => true,
            Kind::Respace => false,
            Kind::Upgrade => !self.upgrade,
            Kind::Forwarded(field) => forward.replaces(field),
        };
        self.edits.copy(buf, fields, dropped, out);
        self.write_forwarded(buf, forward, out);
        // RFC 9110 section 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option in the Connection header field"
        // RFC 9110 section 10.1.4: "A sender of TE MUST also send a "TE" connection option within the Connection header field"
        // What may become a tunnel is not told to close.
        out.extend_from_slice(match (self.upgrade, self.accepts_trailers, forward.close) {
            (false, false, false) => b"\r\n",
            (false, false, true) => b"Connection: close\r\n\r\n",
            (false, true, false) => b"TE: trailers\r\nConnection: TE\r\n\r\n",
            (false, true, true) => b"TE: trailers\r\nConnection: TE, close\r\n\r\n",
            (true, false, _) => b"Connection: upgrade\r\n\r\n",
            (true, true, _) => b"TE: trailers\r\nConnection: upgrade, TE\r\n\r\n",
        });
    }

    // RFC 9112 section 2.3: "Intermediaries that process HTTP messages (i.e., all intermediaries other than those acting as tunnels) MUST send their own HTTP-version in forwarded messages"
    // RFC 9110 section 7.7: "A proxy MUST NOT modify the "absolute-path" and "query" parts of the received target URI"
    // RFC 9112 section 3.2.2: "A proxy that forwards such a request MUST generate a new Host field value based on the received request-target"
    /// Appends the request line, but its last part only if that is not as received. Returns the part of the head from
    /// there on, without the empty line.
    fn write_line(&self, buf: &[u8], default_host: &str, out: &mut Vec<u8>) -> Span {
        let end = Span::new(0..self.len.saturating_sub(2)).end;
        let line = Span { start: self.method_span.start, end: self.line_end };
        let prefix = match self.form {
            // A later minor version than ours is not passed on.
            Form::Origin if self.version == Version::Http11 && line.of(buf).ends_with(b"1") => {
                return Span { end, ..line };
            }
            Form::Origin => &b""[..],
            Form::Absolute(prefix) => prefix,
        };
        out.extend_from_slice(self.method_span.of(buf));
        out.push(b' ');
        out.extend_from_slice(prefix);
        out.extend_from_slice(self.target.of(buf));
        out.extend_from_slice(b" HTTP/1.1");
        let host = match (self.form, self.host) {
            (Form::Origin, Some(_)) => None,
            (_, Some(host)) => Some(host.of(buf)),
            (_, None) => Some(default_host.as_bytes()),
        };
        if let Some(host) = host {
            out.extend_from_slice(b"\r\nHost: ");
            out.extend_from_slice(host);
        }
        Span { start: self.line_end, end }
    }
}
