//! After a protocol switch: bytes in both directions, whatever they mean.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::buffer::{Buffer, Pool};
use super::deadline::Deadline;
use super::exchange::Meter;
use super::failure::Failure;
use super::send;

/// Carries bytes until both sides have ended, one has failed, or neither has moved for `idle`.
///
/// `early` is what the server sent behind its head, `pending` what the client sent behind its request.
pub(crate) async fn run(
    client: &mut TcpStream,
    server: &mut TcpStream,
    (early, pending): (Buffer, Buffer),
    buffers: &Pool<Buffer>,
    deadline: &Deadline,
    idle: Duration,
    meter: &Meter,
) -> Result<(), Failure> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = carry(from_client, to_server, pending, buffers, || deadline.set(idle), |n| meter.add_in(n));
    let down = carry(from_server, to_client, early, buffers, || deadline.set(idle), |n| meter.add_out(n));
    deadline.set(idle);
    let work = async {
        let (mut up, mut down) = (pin!(up), pin!(down));
        let (mut up_ended, mut down_ended) = (false, false);
        poll_fn(|cx| {
            if !up_ended && let Poll::Ready(result) = up.as_mut().poll(cx) {
                if result.is_err() {
                    return Poll::Ready(Err(Failure::ClientReset));
                }
                up_ended = true;
            }
            if !down_ended && let Poll::Ready(result) = down.as_mut().poll(cx) {
                if result.is_err() {
                    return Poll::Ready(Err(Failure::ServerBroke));
                }
                down_ended = true;
            }
            if up_ended && down_ended { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    };
    deadline.guard(work).await.unwrap_or(Err(Failure::ClientStalled))
}

/// Carries one direction to its end, and passes the end on.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    first: Buffer,
    buffers: &Pool<Buffer>,
    moved: impl Fn(),
    count: impl Fn(usize),
) -> std::io::Result<()> {
    if !first.is_empty() {
        send::all(&mut to, first.filled()).await?;
        count(first.filled().len());
    }
    buffers.give(first);
    loop {
        // An idle tunnel holds no buffer.
        poll_fn(|cx| from.as_ref().poll_read_ready(cx)).await?;
        let mut buffer = buffers.lend();
        let n = buffer.fill(&mut from).await?;
        moved();
        if n == 0 {
            return poll_fn(|cx| Pin::new(&mut to).poll_shutdown(cx)).await;
        }
        send::all(&mut to, buffer.filled()).await?;
        count(n);
        moved();
    }
}
