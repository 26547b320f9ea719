//! What of all responses of a connection waits for its socket.
//!
//! Flow control is the client's: one that opens its windows wide and then does not read would have us keep as much as it likes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use h2::server;

/// Bytes of all streams of a connection that wait for its socket: enough to keep it busy while its streams take turns.
const WAITING: usize = 256 * 1024;

/// What may still be taken.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<usize>,
    /// Streams that wait for some of it: as many as there are streams, at most.
    waiting: RefCell<Vec<Waker>>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: Cell::new(WAITING), waiting: RefCell::default() }
    }

    /// How many bytes may be taken: some.
    pub(super) fn poll_left(&self, cx: &Context<'_>) -> Poll<usize> {
        let left = self.left.get();
        if left > 0 {
            return Poll::Ready(left);
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn give_back(&self, bytes: usize) {
        self.left.set(self.left.get() + bytes);
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

/// A piece of a response's body, which gives its part of the budget back when the socket has it, or nobody wants it any more.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Vec<u8>,
    at: usize,
    budget: Rc<Budget>,
}

impl Piece {
    /// A piece of bytes that the budget has room for.
    pub(super) fn new(bytes: Vec<u8>, budget: &Rc<Budget>) -> Self {
        budget.left.set(budget.left.get().saturating_sub(bytes.len()));
        Self { bytes, at: 0, budget: budget.clone() }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes.len());
    }
}

impl bytes::Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn advance(&mut self, n: usize) {
        self.at = self.bytes.len().min(self.at + n);
    }
}

/// What answers a request.
pub(super) type Respond = server::SendResponse<Piece>;

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn what_was_sent_makes_room() {
        let cx = Context::from_waker(Waker::noop());
        let budget = Rc::new(Budget::new());
        let mut piece = Piece::new(vec![b'x'; WAITING - 1], &budget);
        assert_eq!(budget.poll_left(&cx), Poll::Ready(1));
        let last = Piece::new(vec![b'y'], &budget);
        assert!(budget.poll_left(&cx).is_pending());
        piece.advance(WAITING - 2);
        assert_eq!(piece.chunk(), b"x");
        assert!(budget.poll_left(&cx).is_pending(), "its memory is still held");
        drop(last);
        assert_eq!(budget.poll_left(&cx), Poll::Ready(1));
        drop(piece);
        assert_eq!(budget.poll_left(&cx), Poll::Ready(WAITING));
    }
}
