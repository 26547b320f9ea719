//! A request as it comes: the fields of a stream become the head of a request of HTTP/1.1, and its frames the body.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, TE};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use tokio::io::ReadBuf;

/// What is not HTTP/2, although every frame and every field of it is (RFC 9113 section 8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A request, of which some has been read.
#[derive(Debug)]
pub(super) struct Incoming {
    /// What is to be read next: the head, or framing.
    text: Vec<u8>,
    at: usize,
    /// What has come of the body behind it.
    data: Bytes,
    body: RecvStream,
    chunked: bool,
    next: Next,
}

/// What comes behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Data,
    Trailers,
    Nothing,
}

impl Incoming {
    /// `text` is empty, and room for the head.
    pub(super) fn new(request: Request<RecvStream>, mut text: Vec<u8>) -> Result<Self, (Malformed, Vec<u8>)> {
        let (parts, body) = request.into_parts();
        let framing = Framing::of(&parts.method, &parts.headers, body.is_end_stream());
        match write_head(&parts, framing, &mut text) {
            Ok(()) => {}
            Err(malformed) => return Err((malformed, text)),
        }
        let next =
            if framing == Framing::Nothing || framing == Framing::Zero { Next::Nothing } else { Next::Data };
        Ok(Self { text, at: 0, data: Bytes::new(), body, chunked: framing == Framing::Chunked, next })
    }

    /// The memory that the text had.
    pub(super) fn take_memory(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// Waits until there is something to read.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.at < self.text.len() || !self.data.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.poll_more(cx)
    }

    /// Reads what there is.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        loop {
            let text = &self.text[self.at..];
            let taken = text.len().min(to.remaining());
            to.put_slice(&text[..taken]);
            self.at += taken;
            let taken = self.data.len().min(to.remaining());
            if taken > 0 {
                to.put_slice(&self.data[..taken]);
                self.data.advance(taken);
                // What was read makes room for more. A stream that is over needs none.
                let _ = self.body.flow_control().release_capacity(taken);
                if self.data.is_empty() && self.chunked {
                    self.say(b"\r\n");
                    continue;
                }
            }
            if to.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match self.poll_more(cx) {
                Poll::Ready(Ok(())) => {}
                _ if to.filled().len() > before => return Poll::Ready(Ok(())),
                other => return other,
            }
        }
    }

    /// Waits for what comes next, when all before it has been read.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.next {
                Next::Data => match self.body.poll_data(cx) {
                    Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                    Poll::Ready(Some(Ok(data))) => {
                        if self.chunked {
                            self.say(format!("{:x}\r\n", data.len()).as_bytes());
                        }
                        self.data = data;
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                    // What has a length ends with it.
                    Poll::Ready(None) if self.chunked => self.next = Next::Trailers,
                    Poll::Ready(None) => self.next = Next::Nothing,
                    Poll::Pending => return Poll::Pending,
                },
                Next::Trailers => match self.body.poll_trailers(cx) {
                    Poll::Ready(Ok(trailers)) => {
                        self.say(b"0\r\n");
                        for (name, value) in trailers.iter().flatten() {
                            push_field(name, value, &mut self.text);
                        }
                        self.text.extend_from_slice(b"\r\n");
                        self.next = Next::Nothing;
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(error))),
                    Poll::Pending => return Poll::Pending,
                },
                // Nothing follows, and whether the client is still there is another question.
                Next::Nothing => return Poll::Pending,
            }
        }
    }

    /// Reads on and forgets what comes, until the request ends, or more than `most` bytes have come.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, most: &mut usize) -> Poll<()> {
        loop {
            let got = self.data.len();
            let Some(left) = most.checked_sub(got) else { return Poll::Ready(()) };
            *most = left;
            self.data.clear();
            // A stream that is over needs no room.
            let _ = self.body.flow_control().release_capacity(got);
            if self.next == Next::Nothing || ready!(self.poll_more(cx)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    fn say(&mut self, text: &[u8]) {
        self.text.clear();
        self.at = 0;
        self.text.extend_from_slice(text);
    }
}

pub(super) fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    } else {
        io::ErrorKind::ConnectionReset.into()
    }
}

/// How the end of a request's body is told in HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is none, and nothing has to say so.
    Nothing,
    /// There is none, where servers expect one.
    Zero,
    /// By its own Content-Length.
    Length,
    /// By chunks.
    Chunked,
}

impl Framing {
    fn of(method: &Method, fields: &HeaderMap, ended: bool) -> Self {
        match fields.contains_key(CONTENT_LENGTH) {
            // h2 has seen to it that this is zero.
            true if ended => Self::Nothing,
            true => Self::Length,
            // RFC 9110 section 8.6: a method that gives content a meaning has a Content-Length, be it 0. Some servers insist.
            false if ended && [Method::POST, Method::PUT, Method::PATCH].contains(method) => Self::Zero,
            false if ended => Self::Nothing,
            false => Self::Chunked,
        }
    }
}

