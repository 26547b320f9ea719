//! A response as it goes: what would be written to a client of HTTP/1.1 becomes the frames of a stream.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http1::{Body, ResponseHead, ResponseLimits, ResponseParser};

use super::budget::{Budget, Piece, Respond};
use super::chunks::Chunks;
use super::incoming::broken;

/// What comes from servers, and what edits may make of it.
const LIMITS: ResponseLimits = ResponseLimits { head: 96 * 1024, fields: 512 };
/// The largest piece that is handed on at once.
const PIECE: usize = 64 * 1024;

/// A response, of which some has been written.
#[derive(Debug)]
pub(super) struct Outgoing {
    method: http1::Method,
    respond: Respond,
    body: Option<SendStream<Piece>>,
    budget: Rc<Budget>,
    parser: ResponseParser,
    /// What has come of a head that is not complete.
    head: Vec<u8>,
    stage: Stage,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Head,
    /// That many bytes of content.
    Length(u64),
    Chunked(Chunks),
    Done,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All of it has been handed on.
    Whole,
    /// The client did not want to have all of it.
    Refused,
    /// There was no more, and the client was told that something is missing.
    Broken,
}

impl Outgoing {
    pub(super) fn new(method: http1::Method, respond: Respond, budget: Rc<Budget>) -> Self {
        Self {
            method,
            respond,
            body: None,
            budget,
            parser: ResponseParser::new(LIMITS),
            head: Vec::new(),
            stage: Stage::Head,
        }
    }

    /// Waits until the client has reset the stream, or its connection is no more.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.body {
            Some(body) => body.poll_reset(cx).map(drop),
            None => self.respond.poll_reset(cx).map(drop),
        }
    }

    /// Takes as much as there is room for.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in slices {
            let mut rest = &slice[..];
            while !rest.is_empty() {
                match self.poll_take(cx, rest) {
                    Poll::Ready(Ok(taken)) => {
                        written += taken;
                        rest = &rest[taken..];
                    }
                    Poll::Pending if written > 0 => return Poll::Ready(Ok(written)),
                    other => return other,
                }
            }
        }
        Poll::Ready(Ok(written))
    }

    /// Takes some of it.
    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stage {
            Stage::Head => Poll::Ready(self.take_head(bytes)),
            Stage::Length(left) => {
                let left = *left;
                let most = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let room = ready!(self.poll_room(cx, most))?;
                self.stage =
                    if room as u64 == left { Stage::Done } else { Stage::Length(left - room as u64) };
                Poll::Ready(self.send(bytes[..room].to_vec()).map(|()| room))
            }
            Stage::Chunked(chunks) => {
                let mut content = Vec::new();
                let mut taken = chunks.take(bytes, 0, &mut content).map_err(|_| malformed())?;
                if taken < bytes.len() {
                    // It is content that comes next.
                    let room = match self.poll_room(cx, bytes.len() - taken) {
                        Poll::Ready(room) => room?,
                        Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                        Poll::Pending => return Poll::Pending,
                    };
                    let Stage::Chunked(chunks) = &mut self.stage else {
                        return Poll::Ready(Err(malformed()));
                    };
                    taken += chunks.take(&bytes[taken..], room, &mut content).map_err(|_| malformed())?;
                }
                Poll::Ready(self.send_chunked(content).map(|()| taken))
            }
            Stage::Done => Poll::Ready(Err(malformed())),
        }
    }

    /// Takes the head, or what comes of it.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.head.len();
        // As a rule all of it comes at once.
        let head = if before == 0 {
            self.parser.parse(bytes, self.method)
        } else {
            self.head.extend_from_slice(bytes);
            self.parser.parse(&self.head, self.method)
        };
        let Some(head) = head.map_err(|_| malformed())? else {
            if before == 0 {
                self.head.extend_from_slice(bytes);
            }
            return Ok(bytes.len());
        };
        let text = if before == 0 { bytes } else { &self.head[..] };
        let response = response(&head, &text[..head.len])?;
        self.head.clear();
        self.answer(&head, response)?;
        Ok(head.len - before)
    }

    fn answer(&mut self, head: &ResponseHead, response: Response<()>) -> io::Result<()> {
        if head.is_interim() {
            return self.respond.send_informational(response).map_err(broken);
        }
        let ended = head.body == Body::Empty;
        self.body = Some(self.respond.send_response(response, ended).map_err(broken)?);
        self.stage = match head.body {
            Body::Empty => Stage::Done,
            Body::Length(length) => Stage::Length(length),
            Body::Chunked => Stage::Chunked(Chunks::default()),
            // Who writes for HTTP/1.1 has made chunks of it.
            Body::UntilClose => return Err(malformed()),
        };
        Ok(())
    }

    /// Waits until the client, and the connection, take some bytes; how many of those wanted.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let left = ready!(self.budget.poll_left(cx));
        let Some(body) = &mut self.body else { return Poll::Ready(Err(malformed())) };
        let wanted = wanted.min(left).min(PIECE);
        body.reserve_capacity(wanted);
        loop {
            let capacity = body.capacity();
            if capacity > 0 {
                return Poll::Ready(Ok(capacity.min(wanted)));
            }
            match ready!(body.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
    }

    /// Hands on content that there is room for; the last of it if the body has ended.
    fn send(&mut self, content: Vec<u8>) -> io::Result<()> {
        let ended = matches!(self.stage, Stage::Done);
        let piece = Piece::new(content, &self.budget);
        let Some(body) = &mut self.body else { return Err(malformed()) };
        body.send_data(piece, ended).map_err(broken)
    }

    fn send_chunked(&mut self, content: Vec<u8>) -> io::Result<()> {
        let Stage::Chunked(chunks) = &self.stage else { return Err(malformed()) };
        if !chunks.is_done() {
            return if content.is_empty() { Ok(()) } else { self.send(content) };
        }
        let trailers = fields(chunks.trailers())?;
        if trailers.is_empty() {
            self.stage = Stage::Done;
            return self.send(content);
        }
        if !content.is_empty() {
            self.send(content)?;
        }
        self.stage = Stage::Done;
        let Some(body) = &mut self.body else { return Err(malformed()) };
        body.send_trailers(trailers).map_err(broken)
    }

    /// Ends the stream: what is not whole is never taken for it.
    pub(super) fn end(&mut self) -> Ended {
        if matches!(self.stage, Stage::Done) {
            return Ended::Whole;
        }
        let refused = self.poll_gone(&mut Context::from_waker(Waker::noop())).is_ready();
        self.respond.send_reset(Reason::INTERNAL_ERROR);
        if refused { Ended::Refused } else { Ended::Broken }
    }
}

