//! What a worker knows of each of its client connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use super::Worker;
use super::frontend::Frontend;
use crate::shared::counters::WorkerCounters;

/// Whether a connection is idle between requests, or waits for a server; a leaving worker wakes those that do.
#[derive(Debug)]
pub(crate) struct Presence {
    frontend: Rc<Frontend>,
    /// Whether a handover waits for it.
    awaited: Cell<bool>,
    /// Whether it is from before lbd began to stop.
    elder: Cell<bool>,
    tunnel: Cell<bool>,
    waits: RefCell<Option<Waker>>,
}

impl Presence {
    pub(crate) fn new(frontend: Rc<Frontend>) -> Self {
        Self {
            frontend,
            awaited: Cell::new(true),
            elder: Cell::default(),
            tunnel: Cell::default(),
            waits: RefCell::default(),
        }
    }

    pub(crate) fn set_elder(&self) {
        self.elder.set(true);
    }

    pub(crate) fn is_elder(&self) -> bool {
        self.elder.get()
    }

    /// It has become a tunnel: nobody knows when it ends.
    pub(crate) fn set_tunnel(&self) {
        self.tunnel.set(true);
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.tunnel.get()
    }

    /// Whether its frontend takes no requests any more.
    pub(crate) fn is_left_over(&self) -> bool {
        !self.frontend.takes_requests()
    }

    /// No handover waits for this connection any more.
    pub(crate) fn let_go(&self, counters: &WorkerCounters) {
        if self.awaited.replace(false) {
            counters.awaited.down();
        }
    }

    /// It waits, and is to be woken with `waker`.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        match &mut *self.waits.borrow_mut() {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waits.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A connection's place among those of its worker, given back when it is dropped, however its task ends.
#[derive(Debug)]
pub(crate) struct Registered {
    worker: Rc<Worker>,
    presence: Rc<Presence>,
    id: u64,
}

impl Registered {
    pub(super) fn new(worker: &Rc<Worker>, frontend: &Rc<Frontend>) -> Self {
        let presence = Rc::new(Presence::new(frontend.clone()));
        worker.counters().awaited.up();
        let id = worker.next_connection.get();
        worker.next_connection.set(id.wrapping_add(1));
        worker.connections.borrow_mut().insert(id, presence.clone());
        worker.counters().connections.set(worker.connections.borrow().len() as u64);
        frontend.counters().accepted.inc();
        frontend.counters().connections.up();
        Self { worker: worker.clone(), presence, id }
    }

    pub(super) fn presence(&self) -> Rc<Presence> {
        self.presence.clone()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Self { worker, presence, id } = self;
        presence.let_go(worker.counters());
        worker.connections.borrow_mut().remove(id);
        worker.counters().connections.set(worker.connections.borrow().len() as u64);
        presence.frontend.counters().connections.down();
        if presence.is_elder() {
            worker.elder_left();
        }
        worker.ended.notify_waiters();
    }
}
