//! Reading request heads from bytes that arrive in any pieces.

use super::RequestHead;
use super::line::{Form, RequestLine};
use crate::bytes::{list, trim};
use crate::edits::Kind;
use crate::fields::{Field, Fields, Lines, span_of, whole};
use crate::name::Name;
use crate::{Body, RequestFault, Span, Version, host};

/// How large a request head may be.
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
/// reports the first fault by position, as soon as its byte, or for the grammar of a line that line's end, is seen.
///
/// Empty lines before a head are skipped (RFC 9112 section 2.2).
#[derive(Clone, Debug)]
pub struct RequestParser {
    limits: Limits,
    progress: Progress,
}

/// What is known of an incomplete head.
#[derive(Clone, Debug, Default)]
struct Progress {
    lines: Lines,
    line: Option<RequestLine>,
    fields: Fields,
    host: Option<Span>,
    expects_continue: bool,
    accepts_trailers: bool,
}

/// How many bytes at the start of `bytes` are empty lines: clients of old send one behind a body, and a head has not begun
/// with them (RFC 9112 section 2.2).
pub fn empty_lines(bytes: &[u8]) -> usize {
    2 * bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count()
}

impl RequestParser {
    /// A parser for a connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, progress: Progress::default() }
    }

    /// Forgets a head that began, as if the connection were new.
    pub fn reset(&mut self) {
        self.progress.clear();
    }

    /// Looks for a whole head at the start of `buf`, which must begin with the bytes of the previous call, if that
    /// returned `None`. After `Some` the parser is ready for the next head; after a fault the connection must be closed.
    pub fn parse(&mut self, buf: &[u8]) -> Result<Option<RequestHead>, RequestFault> {
        let limits = self.limits;
        let head = &buf[..buf.len().min(limits.head)];
        let line = match self.progress.line {
            Some(line) => line,
            None => match self.progress.request_line(head, limits)? {
                Some(line) => *self.progress.line.insert(line),
                None => return Ok(None),
            },
        };
        while let Some(span) = self.progress.lines.next(head)? {
            if span.is_empty() {
                let head = self.progress.finish(buf, &line)?;
                head.check_invariants(buf);
                self.reset();
                return Ok(Some(head));
            }
            let field = self.progress.fields.split(span.of(head), limits.fields)?;
            self.progress.field(head, &line, span, field)?;
        }
        if head.len() == limits.head { Err(RequestFault::HeadTooLarge) } else { Ok(None) }
    }
}

impl Progress {
    fn clear(&mut self) {
        self.lines = Lines::default();
        self.line = None;
        self.fields.clear();
        self.host = None;
        self.expects_continue = false;
        self.accepts_trailers = false;
    }

    fn request_line(&mut self, head: &[u8], limits: Limits) -> Result<Option<RequestLine>, RequestFault> {
        loop {
            let limit =
                self.lines.start.saturating_add(limits.request_line).saturating_add(2).min(limits.head);
            match self.lines.next(&head[..head.len().min(limit)])? {
                Some(line) if line.is_empty() => {}
                Some(line) => return RequestLine::parse(head, line).map(Some),
                None if head.len() >= limit => return Err(RequestFault::RequestLineTooLong),
                None => return Ok(None),
            }
        }
    }

    fn field(
        &mut self,
        buf: &[u8],
        line: &RequestLine,
        span: Span,
        field: Field<'_>,
    ) -> Result<(), RequestFault> {
        let Field { name, value } = field;
        match Name::of(name) {
            Name::Other => Ok(()),
            Name::Connection => self.fields.connection(buf, span, value).map_err(RequestFault::from),
            Name::ContentLength => self.fields.content_length(span, value, false).map_err(RequestFault::from),
            Name::TransferEncoding => {
                self.fields.transfer_encoding(value)?;
                Ok(self.fields.respace(span, value)?)
            }
            Name::Upgrade => self.fields.upgrade(span, value).map_err(RequestFault::from),
            Name::Host => self.host(buf, line, span, value),
            Name::Expect => self.expect(line, span, value),
            Name::Te => {
                // Parameters, as in `trailers;q=0.5`, do not exist for trailers (RFC 9110 section 10.1.4).
                self.accepts_trailers |= list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
                self.edit(span, Kind::Drop)
            }
            Name::HopByHop => self.edit(span, Kind::Drop),
            Name::Forwarded(field) => self.edit(span, Kind::Forwarded(field)),
            Name::FramingLookAlike => Err(RequestFault::FramingLookAlike),
        }
    }

    fn edit(&mut self, line: Span, kind: Kind) -> Result<(), RequestFault> {
        Ok(self.fields.edits.push(whole(line), kind)?)
    }

    // RFC 9112 section 3.2.2: "the proxy MUST ignore the received Host header field (if any)"
    /// Host is checked even where an absolute-form target replaces it (RFC 9112 section 3.2.2).
    fn host(&mut self, buf: &[u8], line: &RequestLine, span: Span, value: &[u8]) -> Result<(), RequestFault> {
        if self.host.is_some() {
            return Err(RequestFault::HostRepeated);
        }
        let host = trim(value);
        if !host::is_host(host) {
            return Err(RequestFault::Host);
        }
        self.host = Some(span_of(buf, host));
        match line.form {
            Form::Origin => Ok(self.fields.respace(span, value)?),
            Form::Absolute(_) => self.edit(span, Kind::Drop),
        }
    }

    // RFC 9110 section 10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that expectation"
    /// RFC 9110 section 10.1.1: an expectation in HTTP/1.0 is ignored, and then not sent on either, since its client
    /// could make nothing of a 100 response.
    fn expect(&mut self, line: &RequestLine, span: Span, value: &[u8]) -> Result<(), RequestFault> {
        if line.version == Version::Http10 {
            return self.edit(span, Kind::Drop);
        }
        if !trim(value).eq_ignore_ascii_case(b"100-continue") {
            return Err(RequestFault::Expectation);
        }
        if std::mem::replace(&mut self.expects_continue, true) {
            // Servers refuse a repetition.
            return self.edit(span, Kind::Drop);
        }
        Ok(self.fields.respace(span, value)?)
    }

    /// The head, now that its empty line is there.
    fn finish(&mut self, buf: &[u8], line: &RequestLine) -> Result<RequestHead, RequestFault> {
        let len = self.lines.start;
        let body = self.fields.body(line.version)?.unwrap_or(Body::Empty);
        if self.host.is_none() && line.version == Version::Http11 {
            return Err(RequestFault::HostMissing);
        }
        let lines = Span { start: line.whole.end + 2, end: Span::new(0..len - 2).end };
        self.fields.drop_nominated(buf, lines)?;
        Ok(RequestHead {
            len,
            method: line.method,
            method_span: line.method_span,
            target: line.target,
            version: line.version,
            host: line.authority.or(self.host),
            body,
            persistent: self.fields.wants_persistence(line.version),
            expects_continue: self.expects_continue && body != Body::Empty,
            upgrade: self.fields.wants_upgrade(line.version),
            form: line.form,
            accepts_trailers: self.accepts_trailers,
            line_end: line.whole.end,
            edits: self.fields.edits,
        })
    }
}
