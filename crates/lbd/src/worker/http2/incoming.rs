//! The body of a request as it comes: content becomes what would be read of a client of HTTP/1.1.

use std::io;
use std::task::{Context, Poll};

use http2::StreamId;
use tokio::io::ReadBuf;

use super::link::{Lane, Link};

/// A body, of which some has been read.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Framing that is to be read next.
    text: Vec<u8>,
    at: usize,
    /// Content that lies ready behind it.
    content: usize,
    kind: Kind,
    stage: Stage,
}

/// How what comes is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has the length that its head says, or none.
    Length,
    Chunked,
    /// There is no framing: it ends with the stream.
    Raw,
}

/// What comes behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Content,
    /// The end of a chunk.
    ChunkEnd,
    Nothing,
}

impl Incoming {
    pub(super) fn new(has_body: bool, kind: Kind) -> Self {
        let stage = if has_body { Stage::Content } else { Stage::Nothing };
        Self { text: Vec::new(), at: 0, content: 0, kind, stage }
    }

    /// Waits until there is something to read.
    pub(super) fn poll_ready(&mut self, cx: &Context<'_>, link: &Link, id: StreamId) -> Poll<io::Result<()>> {
        if self.at < self.text.len() || self.content > 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_more(cx, link, id)
    }

    /// Reads what there is.
    pub(super) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        link: &Link,
        id: StreamId,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        loop {
            let text = &self.text[self.at..];
            let taken = text.len().min(to.remaining());
            to.put_slice(&text[..taken]);
            self.at += taken;
            let taken = self.content.min(to.remaining());
            if taken > 0 {
                take(link, id, taken, |content| to.put_slice(content));
                self.content -= taken;
            }
            if to.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match self.poll_more(cx, link, id) {
                Poll::Ready(Ok(())) if self.at < self.text.len() || self.content > 0 => {}
                _ if to.filled().len() > before => return Poll::Ready(Ok(())),
                other => return other,
            }
        }
    }

    /// Waits for what comes next, when all before it has been read.
    fn poll_more(&mut self, cx: &Context<'_>, link: &Link, id: StreamId) -> Poll<io::Result<()>> {
        if self.stage == Stage::ChunkEnd {
            self.say(b"\r\n");
            self.stage = Stage::Content;
            return Poll::Ready(Ok(()));
        }
        let mut connection = link.connection();
        let Some(lane) = connection.user(id) else { return Poll::Ready(Err(reset())) };
        let ready = lane.content().len();
        match self.stage {
            // Nothing follows, and whether the client is still there is another question.
            Stage::Nothing => Poll::Pending,
            _ if ready > 0 => {
                if self.kind == Kind::Chunked {
                    self.say(format!("{ready:x}\r\n").as_bytes());
                    self.stage = Stage::ChunkEnd;
                }
                self.content = ready;
                Poll::Ready(Ok(()))
            }
            _ if lane.ended && self.kind == Kind::Raw => Poll::Ready(Ok(())),
            _ if lane.ended => {
                self.stage = Stage::Nothing;
                if self.kind == Kind::Length {
                    // What has a length ends with it.
                    return Poll::Pending;
                }
                self.say(b"0\r\n");
                self.text.extend_from_slice(&lane.trailers);
                self.text.extend_from_slice(b"\r\n");
                Poll::Ready(Ok(()))
            }
            _ if lane.gone => Poll::Ready(Err(reset())),
            _ => {
                lane.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Reads on and forgets what comes, until the request ends, or more than `most` bytes have come.
    pub(super) fn poll_drain(
        &mut self,
        cx: &Context<'_>,
        link: &Link,
        id: StreamId,
        most: &mut usize,
    ) -> Poll<()> {
        self.content = 0;
        let mut connection = link.connection();
        let Some(lane) = connection.user(id) else { return Poll::Ready(()) };
        let ready = lane.content().len();
        let Some(left) = most.checked_sub(ready) else { return Poll::Ready(()) };
        *most = left;
        let over = lane.ended || lane.gone || self.stage == Stage::Nothing;
        lane.wait(cx);
        drop(connection);
        take(link, id, ready, |_| {});
        if over { Poll::Ready(()) } else { Poll::Pending }
    }

    fn say(&mut self, text: &[u8]) {
        self.text.clear();
        self.at = 0;
        self.text.extend_from_slice(text);
    }
}

/// Reads content: that makes room for more.
fn take(link: &Link, id: StreamId, bytes: usize, read: impl FnOnce(&[u8])) {
    let mut connection = link.connection();
    if let Some(lane) = connection.user(id) {
        read(&lane.content()[..bytes]);
        Lane::consume(lane, bytes);
    }
    let before = connection.out().len();
    connection.release(id, bytes);
    if connection.out().len() > before {
        link.wake_driver();
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
