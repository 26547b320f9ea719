//! A client's socket. What the client says wakes whoever reads here; that it has read does so only while somebody waits for it.
//! A subscriber reads each ping, and with a socket of tokio's each ping would be two wake-ups.

use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::libc::MSG_NOSIGNAL;
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::UnixStream;

use crate::readiness::register;

/// Both directions of a connection.
#[derive(Clone)]
pub(super) struct Link(Arc<AsyncFd<OwnedFd>>);

impl Link {
    /// A connection that was accepted.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let socket = stream.into_std()?;
        register(socket.into(), Interest::READABLE).map(|socket| Self(Arc::new(socket)))
    }

    /// Sends all of it.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket().send_with_flags(bytes, MSG_NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable().await?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends what the client reads.
    pub(super) fn end(&self) -> io::Result<()> {
        self.socket().shutdown(Shutdown::Write)
    }

    /// Waits until the client has read. For that long the socket has a second descriptor.
    async fn writable(&self) -> io::Result<()> {
        let socket = register(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
        socket.writable().await?.retain_ready();
        Ok(())
    }

    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.0.get_ref())
    }
}

/// One of the clones at a time.
impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let space = into.initialize_unfilled();
            if let Ok(read) = ready.try_io(|socket| (&*SockRef::from(socket.get_ref())).read(space)) {
                return Poll::Ready(read.map(|read| into.advance(read)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_waits_until_the_client_reads_and_what_it_says_is_heard() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours).unwrap();
        let told: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_be_bytes).collect();
        let tell = async {
            link.write_all(&told).await.unwrap();
            link.end().unwrap();
        };
        let mut heard = Vec::new();
        let (hear, ()) = tokio::join!(theirs.read_to_end(&mut heard), tell);
        hear.unwrap();
        assert!(heard == told);
        theirs.write_all(b"thanks").await.unwrap();
        drop(theirs);
        let mut answer = String::new();
        link.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "thanks");
        assert_eq!(link.write_all(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
