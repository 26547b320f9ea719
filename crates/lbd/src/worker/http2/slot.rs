//! Tasks that serve one stream after another: what a stream needs is made once for as many as there are at once, and not for each.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::link::Link;
use super::stream::Opening;
use crate::worker::http::connection::Connection;
use crate::worker::net::buffer::Buffer;
use crate::worker::presence::Listed;

/// A stream that begins, and its request's head.
pub(super) type Next = (Opening, Buffer);

/// Where a task without a stream waits for the next.
#[derive(Default)]
pub(super) struct Slot {
    next: Cell<Option<Next>>,
    dismissed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    /// Has its task serve a stream.
    pub(super) fn give(&self, next: Next) {
        self.next.set(Some(next));
        self.wake();
    }

    /// Has its task end.
    pub(super) fn dismiss(&self) {
        self.dismissed.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits for the next stream; none comes when it is dismissed.
    async fn wait(&self) -> Option<Next> {
        poll_fn(|cx| {
            if let Some(next) = self.next.take() {
                return Poll::Ready(Some(next));
            }
            if self.dismissed.get() {
                return Poll::Ready(None);
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Serves the stream that a connection has, and those that come after it.
pub(super) async fn serve(link: Rc<Link>, mut connection: Box<Connection>, mut listed: Listed) {
    let slot = Rc::new(Slot::default());
    loop {
        link.worker.intake.begin();
        connection = connection.serve_one().await;
        connection.finish_stream();
        // One that was cut short stays so.
        if listed.presence().deadline().is_cut() || !link.park(&slot) {
            break;
        }
        listed.rest();
        let Some((opening, input)) = slot.wait().await else { break };
        listed.resume();
        connection.renew_stream(|stream| stream.renew(opening), input);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("dismissed", &self.dismissed).finish_non_exhaustive()
    }
}
