//! What a worker knows of each of its client connections.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use certificates::ClientCertificate;
use tokio::time::Instant;

use super::Worker;
use super::deadline::Deadline;
use super::frontend::Frontend;
use super::tcp::relay::Flow;
use super::upstream::service::{Seat, Server};
use crate::shared::counters::WorkerCounters;
use crate::shared::sessions::{Carried, SessionId, SessionRow};
use crate::shared::tls::Agreed;

/// What a connection does, and how it is reached from outside its task: a leaving worker wakes those that wait, and an operator
/// can list all, and end them.
#[derive(Debug)]
pub(crate) struct Presence {
    frontend: Rc<Frontend>,
    client: Cell<SocketAddr>,
    /// Where its client has connected to, if that is not this end of the connection.
    destination: OnceCell<Box<SocketAddr>>,
    accepted: Cell<Instant>,
    /// Since when its client has the word: since it came, or our last step of its handshake.
    awaited_since: Cell<Instant>,
    deadline: Deadline,
    doing: RefCell<Doing>,
    /// Whether a handover waits for it.
    awaited: Cell<bool>,
    /// Whether it is from before lbd began to stop.
    elder: Cell<bool>,
    waits: RefCell<Option<Waker>>,
    /// What its handshake has agreed on, if there was one.
    tls: Cell<Option<Agreed>>,
    /// The certificate that its client has shown there, if it has.
    certificate: OnceCell<Rc<ClientCertificate>>,
    /// The connection that it is a stream of.
    stream_of: Option<Rc<Self>>,
}

/// What a connection does.
#[derive(Debug)]
enum Doing {
    /// It waits: for a request, or a server.
    Waits,
    /// A server answers its request.
    Asks(Rc<Server>),
    /// It is a session in TCP mode, or a request that switched protocols: a tunnel, and nobody knows when it ends.
    Carries {
        server: Rc<Server>,
        flow: Rc<Flow>,
        /// How often the server had ended its sessions before.
        since: u64,
    },
}

impl Presence {
    fn new(frontend: Rc<Frontend>, client: SocketAddr) -> Self {
        let deadline = Deadline::after(frontend.rules().timeouts.request_head);
        let now = Instant::now();
        Self {
            frontend,
            client: Cell::new(client),
            destination: OnceCell::new(),
            accepted: Cell::new(now),
            awaited_since: Cell::new(now),
            deadline,
            doing: RefCell::new(Doing::Waits),
            awaited: Cell::new(true),
            elder: Cell::default(),
            waits: RefCell::default(),
            tls: Cell::default(),
            certificate: OnceCell::new(),
            stream_of: None,
        }
    }

    /// A stream of a connection.
    fn stream(connection: &Rc<Self>) -> Self {
        let mut stream = Self::new(connection.frontend.clone(), connection.client());
        stream.destination = connection.destination.clone();
        // Whoever waits for the connection waits for its streams.
        stream.awaited = Cell::new(false);
        stream.tls = connection.tls.clone();
        stream.certificate = connection.certificate.clone();
        stream.stream_of = Some(connection.clone());
        stream
    }

    /// Whether it is a stream of that connection.
    pub(crate) fn is_stream_of(&self, connection: &Rc<Self>) -> bool {
        self.stream_of.as_ref().is_some_and(|of| Rc::ptr_eq(of, connection))
    }

    /// Whose connection it is: where it comes from, unless a proxy in front names another client.
    pub(crate) fn client(&self) -> SocketAddr {
        self.client.get()
    }

