//! Finding a server that takes a request: an idle connection, a new one, or a new one to another server.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use balance::Tried;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::deadline::Deadline;
use super::failure::Failure;
use super::service::{Backend, Seat, ServerConnection};

/// What it took to find a server.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    tried: Tried,
    /// Attempts beyond the first.
    pub(crate) retries: u32,
    /// Whether another server than the first one is used.
    pub(crate) redispatched: bool,
    /// The time to a connection, all attempts together; zero for a reused one.
    pub(crate) connect_time: Option<Duration>,
}

impl Attempts {
    /// Notes that a request has to go out again: its server closed the connection without an answer.
    pub(crate) fn repeat(&mut self, backend: &Backend, seat: &Seat) {
        self.count(backend, seat);
    }

    fn count(&mut self, backend: &Backend, seat: &Seat) {
        self.tried.insert(seat.id);
        self.retries += 1;
        seat.server.counters().retries.inc();
        backend.counters().retries.inc();
    }
}

/// A connection to a server for one request, and whether it was used before.
///
/// When connecting fails, another server is tried, as often as `retries` says and the budget allows, within the backend's
/// connect timeout: each attempt may take its equal share of what is left of it, so that one silent server cannot use it up.
pub(crate) async fn acquire(
    backend: &Rc<Backend>,
    client: IpAddr,
    reuse: bool,
    attempts: &mut Attempts,
    deadline: &Deadline,
) -> Result<(ServerConnection, Seat, bool), (Failure, Option<Seat>)> {
    let rules = backend.rules();
    let started = Instant::now();
    let mut failed: Option<(Failure, Seat)> = None;
    for left in (1..=rules.retries.saturating_add(1)).rev() {
        if let Some((failure, seat)) = failed.take() {
            if !backend.spend_retry() {
                return Err((failure, Some(seat)));
            }
            attempts.count(backend, &seat);
            failed = Some((failure, seat));
        }
        let Some(seat) = backend.choose(client, &attempts.tried) else { break };
        if let Some((_, before)) = &failed
            && before.id != seat.id
        {
            attempts.redispatched = true;
            before.server.counters().redispatches.inc();
            backend.counters().redispatches.inc();
        }
        if reuse && let Some(connection) = seat.server.reuse() {
            attempts.connect_time = Some(started.elapsed());
            return Ok((connection, seat, true));
        }
        let share = rules.timeouts.connect.saturating_sub(started.elapsed()) / left;
        deadline.set(share);
        match deadline.guard(connect(&seat)).await {
            Ok(Ok(connection)) => {
                seat.connected();
                attempts.connect_time = Some(started.elapsed());
                return Ok((connection, seat, false));
            }
            Ok(Err(_)) => {
                seat.failed();
                failed = Some((Failure::Connect, seat));
            }
            Err(_) => {
                seat.failed();
                failed = Some((Failure::ConnectTimeout, seat));
            }
        }
    }
    match failed {
        Some((failure, seat)) => Err((failure, Some(seat))),
        None => Err((Failure::NoServer, None)),
    }
}

async fn connect(seat: &Seat) -> io::Result<ServerConnection> {
    let address = seat.server.address().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    Ok(ServerConnection { stream: socket.connect(address).await?, address })
}
