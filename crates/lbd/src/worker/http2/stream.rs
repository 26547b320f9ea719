//! A stream as the rest of lbd sees it: a client's connection of HTTP/1.1, by which one request comes.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::ReadBuf;

use super::budget::{Budget, Respond};
use super::incoming::Incoming;
use super::outgoing::{Ended, Outgoing};
use crate::worker::Worker;

/// What the streams of a connection have in common.
pub(super) trait Carrier {
    /// One of them is over.
    fn ended(&self, how: Ended);
}

/// A request and its response. Each direction is borrowed for a call alone.
pub(crate) struct Stream {
    incoming: RefCell<Incoming>,
    outgoing: RefCell<Outgoing>,
    worker: Rc<Worker>,
    carrier: Rc<dyn Carrier>,
    local: Option<SocketAddr>,
    has_tls: bool,
}

/// What a stream knows of its connection.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) worker: Rc<Worker>,
    pub(super) carrier: Rc<dyn Carrier>,
    pub(super) budget: Rc<Budget>,
    pub(super) local: Option<SocketAddr>,
    pub(super) has_tls: bool,
}

impl Stream {
    /// None of a request that is malformed: the client is told.
    pub(super) fn new(ground: &Ground, request: Request<RecvStream>, mut respond: Respond) -> Option<Self> {
        let Ground { worker, carrier, budget, local, has_tls } = ground.clone();
        let method = http1::Method::from_bytes(request.method().as_str().as_bytes());
        let incoming = match Incoming::new(request, worker.heads.lend().keep()) {
            Ok(incoming) => incoming,
            Err((_, memory)) => {
                // RFC 9113 section 8.1.1: "Malformed requests or responses that are detected MUST be treated as a stream error of type PROTOCOL_ERROR."
                respond.send_reset(Reason::PROTOCOL_ERROR);
                worker.heads.give(memory);
                return None;
            }
        };
        let outgoing = RefCell::new(Outgoing::new(method, respond, budget));
        Some(Self { incoming: RefCell::new(incoming), outgoing, worker, carrier, local, has_tls })
    }

    /// The address of this end of its connection.
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.local.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether there is TLS on its connection.
    pub(crate) fn has_tls(&self) -> bool {
        self.has_tls
    }

    /// Waits until there is something to read.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.borrow_mut().poll_ready(cx)
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.incoming.borrow_mut().poll_read(cx, to)
    }

    /// Reads on and forgets what comes, until the request ends, or more than `most` bytes have come.
    pub(crate) fn poll_drain(&self, cx: &mut Context<'_>, most: &mut usize) -> Poll<()> {
        self.incoming.borrow_mut().poll_drain(cx, most)
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.outgoing.borrow_mut().poll_write(cx, slices)
    }

    /// Waits until the client has reset it, or its connection is no more.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.outgoing.borrow_mut().poll_gone(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.carrier.ended(self.outgoing.get_mut().end());
        self.worker.heads.give(self.incoming.get_mut().take_memory());
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { incoming, outgoing, local, .. } = self;
        f.debug_struct("Stream")
            .field("incoming", incoming)
            .field("outgoing", outgoing)
            .field("local", local)
            .finish_non_exhaustive()
    }
}
