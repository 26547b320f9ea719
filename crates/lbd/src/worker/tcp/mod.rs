//! Bytes that nobody here understands.

pub(super) mod tunnel;
