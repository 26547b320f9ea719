//! A worker: one thread, one runtime, its own listeners, connections, pools and counters. Nothing is shared on the path
//! of a request.
//!
//! Tasks of a worker, all on its one thread:
//! - the loop of [`run`]: takes new routing and commands from the control thread, and looks after memory and the log;
//! - one that closes connections to servers when they have been idle for too long, and one that closes them when other workers
//!   need their descriptors;
//! - one a listener: accepts connections;
//! - one a client connection: see `http/connection.rs`, and `tcp/session.rs` for TCP mode;
//! - one a server connection that is watched before it is kept: see `upstream/settle.rs`.

mod client_text;
mod clock;
mod deadline;
mod failure;
mod frontend;
mod handshake;
mod http;
mod http2;
mod introduction;
mod leaving;
mod net;
mod presence;
mod routes;
mod tcp;
mod unheard;
mod upstream;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use self::clock::Clock;
use self::deadline::Cut;
use self::frontend::Frontend;
use self::handshake::Turns;
use self::http::desk::Desks;
use self::http::ids::Ids;
use self::http2::intake::Intake;
use self::leaving::Leaving;
use self::net::buffer::{Buffer, Pool};
use self::net::listener::Listener;
use self::net::splice::Pipes;
use self::net::tls;
use self::presence::Presence;
use self::routes::Backends;
use self::upstream::idle::Reaper;
use self::upstream::service::{Backend, Server};
use self::upstream::settle::Settling;
use crate::shared::access_log::{AccessLog, Record, Sink};
use crate::shared::command::Command;
use crate::shared::counters::{PerWorker, WorkerCounters};
use crate::shared::descriptors::Descriptors;
use crate::shared::limits::Places;
use crate::shared::pulse::Pulse;
use crate::shared::routing::Routing;
use crate::shared::sessions::{SessionId, SessionRow, Whose};
use crate::shared::spare::Spare;
use crate::shared::tls::Terminator;

/// How often buffers that nobody has needed meanwhile are given back to the system.
const SHRINK: Duration = Duration::from_secs(10);
/// How long lines of the access log wait for others.
const LOG_WAIT: Duration = Duration::from_millis(50);
/// Room for a request's head, which may have 32 KiB, or for a piece of its body.
const REQUEST_BUFFER: usize = 32 * 1024;
/// Room for the head of a request that has no body: what most of those of HTTP/2 fit in, of which there are many at once.
const SMALL_REQUEST_BUFFER: usize = 4096;
/// Room for a piece of a response: large, because each piece costs two system calls.
const RESPONSE_BUFFER: usize = 64 * 1024;
/// Room for a head that is sent; it grows when a head does not fit.
const HEAD_BUFFER: usize = 2048;
/// Buffers of each kind that wait for use.
const POOLED: usize = 256;
/// The same of what is small and held by each request under way: HTTP/2 has many at once.
const SMALL_POOLED: usize = 2048;

/// What a worker is made with.
#[derive(Debug)]
pub struct Setup {
    /// Its number, from 0.
    pub id: usize,
    /// When lbd started.
    pub start: std::time::Instant,
    /// Where it shows that it moves.
    pub pulse: Arc<Pulse>,
    /// Told when a server fails.
    pub failures: Arc<Notify>,
    /// Where its own counters are.
    pub counters: Arc<PerWorker<WorkerCounters>>,
    /// The routing in force.
    pub routing: watch::Receiver<Arc<Routing>>,
    /// What else it is told.
    pub commands: mpsc::Receiver<Command>,
    /// Where its access log goes.
    pub log: Sink,
    /// What it may open, with all others.
    pub descriptors: Descriptors,
    /// What it can spare of that, and the others can.
    pub spare: Arc<Spare>,
}

