//! The head that a server gets.

use super::RequestHead;
use super::line::Form;
use crate::bytes::trim;
use crate::edits::Kind;
use crate::{Span, Version};

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
    /// Whether the server is told that no other request will come on this connection.
    pub close: bool,
}

impl RequestHead {
    /// Appends the head to send to the server, with its empty line: HTTP/1.1, without hop-by-hop fields, with Host,
    /// X-Forwarded-For and X-Forwarded-Proto. `buf` is the buffer that the head was parsed from.
    pub fn write(&self, buf: &[u8], forward: &Forward<'_>, out: &mut Vec<u8>) {
        let Forward { client, proto, forwarded_for: mode, .. } = *forward;
        out.reserve(self.len + 2 * client.len() + proto.len() + forward.default_host.len() + 160);

        let fields = self.write_line(buf, forward.default_host, out);
        let dropped = |kind| match kind {
            Kind::Drop | Kind::Coding => true,
            Kind::Respace => false,
            Kind::Upgrade => !self.upgrade,
            Kind::ForwardedFor | Kind::ForwardedProto => mode != ForwardedFor::Off,
            Kind::Forwarding => mode == ForwardedFor::Replace,
        };
        self.edits.copy(buf, fields, dropped, out);

        if mode != ForwardedFor::Off {
            out.extend_from_slice(b"X-Forwarded-For: ");
            if mode == ForwardedFor::Append {
                self.write_forwarded_for(buf, out);
            }
            out.extend_from_slice(client.as_bytes());
            out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
            out.extend_from_slice(proto.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
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

    /// Appends the elements that the client sent, of all fields in one, each with the comma that follows it: a server
    /// that looks at one field alone must see our address too.
    fn write_forwarded_for(&self, buf: &[u8], out: &mut Vec<u8>) {
        for edit in self.edits.iter().filter(|edit| edit.kind == Kind::ForwardedFor) {
            let value = edit
                .lines
                .of(buf)
                .get("X-Forwarded-For:".len()..)
                .and_then(|line| line.strip_suffix(b"\r\n"));
            let value = trim(value.unwrap_or_default());
            if !value.is_empty() {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
        }
    }
}
