//! Carrying the bytes of large bodies from socket to socket inside the kernel, through a pipe, without copying them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What is shorter is copied: it comes in a few reads, and two more calls for each would not pay.
const WORTHWHILE: u64 = 128 * 1024;
/// Room in a pipe. More gives longer pauses at the receiving end, and saves no more time.
const ROOM: usize = 256 * 1024;

/// A worker's pipes. Whoever finds none copies.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    free: RefCell<Vec<Pipe>>,
    /// Those in `free` and those lent.
    made: Cell<usize>,
    /// How many there may be.
    most: Cell<usize>,
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// A pipe that returns when it is dropped, unless bytes are left in it.
#[derive(Debug)]
pub(crate) struct LentPipe {
    pipes: Rc<Pipes>,
    pipe: Option<Pipe>,
    held: usize,
}

/// Which end of a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Source,
    Target,
}

/// What a pipe has carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many bytes came from the source.
    In(usize),
    /// So many reached the target, and so many are left for it.
    Out { bytes: usize, left: usize },
}

impl Pipes {
    /// Makes no more than so many. What are too many already are closed when nobody uses them.
    pub(crate) fn limit_to(&self, most: usize) {
        self.most.set(most);
        if self.made.get() > most {
            self.forget_free();
        }
    }

    /// A pipe for so many bytes that need not be looked at, if that is worthwhile and there is one.
    pub(crate) fn lend(self: &Rc<Self>, bytes: Option<u64>) -> Option<LentPipe> {
        // A body that ends with its connection may be of any length, mostly a short one.
        if !bytes.is_some_and(|bytes| (WORTHWHILE..u64::MAX).contains(&bytes)) {
            return None;
        }
        self.lend_any()
    }

    /// A pipe for as many bytes as there are, if there is one.
    pub(crate) fn lend_any(self: &Rc<Self>) -> Option<LentPipe> {
        let free = self.free.borrow_mut().pop();
        let pipe = match free {
            Some(pipe) => pipe,
            None if self.made.get() >= self.most.get() => return None,
            None => {
                // Without a descriptor to spare it is copied.
                let pipe = Pipe::new().ok()?;
                self.made.set(self.made.get() + 1);
                pipe
            }
        };
        Some(LentPipe { pipes: self.clone(), pipe: Some(pipe), held: 0 })
    }

    /// Closes a pipe that nobody uses, if there is one.
    pub(crate) fn forget_one(&self) -> bool {
        let free = self.free.borrow_mut().pop();
        self.made.set(self.made.get().saturating_sub(usize::from(free.is_some())));
        free.is_some()
    }

    /// Closes the pipes that nobody uses.
    pub(crate) fn forget_free(&self) {
        let free = self.free.take();
        self.made.set(self.made.get().saturating_sub(free.len()));
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user with many pipes gets smaller ones, which work as well.
        let _ = fcntl_setpipe_size(&writer, ROOM);
        Ok(Self { reader, writer })
    }
}

impl LentPipe {
    /// Carries up to `bytes`, fewer only if the source ends. How many they were.
    ///
    /// `waits_for_source` is told before each wait whether it is for the source; `moved`, how many bytes have reached the target.
    pub(crate) async fn carry(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        bytes: u64,
        waits_for_source: impl Fn(bool),
        moved: impl Fn(usize),
    ) -> Result<u64, Broken> {
        let mut carried = 0;
        while carried < bytes
            && let Some(pipe) = &self.pipe
        {
            let most = usize::try_from(bytes - carried).unwrap_or(ROOM).min(ROOM);
            waits_for_source(true);
            let n = when_ready(from, Interest::READABLE, || transfer(from, &pipe.writer, most)).await;
            self.held = n.map_err(|_| Broken::Source)?;
            if self.held == 0 {
                break;
            }
            carried += self.held as u64;
            self.empty(to, || waits_for_source(false), &moved).await?;
        }
        Ok(carried)
    }