/// Nobody here writes such a response.
fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The response of which this is the head.
fn response(head: &ResponseHead, text: &[u8]) -> io::Result<Response<()>> {
    let lines = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |end| end + 1);
    let mut response = Response::builder().status(head.status).body(()).map_err(|_| malformed())?;
    *response.headers_mut() = fields(&text[lines..])?;
    Ok(response)
}

// RFC 9113 section 8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields."
/// Fields from their lines, but for those that are about a connection of HTTP/1.
fn fields(lines: &[u8]) -> io::Result<HeaderMap> {
    // All values are parts of one copy, and the map never grows.
    let copy = Bytes::copy_from_slice(lines);
    let mut fields = HeaderMap::with_capacity(lines.iter().filter(|&&byte| byte == b'\n').count());
    for line in copy.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| malformed())?;
        let of_connection = [CONNECTION, TRANSFER_ENCODING, UPGRADE, TE].contains(&name)
            || matches!(name.as_str(), "keep-alive" | "proxy-connection");
        if !of_connection {
            let value = copy.slice_ref(line[colon + 1..].trim_ascii());
            fields.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| malformed())?);
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_connection_stays_there() {
        let lines = b"Server: nginx\r\nConnection: close\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\n\
            Upgrade: h2c\r\nTE: gzip\r\nProxy-Connection: close\r\nSet-Cookie: a=b\r\nset-cookie:  c=\xff \r\nEmpty:\r\n\r\n";
        let fields = fields(lines).unwrap();
        let said: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 4] =
            [("server", b"nginx"), ("set-cookie", b"a=b"), ("set-cookie", b"c=\xff"), ("empty", b"")];
        assert_eq!(said, expected);
    }
}
