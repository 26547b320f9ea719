//! The byte stream between lbd and a client or a server, whatever carries it.
//!
//! An enum and not a trait object: a branch that is always taken the same way costs nothing beside a system call, and the
//! exchange exists once.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::acknowledged::acknowledged;
use super::buffer::Buffer;
use super::hang_up::hang_up;
use super::tls::{Buffers, Tls};
use crate::shared::listen;
use crate::worker::http2::stream::Stream;

/// A connection to a client or a server.
#[derive(Debug)]
pub(crate) enum Io {
    Tcp(TcpStream),
    /// Boxed: it is large, and most connections have none.
    Tls(Box<Tls>),
    /// A stream of HTTP/2.
    Stream(Box<Stream>),
}

/// What comes from the other side.
#[derive(Debug)]
pub(crate) enum Reader<'a> {
    Tcp(ReadHalf<'a>),
    Tls(&'a Tls),
    Stream(&'a Stream),
}

/// What goes to the other side.
#[derive(Debug)]
pub(crate) enum Writer<'a> {
    Tcp(WriteHalf<'a>),
    Tls(&'a Tls),
    Stream(&'a Stream),
}

impl Io {
    /// The same connection with TLS on it, whose handshake is still to come. `early` has been received already.
    ///
    /// # Errors
    /// When there is TLS on it already, or no memory.
    pub(crate) fn begin_tls(
        self,
        early: Option<Buffer>,
        config: Arc<ServerConfig>,
        buffers: Rc<Buffers>,
    ) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => Ok(Self::Tls(Box::new(Tls::accept(stream, early, config, buffers)?))),
            Self::Tls(_) | Self::Stream(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// The same, to a server.
    ///
    /// # Errors
    /// When there is TLS on it already, or no memory.
    pub(crate) fn begin_tls_to(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        buffers: Rc<Buffers>,
    ) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => Ok(Self::Tls(Box::new(Tls::connect(stream, config, name, buffers)?))),
            Self::Tls(_) | Self::Stream(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Both directions. Only a read through a half tells tokio that a short read has emptied the socket.
    pub(crate) fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        match self {
            Self::Tcp(stream) => {
                let (reader, writer) = stream.split();
                (Reader::Tcp(reader), Writer::Tcp(writer))
            }
            Self::Tls(tls) => (Reader::Tls(tls), Writer::Tls(tls)),
            Self::Stream(stream) => (Reader::Stream(stream), Writer::Stream(stream)),
        }
    }

    pub(crate) fn reader(&mut self) -> Reader<'_> {
        self.split().0
    }

    pub(crate) fn writer(&mut self) -> Writer<'_> {
        self.split().1
    }

    /// Whether there is TLS on it.
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(_) => true,
            Self::Stream(stream) => stream.has_tls(),
        }
    }

    /// Whether it is a stream of HTTP/2.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// The TLS on it, if there is some.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Tcp(_) | Self::Stream(_) => None,
            Self::Tls(tls) => Some(tls),
        }
    }

    /// The address of this end.
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr(),
            Self::Tls(tls) => tls.socket().local_addr(),
            Self::Stream(stream) => stream.local(),
        }
    }

    /// Waits until there is something to read, or the other side has ended.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Tls(tls) => poll_fn(|cx| tls.poll_read_ready(cx)).await,
            Self::Stream(stream) => poll_fn(|cx| stream.poll_read_ready(cx)).await,
        }
    }

    /// Waits until the other side has reset the connection, or, if `end_counts`, until it has ended its side.
    ///
    /// The end of what a client sends is no hang-up by itself: it may wait for its answer all the same.
    pub(crate) async fn gone(&self, end_counts: bool) {
        match self {
            Self::Tcp(stream) => hang_up(stream, end_counts).await,
            Self::Tls(tls) => hang_up(tls.socket(), end_counts).await,
            Self::Stream(stream) => poll_fn(|cx| stream.poll_gone(cx)).await,
        }
    }

    /// Whether the other side has neither ended nor said anything, as far as tokio knew when it last looked.
    pub(crate) fn seems_quiet(&self) -> bool {
        match self {
            Self::Tcp(stream) => is_nothing(&stream.try_read(&mut [0])),
            Self::Tls(tls) => tls.is_quiet(false),
            Self::Stream(_) => true,
        }
    }

    /// The same by the kernel's word, now.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::Tcp(stream) => is_nothing(&peek(stream)),
            Self::Tls(tls) => tls.is_quiet(true),
            Self::Stream(_) => true,
        }
    }

    /// Whether something has arrived that tokio has not told of yet.
    pub(crate) fn has_arrived(&self) -> bool {
        match self {
            Self::Tcp(stream) => peek(stream).is_ok_and(|n| n > 0),
            Self::Tls(tls) => !tls.is_quiet(true),
            Self::Stream(_) => false,
        }
    }

    /// Reads what nobody wants any more, once.
    pub(crate) fn discard(&self) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(&mut [0; 16 * 1024]),
            Self::Tls(tls) => tls.discard(),
            Self::Stream(_) => Ok(0),
        }
    }

    /// Ends our side.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Tls(tls) => poll_fn(|cx| tls.poll_end(cx)).await,
            Self::Stream(stream) => {
                stream.end();
                Ok(())
            }
        }
    }

    /// Has the end of the connection be a reset, which tells that something is missing.
    pub(crate) fn abort(&self) {
        let reset = |stream: &TcpStream| SockRef::from(stream).set_linger(Some(Duration::ZERO));
        // A connection that cannot be told is no more.
        drop(match self {
            Self::Tcp(stream) => reset(stream),
            Self::Tls(tls) => {
                tls.abort();
                reset(tls.socket())
            }
            // What is not whole ends with a reset anyway.
            Self::Stream(_) => Ok(()),
        });
    }

    /// Acknowledges at once what has arrived: its sender may hold the rest until it knows.
    pub(crate) fn acknowledge(&self) {
        match self {
            Self::Tcp(stream) => drop(stream.set_quickack(true)),
            Self::Tls(tls) => drop(tls.socket().set_quickack(true)),
            Self::Stream(_) => {}
        }
    }

    /// How many bytes the other host has acknowledged (`acknowledged.rs`).
    pub(crate) fn acknowledged(&self) -> io::Result<u64> {
        match self {
            Self::Tcp(stream) => acknowledged(stream),
            Self::Tls(tls) => acknowledged(tls.socket()),
            Self::Stream(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// How long a round trip to the other side takes.
    pub(crate) fn round_trip(&self) -> io::Result<Duration> {
        match self {
            Self::Tcp(stream) => listen::round_trip(stream),
            Self::Tls(tls) => listen::round_trip(tls.socket()),
            Self::Stream(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the other side has acknowledged our end, and all that came before it.
    pub(crate) fn has_everything(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(stream) => listen::has_everything(stream),
            Self::Tls(tls) => listen::has_everything(tls.socket()),
            Self::Stream(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Reader<'_> {
    /// The socket itself, where its bytes are those of the stream.
    pub(crate) fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(half) => Some(half.as_ref()),
            Self::Tls(_) | Self::Stream(_) => None,
        }
    }

    /// Waits until there is something to read, or the other side has ended.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_read_ready(cx),
            Self::Stream(stream) => stream.poll_read_ready(cx),
        }
    }

    /// As [`Io::gone`].
    pub(crate) async fn gone(&self, end_counts: bool) {
        match self {
            Self::Tcp(half) => hang_up(half.as_ref(), end_counts).await,
            Self::Tls(tls) => hang_up(tls.socket(), end_counts).await,
            Self::Stream(stream) => poll_fn(|cx| stream.poll_gone(cx)).await,
        }
    }

    /// As [`Io::acknowledge`].
    pub(crate) fn acknowledge(&self) {
        match self {
            Self::Tcp(half) => drop(half.as_ref().set_quickack(true)),
            Self::Tls(tls) => drop(tls.socket().set_quickack(true)),
            Self::Stream(_) => {}
        }
    }
}

impl Writer<'_> {
    /// The socket itself, where its bytes are those of the stream.
    pub(crate) fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(half) => Some(half.as_ref()),
            Self::Tls(_) | Self::Stream(_) => None,
        }
    }
}

impl AsyncRead for Reader<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, to),
            Self::Tls(tls) => tls.poll_read(cx, to),
            Self::Stream(stream) => stream.poll_read(cx, to),
        }
    }
}

impl AsyncWrite for Writer<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write(cx, bytes),
            Self::Tls(tls) => tls.poll_write(cx, &[IoSlice::new(bytes)]),
            Self::Stream(stream) => stream.poll_write(cx, &[IoSlice::new(bytes)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write_vectored(cx, slices),
            Self::Tls(tls) => tls.poll_write(cx, slices),
            Self::Stream(stream) => stream.poll_write(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(half) => half.is_write_vectored(),
            Self::Tls(_) | Self::Stream(_) => true,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_flush(cx),
            // What counts as written is in the kernel.
            Self::Tls(_) | Self::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            Self::Tls(tls) => tls.poll_end(cx),
            Self::Stream(stream) => {
                stream.end();
                Poll::Ready(Ok(()))
            }
        }
    }
}

fn peek(stream: &TcpStream) -> io::Result<usize> {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()])
}

fn is_nothing(read: &io::Result<usize>) -> bool {
    read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
