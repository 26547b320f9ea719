//! A bell that a real-time thread rings for another one without waiting for anybody: a counter of the kernel's (eventfd). Tokio's
//! own means of waking take locks.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wire::readiness::register;

/// Rings.
#[derive(Debug)]
pub(crate) struct Bell(EventFd);

/// Hears it.
#[derive(Debug)]
pub(crate) struct Listener(AsyncFd<OwnedFd>);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Whoever listens hears of it once, however often it was rung.
    pub(crate) fn ring(&self) {
        // A counter that is full has been rung.
        let _ = self.0.write(1);
    }

    /// Has the current runtime listen.
    pub(crate) fn listen(&self) -> io::Result<Listener> {
        let end = self.0.as_fd().try_clone_to_owned()?;
        register(end, Interest::READABLE).map(Listener)
    }
}

impl Listener {
    /// Waits until the bell is rung. Cancel safe.
    pub(crate) async fn rung(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|bell| Ok(unistd::read(bell.get_ref(), &mut [0; 8])?));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_heard_once_however_often_it_was_rung() {
        let bell = Bell::new().unwrap();
        let listener = bell.listen().unwrap();
        bell.ring();
        bell.ring();
        listener.rung().await.unwrap();
        assert!(listener.rung().now_or_never().is_none(), "that was all");
        bell.ring();
        listener.rung().await.unwrap();
    }
}
