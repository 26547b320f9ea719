//! The request line: `METHOD TARGET VERSION` (RFC 9112 section 3).

use crate::bytes::{target_prefix, token_prefix};
use crate::{Method, RequestFault, Span, Version, host};

// RFC 9112 section 3.2.2: "a server MUST accept the absolute-form in requests"
/// The form of a target, which decides what is sent on (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A path, or `*`: sent on as it is.
    Origin,
    /// A URL: its path and query are sent on, after this; its host and port become Host.
    Absolute(&'static [u8]),
}

/// A request line's parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLine {
    pub(crate) whole: Span,
    pub(crate) method: Method,
    pub(crate) method_span: Span,
    /// In the form it is sent on, but for the prefix in `form`.
    pub(crate) target: Span,
    pub(crate) form: Form,
    /// Host and port of an absolute-form target.
    pub(crate) authority: Option<Span>,
    pub(crate) version: Version,
}

impl RequestLine {
    /// The parts of the line, which holds no control characters but tabs.
    pub(crate) fn parse(buf: &[u8], whole: Span) -> Result<Self, RequestFault> {
        let line = whole.of(buf);
        let method_len = token_prefix(line);
        match line.get(method_len) {
            Some(b' ') if method_len > 0 => {}
            Some(b' ') | None => return Err(RequestFault::RequestLine),
            Some(_) => return Err(RequestFault::Method),
        }
        let target_at = method_len + 1;
        let target_len = target_prefix(&line[target_at..]);
        match line.get(target_at + target_len) {
            Some(b' ') if target_len > 0 => {}
            Some(b' ') | None => return Err(RequestFault::RequestLine),
            Some(_) => return Err(RequestFault::TargetCharacter),
        }
        let version = version(&line[target_at + target_len + 1..])?;
        let method = Method::from_bytes(&line[..method_len]);
        if method == Method::Connect {
            return Err(RequestFault::Connect);
        }
        let span = |start: usize, end: usize| Span {
            start: whole.start + Span::new(0..start).end,
            end: whole.start + Span::new(0..end).end,
        };
        let target_span = span(target_at, target_at + target_len);
        let mut parts = Self {
            whole,
            method,
            method_span: span(0, method_len),
            target: target_span,
            form: Form::Origin,
            authority: None,
            version,
        };
        let target = &line[target_at..target_at + target_len];
        if target[0] == b'/' || (target == b"*" && method == Method::Options) {
            return Ok(parts);
        }
        let authority_at = target_at + scheme(target).ok_or(RequestFault::Target)?;
        let rest = &line[authority_at..target_at + target_len];
        let authority_len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        if !host::is_host(&rest[..authority_len]) {
            return Err(RequestFault::Host);
        }
        parts.authority = Some(span(authority_at, authority_at + authority_len));
        parts.target = span(authority_at + authority_len, target_at + target_len);
        parts.form = Form::Absolute(match rest.get(authority_len) {
            Some(b'/') => b"",
            // RFC 9112 section 3.2.4: "the last proxy on the request chain MUST send a request-target of "*""
            // RFC 9112 section 3.2.4: such a URL stands for the server as a whole.
            None if method == Method::Options => b"*",
            _ => b"/",
        });
        Ok(parts)
    }
}

/// The version, which is case-sensitive (RFC 9112 section 2.3).
fn version(text: &[u8]) -> Result<Version, RequestFault> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        // A later minor version is one that we know, with something more (RFC 9110 section 2.5).
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(RequestFault::Version)
        }
        _ => Err(RequestFault::RequestLine),
    }
}

/// The length of an http or https URL's scheme, with what separates it from the host.
fn scheme(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(<[u8]>::len)
}
