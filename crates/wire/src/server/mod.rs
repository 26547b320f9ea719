//! A daemon's end of its socket.
//!
//! One task accepts, one serves each connection. A connection that is idle, slow or wrong ends by itself; none is waited
//! for by anything else, and those that say nothing make [room](seats) for those that do.

mod beat;
mod bind;
mod connection;
mod link;
mod parts;
mod permission;
pub mod request;
pub mod seats;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};

pub use bind::{BindError, bind, bind_beside};
use connection::Connection;
pub use permission::{CONTROL_GROUP, Permitted};

use seats::Seats;

use crate::topic::Feed;
use crate::{Answer, DaemonHello, Ping, Refusal, Request, TopicName};

/// Connections at once that have asked for something, of those who may change something, and again of all others. So
/// nobody can lock out operators, or another daemon.
const ASKED_MAX: usize = 64;
/// Connections at once that have said nothing yet, of either kind.
const SILENT_MAX: usize = 16;
/// Closed connections at once whose clients are given time to read why.
const CLOSING_MAX: usize = 32;

/// What a daemon answers with.
pub trait Handler: Send + Sync + 'static {
    /// Who answers.
    fn hello(&self) -> DaemonHello;
    /// Carries a request out. Permission has been checked; [`Request::Subscribe`] never comes here. The future may be
    /// dropped before it is done, when the client goes away or it takes too long.
    fn request(&self, request: Request) -> impl Future<Output = Result<Answer, Refusal>> + Send;
    /// The topic of that name, if this daemon has it.
    fn feed(&self, topic: TopicName) -> Option<Arc<dyn Feed>>;
    /// What goes with a ping.
    fn ping(&self) -> Ping;
    /// Answers a command of the text dialect, given without surrounding space. `privileged` says whether it may change
    /// something.
    fn command(&self, command: &str, privileged: bool) -> impl Future<Output = String> + Send;
}

/// Serves connections for as long as it is polled; dropping it ends them all. Others than the `permitted` may only look.
pub async fn serve(listener: UnixListener, permitted: Permitted, handler: Arc<impl Handler>) {
    let seats = [(); 2].map(|()| Seats::new(SILENT_MAX, ASKED_MAX));
    let closing = Arc::new(Semaphore::new(CLOSING_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let privileged = permitted.includes(&stream);
                    let seat = seats[usize::from(privileged)].take();
                    connections.spawn(Connection::serve(stream, handler.clone(), privileged, seat, closing.clone()));
                    // What the others have said is heard before the next one takes a seat.
                    yield_now().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on the control socket; trying again shortly");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
