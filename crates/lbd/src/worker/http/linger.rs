//! The end of a client's connection.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use tokio::time::sleep;

use super::connection::After;
use crate::worker::Worker;
use crate::worker::leaving::Leaving;
use crate::worker::net::io::Io;
use crate::worker::presence::Presence;

/// How long, and for how many bytes, a client that may still be sending is listened to after its last response: closing at
/// once would reset the connection, and could destroy the response on its way.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// How often it is looked whether such a client has everything, when lbd ends.
const LOOK: Duration = Duration::from_millis(5);

// RFC 9112 section 9.6: "The server MUST NOT process any further requests received on that connection"
/// Ends our side and listens for a moment, so that what was sent arrives (RFC 9112 9.6).
pub(crate) async fn linger(client: &mut Io, worker: &Worker, presence: &Presence, after: After) {
    presence.deadline().set(LINGER);
    let work = async {
        client.end().await?;
        presence.let_go(worker.counters());
        let mut heard = 0;
        while heard < LINGER_BYTES {
            tokio::select! {
                biased;
                // Most clients say nothing more: nothing is held for them.
                readable = client.readable() => readable?,
                () = missed_nothing(client, worker), if after == After::Farewell => break,
            }
            match client.discard() {
                Ok(0) => break,
                Ok(n) => heard += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        io::Result::Ok(())
    };
    // Whether the client stayed to the end or not, this connection is over.
    let _ = presence.deadline().guard(work).await;
}

/// Listens for a moment to whoever still sends its request on a stream of HTTP/2: many take the end of a stream for a failure that
/// comes before their own, although their answer has come.
pub(crate) async fn hear_out(client: &Io, presence: &Presence) {
    let Io::Stream(stream) = client else { return };
    presence.deadline().set(LINGER);
    let mut most = LINGER_BYTES;
    // Whether it came to its end or not, the stream is over.
    let _ = presence.deadline().guard(poll_fn(|cx| stream.poll_drain(cx, &mut most))).await;
}

/// Waits until lbd ends, and a client has everything that it was sent.
async fn missed_nothing(client: &Io, worker: &Worker) {
    if worker.leaving() != Leaving::End {
        worker.ends.notified().await;
    }
    // A connection that the kernel tells nothing of is no more.
    while !client.has_everything().unwrap_or(true) {
        sleep(LOOK).await;
    }
}
