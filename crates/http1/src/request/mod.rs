//! Request heads: what a client asks, and how it is passed on.

mod forwarded;
mod line;
mod parser;
mod write;

pub use forwarded::{ForwardedField, ForwardedFields, ForwardedFor};
pub use parser::{Limits, RequestParser, empty_lines};
pub use write::Forward;

use crate::bytes::is_uri;
use crate::edits::Edits;
use crate::{Body, Method, Span, Version};
use line::Form;

/// Whether the target of a head that is written, or edited, is one that RFC 3986 allows. What else browsers and scripts send is
/// passed on, but not each server understands it.
pub fn has_plain_target(head: &[u8]) -> bool {
    head.split(|&byte| byte == b' ').nth(1).is_some_and(is_uri)
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
    /// The target in the form it is sent on: path and query, or `*`. (Only after an absolute-form target without a path
    /// is it what follows the host, nothing or a query: [`RequestHead::write`] puts the `/` or `*` in front.)
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
    form: Form,
    /// TE names `trailers`, so that the server may send some.
    accepts_trailers: bool,
    /// Where the line end of the request line is.
    line_end: u32,
    edits: Edits,
}

impl RequestHead {
    /// The path, without the query; of a URL that has none it is `/`, or `*` where the request is about the server as a whole.
    pub fn path<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        let target = self.target.of(buf);
        match (target.split(|&byte| byte == b'?').next(), self.form) {
            (None | Some([]), Form::Absolute(b"*")) => b"*",
            (None | Some([]), _) => b"/",
            (Some(path), _) => path,
        }
    }

    /// What follows the question mark; none where there is none.
    pub fn query<'b>(&self, buf: &'b [u8]) -> Option<&'b [u8]> {
        let target = self.target.of(buf);
        let mark = target.iter().position(|&byte| byte == b'?')?;
        Some(&target[mark + 1..])
    }

    /// The field lines as they were received, each with its line end.
    pub fn field_lines<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        let lines = self.line_end as usize + 2..self.len.saturating_sub(2);
        buf.get(lines).unwrap_or_default()
    }

    /// All parts lie within the head, which is there. A request's body has an end, and HTTP/1.0 asks for nothing that it
    /// does not know.
    fn check_invariants(&self, buf: &[u8]) {
        let end = self.len as u64;
        debug_assert!(self.len <= buf.len());
        debug_assert!([self.method_span, self.target].iter().all(|part| u64::from(part.end) <= end));
        debug_assert!(self.host.is_none_or(|host| u64::from(host.end) <= end));
        debug_assert!(self.host.is_some() || self.version == Version::Http10);
        debug_assert!(!matches!(self.body, Body::UntilClose | Body::Length(0)));
        debug_assert!(self.version == Version::Http11 || !self.expects_continue && !self.upgrade);
        self.edits.check_invariants(Span { start: self.line_end + 2, end: Span::new(0..self.len - 2).end });
    }
}
