//! Field lines, and what those mean that requests and responses have in common.

use crate::bytes::{Scan, is_token, list, scan_line, token_prefix, trim};
use crate::edits::{Edits, Kind};
use crate::fault::HeadFault;
use crate::framing::Framing;
use crate::name::is_essential;
use crate::{Body, Span, Version};

/// A head's lines, found as its bytes arrive.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines {
    /// Where the next line starts.
    pub(crate) start: usize,
    /// How far that line was looked at.
    scanned: usize,
}

impl Lines {
    /// The next line without its CR LF, once `bytes` holds all of it.
    #[inline]
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Option<Span>, HeadFault> {
        match scan_line(bytes, self.scanned)? {
            Scan::End(end) => {
                let line = Span::new(self.start..end);
                self.start = end + 2;
                self.scanned = self.start;
                self.check_invariants(bytes);
                Ok(Some(line))
            }
            Scan::More(scanned) => {
                self.scanned = scanned;
                self.check_invariants(bytes);
                Ok(None)
            }
        }
    }

    /// No byte is looked at before it is there, nor left out.
    fn check_invariants(self, bytes: &[u8]) {
        debug_assert!(self.start <= self.scanned && self.scanned <= bytes.len());
    }
}

/// A field line's parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    /// As it stands, with the white space around it.
    pub(crate) value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The parts of a line, which holds no control characters but tabs.
    #[inline]
    pub(crate) fn split(line: &'a [u8]) -> Result<Self, HeadFault> {
        let end = token_prefix(line);
        match line.get(end) {
            Some(b':') if end > 0 => Ok(Self { name: &line[..end], value: &line[end + 1..] }),
            Some(b' ' | b'\t') if end > 0 && trim(&line[end..]).starts_with(b":") => {
                Err(HeadFault::SpaceBeforeColon)
            }
            Some(b' ' | b'\t') if end == 0 => Err(HeadFault::ObsFold),
            _ => Err(HeadFault::FieldName),
        }
    }
}

/// What a head's fields say about its connection, its body and its way on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    facts: Facts,
    pub(crate) edits: Edits,
    nominated: Nominated,
}

/// What is known of the fields so far, besides tables.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    count: usize,
    framing: Framing,
    close: bool,
    keep_alive: bool,
    /// Connection names Upgrade.
    connection_upgrade: bool,
    /// Upgrade names a protocol that may be switched to.
    upgrade_protocol: bool,
    /// Upgrade names HTTP/2, or is malformed.
    upgrade_refused: bool,
}

impl Fields {
    /// Forgets the head. The tables' contents stay: zeroing them would cost as much as parsing a short head.
    pub(crate) fn clear(&mut self) {
        self.facts = Facts::default();
        self.edits.clear();
        self.nominated.len = 0;
    }

