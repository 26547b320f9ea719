//! A connection as the crate h2 wants to have it: something that owns both directions.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffer::{Buffer, Pool};
use super::io::Io;
use crate::worker::Worker;

/// Both directions of a connection, behind what has been received of it already. Whoever shares it has the connection back when
/// this is dropped.
pub(crate) struct Transport {
    io: Rc<RefCell<Io>>,
    early: Buffer,
    worker: Rc<Worker>,
}

impl Transport {
    pub(crate) fn new(io: Rc<RefCell<Io>>, early: Option<Buffer>, worker: Rc<Worker>) -> Self {
        Self { io, early: early.unwrap_or_default(), worker }
    }

    fn pool(&self) -> &Pool<Buffer> {
        &self.worker.requests
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.early.is_empty() {
            let mut io = this.io.borrow_mut();
            return Pin::new(&mut io.reader()).poll_read(cx, to);
        }
        let taken = this.early.filled().len().min(to.remaining());
        to.put_slice(&this.early.filled()[..taken]);
        this.early.consume(taken);
        if this.early.is_empty() {
            let early = std::mem::take(&mut this.early);
            this.pool().give(early);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io.borrow_mut().writer()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io.borrow_mut().writer()).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.borrow_mut().writer().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io.borrow_mut().writer()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io.borrow_mut().writer()).poll_shutdown(cx)
    }
}
