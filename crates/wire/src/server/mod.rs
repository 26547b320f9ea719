//! A daemon's end of its socket.
//!
//! One task accepts, one serves each connection. A connection that is idle, slow or wrong ends by itself; none is waited
//! for by anything else.

mod bind;
mod connection;
mod parts;
pub mod request;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Uid};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use bind::{BindError, bind};
use connection::Connection;

use crate::codec::encode;
use crate::topic::Feed;
use crate::{Answer, DaemonHello, DaemonLine, Ping, Refusal, RefusalCode, Request, TopicName};

/// Connections at once of those who may change something, and again of all others; one more gets an error and is closed.
/// So nobody can lock out operators, or another daemon.
const CONNECTIONS_MAX: usize = 64;

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

/// Serves connections for as long as it is polled; dropping it ends them all.
pub async fn serve(listener: UnixListener, handler: Arc<impl Handler>) {
    let seats = [(); 2].map(|()| Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let handler = handler.clone();
                    let privileged = stream.peer_cred().is_ok_and(|peer| may_change(&peer));
                    match seats[usize::from(privileged)].clone().try_acquire_owned() {
                        Ok(seat) => {
                            connections.spawn(async move {
                                Connection::serve(stream, handler, privileged).await;
                                drop(seat);
                            });
                        }
                        // The refusal fits into the socket's buffer, so it does not wait.
                        Err(_) => refuse(&stream),
                    }
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

/// Root, the daemon's user, and its group.
fn may_change(peer: &UCred) -> bool {
    peer.uid() == 0 || peer.uid() == Uid::effective().as_raw() || peer.gid() == Gid::effective().as_raw()
}

fn refuse(stream: &UnixStream) {
    let message = format!("{CONNECTIONS_MAX} connections are open already; close some and try again");
    let error = Refusal::new(RefusalCode::Lagged, message);
    if let Ok(line) = encode(&DaemonLine::Error { id: None, error }) {
        // Somebody who is gone already needs no refusal.
        let _ = stream.try_write(&line);
    }
}
