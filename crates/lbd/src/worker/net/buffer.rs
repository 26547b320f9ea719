//! Byte buffers and the pool that a worker keeps them in while connections are idle.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use memmap2::MmapMut;
use tokio::io::{AsyncRead, ReadBuf};

use super::io::Reader;

/// A fixed stretch of bytes: consumed at the front, filled at the back.
///
/// It is memory of its own, which the system has back when it is dropped. On the heap it would lie among what lives longer,
/// and a crowd's memory would stay for ever.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// None holds nothing: a default, or the system has no memory.
    bytes: Option<MmapMut>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes that were read and not yet consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.as_deref().map_or(&[][..], |bytes| &bytes[self.start..self.end])
    }

    /// The same, to be compacted before they are sent.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.as_deref_mut().map_or(&mut [][..], |bytes| &mut bytes[self.start..self.end])
    }

    /// Drops `n` bytes from the front.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Puts bytes at the back. Returns whether there was room for all of them; where not, nothing has changed.
    pub(crate) fn append(&mut self, more: &[u8]) -> bool {
        let space = self.bytes.as_deref_mut().and_then(|bytes| bytes[self.end..].get_mut(..more.len()));
        let Some(space) = space else { return more.is_empty() };
        space.copy_from_slice(more);
        self.end += more.len();
        true
    }

    /// Has `what` put something at the back, which says how much.
    pub(crate) fn put<E>(&mut self, what: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
        self.compact();
        let put = what(self.bytes.as_deref_mut().map_or(&mut [][..], |bytes| &mut bytes[self.end..]))?;
        self.end += put;
        Ok(put)
    }

    /// Moves what it holds to the front.
    fn compact(&mut self) {
        if let Some(bytes) = self.bytes.as_deref_mut().filter(|_| self.start > 0) {
            bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Whether it holds as much as it can.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| bytes.len() == self.end - self.start)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How much it can hold.
    pub(crate) fn size(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len())
    }

    /// Reads once, into all the space there is. Zero bytes read mean the end of the stream.
    ///
    /// A read that leaves space tells tokio that the socket is drained, so that no second read has to find it out.
    pub(crate) async fn fill<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx, from)).await
    }

    /// The same, for those that wait for something else as well.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.as_ref().is_some_and(|bytes| bytes.len() == self.end) {
            self.compact();
        }
        let bytes = self.bytes.as_deref_mut().unwrap_or_default();
        if self.end == bytes.len() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "more bytes than a buffer holds belong together",
            )));
        }
        let mut space = ReadBuf::new(&mut bytes[self.end..]);
        ready!(Pin::new(from).poll_read(cx, &mut space))?;
        let n = space.filled().len();
        self.end += n;
        Poll::Ready(Ok(n))
    }
}

/// What can be used again after it was emptied. The default value holds no memory.
pub(crate) trait Reusable: Default {
    /// An empty one with room for `size` bytes.
    fn with_room(size: usize) -> Self;
    fn clear(&mut self);
    fn has_room(&self) -> bool;
}

impl Reusable for Buffer {
    fn with_room(size: usize) -> Self {
        Self { bytes: MmapMut::map_anon(size).ok(), start: 0, end: 0 }
    }

    fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    fn has_room(&self) -> bool {
        self.bytes.is_some()
    }
}

impl Reusable for Vec<u8> {
    fn with_room(size: usize) -> Self {
        Self::with_capacity(size)
    }

    fn clear(&mut self) {
        self.clear();
    }

    fn has_room(&self) -> bool {
        self.capacity() > 0
    }
}

/// What one worker keeps for use: buffers of one size, for example.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    size: usize,
    /// No more than this many wait in the pool: a burst's memory goes back to the system.
    keep: usize,
    free: RefCell<Vec<T>>,
    /// How many of them nobody has needed since the last look.
    unneeded: Cell<usize>,
}

