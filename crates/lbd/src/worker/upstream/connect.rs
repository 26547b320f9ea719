//! Finding a server that takes a request: an idle connection, a new one, or a new one to another server.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use balance::Tried;
use proxy_protocol::Header;
use tokio::time::Instant;

use super::idle::{Reuse, ServerConnection};
use super::patience::Patience;
use super::secure::secure;
use super::service::{Backend, Reserved, Seat, Server, Unchosen, Wanted};
use crate::shared::queue::Queue;
use crate::worker::Worker;
use crate::worker::failure::{Failure, Wait};
use crate::worker::net::dial::{is_shortage, lacks_port, open};
use crate::worker::net::io::Io;
use crate::worker::net::send;
use crate::worker::presence::Presence;

/// How often a request that waits for a descriptor tries again, where there is none to spare.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often a worker tells that local ports are used up, or that there is no TLS with a server.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// The search for a server.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    tried: Tried,
    made: u32,
    /// Where the request goes again, on a new connection: the one kept there had been closed.
    stays: Option<Seat>,
    /// The server of the attempt that failed last.
    last: Option<Rc<Server>>,
    /// Since when it has waited for a place at a server, while it does.
    queued_since: Option<Instant>,
    /// How long it has waited before.
    queued: Duration,
    taken: Taken,
}

/// What the log tells of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Attempts beyond the first.
    pub(crate) retries: u32,
    /// Whether another server than the first one is used.
    pub(crate) redispatched: bool,
    /// The time to a connection, all attempts together; next to nothing for a reused one.
    pub(crate) connect_time: Option<Duration>,
    /// How long it has waited for a place at a server; none before it got as far.
    pub(crate) queue_time: Option<Duration>,
    /// How many waited before it.
    pub(crate) queued_behind: u64,
}

impl Attempts {
    /// The attempt at this seat failed, and another one follows.
    pub(crate) fn again(&mut self, backend: &Backend, seat: &Seat) {
        self.tried.insert(seat.id);
        self.taken.retries += 1;
        seat.server.counters().retries.inc();
        backend.counters().retries.inc();
        self.last = Some(seat.server.clone());
    }

    /// The connection that was kept at this seat had been closed: no attempt has failed, and the next one is made there.
    pub(crate) fn stay(&mut self, seat: Seat) {
        self.stays = Some(seat);
    }

    /// What it took so far.
    pub(crate) fn taken(&self) -> Taken {
        let waiting = self.queued_since.map(|since| since.elapsed());
        let reached = self.made > 0 || waiting.is_some() || !self.queued.is_zero();
        Taken { queue_time: reached.then(|| self.queued + waiting.unwrap_or_default()), ..self.taken }
    }

    /// What it waits for now, before it is with a server.
    pub(crate) fn waits_for(&self) -> Wait {
        if self.queued_since.is_some() { Wait::Queue } else { Wait::Connection }
    }

    /// An attempt begins at this seat.
    fn begin(&mut self, backend: &Backend, seat: &Seat) {
        self.made += 1;
        if let Some(last) = self.last.take().filter(|last| !Rc::ptr_eq(last, &seat.server)) {
            self.taken.redispatched = true;
            last.counters().redispatches.inc();
            backend.counters().redispatches.inc();
        }
    }
}

/// Whom a server is wanted for.
pub(crate) struct Caller<'a> {
    pub(crate) wanted: Wanted,
    pub(crate) presence: &'a Presence,
    pub(crate) connection: &'a Io,
    /// What is kept for this client alone.
    pub(crate) reserved: &'a mut Option<Reserved>,
}

impl Caller<'_> {
    /// What a server is told of it.
    fn introduction(&self) -> Header {
        let source = self.presence.client();
        let destination = self.presence.destination().or_else(|| self.connection.local().ok());
        // A connection that has no address any more is over.
        destination.map_or(Header::Local, |destination| Header::Proxied { source, destination })
    }
}

