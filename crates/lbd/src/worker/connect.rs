//! Finding a server that takes a request: an idle connection, a new one, or a new one to another server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use balance::Tried;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::Worker;
use super::deadline::Deadline;
use super::failure::{Failure, Wait};
use super::service::{Backend, Reuse, Seat, Server, ServerConnection, Unchosen};
use crate::queue::Queue;

/// What it took to find a server.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    tried: Tried,
    made: u32,
    /// The server of the attempt that failed last.
    last: Option<Rc<Server>>,
    /// Attempts beyond the first.
    pub(crate) retries: u32,
    /// Whether another server than the first one is used.
    pub(crate) redispatched: bool,
    /// The time to a connection, all attempts together; next to nothing for a reused one.
    pub(crate) connect_time: Option<Duration>,
    /// Since when it has waited for a place at a server, while it does.
    queued_since: Option<Instant>,
    /// How long it has waited before.
    queued: Duration,
    /// How many waited before it.
    pub(crate) queued_behind: u64,
}

impl Attempts {
    /// The attempt at this seat failed, and another one follows.
    pub(crate) fn again(&mut self, backend: &Backend, seat: &Seat) {
        self.tried.insert(seat.id);
        self.retries += 1;
        seat.server.counters().retries.inc();
        backend.counters().retries.inc();
        self.last = Some(seat.server.clone());
    }

    /// How long it has waited for a place at a server; none before it got as far.
    pub(crate) fn queue_time(&self) -> Option<Duration> {
        let waiting = self.queued_since.map(|since| since.elapsed());
        let reached = self.made > 0 || waiting.is_some() || !self.queued.is_zero();
        reached.then(|| self.queued + waiting.unwrap_or_default())
    }

    /// What it waits for now, before it is with a server.
    pub(crate) fn waits_for(&self) -> Wait {
        if self.queued_since.is_some() { Wait::Queue } else { Wait::Connection }
    }

    /// An attempt begins at this seat.
    fn begin(&mut self, backend: &Backend, seat: &Seat) {
        self.made += 1;
        if let Some(last) = self.last.take().filter(|last| !Rc::ptr_eq(last, &seat.server)) {
            self.redispatched = true;
            last.counters().redispatches.inc();
            backend.counters().redispatches.inc();
        }
    }
}

/// A connection to a server for one request, and whether it was used before. Where all servers have as many requests as they
/// may, the request waits for its turn first.
///
/// When connecting fails, another server is tried, as often as `retries` says and the budget allows, within the backend's
/// connect timeout: each attempt may take its equal share of what is left of it, so that one silent server cannot use it up.
pub(crate) async fn acquire(
    worker: &Worker,
    backend: &Rc<Backend>,
    client: IpAddr,
    reuse: Reuse,
    attempts: &mut Attempts,
    deadline: &Deadline,
) -> Result<(ServerConnection, Seat, bool), (Failure, Option<Seat>)> {
    let rules = backend.rules();
    let mut started = Instant::now();
    let most = rules.retries.saturating_add(1).saturating_sub(attempts.made).max(1);
    let mut failed: Option<(Failure, Seat)> = None;
    for left in (1..=most).rev() {
        if let Some((_, seat)) = &failed {
            if !backend.spend_retry() {
                break;
            }
            attempts.again(backend, seat);
        }
        let seat = match backend.choose(client, &attempts.tried) {
            Ok(seat) => seat,
            Err(Unchosen::NoneUsable) => break,
            Err(Unchosen::Wait(queue)) => {
                let before = attempts.queued;
                match wait(worker, &queue, backend, client, attempts, deadline).await {
                    // Waiting is not connecting.
                    Ok(seat) => {
                        started += attempts.queued - before;
                        seat
                    }
                    Err(failure) => return Err((failure, failed.map(|(_, seat)| seat))),
                }
            }
        };
        attempts.begin(backend, &seat);
        if let Some(connection) = seat.server.reuse(reuse) {
            // Looking at the clock costs as much as finding the connection did.
            attempts.connect_time = Some(if failed.is_none() { Duration::ZERO } else { started.elapsed() });
            return Ok((connection, seat, true));
        }
        if reuse != Reuse::Any {
            // Otherwise each request that may not be repeated would leave one connection more behind.
            seat.server.displace();
        }
        let share = rules.timeouts.connect.saturating_sub(started.elapsed()) / left;
        deadline.set(share);
        let failure = match deadline.guard(connect(worker, &seat)).await {
            Ok(Ok(connection)) => {
                seat.reached();
                attempts.connect_time = Some(started.elapsed());
                return Ok((connection, seat, false));
            }
            // No server is to blame, and no other one would help.
            Ok(Err(error)) if is_shortage(&error) => return Err((Failure::Shortage, Some(seat))),
            Ok(Err(_)) => Failure::Connect,
            Err(_) => Failure::ConnectTimeout,
        };
        seat.failed();
        failed = Some((failure, seat));
    }
    match failed {
        Some((failure, seat)) => Err((failure, Some(seat))),
        None => Err((Failure::NoServer, None)),
    }
}

/// Waits until a server has room, for what is left of the time.
async fn wait(
    worker: &Worker,
    queue: &Queue,
    backend: &Rc<Backend>,
    client: IpAddr,
    attempts: &mut Attempts,
    deadline: &Deadline,
) -> Result<Seat, Failure> {
    let rules = backend.rules().queue;
    let avoided = |attempts: &Attempts| backend.avoided(&attempts.tried).ok_or(Failure::NoServer);
    let Some(stand) = queue.enter(worker.id, rules.max, avoided(attempts)?) else {
        queue.refuse();
        return Err(Failure::Queue);
    };
    let since = Instant::now();
    attempts.queued_since = Some(since);
    attempts.queued_behind = stand.before;
    deadline.set(rules.timeout.saturating_sub(attempts.queued));
    let turn = async {
        loop {
            // Something may have become free before it stood there.
            match backend.choose(client, &attempts.tried) {
                Ok(seat) => return Ok(seat),
                Err(Unchosen::NoneUsable) => return Err(Failure::NoServer),
                Err(Unchosen::Wait(_)) => {}
            }
            if let Some(place) = stand.place().await
                && let Some(seat) = backend.claim(place, &attempts.tried)
            {
                return Ok(seat);
            }
            stand.stay(avoided(attempts)?);
        }
    };
    let found = deadline.guard(turn).await;
    attempts.queued_since = None;
    attempts.queued += since.elapsed();
    found.unwrap_or_else(|_| {
        queue.refuse();
        Err(Failure::Queue)
    })
}

async fn connect(worker: &Worker, seat: &Seat) -> io::Result<ServerConnection> {
    let address = seat.server.address().ok_or(io::ErrorKind::NotFound)?;
    match open(address).await {
        // Idle connections are a luxury: they make room for one that is needed.
        Err(error) if is_shortage(&error) => {
            worker.forget_idle();
            open(address).await
        }
        result => result,
    }
}

async fn open(address: SocketAddr) -> io::Result<ServerConnection> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    Ok(ServerConnection { stream: socket.connect(address).await?, address })
}

/// Whether this host lacks something, be it descriptors, memory or local ports.
fn is_shortage(error: &io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EADDRNOTAVAIL | EMFILE | ENFILE | ENOBUFS | ENOMEM))
}