/// What the tasks of one worker share.
#[derive(Debug)]
struct Worker {
    id: usize,
    clock: Clock,
    counters: Arc<PerWorker<WorkerCounters>>,
    requests: Pool<Buffer>,
    small_requests: Pool<Buffer>,
    responses: Pool<Buffer>,
    heads: Pool<Vec<u8>>,
    desks: Desks,
    intake: Intake,
    ids: Ids,
    /// Whose turn it is to go on with a handshake.
    handshakes: Turns,
    /// The same of handshakes with servers.
    server_handshakes: Turns,
    tls: Rc<tls::Buffers>,
    pipes: Rc<Pipes>,
    settling: Settling,
    reaper: Rc<Reaper>,
    log: RefCell<AccessLog>,
    /// Told when the log has lines that wait.
    logged: Notify,
    /// Told when a server fails.
    failures: Arc<Notify>,
    /// Whether clients are to go elsewhere with their next request.
    leaving: Cell<Leaving>,
    /// When requests in flight have to be over, then.
    due: Cell<Option<Instant>>,
    /// Whoever waits for the end of the connections from before a stop, and how many they are.
    elders: Cell<usize>,
    elders_left: RefCell<Option<oneshot::Sender<()>>>,
    /// The routing in force.
    routing: RefCell<Arc<Routing>>,
    frontends: RefCell<HashMap<String, Rc<Frontend>>>,
    backends: RefCell<Backends>,
    connections: RefCell<HashMap<u64, Rc<Presence>>>,
    /// The requests under way of those that speak HTTP/2.
    streams: RefCell<HashMap<u64, Rc<Presence>>>,
    descriptors: Descriptors,
    spare: Arc<Spare>,
    /// When it told last that local ports are used up.
    ports_told: Cell<Option<Instant>>,
    /// The client connections of all workers, where a limit is configured.
    places: RefCell<Option<Arc<Places>>>,
    /// Told when a connection ends.
    ended: Notify,
    /// Told when lbd ends as soon as everybody is served.
    ends: Notify,
    next_connection: Cell<u64>,
}

impl Worker {
    fn counters(&self) -> &WorkerCounters {
        self.counters.of(self.id)
    }

    fn leaving(&self) -> Leaving {
        self.leaving.get()
    }

    /// A buffer for a request whose head is so long, and which has a body or none.
    fn lend_input(&self, head: usize, has_body: bool) -> Buffer {
        let pool =
            if has_body || head > SMALL_REQUEST_BUFFER { &self.requests } else { &self.small_requests };
        pool.lend().keep()
    }

    /// Gives the buffer of a request back.
    fn give_input(&self, input: Buffer) {
        let pool = if input.size() == SMALL_REQUEST_BUFFER { &self.small_requests } else { &self.requests };
        pool.give(input);
    }

    fn is_leaving(&self) -> bool {
        self.leaving() != Leaving::No
    }

    fn frontend(&self, name: &str) -> Option<Rc<Frontend>> {
        self.frontends.borrow().get(name).cloned()
    }

    /// How TLS ends at an address; none where there is none.
    fn terminator(&self, address: SocketAddr) -> Option<Arc<Terminator>> {
        self.routing.borrow().terminators.get(&address).cloned()
    }

    fn places(&self) -> Option<Arc<Places>> {
        self.places.borrow().clone()
    }

    /// Whether it has its part of the connections that the descriptors are enough for.
    fn is_full(&self) -> bool {
        self.places.borrow().is_none() && self.connections.borrow().len() as u64 >= self.descriptors.share()
    }

    /// Takes another routing. What is shared with the one before costs nothing.
    fn adopt(&self, routing: Arc<Routing>) {
        let before = self.routing.replace(routing.clone());
        if !Arc::ptr_eq(&before.frontends, &routing.frontends) {
            return self.adopt_anew(&routing);
        }
        let backends = self.backends.borrow();
        let both = before.backends.iter().zip(&routing.backends);
        let mut ends_sessions = false;
        for (_, new) in both.filter(|(old, new)| !Arc::ptr_eq(old, new)) {
            if let Some(known) = backends.get(&*new.name) {
                ends_sessions |= known.adopt(new);
            }
        }
        if ends_sessions {
            self.end_sessions();
        }
    }

    /// Takes the routing of another configuration.
    fn adopt_anew(&self, routing: &Routing) {
        self.places.replace(routing.connections.clone());
        self.pipes.limit_to(self.descriptors.pipes(routing.maxconn));
        // Whoever waits for another limit than the one in force looks again.
        self.ended.notify_waiters();
        let mut backends = self.backends.borrow_mut();
        let mut frontends = self.frontends.borrow_mut();
        let mut ends_sessions = false;
        for backend in &routing.backends {
            match backends.get(&*backend.name) {
                Some(known) => ends_sessions |= known.adopt(backend),
                None => {
                    let (reaper, failures) = (self.reaper.clone(), self.failures.clone());
                    let new = Backend::new(backend, self.id, self.clock, reaper, failures);
                    backends.insert(backend.name.to_string(), Rc::new(new));
                }
            }
        }
        let mut any_left_over = false;
        for frontend in &*routing.frontends {
            match frontends.get(&frontend.config.name) {
                Some(known) => any_left_over |= known.adopt(frontend, &backends),
                None => {
                    let new = Frontend::new(frontend, &backends, self.id);
                    frontends.insert(frontend.config.name.clone(), Rc::new(new));
                }
            }
        }
        let stay: HashSet<&str> =
            routing.frontends.iter().map(|frontend| frontend.config.name.as_str()).collect();
        let before = frontends.len();
        frontends.retain(|name, frontend| {
            let stays = stay.contains(name.as_str());
            if !stays {
                frontend.retire();
            }
            stays
        });
        any_left_over |= frontends.len() < before;
        let stay: HashSet<&str> = routing.backends.iter().map(|backend| &*backend.name).collect();
        backends.retain(|name, _| stay.contains(name.as_str()));
        drop((backends, frontends));
        if ends_sessions {
            self.end_sessions();
        }
        if any_left_over {
            self.wake_waiting();
        }
    }

