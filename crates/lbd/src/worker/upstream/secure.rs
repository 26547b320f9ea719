//! TLS on a new connection to a server.
//!
//! Servers are verified, and the time for a connection is enough for this, too. As in front, a worker goes on with one handshake at a
//! time; those with servers have turns of their own, so that clients who begin many do not keep requests from servers.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use certificates::reason;
use rustls::HandshakeKind;

use super::idle::ServerConnection;
use super::service::Server;
use crate::shared::counters::HandshakeCounters;
use crate::shared::tls::{Agreed, Connector};
use crate::worker::Worker;

/// Shakes hands with a server.
///
/// # Errors
/// Why not, in a line.
pub(super) async fn secure(
    worker: &Worker,
    server: &Server,
    connector: Arc<Connector>,
    connection: ServerConnection,
) -> Result<ServerConnection, String> {
    let counters = &server.counters().tls;
    let shaken = shake(worker, counters, connector, connection).await;
    match &shaken {
        Ok((_, HandshakeKind::Resumed)) => counters.resumed.inc(),
        Ok(_) => counters.full.inc(),
        Err(_) => counters.failed.inc(),
    }
    shaken.map(|(connection, _)| connection)
}

async fn shake(
    worker: &Worker,
    counters: &HandshakeCounters,
    connector: Arc<Connector>,
    connection: ServerConnection,
) -> Result<(ServerConnection, HandshakeKind), String> {
    let turns = &worker.server_handshakes;
    // What is said first has keys in it, which are made here.
    let begun = turns.take(|| connection.secured(connector, worker.tls.clone())).await;
    let mut connection = begun.map_err(broken)?;
    let tls = connection.stream.tls().ok_or("there is no TLS")?;
    let step = || turns.take(|| tls.shake_hands());
    step().await.map_err(|error| reason(&error))?;
    while poll_fn(|cx| tls.poll_handshake(cx)).await.map_err(broken)? {
        step().await.map_err(|error| reason(&error))?;
    }
    let kind = tls.agreed(|agreed| agreed.handshake_kind()).unwrap_or(HandshakeKind::Full);
    if tls.agreed(Agreed::of).is_some_and(Agreed::is_tls12) {
        counters.tls12.inc();
    }
    connection.was_secured();
    Ok((connection, kind))
}

fn broken(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection in the handshake".to_owned(),
        _ => error.to_string(),
    }
}
