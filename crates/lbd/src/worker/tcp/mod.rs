//! Bytes that nobody here understands: sessions in TCP mode, and tunnels.

mod hello;
pub(super) mod relay;
pub(super) mod session;
