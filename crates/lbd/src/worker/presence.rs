//! What a worker knows of each of its client connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use super::frontend::Frontend;
use crate::counters::WorkerCounters;

/// Whether a connection is idle between requests; a leaving worker wakes those that are.
#[derive(Debug)]
pub(crate) struct Presence {
    frontend: Rc<Frontend>,
    /// Whether a handover waits for it.
    awaited: Cell<bool>,
    idle: RefCell<Option<Waker>>,
}

impl Presence {
    pub(crate) fn new(frontend: Rc<Frontend>) -> Self {
        Self { frontend, awaited: Cell::new(true), idle: RefCell::new(None) }
    }

    pub(crate) fn belongs_to_retired(&self) -> bool {
        self.frontend.is_retired()
    }

    /// No handover waits for this connection any more.
    pub(crate) fn let_go(&self, counters: &WorkerCounters) {
        if self.awaited.replace(false) {
            counters.awaited.down();
        }
    }

    /// It is idle, and is to be woken with `waker`.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        match &mut *self.idle.borrow_mut() {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.idle.borrow_mut().take() {
            waker.wake();
        }
    }
}
