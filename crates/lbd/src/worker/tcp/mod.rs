//! Bytes that nobody here understands: sessions in TCP mode, and tunnels.

pub(super) mod hello;
pub(super) mod relay;
pub(super) mod session;
