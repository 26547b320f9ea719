//! Sockets that tokio waits for.

use std::io;

use socket2::Socket;
use tokio::io::unix::AsyncFd;

/// Has the current runtime wait for a socket.
#[expect(unsafe_code, reason = "tokio cannot know that the descriptor stays the same until it is closed")]
pub(super) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns one descriptor, the same as long as it lives, and `AsyncFd` deregisters before it drops it.
    unsafe { AsyncFd::register(socket) }.map_err(Into::into)
}
