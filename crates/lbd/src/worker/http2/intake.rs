//! How many requests are taken in before those that came first are begun.

use std::cell::Cell;

/// What so many streams begin with stays in the processor's cache until their tasks have their turns.
const AT_HAND: usize = 32;

/// The streams of a worker that were taken in, and whose tasks have not begun with them.
#[derive(Debug, Default)]
pub(crate) struct Intake(Cell<usize>);

impl Intake {
    /// Whether what was taken in is to be begun before there is more.
    pub(super) fn is_full(&self) -> bool {
        self.0.get() >= AT_HAND
    }

    /// A stream was taken in.
    pub(super) fn enter(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// Its task begins with it.
    pub(super) fn begin(&self) {
        debug_assert!(self.0.get() > 0, "a stream begins that was not taken in");
        self.0.set(self.0.get().saturating_sub(1));
    }
}
