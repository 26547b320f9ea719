//! Sockets, and the bytes on them.

pub(super) mod acknowledged;
pub(super) mod buffer;
pub(super) mod dial;
mod hang_up;
pub(super) mod io;
pub(super) mod listener;
pub(super) mod send;
pub(super) mod splice;
pub(super) mod tls;
