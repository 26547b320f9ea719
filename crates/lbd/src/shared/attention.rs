//! Whether a server attends to one connection at a time, as single-threaded ones do. Idle connections to it then keep all others
//! waiting, be they of other requests, of other workers, or of health checks.
//!
//! Nobody says so, and so a server is taken for one of those until it has shown the contrary: it answered on one connection,
//! then on another that was new, and had not closed the first. Until then a connection that is kept is given up soon, and at once when
//! others wait. Afterwards none of this costs anything.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

/// How often it has to be seen: a worker may be late to tell that a new connection was answered.
const SURE: u64 = 8;

/// What all workers have seen of a server. Only new connections change it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Attention {
    /// Requests that wait for a first answer on a new connection.
    waiting: AtomicU64,
    /// New connections that were answered.
    met: AtomicU64,
    /// How often it has attended to several at once, lately.
    several: AtomicU64,
    is_sure: AtomicBool,
}

/// What had been seen at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    waiting: u64,
    met: u64,
}

impl Attention {
    /// Whether it certainly attends to several connections at once.
    pub fn is_divided(&self) -> bool {
        self.is_sure.load(Relaxed)
    }

    /// A request goes out on a new connection.
    pub fn approach(self: &Arc<Self>) -> Approach {
        self.waiting.fetch_add(1, SeqCst);
        Approach(self.clone())
    }

    /// What is so now.
    pub fn look(&self) -> Seen {
        Seen { waiting: self.waiting.load(SeqCst), met: self.met.load(SeqCst) }
    }

    /// Whether new connections have been answered since `then`.
    pub fn has_met_others(&self, then: Seen) -> bool {
        self.met.load(SeqCst) != then.met
    }

    /// A connection is open by the kernel's word, or by that of an answer, that had been answered when `then` was seen.
    pub fn is_still_open(&self, then: Seen) {
        if !self.is_divided() && self.has_met_others(then) {
            self.answered_beside();
        }
    }

    /// A new connection was answered while an idle one was open, by the kernel's word.
    pub fn answered_beside(&self) {
        if self.several.fetch_add(1, SeqCst) + 1 >= SURE {
            self.is_sure.store(true, Relaxed);
        }
    }

    /// Whether somebody has waited since `then`, and nobody who did was answered.
    pub fn is_withheld(&self, then: Seen) -> bool {
        let now = self.look();
        let is_withheld = then.waiting > 0 && now.waiting > 0 && now.met == then.met;
        if is_withheld {
            self.several.store(0, SeqCst);
        }
        is_withheld
    }

    /// Another server may be there now.
    pub fn forget(&self) {
        self.several.store(0, SeqCst);
        self.is_sure.store(false, Relaxed);
    }
}

/// A new connection that waits for its first answer; dropped when it got none.
#[derive(Debug)]
pub struct Approach(Arc<Attention>);

impl Approach {
    /// The answer is there. What is so now.
    pub fn answered(self) -> Seen {
        self.0.met.fetch_add(1, SeqCst);
        self.0.look()
    }
}

impl Drop for Approach {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_on_one_connection_while_another_is_open_attends_to_several() {
        let server = Arc::new(Attention::default());
        for _ in 0..SURE {
            assert!(!server.is_divided());
            server.is_still_open(server.look());
            let then = server.look();
            server.approach().answered();
            server.is_still_open(then);
        }
        assert!(server.is_divided());
        server.forget();
        assert!(!server.is_divided());
    }

    #[test]
    fn who_waits_while_another_is_served_again_and_again_is_withheld_something() {
        let server = Arc::new(Attention::default());
        let then = server.look();
        let waiting = server.approach();
        assert!(!server.is_withheld(then), "nobody waited then");
        let then = server.look();
        assert!(server.is_withheld(then));
        server.approach().answered();
        assert!(!server.is_withheld(then), "it has looked around");
        let then = server.look();
        drop(waiting);
        assert!(!server.is_withheld(then), "nobody waits now");
    }
}
