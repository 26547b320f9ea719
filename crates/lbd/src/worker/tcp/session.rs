//! A session in TCP mode: a client's connection, and its one to a server.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use balance::Key;
use tokio::time::Instant;

use super::hello::Hello;
use super::relay::{Bounds, Course, Flow, Relay};
use crate::shared::access_log::{CookieStates, Record, Termination, Times};
use crate::shared::millis;
use crate::worker::Worker;
use crate::worker::client_text::ClientText;
use crate::worker::failure::Failure;
use crate::worker::frontend::Frontend;
use crate::worker::net::buffer::Buffer;
use crate::worker::net::io::Io;
use crate::worker::presence::Presence;
use crate::worker::routes::Target;
use crate::worker::upstream::connect::{self, Attempts, Caller, Taken};
use crate::worker::upstream::idle::{Reuse, ServerConnection};
use crate::worker::upstream::patience::Patience;
use crate::worker::upstream::service::{Backend, InFlight, Seat, Wanted};

/// How long, and for how many bytes, a side that was told of the end is listened to when the other one breaks off: closing at
/// once could destroy what is on its way to it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// A client's connection in TCP mode.
#[derive(Debug)]
pub(crate) struct Session {
    worker: Rc<Worker>,
    frontend: Rc<Frontend>,
    presence: Rc<Presence>,
    wall: SystemTime,
}

/// A session that has got its server. Its two connections, and what is counted and logged at its end.
#[derive(Debug)]
pub(crate) struct Connected {
    session: Session,
    pair: Pair,
    relay: Relay,
    bounds: Bounds,
    backend: Rc<Backend>,
    seat: Seat,
    taken: Taken,
    in_flight: InFlight,
}

/// The two connections while bytes are carried between them. Who has not been told of an end is reset when this is dropped, also
/// at the end of lbd: nobody takes a part for the whole.
#[derive(Debug)]
struct Pair {
    client: Io,
    server: Io,
    flow: Rc<Flow>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        if !self.flow.has_client_everything() {
            self.client.abort();
        }
        if !self.flow.has_server_everything() {
            self.server.abort();
        }
    }
}

impl Session {
    pub(crate) fn new(worker: Rc<Worker>, frontend: Rc<Frontend>, presence: Rc<Presence>) -> Self {
        Self { worker, frontend, presence, wall: SystemTime::now() }
    }

    /// Connects the client to the server that it is to have, and counts and logs a session that gets none. `hello` has what came
    /// first.
    pub(crate) async fn open(self, mut client: Io, hello: Hello) -> Option<Box<Connected>> {
        let routes = self.frontend.routes();
        let hello = match self.frontend.looks_at_server_names() && !client.is_tls() {
            true => {
                let Self { worker, frontend, presence, .. } = &self;
                let early = (!hello.bytes.is_empty()).then_some(hello.bytes);
                Hello::read(worker, frontend, presence, &mut client, early).await
            }
            false => Ok(hello),
        };
        let mut attempts = Attempts::default();
        let hello = match hello {
            Ok(hello) => hello,
            Err(failure) => {
                self.settle(None, attempts.taken(), None, (0, 0), Some(failure));
                return None;
            }
        };
        let Target::Backend(backend, _) = hello.target(&routes, self.client().ip()) else {
            self.settle(None, attempts.taken(), None, (0, 0), Some(Failure::NoRoute));
            return None;
        };
        let in_flight = InFlight::new(&backend);
        backend.earn_retries();
        match self.connect(&client, &backend, &mut attempts).await {
            Ok((server, seat)) => {
                seat.server.counters().requests.inc();
                let flow = Rc::new(Flow::new());
                self.presence.carries(&seat, &flow);
                self.presence.let_go(self.worker.counters());
                let (of_client, of_server) = (self.frontend.rules().timeouts, backend.rules().timeouts);
                let bounds = Bounds {
                    idle: of_client.tunnel.into(),
                    client_fin: of_client.client_fin.unwrap_or(of_client.tunnel).into(),
                    server_fin: of_server.server_fin.unwrap_or(of_client.tunnel).into(),
                    client: of_client.client.into(),
                    server: of_server.server.into(),
                };
                let relay = Relay::new(hello.bytes, Buffer::default());
                relay.begin(Course {
                    worker: &self.worker,
                    deadline: self.presence.deadline(),
                    flow: &flow,
                    bounds: &bounds,
                });
                let pair = Pair { client, server: server.stream, flow };
                let taken = attempts.taken();
                Some(Box::new(Connected {
                    session: self,
                    pair,
                    relay,
                    bounds,
                    backend,
                    seat,
                    taken,
                    in_flight,
                }))
            }
            Err((failure, seat)) => {
                self.settle(Some(&backend), attempts.taken(), seat.as_ref(), (0, 0), Some(failure));
                None
            }
        }
    }

    fn client(&self) -> SocketAddr {
        self.presence.client()
    }