    /// Ends the sessions whose servers end theirs.
    fn end_sessions(&self) {
        self.for_each(|_, presence| presence.end_with_server());
    }

    /// Gives back a descriptor that nobody uses, or has another worker do so. Whether anybody had one.
    async fn make_room(&self) -> bool {
        if self.pipes.forget_one() {
            return true;
        }
        while let Some(owner) = self.spare.owner_of_oldest() {
            if owner != self.id {
                self.spare.ask(owner).await;
                return true;
            }
            if self.drop_oldest() {
                return true;
            }
        }
        false
    }

    /// Closes the connection to a server that has been idle for longest, if there is one.
    fn drop_oldest(&self) -> bool {
        let dropped = self.oldest_idle().map(|(_, server)| server.displace());
        self.show_oldest();
        dropped.is_some()
    }

    fn oldest_idle(&self) -> Option<(Instant, Rc<Server>)> {
        let backends = self.backends.borrow();
        backends.values().filter_map(|backend| backend.oldest_idle()).min_by_key(|(since, _)| *since)
    }

    fn show_oldest(&self) {
        let oldest = self.oldest_idle().map(|(since, _)| self.clock.millis_at(since));
        self.spare.has(self.id, oldest);
    }

    /// Closes idle connections that other workers need the descriptors of.
    async fn lend(&self) {
        loop {
            let asked = self.spare.asked(self.id).await;
            for _ in 0..asked {
                if !self.pipes.forget_one() && !self.drop_oldest() {
                    break;
                }
            }
            self.spare.answer();
        }
    }

    /// Gives back to the system what nobody has needed since the last time.
    fn shrink(&self) {
        self.requests.shrink();
        self.small_requests.shrink();
        self.responses.shrink();
        self.heads.shrink();
        self.desks.shrink();
        self.tls.shrink();
    }

    /// Connections that wait look around: idle ones whether they are still wanted, others how long they may wait for a server.
    fn wake_waiting(&self) {
        let leaving = self.is_leaving();
        self.for_each(|_, presence| {
            if leaving || presence.is_left_over() {
                presence.wake();
            }
        });
    }

    /// Every connection, and every stream of one.
    fn for_each(&self, mut see: impl FnMut(u64, &Rc<Presence>)) {
        for all in [&self.connections, &self.streams] {
            all.borrow().iter().for_each(|(number, presence)| see(*number, presence));
        }
    }

    /// Ends the streams of a connection, whatever they are at.
    fn cut_streams(&self, connection: &Rc<Presence>, why: Cut) {
        let streams = self.streams.borrow();
        let own = streams.values().filter(|stream| stream.is_stream_of(connection));
        own.for_each(|stream| stream.deadline().cut(why));
    }

    /// What operators see of connections, so many at most, and how many there are.
    fn sessions(&self, whose: &Whose, limit: usize) -> (Vec<SessionRow>, usize) {
        let now = Instant::now();
        let mut meant = self.meant(whose);
        meant.sort_unstable_by_key(|(id, _)| *id);
        let rows = meant.iter().take(limit).map(|(id, presence)| presence.row(*id, now)).collect();
        (rows, meant.len())
    }

    /// Ends connections, whatever they are at. How many they were.
    fn cut(&self, whose: &Whose) -> usize {
        let meant = self.meant(whose);
        meant.iter().for_each(|(_, presence)| presence.deadline().cut(Cut::Operator));
        meant.len()
    }

    fn meant(&self, whose: &Whose) -> Vec<(SessionId, Rc<Presence>)> {
        let mut meant = Vec::new();
        self.for_each(|number, presence| {
            let id = SessionId { worker: self.id, number };
            let is_meant = match whose {
                Whose::All => true,
                Whose::One(one) => *one == id,
                Whose::With { backend, server } => presence.is_with(backend, server.as_deref()),
            };
            if is_meant {
                meant.push((id, presence.clone()));
            }
        });
        meant
    }

