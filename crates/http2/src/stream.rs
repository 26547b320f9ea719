//! The streams of a connection.

use std::collections::VecDeque;

/// The number of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

/// One stream, and what its user keeps with it.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    pub(crate) id: u32,
    /// The client may still send.
    pub(crate) receives: bool,
    /// We may still send.
    pub(crate) sends: bool,
    /// What we may send, less than nothing where the client has made its windows smaller (RFC 9113 section 6.9.2).
    pub(crate) send_window: i64,
    /// What the client may send.
    pub(crate) receive_window: u32,
    /// What of that was read since the client was last told.
    pub(crate) released: u32,
    /// What is to come, where the request has said so.
    pub(crate) length: Option<u64>,
    pub(crate) user: T,
}

impl<T> Stream<T> {
    /// Neither side may send any more.
    pub(crate) fn close(&mut self) {
        self.receives = false;
        self.sends = false;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.receives || self.sends
    }
}

/// How many of those that we have reset are remembered: what was on its way to them is no mistake.
const REMEMBERED: usize = 512;

/// All that their users have not let go of, by their numbers, which only grow.
#[derive(Debug)]
pub(crate) struct Streams<T> {
    all: VecDeque<Stream<T>>,
    reset: VecDeque<u32>,
}

impl<T> Streams<T> {
    pub(crate) fn new() -> Self {
        Self { all: VecDeque::new(), reset: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, stream: Stream<T>) {
        debug_assert!(self.all.back().is_none_or(|last| last.id < stream.id), "numbers do not grow");
        self.all.push_back(stream);
    }

    fn at(&self, id: u32) -> Option<usize> {
        self.all.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Stream<T>> {
        self.at(id).map(|at| &self.all[at])
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Stream<T>> {
        self.at(id).map(|at| &mut self.all[at])
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Stream<T>> {
        self.at(id).and_then(|at| self.all.remove(at))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream<T>> {
        self.all.iter_mut()
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.all.iter().filter(|stream| stream.is_open()).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// We have reset it.
    pub(crate) fn remember_reset(&mut self, id: u32) {
        if self.reset.len() == REMEMBERED {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
    }

    pub(crate) fn was_reset(&self, id: u32) -> bool {
        self.reset.contains(&id)
    }
}