    async fn connect(
        &self,
        client: &Io,
        backend: &Rc<Backend>,
        attempts: &mut Attempts,
    ) -> Result<(ServerConnection, Seat), (Failure, Option<Seat>)> {
        let patience = Patience { worker: &self.worker, presence: &self.presence };
        let wanted = Wanted { key: Key::Client(self.client().ip()), own: None };
        // Each session has a connection of its own.
        let caller = Caller { wanted, presence: &self.presence, connection: client, reserved: &mut None };
        let connected = tokio::select! {
            biased;
            connected = connect::acquire(&patience, backend, caller, Reuse::Never, attempts) => Some(connected),
            () = client.gone(false) => None,
        };
        match connected {
            Some(connected) => connected.map(|(server, seat, _)| (server, seat)),
            None => Err((Failure::ClientLeft(attempts.waits_for()), None)),
        }
    }

    /// Counts and logs a session that has ended.
    fn settle(
        &self,
        backend: Option<&Backend>,
        taken: Taken,
        seat: Option<&Seat>,
        (bytes_in, bytes_out): (u64, u64),
        failure: Option<Failure>,
    ) {
        let cut = self.presence.deadline().take_cut();
        let failure = failure.map(|failure| cut.map_or(failure, |cut| Failure::of_cut(cut, seat.is_some())));
        let now = Instant::now();
        let times = Times {
            request: None,
            queue: taken.queue_time,
            connect: taken.connect_time,
            response: None,
            total: now - self.presence.accepted(),
        };
        let front = self.frontend.counters();
        front.bytes_in.add(bytes_in);
        front.bytes_out.add(bytes_out);
        if let Some(reason) = failure.and_then(Failure::refusal) {
            front.refused.inc();
            self.worker.counters().refuse(reason);
        }
        let server = seat.map(|seat| seat.server.counters());
        for counters in backend.map(Backend::counters).into_iter().chain(server) {
            counters.bytes_in.add(bytes_in);
            counters.bytes_out.add(bytes_out);
            match failure {
                Some(failure) if failure.is_bad_response() => {
                    counters.response_errors.inc();
                    counters.server_aborts.inc();
                    self.worker.failures.notify_one();
                }
                Some(failure) if failure.is_clients() => counters.client_aborts.inc(),
                _ => {}
            }
            if let Some(time) = times.queue {
                counters.queue_time.record(millis(time));
            }
            if let Some(time) = times.connect {
                counters.connect_time.record(millis(time));
            }
            counters.total_time.record(millis(times.total));
            // Zero stands for never.
            counters.last_request.set(self.worker.clock.millis_at(now) + 1);
        }
        self.worker.log(
            self.frontend.rules().access_log,
            &Record {
                request_id: None,
                client: self.client(),
                client_text: ClientText::new(self.client()).with_port(),
                received: self.wall,
                frontend: self.frontend.name(),
                tls: self.presence.tls(),
                backend: backend.map_or(self.frontend.name(), |backend| &backend.name),
                server: seat.map(|seat| &*seat.server.name),
                times,
                status: None,
                bytes: bytes_out,
                termination: failure.map_or(Termination::NORMAL, Failure::termination),
                cookie: CookieStates::NONE,
                concurrency: [
                    self.worker.counters().connections.get(),
                    front.connections.get(),
                    backend.map_or(0, |backend| backend.counters().in_flight.get()),
                    server.map_or(0, |server| server.in_flight.get()),
                ],
                retries: taken.retries,
                redispatched: taken.redispatched,
                queued_behind: taken.queued_behind,
                request: None,
            },
        );
    }
}

impl Connected {
    /// Carries bytes between client and server until the session ends, and settles it.
    pub(crate) async fn carry(mut self: Box<Self>) {
        let result = poll_fn(|cx| self.poll_carry(cx)).await;
        // Boxed, as is what came before: it is large and short, and sessions are many and long.
        Box::pin(self.end(result)).await;
    }

    fn poll_carry(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Self { session, pair: Pair { client, server, flow }, relay, bounds, .. } = self;
        let course = Course { worker: &session.worker, deadline: session.presence.deadline(), flow, bounds };
        relay.poll(cx, course, client, server)
    }

    /// Settles a session that has ended; and where one side alone was told of that, has it have all that came before.
    async fn end(self, result: Result<(), Failure>) {
        let Self { session, pair, backend, seat, taken, in_flight, .. } = self;
        seat.leave();
        let bytes = (pair.flow.bytes_in(), pair.flow.bytes_out());
        session.settle(Some(&backend), taken, Some(&seat), bytes, result.err());
        drop((seat, in_flight));
        let told = match (pair.flow.has_client_everything(), pair.flow.has_server_everything()) {
            (true, false) => &pair.client,
            (false, true) => &pair.server,
            _ => return,
        };
        let deadline = session.presence.deadline();
        deadline.set(LINGER);
        let listen = async {
            let mut heard = 0;
            while heard < LINGER_BYTES && told.readable().await.is_ok() {
                match told.discard() {
                    Ok(n) if n > 0 => heard += n,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Ok(_) | Err(_) => break,
                }
            }
        };
        // Whether it stayed to the end or not, this session is over.
        let _ = deadline.guard(listen).await;
    }
}