    /// Has every connection that there is leave after its next request, and tells when all of them have.
    fn leave(&self, due: Instant, done: oneshot::Sender<()>) {
        self.leaving.set(Leaving::Stop);
        self.due.set(Some(due));
        let connections = self.connections.borrow();
        connections.values().for_each(|presence| presence.set_elder());
        self.elders.set(connections.len());
        drop(connections);
        self.elders_left.replace(Some(done));
        self.tell_elders_left();
        self.wake_waiting();
    }

    fn tell_elders_left(&self) {
        if self.elders.get() == 0
            && let Some(done) = self.elders_left.take()
        {
            // The control thread may have lost its patience.
            let _ = done.send(());
        }
    }

    /// One of those connections has ended.
    fn elder_left(&self) {
        self.elders.set(self.elders.get() - 1);
        self.tell_elders_left();
    }

    /// Logs a request.
    fn log(&self, format: config::AccessLog, record: &Record<'_>) {
        let mut log = self.log.borrow_mut();
        let was_empty = log.is_empty();
        let dropped = log.append(format, record);
        self.counters().log_dropped.add(dropped);
        if was_empty && !log.is_empty() {
            self.logged.notify_one();
        }
    }

    fn flush_log(&self) {
        let dropped = self.log.borrow_mut().flush();
        self.counters().log_dropped.add(dropped);
    }

    /// Closes connections to servers that have been idle for too long. When to look again.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let next = self.backends.borrow().values().filter_map(|backend| backend.expire(now)).min();
        self.show_oldest();
        next
    }
}

/// Runs a worker until it is told to stop, or the control thread is gone.
///
/// # Errors
/// When the runtime cannot be built.
pub fn run(setup: Setup) -> std::io::Result<()> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let (id, asleep, awake) = (setup.id, setup.pulse.clone(), setup.pulse.clone());
    builder.on_thread_park(move || asleep.sleep(id)).on_thread_unpark(move || awake.beat(id));
    builder.enable_all().build_local(LocalOptions::default())?.block_on(work(setup));
    Ok(())
}

