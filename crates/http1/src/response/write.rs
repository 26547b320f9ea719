//! The head that a client gets.

use super::ResponseHead;
use crate::edits::Kind;
use crate::{Span, Version};

/// The client that a response is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSide {
    /// The version of its request.
    pub version: Version,
    /// Whether its connection stays open after this response. Must be false if the body is
    /// [`Body::UntilClose`](crate::Body::UntilClose) and not `chunked`, and if it is
    /// [`Body::Chunked`](crate::Body::Chunked) and the client's version is 1.0.
    pub persistent: bool,
    /// Whether a body without a length is sent on in chunks, so that its end is seen: HTTP/1.1 only.
    pub chunked: bool,
    /// Whether its request asked for an upgrade.
    pub upgrade: bool,
}

impl ResponseHead {
    /// Appends the head to send to the client, with its empty line: HTTP/1.1, without hop-by-hop fields, with the
    /// Connection field that `to` calls for. `buf` is the buffer that the head was parsed from.
    pub fn write(&self, buf: &[u8], to: &ClientSide, out: &mut Vec<u8>) {
        out.reserve(self.len + 70);
        let switching = self.is_switching() && to.upgrade;
        let dropped = |kind| match kind {
            Kind::Coding => to.version == Version::Http10,
            Kind::Upgrade => !switching,
            Kind::Respace => false,
            Kind::Drop | Kind::Forwarded(_) => true,
        };
        // Our own version; the rest is as received, but for a missing space.
        let end = Span::new(0..self.len.saturating_sub(2)).end;
        out.extend_from_slice(b"HTTP/1.1");
        let from = if self.unspaced {
            out.extend_from_slice(Span { start: 8, end: 12 }.of(buf));
            out.push(b' ');
            12
        } else {
            8
        };
        self.edits.copy(buf, Span { start: from, end }, dropped, out);
        if to.chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        out.extend_from_slice(if switching {
            b"Connection: upgrade\r\n\r\n"
        } else if self.status < 200 {
            b"\r\n"
        } else if !to.persistent {
            b"Connection: close\r\n\r\n"
        } else if to.version == Version::Http10 {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"\r\n"
        });
    }
}