    /// Carries what comes until the source pauses, which is false, or ends, which is true.
    ///
    /// `moved` is told each time that bytes have come or gone.
    pub(crate) fn poll_burst(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        mut moved: impl FnMut(Moved),
    ) -> Poll<Result<bool, Broken>> {
        while let Some(pipe) = &self.pipe {
            if self.held > 0 {
                ready!(to.poll_write_ready(cx)).map_err(|_| Broken::Target)?;
                match to.try_io(Interest::WRITABLE, || transfer(&pipe.reader, to, self.held)) {
                    Ok(n) if n > 0 => {
                        self.held = self.held.saturating_sub(n);
                        moved(Moved::Out { bytes: n, left: self.held });
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    _ => return Poll::Ready(Err(Broken::Target)),
                }
                continue;
            }
            match from.try_io(Interest::READABLE, || transfer(from, &pipe.writer, ROOM)) {
                Ok(0) => return Poll::Ready(Ok(true)),
                Ok(n) => {
                    self.held = n;
                    moved(Moved::In(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Poll::Ready(Err(Broken::Source)),
            }
        }
        Poll::Ready(Ok(false))
    }

    /// Moves what the pipe holds to the target.
    async fn empty(&mut self, to: &TcpStream, waits: impl Fn(), moved: impl Fn(usize)) -> Result<(), Broken> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        while self.held > 0 {
            waits();
            let n = when_ready(to, Interest::WRITABLE, || transfer(&pipe.reader, to, self.held)).await;
            match n {
                Ok(n) if n > 0 => {
                    self.held = self.held.saturating_sub(n);
                    moved(n);
                }
                _ => return Err(Broken::Target),
            }
        }
        Ok(())
    }
}

impl Drop for LentPipe {
    fn drop(&mut self) {
        match self.pipe.take() {
            Some(pipe) if self.held == 0 && self.pipes.made.get() <= self.pipes.most.get() => {
                self.pipes.free.borrow_mut().push(pipe);
            }
            // Closed, with what it holds.
            _ => self.pipes.made.set(self.pipes.made.get().saturating_sub(1)),
        }
    }
}

/// Repeats `io` whenever the socket is ready for it, until it does something.
async fn when_ready(
    socket: &TcpStream,
    interest: Interest,
    mut io: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        socket.ready(interest).await?;
        match socket.try_io(interest, &mut io) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

/// Moves what is there, at most `most` bytes. Zero means the end of the source.
fn transfer(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn pipes(most: usize) -> Rc<Pipes> {
        let pipes = Rc::new(Pipes::default());
        pipes.limit_to(most);
        pipes
    }

    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn everything_arrives_and_no_more() {
        let (mut source, from) = connection().await;
        let (to, mut target) = connection().await;
        let sent: Vec<u8> = (0..=255).cycle().take(3_000_001).collect();
        let wanted = 3_000_000;
        let pipes = pipes(1);
        let mut received = vec![0; wanted];
        let mut pipe = pipes.lend(Some(wanted as u64)).unwrap();
        let counted = Cell::new(0);
        let carry = pipe.carry(&from, &to, wanted as u64, |_| {}, |n| counted.set(counted.get() + n));
        let (written, carried, read) =
            tokio::join!(source.write_all(&sent), carry, target.read_exact(&mut received));
        written.unwrap();
        assert_eq!((carried, counted.get(), read.unwrap()), (Ok(wanted as u64), wanted, wanted));
        assert!(received == sent[..wanted], "the bytes are not those that were sent");
        assert_eq!(from.try_read(&mut [0; 8]).unwrap(), 1, "the byte behind them stays");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_ends_are_told_apart_and_a_pipe_with_bytes_is_not_used_again() {
        let pipes = pipes(1);
        let (mut source, from) = connection().await;
        let (to, target) = connection().await;
        source.write_all(b"short").await.unwrap();
        drop(source);
        let mut pipe = pipes.lend(Some(WORTHWHILE)).unwrap();
        assert_eq!(pipe.carry(&from, &to, WORTHWHILE, |_| {}, |_| {}).await, Ok(5));
        drop(pipe);
        assert_eq!((pipes.made.get(), pipes.free.borrow().len()), (1, 1));

        drop(target);
        let (mut source, from) = connection().await;
        let feed = async {
            let chunk = vec![0; 1 << 20];
            // Until the other side is gone.
            while source.write_all(&chunk).await.is_ok() {}
        };
        let mut pipe = pipes.lend(Some(1 << 40)).unwrap();
        let carry = async {
            let result = pipe.carry(&from, &to, 1 << 40, |_| {}, |_| {}).await;
            drop(from);
            result
        };
        let ((), result) = tokio::join!(feed, carry);
        assert_eq!(result, Err(Broken::Target));
        drop(pipe);
        assert_eq!((pipes.made.get(), pipes.free.borrow().len()), (0, 0));
    }

    #[test]
    fn pipes_are_lent_for_what_is_long_and_only_so_many() {
        let pipes = pipes(3);
        for bytes in [None, Some(0), Some(WORTHWHILE - 1), Some(u64::MAX)] {
            assert!(pipes.lend(bytes).is_none(), "{bytes:?}");
        }
        let lend = || pipes.lend(Some(WORTHWHILE));
        let lent: Vec<_> = (0..3).map(|_| lend().unwrap()).collect();
        assert!(lend().is_none());
        drop(lent);
        assert!(lend().is_some());
        pipes.forget_free();
        assert_eq!((pipes.made.get(), pipes.free.borrow().len()), (0, 0));
    }

    #[test]
    fn a_lower_limit_closes_what_nobody_uses() {
        let pipes = pipes(3);
        let lend = || pipes.lend(Some(WORTHWHILE)).unwrap();
        let (used, also_used, unused) = (lend(), lend(), lend());
        drop(unused);
        pipes.limit_to(1);
        assert_eq!((pipes.made.get(), pipes.free.borrow().len()), (2, 0));
        drop(used);
        assert_eq!((pipes.made.get(), pipes.free.borrow().len()), (1, 0));
        drop(also_used);
        assert_eq!((pipes.made.get(), pipes.free.borrow().len()), (1, 1));
    }
}
