//! A response as it goes: what would be written to a client of HTTP/1.1 becomes the frames of a stream.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use http2::{Connection, StreamId};

use super::chunks::Chunks;
use super::link::Link;
use super::web_socket::Accept;

/// What comes from servers, and what edits may make of it.
const HEAD_MAX: usize = 96 * 1024;

/// A response, of which some has been written.
#[derive(Debug)]
pub(super) struct Outgoing {
    method: http1::Method,
    /// What has come of a head that is not complete.
    head: Vec<u8>,
    stage: Stage,
    /// Whoever wants a WebSocket has it when its server has said this.
    web_socket: Option<Accept>,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Head,
    /// That many bytes of content.
    Length(u64),
    Chunked(Chunks),
    /// Whatever it is, until it is ended.
    Tunnel,
    Done,
}

impl Outgoing {
    pub(super) fn new(method: http1::Method, web_socket: Option<Accept>) -> Self {
        Self { method, head: Vec::new(), stage: Stage::Head, web_socket }
    }

    /// Whether all of it has been written.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Takes as much as there is room for.
    pub(super) fn poll_write(
        &mut self,
        cx: &Context<'_>,
        link: &Link,
        id: StreamId,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in slices {
            let mut rest = &slice[..];
            while !rest.is_empty() {
                match self.poll_take(cx, link, id, rest) {
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
    fn poll_take(
        &mut self,
        cx: &Context<'_>,
        link: &Link,
        id: StreamId,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let content = |most: usize| {
            let room = ready!(link.poll_room(cx, id, Connection::room))?;
            Poll::Ready(io::Result::Ok(room.min(most)))
        };
        let taken = match &mut self.stage {
            Stage::Head => {
                ready!(link.poll_room(cx, id, Connection::room_for_head))?;
                self.take_head(link, id, bytes)?
            }
            Stage::Length(left) => {
                let most = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let taken = ready!(content(most))?;
                *left -= taken as u64;
                let ended = *left == 0;
                link.connection().send_content(id, |out| {
                    out.extend_from_slice(&bytes[..taken]);
                    ended
                });
                if ended {
                    self.stage = Stage::Done;
                }
                taken
            }
            Stage::Chunked(chunks) => {
                let mut taken = chunks.take(bytes, 0, &mut Vec::new()).map_err(|_| malformed())?;
                if taken < bytes.len() {
                    // It is content that comes next.
                    let room = match content(bytes.len() - taken) {
                        Poll::Ready(room) => room?,
                        Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                        Poll::Pending => return Poll::Pending,
                    };
                    let mut more = Ok(0);
                    link.connection().send_content(id, |out| {
                        more = chunks.take(&bytes[taken..], room, out);
                        chunks.is_done() && chunks.trailers().is_empty()
                    });
                    taken += more.map_err(|_| malformed())?;
                } else if chunks.is_done() && chunks.trailers().is_empty() {
                    link.connection().send_content(id, |_| true);
                }
                if chunks.is_done() {
                    link.connection().send_trailers(id, fields(chunks.trailers()));
                    self.stage = Stage::Done;
                }
                taken
            }
            Stage::Tunnel => {
                let taken = ready!(content(bytes.len()))?;
                link.connection().send_content(id, |out| {
                    out.extend_from_slice(&bytes[..taken]);
                    false
                });
                taken
            }
            Stage::Done => return Poll::Ready(Err(malformed())),
        };
        link.wake_driver();
        Poll::Ready(Ok(taken))
    }

    /// Ends what has no end of its own.
    pub(super) fn end(&mut self, link: &Link, id: StreamId) {
        if matches!(self.stage, Stage::Tunnel) {
            self.stage = Stage::Done;
            link.connection().send_content(id, |_| true);
            link.wake_driver();
        }
    }

    /// Takes the head, or what comes of it.
    fn take_head(&mut self, link: &Link, id: StreamId, bytes: &[u8]) -> io::Result<usize> {
        let before = self.head.len();
        // As a rule all of it comes at once.
        if before > 0 {
            self.head.extend_from_slice(bytes);
        }
        let text = if before == 0 { bytes } else { &self.head[..] };
        let Some(head) = Head::read(text, self.method)? else {
            if before == 0 {
                self.head.extend_from_slice(bytes);
            }
            return if self.head.len() > HEAD_MAX { Err(malformed()) } else { Ok(bytes.len()) };
        };
        let (length, stage) = (
            head.length,
            match &self.web_socket {
                Some(accept) => answer_web_socket(link, id, head, accept),
                None => answer(link, id, head),
            },
        );
        self.head.clear();
        self.stage = stage;
        Ok(length - before)
    }
}

/// A response's head that lbd has written: strict as it is, there is nothing to verify.
struct Head<'a> {
    status: u16,
    lines: &'a [u8],
    /// How long it is, with its empty line.
    length: usize,
    /// What follows it.
    body: Stage,
}

impl<'a> Head<'a> {
    /// The one that this begins with, if it is whole.
    fn read(text: &'a [u8], method: http1::Method) -> io::Result<Option<Self>> {
        let Some(end) = memchr::memmem::find(text, b"\r\n\r\n") else { return Ok(None) };
        let line = text.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines = text[..end + 2].get(line..).unwrap_or_default();
        let status = text.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let status: u16 = status.ok_or_else(malformed)?;
        let body = match status {
            100..200 => Stage::Head,
            204 | 304 => Stage::Done,
            _ if method == http1::Method::Head => Stage::Done,
            _ => framing(lines)?,
        };
        Ok(Some(Self { status, lines, length: end + 4, body }))
    }
}

/// How the end of a body is told.
fn framing(lines: &[u8]) -> io::Result<Stage> {
    for (name, value) in fields(lines) {
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Ok(Stage::Chunked(Chunks::default()));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            return match length.ok_or_else(malformed)? {
                0 => Ok(Stage::Done),
                length => Ok(Stage::Length(length)),
            };
        }
    }
    // Who writes for HTTP/1.1 has made chunks of what has no length.
    Err(malformed())
}

/// The same for whoever wants a WebSocket.
fn answer_web_socket(link: &Link, id: StreamId, head: Head<'_>, accept: &Accept) -> Stage {
    const SWITCHING: u16 = 101;
    let is_accept = |name: &[u8]| name.eq_ignore_ascii_case(b"sec-websocket-accept");
    let agrees = fields(head.lines).any(|(name, value)| is_accept(name) && value == accept.as_bytes());
    match head.status {
        SWITCHING if agrees => {
            // RFC 8441 section 5: 200 is what 101 is in HTTP/1.1.
            let fields = fields(head.lines).filter(|(name, _)| !is_accept(name));
            link.connection().send_head(id, 200, fields, false);
            Stage::Tunnel
        }
        // It has not agreed, and the client must not take that for a yes.
        SWITCHING | 200..300 => {
            link.connection().send_head(id, 502, std::iter::empty(), true);
            Stage::Done
        }
        _ => answer(link, id, head),
    }
}

/// Sends a head.
fn answer(link: &Link, id: StreamId, head: Head<'_>) -> Stage {
    let ended = matches!(head.body, Stage::Done);
    link.connection().send_head(id, head.status, fields(head.lines), ended);
    head.body
}

/// Nobody here writes such a response.
fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Names and values of fields, from their lines.
fn fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: 12\r\n\r\nbody";
        for end in 0..text.len() - 4 {
            assert!(Head::read(&text[..end], http1::Method::Other).unwrap().is_none());
        }
        let head = Head::read(text, http1::Method::Other).unwrap().unwrap();
        assert_eq!((head.status, head.length), (200, text.len() - 4));
        assert_eq!(head.lines, b"Server: a\r\nContent-Length: 12\r\n");
        assert!(matches!(head.body, Stage::Length(12)));
    }