/// Writes the head of a request of HTTP/1.1. What that itself has rules for is left to who reads it.
fn write_head(request: &http::request::Parts, framing: Framing, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let http::request::Parts { method, uri, headers, .. } = request;
    if uri.scheme().is_some_and(|scheme| ![Scheme::HTTP, Scheme::HTTPS].contains(scheme)) {
        return Err(Malformed);
    }
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(match (uri.path_and_query(), authority) {
        (Some(path), _) => path.as_str().as_bytes(),
        (None, authority) => authority.unwrap_or_default(),
    });
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        // RFC 9113 section 8.3.1: "A server SHOULD treat a request as malformed if it contains a Host header field that identifies an entity that differs from the entity in the ":authority" pseudo-header field."
        if headers.get_all(HOST).iter().any(|host| !host.as_bytes().eq_ignore_ascii_case(authority)) {
            return Err(Malformed);
        }
        out.extend_from_slice(b"Host: ");
        out.extend_from_slice(authority);
        out.extend_from_slice(b"\r\n");
    }
    let mut cookies = None;
    for (name, value) in headers {
        // RFC 9113 section 8.2.1: "A field value MUST NOT start or end with an ASCII whitespace character"
        if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value.as_bytes() {
            return Err(Malformed);
        }
        if name == COOKIE {
            cookies = Some(name);
        } else if name == TE {
            out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
        } else if name != HOST || authority.is_none() {
            push_field(name, value, out);
        }
    }
    // RFC 9113 section 8.2.3: "these MUST be concatenated into a single octet string using the two-octet delimiter of 0x3b, 0x20"
    if let Some(name) = cookies {
        out.extend_from_slice(b"cookie: ");
        for (at, crumb) in headers.get_all(name).iter().enumerate() {
            out.extend_from_slice(if at > 0 { b"; " } else { b"" });
            out.extend_from_slice(crumb.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(match framing {
        Framing::Nothing | Framing::Length => b"\r\n",
        Framing::Zero => b"Content-Length: 0\r\n\r\n",
        Framing::Chunked => b"Transfer-Encoding: chunked\r\n\r\n",
    });
    Ok(())
}

/// h2 lets no name or value pass that could end a line.
fn push_field(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, uri: &str, fields: &[(&str, &str)], ended: bool) -> Result<String, Malformed> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let framing = Framing::of(&parts.method, &parts.headers, ended);
        let mut out = Vec::new();
        write_head(&parts, framing, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_request_reads_as_one_of_http_1_1() {
        assert_eq!(
            head("GET", "http://a.test:81/b?c=d", &[("accept", "*/*"), ("x-a", "1"), ("x-a", "2")], true),
            Ok("GET /b?c=d HTTP/1.1\r\nHost: a.test:81\r\naccept: */*\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
                .to_owned())
        );
        // Without an authority there may be Host.
        assert_eq!(
            head("OPTIONS", "*", &[("host", "a")], true),
            Ok("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n".to_owned())
        );
        assert_eq!(
            head("CONNECT", "a.test:443", &[], true),
            Ok("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n".to_owned())
        );
    }

    #[test]
    fn the_end_of_a_body_is_told_by_its_length_or_by_chunks() {
        let line = |method, fields: &[_], ended| {
            let head = head(method, "http://a/", fields, ended).unwrap();
            head.strip_prefix(&format!("{method} / HTTP/1.1\r\nHost: a\r\n")).unwrap().to_owned()
        };
        assert_eq!(line("POST", &[("content-length", "5")], false), "content-length: 5\r\n\r\n");
        assert_eq!(line("POST", &[], false), "Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(line("GET", &[], false), "Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(line("GET", &[], true), "\r\n");
        for method in ["POST", "PUT", "PATCH"] {
            assert_eq!(line(method, &[], true), "Content-Length: 0\r\n\r\n");
        }
        assert_eq!(line("POST", &[("content-length", "0")], true), "content-length: 0\r\n\r\n");
    }

    // RFC 9113 section 8.2.3: "If there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet string"
    #[test]
    fn crumbs_are_one_cookie_again() {
        let fields = [("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("te", "trailers")];
        assert_eq!(
            head("GET", "http://a/", &fields, true).unwrap(),
            "GET / HTTP/1.1\r\nHost: a\r\nx: y\r\nTE: trailers\r\nConnection: TE\r\ncookie: a=b; c=d\r\n\r\n"
        );
    }

    #[test]
    fn the_host_is_said_once_or_twice_the_same() {
        let said = head("GET", "http://a.test/", &[("host", "A.test")], true).unwrap();
        assert_eq!(said, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(head("GET", "http://a.test/", &[("host", "b.test")], true), Err(Malformed));
        assert_eq!(
            head("GET", "http://a.test/", &[("host", "a.test"), ("host", "b.test")], true),
            Err(Malformed)
        );
        assert_eq!(head("GET", "ftp://a.test/", &[], true), Err(Malformed));
    }

    #[test]
    fn white_space_around_a_value_is_no_http_2() {
        for value in [" a", "a ", "\ta", "a\t", " "] {
            assert_eq!(head("GET", "http://a/", &[("x", value)], true), Err(Malformed), "{value:?}");
        }
        assert!(head("GET", "http://a/", &[("x", "a \t b"), ("y", "")], true).is_ok());
    }
}