/// A connection to a server for one request, and whether it was used before. Where all servers have as many requests as they
/// may, the request waits for its turn first.
///
/// When connecting fails, another server is tried, as often as `retries` says and the budget allows, within the backend's
/// connect timeout: each attempt may take its equal share of what is left of it, so that one silent server cannot use it up.
/// An lbd that leaves has less patience (`patience.rs`).
pub(crate) async fn acquire(
    patience: &Patience<'_>,
    backend: &Rc<Backend>,
    caller: Caller<'_>,
    reuse: Reuse,
    attempts: &mut Attempts,
) -> Result<(ServerConnection, Seat, bool), (Failure, Option<Seat>)> {
    let worker = patience.worker;
    let rules = backend.rules();
    let mut started = Instant::now();
    let mut stays = attempts.stays.take();
    let made = attempts.made.saturating_sub(u32::from(stays.is_some()));
    let most = rules.retries.saturating_add(1).saturating_sub(made).max(1);
    let mut failed: Option<(Failure, Seat)> = None;
    for left in (1..=most).rev() {
        if let Some((_, seat)) = &failed {
            if !backend.spend_retry() {
                break;
            }
            attempts.again(backend, seat);
        }
        let seat = match stays.take() {
            Some(seat) => seat,
            None => {
                let before = attempts.queued;
                let seat = match choose(patience, backend, caller.wanted, attempts).await {
                    Ok(seat) => seat,
                    Err(Failure::NoServer) if failed.is_some() => break,
                    Err(failure) => return Err((failure, failed.map(|(_, seat)| seat))),
                };
                // Waiting is not connecting.
                started += attempts.queued - before;
                attempts.begin(backend, &seat);
                // Looking at the clock once more costs as much as finding the connection does.
                let now = if failed.is_none() { started } else { Instant::now() };
                if let Some(connection) = seat.server.reuse(reuse, now, caller.reserved) {
                    attempts.taken.connect_time = Some(now - started);
                    return Ok((connection, seat, true));
                }
                if reuse != Reuse::Any {
                    // Otherwise each request that may not be repeated would leave one connection more behind.
                    seat.server.displace();
                }
                seat
            }
        };
        let share = rules.timeouts.connect.saturating_sub(started.elapsed()) / left;
        let step = Cell::new(Step::Connecting);
        let failure = match patience.wait(share, connect(worker, &seat, &caller, &step)).await {
            Ok(Ok(connection)) => {
                seat.reached();
                attempts.taken.connect_time = Some(started.elapsed());
                return Ok((connection, seat, false));
            }
            // No server is to blame, and no other one would help.
            Err(_) if step.get() == Step::Short => return Err((Failure::Shortage, Some(seat))),
            Ok(Err(Unreached::Connecting(error))) if lacks_port(&error) => {
                tell_ports_are_used_up(worker, backend, &seat.server);
                Failure::Shortage
            }
            Ok(Err(Unreached::Connecting(_))) => Failure::Connect,
            Ok(Err(Unreached::Securing(reason))) => {
                tell_insecure(backend, &seat.server, &reason);
                Failure::ServerHandshake
            }
            // Nor here.
            Err(_) if patience.is_cut() => return Err((Failure::Cut(false), Some(seat))),
            Err(_) if step.get() == Step::Securing => {
                seat.server.counters().tls.failed.inc();
                tell_insecure(
                    backend,
                    &seat.server,
                    "the handshake was not complete within timeouts.connect",
                );
                Failure::ServerHandshakeTimeout
            }
            Err(_) => Failure::ConnectTimeout,
        };
        match failure {
            Failure::Shortage => seat.unreachable(),
            _ => seat.failed(),
        }
        failed = Some((failure, seat));
    }
    match failed {
        Some((failure, seat)) => Err((failure, Some(seat))),
        None => Err((Failure::NoServer, None)),
    }
}

/// Chooses a server, and waits for one where all have as many requests as they may.
async fn choose(
    patience: &Patience<'_>,
    backend: &Rc<Backend>,
    wanted: Wanted,
    attempts: &mut Attempts,
) -> Result<Seat, Failure> {
    match backend.choose(wanted, &attempts.tried) {
        Ok(seat) => Ok(seat),
        Err(Unchosen::NoneUsable) => Err(Failure::NoServer),
        Err(Unchosen::Wait(queue)) => wait(patience, &queue, backend, wanted, attempts).await,
    }
}

