//! Passing a body through while verifying its framing.

use crate::{Body, BodyFault};

/// Verifies a body's framing as it passes, and says which bytes to pass on.
#[derive(Clone, Debug)]
pub struct BodyReader {
    body: Body,
}

/// What to do with the bytes at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// That many bytes are dealt with; 0 without `done` means that more bytes are needed than the buffer holds.
    pub consumed: usize,
    /// That many of them, the first ones, are passed on. The rest is dropped.
    pub forward: usize,
    /// Whether the body has ended. What follows in the buffer is not part of it.
    pub done: bool,
}

impl BodyReader {
    /// Passes a body on as it is, without chunk extensions and without trailer fields that have no place there.
    pub fn new(body: Body) -> Self {
        Self { body }
    }

    /// Passes on the content alone, without chunk framing and trailer fields, for a client that knows HTTP/1.0 only.
    pub fn decoded(body: Body) -> Self {
        Self { body }
    }

    /// Looks at the next bytes of the body. `buf` must begin with the bytes that the previous step did not consume.
    pub fn step(&mut self, buf: &[u8]) -> Result<Step, BodyFault> {
        let _ = buf;
        Ok(Step { consumed: 0, forward: 0, done: self.is_done() })
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.body == Body::Empty
    }

    /// The peer closed its connection: the regular end of [`Body::UntilClose`], and a fault within any other body.
    pub fn end_of_stream(&mut self) -> Result<(), BodyFault> {
        if self.is_done() || self.body == Body::UntilClose { Ok(()) } else { Err(BodyFault::Truncated) }
    }

    /// How many bytes can be passed on next without looking at them, so that they may be spliced; `u64::MAX` until
    /// the connection closes. `None` if the next bytes are framing, or the body has ended.
    pub fn next_data_len(&self) -> Option<u64> {
        None
    }

    /// That many bytes were passed on without a step; at most [`BodyReader::next_data_len`].
    pub fn advance(&mut self, bytes: u64) {
        let _ = bytes;
    }
}
