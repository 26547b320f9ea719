//! A stream as the rest of lbd sees it: a client's connection of HTTP/1.1, by which one request comes.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use http2::{Follows, StreamId};
use tokio::io::ReadBuf;

use super::incoming::{Incoming, Kind};
use super::link::{Ended, Link};
use super::outgoing::Outgoing;
use super::web_socket::Accept;

/// What a stream begins with.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) id: StreamId,
    method: http1::Method,
    kind: Kind,
    has_body: bool,
    web_socket: Option<Accept>,
}

impl Opening {
    /// That of a stream whose request has this head.
    pub(super) fn new(id: StreamId, head: &[u8], follows: Follows, web_socket: Option<Accept>) -> Self {
        let method = http1::Method::from_bytes(head.split(|&byte| byte == b' ').next().unwrap_or_default());
        let kind = match follows {
            Follows::WebSocket => Kind::Raw,
            _ if head.ends_with(b"\r\nTransfer-Encoding: chunked\r\n\r\n") => Kind::Chunked,
            _ => Kind::Length,
        };
        Self { id, method, kind, has_body: follows != Follows::Nothing, web_socket }
    }
}

/// The body of a request, and its response; then, those of the next. Each direction is borrowed for a call alone.
pub(crate) struct Stream {
    link: Rc<Link>,
    id: StreamId,
    /// It is over, and the next one has not begun.
    over: bool,
    incoming: RefCell<Incoming>,
    outgoing: RefCell<Outgoing>,
}

impl Stream {
    pub(super) fn new(link: &Rc<Link>, opening: Opening) -> Self {
        let Opening { id, method, kind, has_body, web_socket } = opening;
        link.enter();
        Self {
            link: link.clone(),
            id,
            over: false,
            incoming: RefCell::new(Incoming::new(has_body, kind)),
            outgoing: RefCell::new(Outgoing::new(method, web_socket)),
        }
    }

    /// Becomes the next one.
    pub(super) fn renew(&mut self, opening: Opening) {
        debug_assert!(self.over, "a stream is renewed that is not over");
        let link = self.link.clone();
        *self = Self::new(&link, opening);
    }

    /// Lets go of it.
    pub(crate) fn finish(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let is_gone = self.link.connection().user(self.id).is_none_or(|lane| lane.gone);
        let ended = match self.outgoing.get_mut().is_done() {
            true => Ended::Whole,
            false if is_gone => Ended::Refused,
            false => Ended::Broken,
        };
        self.link.leave(self.id, ended);
    }

    /// The address of this end of its connection.
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.link.local.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether there is TLS on its connection.
    pub(crate) fn has_tls(&self) -> bool {
        self.link.has_tls
    }

    /// Waits until there is something to read.
    pub(crate) fn poll_read_ready(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.borrow_mut().poll_ready(cx, &self.link, self.id)
    }

    pub(crate) fn poll_read(&self, cx: &Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.incoming.borrow_mut().poll_read(cx, &self.link, self.id, to)
    }

    /// Reads on and forgets what comes, until the request ends, or more than `most` bytes have come.
    pub(crate) fn poll_drain(&self, cx: &Context<'_>, most: &mut usize) -> Poll<()> {
        self.incoming.borrow_mut().poll_drain(cx, &self.link, self.id, most)
    }

    pub(crate) fn poll_write(&self, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.outgoing.borrow_mut().poll_write(cx, &self.link, self.id, slices)
    }

    /// Ends our side, where that is not in what was written.
    pub(crate) fn end(&self) {
        self.outgoing.borrow_mut().end(&self.link, self.id);
    }

    /// Waits until the client has reset it, or its connection is no more.
    pub(crate) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        match self.link.connection().user(self.id) {
            Some(lane) if !lane.gone => {
                lane.wait(cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, incoming, outgoing, .. } = self;
        f.debug_struct("Stream")
            .field("id", id)
            .field("incoming", incoming)
            .field("outgoing", outgoing)
            .finish_non_exhaustive()
    }
}
