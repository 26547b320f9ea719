//! What the streams of a connection share with its driver: the connection.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http2::{Connection, Limits, Room, StreamId};

use super::slot::Slot;
use crate::worker::Worker;
use crate::worker::frontend::Frontend;
use crate::worker::presence::Presence;

/// A connection, borrowed for a call alone.
pub(super) struct Link {
    pub(super) worker: Rc<Worker>,
    pub(super) frontend: Rc<Frontend>,
    pub(super) presence: Rc<Presence>,
    pub(super) local: Option<SocketAddr>,
    pub(super) has_tls: bool,
    connection: RefCell<Connection<Lane>>,
    /// Those that wait for room on the connection take turns.
    queue: RefCell<VecDeque<StreamId>>,
    /// Streams whose tasks are not over.
    under_way: Cell<usize>,
    /// Tasks that wait for a stream; none if no more will come.
    parked: RefCell<Option<Vec<Rc<Slot>>>>,
    all: Cell<u64>,
    reset: Cell<u64>,
}

/// What lies ready for a stream, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    content: Vec<u8>,
    at: usize,
    pub(super) trailers: Vec<u8>,
    /// No more will come.
    pub(super) ended: bool,
    /// It was reset, or the connection is no more.
    pub(super) gone: bool,
    waker: Option<Waker>,
    /// It waits for the client to make room on it.
    pub(super) needs_room: bool,
}

impl Lane {
    /// What has come and was not read.
    pub(super) fn content(&self) -> &[u8] {
        &self.content[self.at..]
    }

    pub(super) fn push(&mut self, content: &[u8]) {
        self.content.extend_from_slice(content);
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.at += bytes;
        if self.at == self.content.len() {
            self.content.clear();
            self.at = 0;
        }
    }

    /// Its one task waits.
    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All of it has been handed on.
    Whole,
    /// The client did not want to have all of it.
    Refused,
    /// There was no more, and the client was told that something is missing.
    Broken,
}

impl Link {
    pub(super) fn new(
        worker: Rc<Worker>,
        frontend: Rc<Frontend>,
        presence: Rc<Presence>,
        (local, has_tls): (Option<SocketAddr>, bool),
        limits: Limits,
    ) -> Self {
        Self {
            worker,
            frontend,
            presence,
            local,
            has_tls,
            connection: RefCell::new(Connection::new(limits)),
            queue: RefCell::default(),
            under_way: Cell::default(),
            parked: RefCell::new(Some(Vec::new())),
            all: Cell::default(),
            reset: Cell::default(),
        }
    }

    pub(super) fn connection(&self) -> RefMut<'_, Connection<Lane>> {
        self.connection.borrow_mut()
    }

    /// Has the driver send what there is to be sent.
    pub(super) fn wake_driver(&self) {
        self.presence.wake();
    }

    /// Streams whose tasks are not over.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.get()
    }

    /// Has a task wait for the next stream. Not if there will be none.
    pub(super) fn park(&self, slot: &Rc<Slot>) -> bool {
        self.parked.borrow_mut().as_mut().map(|parked| parked.push(slot.clone())).is_some()
    }

    /// A task that waits for a stream.
    pub(super) fn unpark(&self) -> Option<Rc<Slot>> {
        self.parked.borrow_mut().as_mut().and_then(Vec::pop)
    }

    /// Gives back what no stream needs now.
    pub(super) fn slim(&self) {
        if let Some(parked) = &mut *self.parked.borrow_mut() {
            std::mem::take(parked).iter().for_each(|slot| slot.dismiss());
        }
        let mut connection = self.connection();
        if connection.out().is_empty() {
            *connection.out() = Vec::new();
        }
    }

    /// Whether the client has reset so many streams, and most of those that it began.
    pub(super) fn has_reset(&self, many: u64) -> bool {
        let reset = self.reset.get();
        reset >= many && reset > self.all.get() / 2
    }

    /// A stream begins.
    pub(super) fn enter(&self) {
        self.all.set(self.all.get() + 1);
        self.under_way.set(self.under_way.get() + 1);
    }

    /// A stream is over, and its task with it.
    pub(super) fn leave(&self, stream: StreamId, ended: Ended) {
        self.under_way.set(self.under_way.get().saturating_sub(1));
        let counters = &self.frontend.counters().http2;
        match ended {
            Ended::Whole => {}
            Ended::Refused => {
                self.reset.set(self.reset.get() + 1);
                counters.reset_by_client.inc();
            }
            Ended::Broken => counters.broken.inc(),
        }
        let mut connection = self.connection();
        if let Some(unread) = connection.user(stream).map(|lane| lane.content().len()) {
            connection.release(stream, unread);
        }
        connection.let_go(stream);
        self.leave_queue(&mut connection, stream);
        self.wake_driver();
    }

    /// Waits until so much may be sent on a stream, of a head or of content.
    pub(super) fn poll_room(
        &self,
        cx: &Context<'_>,
        stream: StreamId,
        of: impl Fn(&Connection<Lane>, StreamId) -> Room,
    ) -> Poll<io::Result<usize>> {
        let mut connection = self.connection();
        let room = of(&connection, stream);
        let is_first = self.queue.borrow().front().is_none_or(|first| *first == stream);
        match room {
            Room::For(bytes) if is_first => {
                self.leave_queue(&mut connection, stream);
                return Poll::Ready(Ok(bytes));
            }
            Room::Gone => {
                self.leave_queue(&mut connection, stream);
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            Room::OfStream => self.leave_queue(&mut connection, stream),
            Room::For(_) | Room::OfConnection => {
                let mut queue = self.queue.borrow_mut();
                if !queue.contains(&stream) {
                    queue.push_back(stream);
                }
            }
        }
        if let Some(lane) = connection.user(stream) {
            lane.needs_room = room == Room::OfStream;
            lane.wait(cx);
        }
        Poll::Pending
    }

    /// It is another stream's turn.
    fn leave_queue(&self, connection: &mut Connection<Lane>, stream: StreamId) {
        let mut queue = self.queue.borrow_mut();
        if let Some(at) = queue.iter().position(|waiting| *waiting == stream) {
            queue.remove(at);
            if at == 0 {
                wake_first(&queue, connection);
            }
        }
    }

    /// There is room on the connection.
    pub(super) fn has_room(&self, connection: &mut Connection<Lane>) {
        wake_first(&self.queue.borrow(), connection);
    }

    /// Nothing comes or goes any more.
    pub(super) fn cut_off(&self) {
        self.slim();
        self.parked.replace(None);
        for lane in self.connection().users() {
            lane.gone = true;
            lane.wake();
        }
    }
}

fn wake_first(queue: &VecDeque<StreamId>, connection: &mut Connection<Lane>) {
    if let Some(lane) = queue.front().and_then(|first| connection.user(*first)) {
        lane.wake();
    }
}