async fn work(setup: Setup) {
    let Setup { id, start, pulse, failures, counters, mut routing, mut commands, log, descriptors, spare } =
        setup;
    let clock = Clock::new(start);
    let worker = Rc::new(Worker {
        id,
        clock,
        counters,
        requests: Pool::new(REQUEST_BUFFER, POOLED),
        small_requests: Pool::new(SMALL_REQUEST_BUFFER, SMALL_POOLED),
        responses: Pool::new(RESPONSE_BUFFER, POOLED),
        heads: Pool::new(HEAD_BUFFER, SMALL_POOLED),
        desks: Desks::new(SMALL_POOLED),
        intake: Intake::default(),
        ids: Ids::default(),
        handshakes: Turns::new(),
        server_handshakes: Turns::new(),
        tls: Rc::new(tls::Buffers::new(POOLED)),
        pipes: Rc::default(),
        settling: Settling::default(),
        reaper: Rc::new(Reaper::new(spare.clone(), id, clock)),
        log: RefCell::new(AccessLog::new(log)),
        logged: Notify::new(),
        failures,
        leaving: Cell::default(),
        due: Cell::default(),
        elders: Cell::default(),
        elders_left: RefCell::default(),
        routing: RefCell::new(Arc::new(Routing::empty())),
        frontends: RefCell::default(),
        backends: RefCell::default(),
        connections: RefCell::default(),
        streams: RefCell::default(),
        descriptors,
        spare,
        ports_told: Cell::new(None),
        places: RefCell::default(),
        ended: Notify::new(),
        ends: Notify::new(),
        next_connection: Cell::new(0),
    });
    worker.adopt(routing.borrow_and_update().clone());
    let mut listeners: HashMap<SocketAddr, Listener> = HashMap::new();
    let mut shrink = tokio::time::interval(SHRINK);
    shrink.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let log_wait = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(log_wait);
    let mut log_waits = false;
    let (reaper, lender) = (worker.clone(), worker.clone());
    tokio::task::spawn_local(async move { reaper.reaper.run(|now| reaper.expire(now)).await });
    tokio::task::spawn_local(async move { lender.lend().await });

    let stop = loop {
        tokio::select! {
            biased;
            () = pulse.asked(id) => pulse.beat(id),
            _ = shrink.tick() => worker.shrink(),
            () = worker.logged.notified(), if !log_waits => {
                log_waits = true;
                log_wait.as_mut().reset(Instant::now() + LOG_WAIT);
            }
            () = &mut log_wait, if log_waits => {
                log_waits = false;
                worker.flush_log();
            }
            changed = routing.changed() => {
                if changed.is_err() {
                    break None;
                }
                worker.adopt(routing.borrow_and_update().clone());
            }
            command = commands.recv() => match command {
                Some(Command::Listen { frontend, listener }) => {
                    // The routing that knows the frontend was published before the command was sent.
                    worker.adopt(routing.borrow_and_update().clone());
                    if let Some(frontend) = worker.frontend(&frontend) {
                        match Listener::start(&worker, frontend, listener) {
                            Ok((address, listener)) => {
                                if worker.is_leaving() {
                                    listener.hold();
                                }
                                listeners.insert(address, listener);
                            }
                            Err(error) => tracing::error!(worker = id, %error, "cannot listen"),
                        }
                    }
                }
                Some(Command::Finish { frontend, listener, until }) => {
                    if let Some(frontend) = worker.frontend(&frontend) {
                        match Listener::start(&worker, frontend, listener) {
                            Ok((_, listener)) => {
                                tokio::task::spawn_local(async move {
                                    let _ = until.await;
                                    listener.close(net::listener::LONG_HANDSHAKES).await;
                                });
                            }
                            Err(error) => tracing::error!(worker = id, %error, "cannot listen"),
                        }
                    }
                }
                Some(Command::Reassign { address, frontend }) => {
                    worker.adopt(routing.borrow_and_update().clone());
                    if let (Some(listener), Some(frontend)) = (listeners.get(&address), worker.frontend(&frontend)) {
                        listener.reassign(frontend);
                    }
                }
                Some(Command::Unlisten { address, done }) => {
                    if let Some(listener) = listeners.remove(&address) {
                        listener.close(net::listener::HANDSHAKES).await;
                    }
                    // The control thread may have lost its patience.
                    let _ = done.send(());
                }
                // Who has asked may have lost its patience, here as below.
                Some(Command::Copy { done }) => {
                    drop(done.send(listeners.values().map(Listener::copy).collect()));
                }
                Some(Command::GiveUp { done }) => {
                    for (_, listener) in listeners.drain() {
                        listener.give_up().await;
                    }
                    let _ = done.send(());
                }
                Some(Command::Hold { due, done }) => {
                    worker.leaving.set(Leaving::Handover);
                    worker.due.set(Some(due));
                    listeners.values().for_each(Listener::hold);
                    worker.wake_waiting();
                    // The control thread may have lost its patience.
                    let _ = done.send(());
                }
                Some(Command::Resume) => {
                    worker.leaving.set(Leaving::No);
                    worker.due.set(None);
                    listeners.values().for_each(Listener::resume);
                }
                Some(Command::Leave { due, done }) => {
                    listeners.values().for_each(Listener::resume);
                    worker.leave(due, done);
                }
                Some(Command::Sessions { whose, limit, done }) => drop(done.send(worker.sessions(&whose, limit))),
                Some(Command::Cut { whose, done }) => drop(done.send(worker.cut(&whose))),
                Some(Command::Stop { due, listeners, done }) => {
                    worker.due.set(Some(due));
                    break Some((listeners, done));
                }
                None => break None,
            },
        }
    };

    worker.leaving.set(Leaving::End);
    let (heir, done) = stop.unzip();
    let listeners = listeners.into_values();
    match heir.filter(|heir| !heir.is_closed()) {
        Some(heir) => {
            let mut kept = Vec::with_capacity(listeners.len());
            for listener in listeners {
                kept.extend(listener.give_up().await);
            }
            // The control thread may have lost its patience, and the sockets are closed.
            let _ = heir.send(kept);
        }
        None => {
            for listener in listeners {
                listener.close(net::listener::HANDSHAKES).await;
            }
        }
    }
    worker.wake_waiting();
    worker.ends.notify_waiters();
    while worker.connections.borrow().values().any(|presence| !presence.is_tunnel()) {
        tokio::select! {
            () = worker.ended.notified() => {}
            () = pulse.asked(id) => pulse.beat(id),
            () = tokio::time::sleep(LOG_WAIT) => worker.flush_log(),
        }
    }
    worker.flush_log();
    if let Some(done) = done {
        // The control thread may have lost its patience, and then it no longer listens.
        let _ = done.send(());
    }
}
