//! Reading response heads from bytes that arrive in any pieces.

use super::ResponseHead;
use crate::edits::Kind;
use crate::fields::{Field, Fields, Lines, whole};
use crate::name::Name;
use crate::{Body, Method, ResponseFault, Span, Version};

/// How large a response head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Bytes of the whole head, with the empty line that ends it. A buffer of that size is enough.
    pub head: usize,
    /// Number of fields.
    pub fields: usize,
}

impl ResponseLimits {
    /// What servers may send: to clients, and so to those who check whether clients could be served.
    pub const SERVERS: Self = Self { head: 32 * 1024, fields: 256 };
}

/// Interim responses before a final one; a server that sends more is broken.
pub const INTERIM_MAX: u32 = 32;

/// Reads response heads from bytes that arrive in any pieces, as [`RequestParser`](crate::RequestParser) does.
#[derive(Clone, Debug)]
pub struct ResponseParser {
    limits: ResponseLimits,
    progress: Progress,
}

/// What is known of an incomplete head.
#[derive(Clone, Debug, Default)]
struct Progress {
    lines: Lines,
    line: Option<StatusLine>,
    fields: Fields,
}

/// A status line's parts (RFC 9112 section 4).
#[derive(Clone, Copy, Debug)]
struct StatusLine {
    end: u32,
    version: Version,
    status: u16,
    unspaced: bool,
}

impl ResponseParser {
    /// A parser for a connection.
    pub fn new(limits: ResponseLimits) -> Self {
        Self { limits, progress: Progress::default() }
    }

    /// Forgets a head that began, as if the connection were new.
    pub fn reset(&mut self) {
        self.progress.lines = Lines::default();
        self.progress.line = None;
        self.progress.fields.clear();
    }

    /// Looks for a whole head at the start of `buf`, which must begin with the bytes of the previous call, if that
    /// returned `None`. After `Some` the parser is ready for the next head, which follows an interim one; after a
    /// fault the connection must be closed. `request` is the method of the request that is answered.
    pub fn parse(&mut self, buf: &[u8], request: Method) -> Result<Option<ResponseHead>, ResponseFault> {
        let limits = self.limits;
        let head = &buf[..buf.len().min(limits.head)];
        while let Some(span) = self.progress.lines.next(head)? {
            match self.progress.line {
                None => self.progress.line = Some(StatusLine::parse(head, span)?),
                Some(line) if span.is_empty() => {
                    let found = self.progress.finish(head, line, request)?;
                    found.check_invariants(head);
                    self.reset();
                    return Ok(Some(found));
                }
                Some(line) => {
                    let field = self.progress.fields.split(span.of(head), limits.fields)?;
                    self.progress.field(head, line, span, field)?;
                }
            }
        }
        if head.len() == limits.head { Err(ResponseFault::HeadTooLarge) } else { Ok(None) }
    }
}

impl StatusLine {
    /// The parts of the line, which holds no control characters but tabs. The space after the status is not insisted on
    /// where no reason follows: servers forget it.
    fn parse(buf: &[u8], span: Span) -> Result<Self, ResponseFault> {
        let Some((start, rest)) = span.of(buf).split_first_chunk::<9>() else {
            return Err(ResponseFault::StatusLine);
        };
        let version = match start {
            b"HTTP/1.1 " => Version::Http11,
            b"HTTP/1.0 " => Version::Http10,
            // A later minor version is one that we know, with something more (RFC 9110 section 2.5).
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', b' '] => Version::Http11,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b' ']
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(ResponseFault::Version);
            }
            _ => return Err(ResponseFault::StatusLine),
        };
        let Some((digits @ [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'], reason)) = rest.split_first_chunk::<3>()
        else {
            return Err(ResponseFault::StatusLine);
        };
        if !matches!(reason, [] | [b' ', ..]) {
            return Err(ResponseFault::StatusLine);
        }
        let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        Ok(Self { end: span.end, version, status, unspaced: reason.is_empty() })
    }

    // RFC 9112 section 6.1: "A server MUST NOT send a Transfer-Encoding header field in any response with a status code of 1xx (Informational) or 204"
    /// Whether the status forbids fields that tell a body's length (RFC 9112 section 6.1, RFC 9110 section 8.6).
    fn forbids_framing(self) -> bool {
        self.status < 200 || self.status == 204
    }
}

impl Progress {
    fn field(
        &mut self,
        buf: &[u8],
        line: StatusLine,
        span: Span,
        field: Field<'_>,
    ) -> Result<(), ResponseFault> {
        let Field { name, value } = field;
        match Name::of(name) {
            Name::Connection => self.fields.connection(buf, span, value)?,
            Name::Upgrade => self.fields.upgrade(span, value)?,
            Name::HopByHop | Name::Te => self.fields.edits.push(whole(span), Kind::Drop)?,
            Name::ContentLength => self.fields.content_length(span, value, line.forbids_framing())?,
            Name::TransferEncoding => {
                self.fields.transfer_encoding(value)?;
                let kind = if line.forbids_framing() { Kind::Drop } else { Kind::Coding };
                self.fields.edits.push(whole(span), kind)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The head, now that its empty line is there.
    fn finish(
        &mut self,
        buf: &[u8],
        line: StatusLine,
        request: Method,
    ) -> Result<ResponseHead, ResponseFault> {
        let len = self.lines.start;
        let framed = self.fields.body(line.version)?;
        self.fields.drop_nominated(buf, Span { start: line.end + 2, end: Span::new(0..len - 2).end })?;
        let body = if line.status < 200 || matches!(line.status, 204 | 304) || request == Method::Head {
            Body::Empty
        } else {
            framed.unwrap_or(Body::UntilClose)
        };
        let reusable = body != Body::UntilClose && line.status != 101;
        Ok(ResponseHead {
            len,
            status: line.status,
            version: line.version,
            body,
            persistent: reusable && self.fields.wants_persistence(line.version),
            unspaced: line.unspaced,
            edits: self.fields.edits,
        })
    }
}
