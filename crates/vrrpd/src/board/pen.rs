//! The election's end of a place on the board: what one task writes, and when others are shown it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Board, Entry, Marks, Sheet};

/// What the task of one instance or service knows of it, and whether that has changed since others were shown it.
pub(crate) struct Pen<R> {
    record: RefCell<R>,
    unseen: Cell<bool>,
    entry: Arc<Entry<R>>,
    board: Arc<Board>,
}

impl<R: Sheet> Pen<R> {
    pub(crate) fn new(board: Arc<Board>, entry: Arc<Entry<R>>) -> Self {
        Self { record: RefCell::new(R::clone(&entry.record())), unseen: Cell::new(false), entry, board }
    }

    /// Writes down what others are shown before this task waits again.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut R) -> T) -> T {
        self.unseen.set(true);
        change(&mut self.record.borrow_mut())
    }

    /// Shows what has been written.
    pub(crate) fn show(&self) {
        if self.unseen.take() {
            self.entry.show(self.record.borrow().clone());
        }
    }

    /// Has subscribers told of what there is to see.
    pub(crate) fn publish(&self) {
        self.show();
        self.board.publish(&self.entry);
    }

    /// Answers, and shows what the answer is about. Whoever asked may have gone.
    pub(crate) fn answer<T>(&self, done: oneshot::Sender<T>, with: T) {
        self.show();
        let _ = done.send(with);
    }

    /// What other threads write of it.
    pub(crate) fn marks(&self) -> &Marks {
        &self.entry.marks
    }

    /// Writes down what a tracker said, and says in the log what has changed. Whether its result has.
    pub(crate) fn report(&self, owner: &str, tracker: &str, good: bool, text: &str) -> bool {
        let changed = self.write(|record| record.report(tracker, good, text));
        if changed {
            if good {
                tracing::info!(instance = owner, tracker, "tracker is good: {text}");
            } else {
                tracing::warn!(instance = owner, tracker, "tracker fails: {text}");
            }
        }
        changed
    }
}