impl<T: Reusable> Pool<T> {
    pub(crate) fn new(size: usize, keep: usize) -> Self {
        Self { size, keep, free: RefCell::new(Vec::new()), unneeded: Cell::new(0) }
    }

    /// How large its buffers are.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// An empty buffer, which comes back by itself.
    pub(crate) fn lend(&self) -> Lent<'_, T> {
        let mut free = self.free.borrow_mut();
        let buffer = free.pop().unwrap_or_else(|| T::with_room(self.size));
        self.unneeded.set(self.unneeded.get().min(free.len()));
        Lent { pool: self, buffer }
    }

    /// Frees what nobody has needed since the last time: the last to come back is the first to be lent.
    pub(crate) fn shrink(&self) {
        let mut free = self.free.borrow_mut();
        free.drain(..self.unneeded.get());
        self.unneeded.set(free.len());
    }

    /// Gives back a buffer that was kept beyond its loan.
    pub(crate) fn give(&self, mut buffer: T) {
        let mut free = self.free.borrow_mut();
        if buffer.has_room() && free.len() < self.keep {
            buffer.clear();
            free.push(buffer);
        }
    }
}

impl Pool<Buffer> {
    /// Reads once, and holds no buffer until something is there. An empty one means the end of the stream.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        from: &mut Reader<'_>,
    ) -> Poll<io::Result<Lent<'_, Buffer>>> {
        ready!(from.poll_ready(cx))?;
        // What is said to be readable may not be: a connection just accepted is until a read has found it empty.
        let mut buffer = self.lend();
        ready!(buffer.poll_fill(cx, from))?;
        Poll::Ready(Ok(buffer))
    }
}

/// A buffer that returns to its pool when it is dropped.
#[derive(Debug)]
pub(crate) struct Lent<'a, T: Reusable> {
    pool: &'a Pool<T>,
    buffer: T,
}

impl<T: Reusable> Lent<'_, T> {
    /// Keeps the buffer beyond the loan.
    pub(crate) fn keep(mut self) -> T {
        std::mem::take(&mut self.buffer)
    }
}

impl<T: Reusable> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.buffer
    }
}

impl<T: Reusable> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.buffer
    }
}

impl<T: Reusable> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_full_buffer_makes_room_only_for_what_was_consumed() {
        let pool: Pool<Buffer> = Pool::new(4, 1);
        let mut buffer = pool.lend();
        let mut source: &[u8] = b"abcdefgh";
        assert_eq!(buffer.fill(&mut source).await.unwrap(), 4);
        assert!(buffer.fill(&mut source).await.is_err());
        buffer.consume(3);
        assert_eq!(buffer.fill(&mut source).await.unwrap(), 3);
        assert_eq!(buffer.filled(), b"defg");
        drop(buffer);
        assert!(pool.lend().is_empty());
    }

    #[test]
    fn what_is_put_at_the_back_fits_whole_or_not_at_all() {
        let mut buffer = Buffer::with_room(4);
        assert!(buffer.append(b"abc"));
        assert!(!buffer.append(b"de"));
        assert!(buffer.append(b"d"));
        assert!(buffer.append(b""));
        assert_eq!(buffer.filled(), b"abcd");
        assert!(!Buffer::default().append(b"a"), "one without memory has no room");
    }

    #[test]
    fn a_pool_keeps_what_was_needed_since_the_last_look() {
        let pool: Pool<Buffer> = Pool::new(4, 8);
        let lend = |n: usize| drop((0..n).map(|_| pool.lend()).collect::<Vec<_>>());
        let free = || pool.free.borrow().len();
        lend(10);
        assert_eq!(free(), 8, "no more than it may keep");
        pool.shrink();
        assert_eq!(free(), 8, "they were needed");
        lend(3);
        lend(2);
        pool.shrink();
        assert_eq!(free(), 3);
        pool.shrink();
        assert_eq!(free(), 0);
    }
}