    #[test]
    fn what_follows_is_told_by_the_method_the_status_and_the_fields() {
        let follows = |status: u16, lines: &str, method| {
            let text = format!("HTTP/1.1 {status} Whatever\r\n{lines}\r\n");
            Head::read(text.as_bytes(), method).map(|head| head.unwrap().body)
        };
        let other = http1::Method::Other;
        for status in [204, 304] {
            assert!(matches!(follows(status, "Content-Length: 5\r\n", other), Ok(Stage::Done)));
        }
        for status in [100, 101, 103] {
            assert!(matches!(follows(status, "", other), Ok(Stage::Head)));
        }
        assert!(matches!(follows(200, "Content-Length: 5\r\n", http1::Method::Head), Ok(Stage::Done)));
        assert!(matches!(follows(200, "Content-Length: 0\r\n", other), Ok(Stage::Done)));
        assert!(matches!(follows(404, "transfer-encoding: chunked\r\n", other), Ok(Stage::Chunked(_))));
        assert!(
            follows(200, "Server: a\r\n", other).is_err()
                && follows(200, "Content-Length: x\r\n", other).is_err()
        );
    }

    #[test]
    fn a_line_is_a_field() {
        let lines = b"Server: nginx\r\nSet-Cookie: a=b\r\nset-cookie:  c=\xff \r\nEmpty:\r\n\r\n";
        let expected: [(&[u8], &[u8]); 4] =
            [(b"Server", b"nginx"), (b"Set-Cookie", b"a=b"), (b"set-cookie", b"c=\xff"), (b"Empty", b"")];
        assert_eq!(fields(lines).collect::<Vec<_>>(), expected);
    }
}
