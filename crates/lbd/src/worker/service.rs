//! A worker's own side of a backend: whom to choose, the idle connections to each server, and what is counted.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use balance::{Balancer, RetryBudget, ServerId, Tried};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::clock::Clock;
use crate::counters::{PerWorker, ServiceCounters};
use crate::routing::{self, BackendRules};

/// Idle connections kept for each server.
const IDLE_MAX: usize = 1024;

/// A backend, as one worker uses it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) name: Rc<str>,
    rules: Cell<BackendRules>,
    balancer: RefCell<Balancer>,
    budget: RefCell<RetryBudget>,
    servers: RefCell<Vec<Rc<Server>>>,
    counters: Counted,
    clock: Clock,
}

/// A server, as one worker uses it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: Rc<str>,
    address: Cell<Option<SocketAddr>>,
    /// Whether it takes new requests, and so connections to keep for them.
    usable: Cell<bool>,
    idle: RefCell<Vec<Idle>>,
    counters: Counted,
}

/// A connection to a server, and where it leads.
#[derive(Debug)]
pub(crate) struct ServerConnection {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
}

#[derive(Debug)]
struct Idle {
    connection: ServerConnection,
    since: Instant,
}

/// One worker's counters among all workers'.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    all: Arc<PerWorker<ServiceCounters>>,
    worker: usize,
}

impl std::ops::Deref for Counted {
    type Target = ServiceCounters;

    fn deref(&self) -> &ServiceCounters {
        self.all.of(self.worker)
    }
}

impl Backend {
    pub(crate) fn new(routing: &routing::Backend, worker: usize, clock: Clock, seed: u64) -> Self {
        let counted = |all: &Arc<PerWorker<ServiceCounters>>| Counted { all: all.clone(), worker };
        let backend = Self {
            name: routing.name.as_str().into(),
            rules: Cell::new(routing.rules),
            balancer: RefCell::new(Balancer::new(routing.view.clone(), seed)),
            budget: RefCell::new(RetryBudget::new(routing.rules.retry_budget, clock.tick())),
            servers: RefCell::default(),
            counters: counted(&routing.counters),
            clock,
        };
        backend.adopt_servers(routing);
        backend
    }

    /// Takes the backend as it is now. Requests in flight keep what they hold.
    pub(crate) fn adopt(&self, routing: &routing::Backend) {
        if self.rules.get().retry_budget != routing.rules.retry_budget {
            *self.budget.borrow_mut() = RetryBudget::new(routing.rules.retry_budget, self.clock.tick());
        }
        self.rules.set(routing.rules);
        self.balancer.borrow_mut().adopt(routing.view.clone());
        self.adopt_servers(routing);
    }

    fn adopt_servers(&self, routing: &routing::Backend) {
        let mut servers = self.servers.borrow_mut();
        let before = std::mem::take(&mut *servers);
        for (view, all) in routing.view.servers.iter().zip(&routing.servers) {
            // A name that left and came back counts anew.
            let same =
                |server: &&Rc<Server>| *server.name == *view.name && Arc::ptr_eq(&server.counters.all, all);
            let server = before.iter().find(same).cloned().unwrap_or_else(|| {
                Rc::new(Server {
                    name: view.name.as_str().into(),
                    address: Cell::new(view.address),
                    usable: Cell::new(view.is_usable()),
                    idle: RefCell::default(),
                    counters: Counted { all: all.clone(), worker: self.counters.worker },
                })
            });
            let moved = server.address.replace(view.address) != view.address;
            server.usable.set(view.is_usable());
            if moved || !view.is_usable() {
                server.forget_idle();
            }
            servers.push(server);
        }
        // Servers that are gone take their idle connections with them.
        for gone in before.iter().filter(|old| !servers.iter().any(|server| Rc::ptr_eq(old, server))) {
            gone.usable.set(false);
            gone.forget_idle();
        }
    }

    pub(crate) fn rules(&self) -> BackendRules {
        self.rules.get()
    }

    pub(crate) fn counters(&self) -> &ServiceCounters {
        &self.counters
    }

    /// Counts a request against the budget of retries.
    pub(crate) fn earn_retries(&self) {
        self.budget.borrow_mut().earn();
    }

    /// Whether another retry is within the budget.
    pub(crate) fn spend_retry(&self) -> bool {
        self.budget.borrow_mut().spend(self.clock.tick())
    }

    /// The server for a client's request, and its seat there.
    pub(crate) fn choose(self: &Rc<Self>, client: IpAddr, tried: &Tried) -> Option<Seat> {
        let mut balancer = self.balancer.borrow_mut();
        let id = balancer.pick(client, tried, self.clock.tick())?;
        let server = self.servers.borrow().get(balancer.index_of(id)?)?.clone();
        balancer.begin(id);
        server.counters.chosen.inc();
        server.counters.in_flight.up();
        Some(Seat { backend: self.clone(), server, id })
    }

    /// Closes all idle connections.
    pub(crate) fn forget_idle(&self) {
        for server in self.servers.borrow().iter() {
            server.forget_idle();
        }
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn expire(&self, now: Instant) {
        let keep = self.rules.get().timeouts.keep_alive;
        for server in self.servers.borrow().iter() {
            server.expire(now, keep);
        }
    }
}

impl Server {
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address.get()
    }

    pub(crate) fn counters(&self) -> &ServiceCounters {
        &self.counters
    }

    /// An idle connection that still lives, the most recently used first.
    pub(crate) fn reuse(&self) -> Option<ServerConnection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, .. }) = idle.pop() {
            self.counters.idle.set(idle.len() as u64);
            // Asks tokio, not the kernel: only a connection that was closed, or that received bytes nobody asked for, is
            // readable, and then it is of no use.
            match connection.stream.try_read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Some(connection),
                _ => {}
            }
        }
        None
    }

    /// Closes the idle connection that was used least recently: a new one, which will be kept, takes its place.
    pub(crate) fn displace(&self) {
        let mut idle = self.idle.borrow_mut();
        if !idle.is_empty() {
            idle.remove(0);
            self.counters.idle.set(idle.len() as u64);
        }
    }

    /// Keeps a connection for the next request, if the server takes any, and is where the connection leads.
    pub(crate) fn keep(&self, connection: ServerConnection, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if self.usable.get() && idle.len() < IDLE_MAX && Some(connection.address) == self.address.get() {
            idle.push(Idle { connection, since: now });
            self.counters.idle.set(idle.len() as u64);
        }
    }

    fn expire(&self, now: Instant, keep: Duration) {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            return;
        }
        // The oldest lie at the front: a connection that is used returns to the back.
        let expired = idle.iter().take_while(|idle| now.duration_since(idle.since) >= keep).count();
        idle.drain(..expired);
        self.counters.idle.set(idle.len() as u64);
    }

    fn forget_idle(&self) {
        self.idle.borrow_mut().clear();
        self.counters.idle.set(0);
    }
}

/// A request's place at a server: in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    backend: Rc<Backend>,
    pub(crate) server: Rc<Server>,
    pub(crate) id: ServerId,
}

impl Seat {
    /// The server took a connection, or answered on an old one.
    pub(crate) fn reached(&self) {
        self.backend.balancer.borrow_mut().succeeded(self.id);
    }

    /// The server could not be connected to.
    pub(crate) fn failed(&self) {
        self.server.counters.connect_errors.inc();
        self.backend.counters.connect_errors.inc();
        self.backend.balancer.borrow_mut().failed(self.id, self.backend.clock.tick());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.server.counters.in_flight.down();
        self.backend.balancer.borrow_mut().end(self.id);
    }
}
