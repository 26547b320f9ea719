//! Descriptors of which tokio tells one thing alone. Its own sockets tell everything, and so wake their thread for what nobody
//! waits for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the current runtime wait for a descriptor.
///
/// # Errors
/// When the kernel refuses it.
#[expect(unsafe_code, reason = "tokio cannot know that the descriptor stays the same until it is closed")]
pub fn register(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one descriptor, the same as long as it lives, and `AsyncFd` deregisters before it drops it.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(Into::into)
}