/// Waits until a server has room, for what is left of the time.
async fn wait(
    patience: &Patience<'_>,
    queue: &Queue,
    backend: &Rc<Backend>,
    wanted: Wanted,
    attempts: &mut Attempts,
) -> Result<Seat, Failure> {
    let rules = backend.rules().queue;
    let avoided = |attempts: &Attempts| backend.avoided(wanted, &attempts.tried).ok_or(Failure::NoServer);
    let Some(stand) = queue.enter(patience.worker.id, rules.max, avoided(attempts)?) else {
        queue.refuse();
        return Err(Failure::Queue);
    };
    let since = Instant::now();
    attempts.queued_since = Some(since);
    attempts.taken.queued_behind = stand.before;
    let time = rules.timeout.saturating_sub(attempts.queued);
    let turn = async {
        loop {
            // Something may have become free before it stood there.
            match backend.choose(wanted, &attempts.tried) {
                Ok(seat) => return Ok(seat),
                Err(Unchosen::NoneUsable) => return Err(Failure::NoServer),
                Err(Unchosen::Wait(_)) => {}
            }
            if let Some(place) = stand.place().await
                && let Some(seat) = backend.claim(place, wanted, &attempts.tried)
            {
                return Ok(seat);
            }
            stand.stay(avoided(attempts)?);
        }
    };
    let found = patience.wait(time, turn).await;
    attempts.queued_since = None;
    attempts.queued += since.elapsed();
    found.unwrap_or_else(|_| {
        if patience.is_cut() {
            return Err(Failure::Cut(false));
        }
        // Its own server has no room; better another one than none.
        let elsewhere =
            wanted.own.and_then(|_| backend.choose(Wanted { own: None, ..wanted }, &attempts.tried).ok());
        elsewhere.ok_or_else(|| {
            queue.refuse();
            Failure::Queue
        })
    })
}

/// What an attempt is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It connects.
    Connecting,
    /// It waits for what this host is short of.
    Short,
    /// It shakes hands.
    Securing,
}

/// Why there is no connection to a server.
enum Unreached {
    /// There is none at all.
    Connecting(io::Error),
    /// It has no TLS, for this reason.
    Securing(String),
}

impl From<io::Error> for Unreached {
    fn from(error: io::Error) -> Self {
        Self::Connecting(error)
    }
}

/// Connects to the server of a seat. Where this host is short of something it waits until it is not: idle connections are a
/// luxury, and make room for one that is needed.
async fn connect(
    worker: &Worker,
    seat: &Seat,
    caller: &Caller<'_>,
    step: &Cell<Step>,
) -> Result<ServerConnection, Unreached> {
    let address = seat.server.address().ok_or(io::Error::from(io::ErrorKind::NotFound))?;
    let mut waits = None;
    let result = loop {
        let result = open(address).await;
        if !result.as_ref().is_err_and(is_shortage) {
            step.set(Step::Connecting);
            break result;
        }
        step.set(Step::Short);
        waits.get_or_insert_with(|| worker.spare.wait());
        if !worker.make_room().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let mut connection = ServerConnection::new(result?, address, seat.server.attention());
    if let Some(version) = seat.server.introduction() {
        let mut header = worker.heads.lend();
        caller.introduction().encode(version, &mut header);
        send::all(&mut connection.stream.writer(), &header, || {}).await?;
        connection.was_introduced(header.len() as u64);
    }
    if let Some(connector) = seat.server.connector() {
        step.set(Step::Securing);
        connection =
            secure(worker, &seat.server, connector, connection).await.map_err(Unreached::Securing)?;
    }
    Ok(connection)
}

/// Tells why there is no TLS with a server, at a bounded rate.
fn tell_insecure(backend: &Backend, server: &Server, reason: &str) {
    let now = Instant::now();
    if server.insecure_told.get().is_some_and(|told| now.duration_since(told) < TELL_AGAIN) {
        return;
    }
    server.insecure_told.set(Some(now));
    let (backend, address) = (&*backend.name, server.address().map(tracing::field::display));
    tracing::warn!(backend, server = &*server.name, address, reason, "no TLS with this server");
}

/// Tells that a server cannot be connected to and is not to blame, at a bounded rate.
fn tell_ports_are_used_up(worker: &Worker, backend: &Backend, server: &Server) {
    let now = Instant::now();
    if worker.ports_told.get().is_some_and(|told| now.duration_since(told) < TELL_AGAIN) {
        return;
    }
    worker.ports_told.set(Some(now));
    let (backend, address) = (&*backend.name, server.address());
    tracing::warn!(
        backend,
        server = &*server.name,
        ?address,
        "no local port is left for connections to this server, so others are used; widen net.ipv4.ip_local_port_range, or \
         give the server more addresses or ports"
    );
}