    /// Splits the next line, of which there may be `limit`.
    #[inline]
    pub(crate) fn split<'a>(&mut self, line: &'a [u8], limit: usize) -> Result<Field<'a>, HeadFault> {
        if self.facts.count == limit {
            return Err(HeadFault::TooManyFields);
        }
        let field = Field::split(line).map_err(|fault| match fault {
            HeadFault::ObsFold if self.facts.count == 0 => HeadFault::LeadingWhitespace,
            other => other,
        });
        self.facts.count += 1;
        field
    }

    // RFC 9110 section 7.6.1: "Intermediaries MUST parse a received Connection header field before a message is forwarded"
    /// Connection: options of this connection, and names of fields for the next hop only (RFC 9110 section 7.6.1).
    pub(crate) fn connection(&mut self, buf: &[u8], line: Span, value: &[u8]) -> Result<(), HeadFault> {
        self.edits.push(whole(line), Kind::Drop)?;
        for option in list(value).filter(|option| !option.is_empty()) {
            if option.eq_ignore_ascii_case(b"close") {
                self.facts.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.facts.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.facts.connection_upgrade = true;
            } else if !is_token(option) {
                return Err(HeadFault::Connection);
            } else if !is_essential(option) {
                self.nominated.push(span_of(buf, option))?;
            }
        }
        Ok(())
    }

    // RFC 9110 section 7.8: "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request"
    /// Upgrade: protocols, each with an optional version (RFC 9110 section 7.8). HTTP/2 is none that we could tunnel:
    /// requests would go by unseen.
    pub(crate) fn upgrade(&mut self, line: Span, value: &[u8]) -> Result<(), HeadFault> {
        for protocol in list(value).filter(|protocol| !protocol.is_empty()) {
            let (name, version) = match protocol.iter().position(|&byte| byte == b'/') {
                Some(slash) => (&protocol[..slash], &protocol[slash + 1..]),
                None => (protocol, &b"1"[..]),
            };
            self.facts.upgrade_protocol = true;
            self.facts.upgrade_refused |= !is_token(name)
                || !is_token(version)
                || [&b"h2c"[..], b"h2", b"http"].iter().any(|refused| name.eq_ignore_ascii_case(refused));
        }
        self.edits.push(whole(line), Kind::Upgrade)
    }

    /// Notes a line that stays, unless one blank is all the white space around its value: servers disagree about other
    /// white space in the fields that decide where a message goes or ends.
    #[inline]
    pub(crate) fn respace(&mut self, line: Span, value: &[u8]) -> Result<(), HeadFault> {
        match value {
            [b' ', rest @ ..] if trim(rest).len() == rest.len() => Ok(()),
            _ => self.edits.push(whole(line), Kind::Respace),
        }
    }

    /// Content-Length, which goes if it is a repetition, or has no place in the message.
    pub(crate) fn content_length(
        &mut self,
        line: Span,
        value: &[u8],
        misplaced: bool,
    ) -> Result<(), HeadFault> {
        if !self.facts.framing.content_length(value)? || misplaced {
            return self.edits.push(whole(line), Kind::Drop);
        }
        self.respace(line, value)
    }

    /// Transfer-Encoding.
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        self.facts.framing.transfer_encoding(value)
    }

    /// The body, if any field tells of one.
    pub(crate) fn body(&self, version: Version) -> Result<Option<Body>, HeadFault> {
        self.facts.framing.body(version)
    }

    /// Whether the message asks for, or agrees to, another protocol.
    pub(crate) fn wants_upgrade(&self, version: Version) -> bool {
        version == Version::Http11
            && self.facts.connection_upgrade
            && self.facts.upgrade_protocol
            && !self.facts.upgrade_refused
    }

    /// Whether the connection stays open (RFC 9112 section 9.3).
    pub(crate) fn wants_persistence(&self, version: Version) -> bool {
        !self.facts.close && (version == Version::Http11 || self.facts.keep_alive)
    }

    /// Drops the fields that Connection named. `lines` are all field lines of the head, without the empty one.
    pub(crate) fn drop_nominated(&mut self, buf: &[u8], lines: Span) -> Result<(), HeadFault> {
        if self.nominated.len == 0 {
            return Ok(());
        }
        let mut walk = Lines { start: lines.start as usize, scanned: lines.start as usize };
        let bytes = buf.get(..lines.end as usize).unwrap_or_default();
        while let Some(line) = walk.next(bytes)? {
            let name = Field::split(line.of(buf))?.name;
            if self.nominated.names(buf).any(|nominated| nominated.eq_ignore_ascii_case(name)) {
                self.edits.insert_drop(whole(line))?;
            }
        }
        Ok(())
    }
}

/// A line with its line end.
pub(crate) fn whole(line: Span) -> Span {
    Span { start: line.start, end: line.end + 2 }
}

/// The span of `part`, which is a slice of `buf`.
pub(crate) fn span_of(buf: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr().addr().saturating_sub(buf.as_ptr().addr());
    Span::new(start..start + part.len())
}

/// Names of fields in Connection that mean nothing else to us.
#[derive(Clone, Copy, Debug, Default)]
struct Nominated {
    len: usize,
    spans: [Span; 16],
}

impl Nominated {
    fn push(&mut self, span: Span) -> Result<(), HeadFault> {
        *self.spans.get_mut(self.len).ok_or(HeadFault::TooManyHopFields)? = span;
        self.len += 1;
        Ok(())
    }

    fn names<'a>(&self, buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.spans.iter().take(self.len).map(|span| span.of(buf))
    }
}