    /// Where its client has connected to, if that is not this end of the connection.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        self.destination.get().map(|address| **address)
    }

    /// A proxy in front carries it for another client.
    pub(crate) fn introduce(&self, client: SocketAddr, destination: SocketAddr) {
        self.client.set(client);
        // There is one introduction to a connection.
        let _ = self.destination.set(Box::new(destination));
    }

    /// What its handshake has agreed on, if there was one.
    pub(crate) fn tls(&self) -> Option<Agreed> {
        self.tls.get()
    }

    /// The same, for values in edited heads.
    pub(crate) fn tls_in_edits(&self) -> edit::Tls<'_> {
        let Some(agreed) = self.tls.get() else { return edit::Tls::default() };
        let client = self.certificate.get().map(|certificate| edit::TlsClient {
            subject: &certificate.subject,
            issuer: &certificate.issuer,
            fingerprint: &certificate.fingerprint,
        });
        edit::Tls { version: agreed.version(), cipher: agreed.cipher(), client }
    }

    /// Its handshake is complete. There is one to a connection.
    pub(crate) fn agreed(&self, tls: Option<Agreed>, certificate: Option<ClientCertificate>) {
        self.tls.set(tls);
        if let Some(certificate) = certificate {
            let _ = self.certificate.set(Rc::new(certificate));
        }
    }

    /// Since when it is there.
    pub(crate) fn accepted(&self) -> Instant {
        self.accepted.get()
    }

    /// How long its client has had the word, before its first request.
    pub(crate) fn silence(&self) -> Duration {
        self.awaited_since.get().elapsed()
    }

    /// Its client has the word: we have done our part, however long that took us.
    pub(crate) fn has_the_word(&self) {
        self.awaited_since.set(Instant::now());
    }

    /// When its current wait ends.
    pub(crate) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    pub(crate) fn set_elder(&self) {
        self.elder.set(true);
    }

    pub(crate) fn is_elder(&self) -> bool {
        self.elder.get()
    }

    /// A server is to answer its request.
    pub(crate) fn asks(&self, server: &Rc<Server>) {
        self.doing.replace(Doing::Asks(server.clone()));
    }

    /// It has become a tunnel to a server.
    pub(crate) fn carries(&self, seat: &Seat, flow: &Rc<Flow>) {
        let (server, flow) = (seat.server.clone(), flow.clone());
        self.doing.replace(Doing::Carries { server, flow, since: seat.endings });
        // Perhaps while it was being connected.
        self.end_with_server();
    }

    /// Ends a tunnel whose server has ended its sessions since it began.
    pub(crate) fn end_with_server(&self) {
        if let Doing::Carries { server, since, .. } = &*self.doing.borrow()
            && let Some(why) = server.ends(*since)
        {
            self.deadline.cut(why);
        }
    }

    /// It is with no server any more.
    pub(crate) fn waits(&self) {
        self.doing.replace(Doing::Waits);
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(*self.doing.borrow(), Doing::Carries { .. })
    }

    /// Whether it is with that server of a backend; with none, whether with any of the backend's.
    pub(crate) fn is_with(&self, backend: &str, server: Option<&str>) -> bool {
        match &*self.doing.borrow() {
            Doing::Waits => false,
            Doing::Asks(with) | Doing::Carries { server: with, .. } => {
                *with.backend == *backend && server.is_none_or(|server| *with.name == *server)
            }
        }
    }

    /// What operators see of it.
    pub(crate) fn row(&self, id: SessionId, now: Instant) -> SessionRow {
        let path = |server: &Server| format!("{}/{}", server.backend, server.name);
        let (server, carried) = match &*self.doing.borrow() {
            Doing::Waits => (None, None),
            Doing::Asks(server) => (Some(path(server)), None),
            Doing::Carries { server, flow, .. } => {
                let carried = Carried {
                    bytes_in: flow.bytes_in(),
                    bytes_out: flow.bytes_out(),
                    idle: now - flow.moved(),
                };
                (Some(path(server)), Some(carried))
            }
        };
        SessionRow {
            id,
            frontend: self.frontend.name().to_owned(),
            client: self.client.get(),
            server,
            age: now - self.accepted.get(),
            carried,
        }
    }

    /// Whether its frontend takes no requests any more.
    pub(crate) fn is_left_over(&self) -> bool {
        !self.frontend.takes_requests()
    }

    /// No handover waits for this connection any more.
    pub(crate) fn let_go(&self, counters: &WorkerCounters) {
        if self.awaited.replace(false) {
            counters.awaited.down();
        }
    }

    /// It waits, and is to be woken with `waker`.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        match &mut *self.waits.borrow_mut() {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waits.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A stream's place among those of its worker, given back when it is dropped. It is no connection: none of their limits and counts
/// know of it.
#[derive(Debug)]
pub(crate) struct Listed {
    worker: Rc<Worker>,
    presence: Rc<Presence>,
    id: u64,
}

impl Listed {
    pub(super) fn new(worker: &Rc<Worker>, connection: &Rc<Presence>) -> Self {
        let presence = Rc::new(Presence::stream(connection));
        let mut listed = Self { worker: worker.clone(), presence, id: 0 };
        listed.enter();
        listed
    }

    fn enter(&mut self) {
        self.id = self.worker.next_connection.get();
        self.worker.next_connection.set(self.id.wrapping_add(1));
        self.worker.streams.borrow_mut().insert(self.id, self.presence.clone());
    }

    /// It is over, and another one may begin in its place.
    pub(super) fn rest(&self) {
        self.worker.streams.borrow_mut().remove(&self.id);
    }

    /// Another one has begun in its place.
    pub(super) fn resume(&mut self) {
        self.presence.accepted.set(Instant::now());
        self.enter();
    }

    pub(super) fn presence(&self) -> Rc<Presence> {
        self.presence.clone()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.worker.streams.borrow_mut().remove(&self.id);
    }
}

/// A connection's place among those of its worker, given back when it is dropped, however its task ends.
#[derive(Debug)]
pub(crate) struct Registered {
    worker: Rc<Worker>,
    presence: Rc<Presence>,
    id: u64,
}

impl Registered {
    pub(super) fn new(worker: &Rc<Worker>, frontend: &Rc<Frontend>, client: SocketAddr) -> Self {
        let presence = Rc::new(Presence::new(frontend.clone(), client));
        worker.counters().awaited.up();
        let id = worker.next_connection.get();
        worker.next_connection.set(id.wrapping_add(1));
        worker.connections.borrow_mut().insert(id, presence.clone());
        worker.counters().connections.set(worker.connections.borrow().len() as u64);
        frontend.counters().accepted.inc();
        frontend.counters().connections.up();
        Self { worker: worker.clone(), presence, id }
    }

    pub(super) fn presence(&self) -> Rc<Presence> {
        self.presence.clone()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Self { worker, presence, id } = self;
        presence.let_go(worker.counters());
        worker.connections.borrow_mut().remove(id);
        worker.counters().connections.set(worker.connections.borrow().len() as u64);
        presence.frontend.counters().connections.down();
        if presence.is_elder() {
            worker.elder_left();
        }
        worker.ended.notify_waiters();
    }
}
