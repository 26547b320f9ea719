//! After a protocol switch: bytes in both directions, whatever they mean.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::worker::deadline::Deadline;
use crate::worker::failure::Failure;
use crate::worker::http::exchange::Meter;
use crate::worker::net::buffer::{Buffer, Pool};
use crate::worker::net::io::{Io, Reader, Writer};
use crate::worker::net::send;

/// Bytes that came before the switch was complete, and where their buffer is from.
pub(crate) type Early<'a> = (Buffer, &'a Pool<Buffer>);

/// Carries bytes until both sides have ended, one has failed, or neither has moved for `idle`.
///
/// `pending` is what the client sent behind its request, `early` what the server sent behind its head.
pub(crate) async fn run(
    client: &mut Io,
    server: &mut Io,
    (pending, early): (Early<'_>, Early<'_>),
    buffers: &Pool<Buffer>,
    deadline: &Deadline,
    idle: Duration,
    meter: &Meter,
) -> Result<(), Failure> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let moved = || deadline.set(idle);
    let up_ends = (Failure::ClientReset, Failure::ServerBroke);
    let up = carry(from_client, to_server, pending, buffers, up_ends, moved, |n| meter.add_in(n));
    let down_ends = (Failure::ServerBroke, Failure::ClientReset);
    let down = carry(from_server, to_client, early, buffers, down_ends, moved, |n| meter.add_out(n));
    deadline.set(idle);
    let work = async {
        let (mut up, mut down) = (pin!(up), pin!(down));
        let (mut up_ended, mut down_ended) = (false, false);
        poll_fn(|cx| {
            if !up_ended && let Poll::Ready(result) = up.as_mut().poll(cx) {
                if result.is_err() {
                    return Poll::Ready(result);
                }
                up_ended = true;
            }
            if !down_ended && let Poll::Ready(result) = down.as_mut().poll(cx) {
                if result.is_err() {
                    return Poll::Ready(result);
                }
                down_ended = true;
            }
            if up_ended && down_ended { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    };
    deadline.guard(work).await.unwrap_or(Err(Failure::ClientStalled))
}

/// Carries one direction to its end, and passes the end on. `ends` says what it means when reading, or writing, fails.
async fn carry(
    mut from: Reader<'_>,
    mut to: Writer<'_>,
    (early, pool): Early<'_>,
    buffers: &Pool<Buffer>,
    ends: (Failure, Failure),
    moved: impl Fn(),
    count: impl Fn(usize),
) -> Result<(), Failure> {
    let (from_failed, to_failed) = ends;
    send::all(&mut to, early.filled(), &moved).await.map_err(|_| to_failed)?;
    count(early.filled().len());
    pool.give(early);
    loop {
        // An idle tunnel holds no buffer.
        let buffer = poll_fn(|cx| buffers.poll_read(cx, &mut from)).await.map_err(|_| from_failed)?;
        moved();
        if buffer.is_empty() {
            return poll_fn(|cx| Pin::new(&mut to).poll_shutdown(cx)).await.map_err(|_| to_failed);
        }
        send::all(&mut to, buffer.filled(), &moved).await.map_err(|_| to_failed)?;
        count(buffer.filled().len());
        moved();
    }
}
