//! A worker's own side of a backend: whom to choose, the idle connections to each server, and what is counted.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use balance::{Balancer, Belongs, Health, Key, RetryBudget, ServerId, ServerView, Tried, Unpicked, Written};
use config::{HashKey, OnDown, OnUp};
use proxy_protocol::Version;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::idle::{Pool, Reaper, Reuse, ServerConnection};
use crate::shared::attention::Attention;
use crate::shared::counters::{PerWorker, ServiceCounters};
use crate::shared::limits::{Place, Places};
use crate::shared::queue::Queue;
use crate::shared::routing::{self, BackendRules, Limits};
use crate::shared::sticky::StickyCookie;
use crate::shared::tls::Connector;
use crate::worker::clock::Clock;
use crate::worker::deadline::Cut;

/// A backend, as one worker uses it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) name: Rc<str>,
    rules: Cell<BackendRules>,
    ways: RefCell<Rc<Ways>>,
    balancer: RefCell<Balancer>,
    budget: RefCell<RetryBudget>,
    servers: RefCell<Vec<Rc<Server>>>,
    /// The servers' counters, which tell whether they are the same servers.
    counted: RefCell<Arc<[Arc<PerWorker<ServiceCounters>>]>>,
    /// The limits in force, if any server is limited.
    limits: RefCell<Option<Arc<Limits>>>,
    counters: Counted,
    clock: Clock,
    reaper: Rc<Reaper>,
    /// Told when a server fails.
    failures: Arc<Notify>,
    /// Whether connections to any of the servers are kept.
    keeps_any: Cell<bool>,
}

/// Why no server was chosen.
#[derive(Debug)]
pub(crate) enum Unchosen {
    /// None is usable.
    NoneUsable,
    /// Those that would do are full.
    Wait(Arc<Queue>),
}

/// What leads requests to a server, besides the order of servers. Each worker counts the uses of its own.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// The part of a request that its server is chosen by, where that is asked for.
    pub(crate) key: Option<Arc<HashKey>>,
    /// The cookie by which clients stay with their server.
    pub(crate) sticky: Option<Arc<StickyCookie>>,
}

/// Where a request is to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// What its server is chosen by.
    pub(crate) key: Key,
    /// The server that its client belongs to.
    pub(crate) own: Option<ServerId>,
}

/// What a request's cookies said of its server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stickiness {
    pub(crate) belongs: Belongs,
    /// The server that it belongs to, if it may go there.
    pub(crate) own: Option<ServerId>,
    pub(crate) now: SystemTime,
}

/// The cookie to set in a response, if it has to be.
#[derive(Debug)]
pub(crate) struct Stick {
    ways: Rc<Ways>,
    place: usize,
    belongs: Belongs,
    now: SystemTime,
}

impl Stick {
    /// Sets it in a response's head, which is whole.
    pub(crate) fn set(&self, head: &mut Vec<u8>) -> Option<Written> {
        let cookie = self.ways.sticky.as_ref()?;
        cookie.set(self.place, self.belongs, self.now, head)
    }
}

/// A server, as one worker uses it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) backend: Rc<str>,
    pub(crate) name: Rc<str>,
    address: Cell<Option<SocketAddr>>,
    /// Whether it takes requests, be it only those of its own clients, and so connections to keep for them.
    usable: Cell<bool>,
    /// Whether it is out, and how often and why that has ended its sessions.
    out: Cell<Option<Out>>,
    endings: Cell<u64>,
    ending: Cell<Option<Cut>>,
    /// The requests there, of all workers, if they are limited.
    places: RefCell<Option<Arc<Places>>>,
    /// How long connections are kept between requests, if they are.
    keep_alive: Cell<Option<Duration>>,
    /// The PROXY header that connections begin with.
    introduction: Cell<Option<Version>>,
    /// What they are secured with, if they are.
    connector: RefCell<Option<Arc<Connector>>>,
    /// When it was last told that they could not be.
    pub(super) insecure_told: Cell<Option<Instant>>,
    idle: Pool,
    counters: Counted,
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
    pub(crate) fn new(
        routing: &routing::Backend,
        worker: usize,
        clock: Clock,
        reaper: Rc<Reaper>,
        failures: Arc<Notify>,
    ) -> Self {
        let counted = |all: &Arc<PerWorker<ServiceCounters>>| Counted { all: all.clone(), worker };
        let backend = Self {
            name: (*routing.name).into(),
            rules: Cell::new(routing.rules),
            ways: RefCell::default(),
            // Workers start at different points of the rotation.
            balancer: RefCell::new(Balancer::new(routing.view.clone(), worker as u64)),
            budget: RefCell::new(RetryBudget::new(routing.rules.retry_budget, clock.tick())),
            servers: RefCell::default(),
            counted: RefCell::new(routing.servers.clone()),
            limits: RefCell::default(),
            counters: counted(&routing.counters),
            clock,
            reaper,
            failures,
            keeps_any: Cell::new(true),
        };
        backend.adopt_ways(routing);
        backend.adopt_servers(routing);
        backend.adopt_limits(routing, true);
        backend.adopt_keep_alive(routing);
        backend
    }

    /// Takes the backend as it is now. Requests in flight keep what they hold. Whether the sessions with a server have to end.
    pub(crate) fn adopt(&self, routing: &routing::Backend) -> bool {
        if self.rules.get().retry_budget != routing.rules.retry_budget {
            *self.budget.borrow_mut() = RetryBudget::new(routing.rules.retry_budget, self.clock.tick());
        }
        let before = self.rules.replace(routing.rules);
        let turned = self.adopt_ways(routing);
        let changed = self.balancer.borrow_mut().adopt(routing.view.clone());
        let same = !turned && Arc::ptr_eq(&self.counted.borrow(), &routing.servers);
        let changed = changed.filter(|_| same);
        let anew = changed.is_none();
        let ends_sessions = match changed {
            Some(changed) => {
                let servers = self.servers.borrow();
                let both = |place: usize| servers.get(place).zip(routing.view.servers.get(place));
                let follow = |ends, (server, view): (&Rc<Server>, _)| {
                    server.follow(view, &routing.rules, self.is_sticky()) || ends
                };
                changed.into_iter().filter_map(both).fold(false, follow)
            }
            None => self.adopt_servers(routing),
        };
        let limits_changed = self.adopt_limits(routing, anew);
        if limits_changed || before.timeouts.keep_alive != routing.rules.timeouts.keep_alive {
            self.adopt_keep_alive(routing);
        }
        ends_sessions
    }

    /// Takes what leads requests to a server. Whether clients stay with theirs now and did not before, or the other way round.
    fn adopt_ways(&self, routing: &routing::Backend) -> bool {
        let held = self.ways();
        if !is_same(held.key.as_ref(), routing.key.as_ref())
            || !is_same(held.sticky.as_ref(), routing.sticky.as_ref())
        {
            let ways = Ways { key: routing.key.clone(), sticky: routing.sticky.clone() };
            self.ways.replace(Rc::new(ways));
        }
        held.sticky.is_some() != routing.sticky.is_some()
    }

    fn is_sticky(&self) -> bool {
        self.ways.borrow().sticky.is_some()
    }

    fn adopt_servers(&self, routing: &routing::Backend) -> bool {
        let mut ends_sessions = false;
        self.counted.replace(routing.servers.clone());
        let mut servers = self.servers.borrow_mut();
        // A name that left and came back counts anew, and so is another server.
        let mut before: HashMap<_, Rc<Server>> =
            servers.drain(..).map(|server| (Arc::as_ptr(&server.counters.all), server)).collect();
        let shared = routing.servers.iter().zip(&*routing.attention).zip(&*routing.introductions);
        let connector = |place: usize| routing.connectors.as_ref().and_then(|all| all.get(place).cloned());
        for (place, (view, ((all, attention), introduction))) in
            routing.view.servers.iter().zip(shared).enumerate()
        {
            let server = before.remove(&Arc::as_ptr(all)).unwrap_or_else(|| {
                Rc::new(Server {
                    backend: self.name.clone(),
                    name: (*view.name).into(),
                    address: Cell::new(view.address),
                    usable: Cell::new(view.is_usable()),
                    out: Cell::new(Out::of(view)),
                    endings: Cell::default(),
                    ending: Cell::default(),
                    places: RefCell::default(),
                    keep_alive: Cell::default(),
                    introduction: Cell::new(*introduction),
                    connector: RefCell::default(),
                    insecure_told: Cell::default(),
                    idle: Pool::new(attention.clone(), self.reaper.clone()),
                    counters: Counted { all: all.clone(), worker: self.counters.worker },
                })
            });
            ends_sessions |= server.follow(view, &routing.rules, self.is_sticky());
            server.introduce_by(*introduction);
            server.secure_by(connector(place));
            servers.push(server);
        }
        // Servers that are gone take their idle connections with them.
        for gone in before.into_values() {
            gone.usable.set(false);
            gone.forget_idle();
        }
        ends_sessions
    }

    /// Takes the limits as they are now, of servers that may be others than before. Whether anything changed.
    fn adopt_limits(&self, routing: &routing::Backend, anew: bool) -> bool {
        let as_before = match (&*self.limits.borrow(), &routing.limits) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        let changed = anew || !as_before;
        if changed {
            for (place, server) in self.servers.borrow().iter().enumerate() {
                let places = routing.limits.as_ref().and_then(|limits| limits.places.get(place)?.clone());
                server.places.replace(places);
                server.open_places();
            }
        }
        let before = self.limits.replace(routing.limits.clone());
        // Servers have changed: whoever waits looks again.
        if let Some(limits) = before.as_ref().or(routing.limits.as_ref()) {
            limits.queue.look_again(self.counters.worker);
        }
        changed
    }

    /// Takes how long connections to each server are kept between requests, as it is now.
    fn adopt_keep_alive(&self, routing: &routing::Backend) {
        let servers = self.servers.borrow();
        for (place, server) in servers.iter().enumerate() {
            // Such a server attends to one request at a time, and an idle connection would keep the next one waiting.
            let is_single =
                routing.limits.as_ref().is_some_and(|limits| limits.maxconn.get(place) == Some(&Some(1)));
            server.keep_for(routing.rules.timeouts.keep_alive.filter(|_| !is_single));
        }
        self.keeps_any.set(servers.iter().any(|server| server.keep_alive.get().is_some()));
    }

    pub(crate) fn rules(&self) -> BackendRules {
        self.rules.get()
    }

    /// Whether servers are told that no other request will come: no connection is kept to any of them.
    pub(crate) fn closes(&self) -> bool {
        !self.keeps_any.get()
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
        let allowed = self.budget.borrow_mut().spend(self.clock.tick());
        if !allowed {
            self.counters.retries_refused.inc();
        }
        allowed
    }

    /// What leads requests to a server.
    pub(crate) fn ways(&self) -> Rc<Ways> {
        self.ways.borrow().clone()
    }

    /// The server that a client belongs to, if its request may go there now.
    pub(crate) fn own(&self, belongs: Belongs) -> Option<ServerId> {
        let Belongs::To(session) = belongs else { return None };
        let mut balancer = self.balancer.borrow_mut();
        let now = self.clock.tick();
        let own = balancer.id_at(session.place)?;
        balancer.is_open_to_its_own(own, &Tried::default(), now).then_some(own)
    }

    /// What the response from a seat tells a client, whose request's cookies said that.
    pub(crate) fn stick(&self, seat: &Seat, session: &Stickiness) -> Option<Stick> {
        let ways = self.ways();
        let place = self.balancer.borrow().index_of(seat.id)?;
        let belongs = match session.belongs {
            // Places may have changed meanwhile.
            Belongs::To(held) if session.own == Some(seat.id) => Belongs::To(held.at(place)),
            Belongs::To(_) => Belongs::Unknown,
            other => other,
        };
        Some(Stick { ways, place, belongs, now: session.now })
    }

    /// The server for a request, and its seat there.
    pub(crate) fn choose(self: &Rc<Self>, wanted: Wanted, tried: &Tried) -> Result<Seat, Unchosen> {
        let Wanted { key, own } = wanted;
        if let Some(chosen) = own.and_then(|own| self.choose_own(own, tried)) {
            return chosen;
        }
        let Some(queue) = self.limits.borrow().as_ref().map(|limits| limits.queue.clone()) else {
            let picked = self.balancer.borrow_mut().pick(key, tried, self.clock.tick());
            return picked.and_then(|id| self.seat(id, None)).ok_or(Unchosen::NoneUsable);
        };
        let mut full = self.full_servers();
        loop {
            let picked = self.balancer.borrow_mut().pick_below_limits(key, tried, &full, self.clock.tick());
            let id = picked.map_err(|unpicked| match unpicked {
                Unpicked::NoneUsable => Unchosen::NoneUsable,
                Unpicked::AllFull => Unchosen::Wait(queue.clone()),
            })?;
            let places = self.server(id).and_then(|server| server.places.borrow().clone());
            let place = places.as_ref().map(Places::take);
            match place {
                // Another worker was quicker.
                Some(None) => full.insert(id),
                place => return self.seat(id, place.flatten()).ok_or(Unchosen::NoneUsable),
            }
        }
    }

    /// A seat at the server that a client belongs to, or a wait for one; none where its request may not go there.
    fn choose_own(self: &Rc<Self>, own: ServerId, tried: &Tried) -> Option<Result<Seat, Unchosen>> {
        let now = self.clock.tick();
        if !self.balancer.borrow_mut().is_open_to_its_own(own, tried, now) {
            return None;
        }
        let places = self.server(own)?.places.borrow().clone();
        let place = match places.as_ref().map(Places::take) {
            Some(None) => {
                let queue = self.limits.borrow().as_ref()?.queue.clone();
                return Some(Err(Unchosen::Wait(queue)));
            }
            place => place.flatten(),
        };
        self.balancer.borrow_mut().claim_for_its_own(own, tried, now);
        self.seat(own, place).map(Ok)
    }

    /// The seat that a place which was waited for stands for, if the request may go there now.
    pub(crate) fn claim(self: &Rc<Self>, place: Place, wanted: Wanted, tried: &Tried) -> Option<Seat> {
        let is_its =
            |server: &Rc<Server>| server.places.borrow().as_ref().is_some_and(|own| place.is_of(own));
        let at = self.servers.borrow().iter().position(is_its)?;
        let mut balancer = self.balancer.borrow_mut();
        let now = self.clock.tick();
        let id = balancer.id_at(at);
        let may_go = |id: &ServerId| match wanted.own {
            Some(own) if own == *id => balancer.claim_for_its_own(own, tried, now),
            Some(own) if balancer.is_open_to_its_own(own, tried, now) => false,
            _ => balancer.claim(*id, tried, now),
        };
        let id = id.filter(may_go);
        // Seats are counted there, too.
        drop(balancer);
        self.seat(id?, Some(place))
    }

    /// The limited servers that a request would not be sent to now, if they had room. None if no server is usable.
    pub(crate) fn avoided(&self, wanted: Wanted, tried: &Tried) -> Option<Vec<Arc<Places>>> {
        let now = self.clock.tick();
        let is_open = |own: &ServerId| self.balancer.borrow_mut().is_open_to_its_own(*own, tried, now);
        if let Some(own) = wanted.own.filter(is_open).and_then(|own| self.server(own)) {
            let servers = self.servers.borrow();
            let others = servers.iter().filter(|server| !Rc::ptr_eq(server, &own));
            return Some(others.filter_map(|server| server.places.borrow().clone()).collect());
        }
        let avoided = self.balancer.borrow_mut().avoided(tried, now)?;
        Some(avoided.iter().filter_map(|id| self.server(id)?.places.borrow().clone()).collect())
    }

    fn full_servers(&self) -> Tried {
        let balancer = self.balancer.borrow();
        let mut full = Tried::default();
        for (place, server) in self.servers.borrow().iter().enumerate() {
            if server.places.borrow().as_ref().is_some_and(|places| places.is_full())
                && let Some(id) = balancer.id_at(place)
            {
                full.insert(id);
            }
        }
        full
    }

    fn server(&self, id: ServerId) -> Option<Rc<Server>> {
        let place = self.balancer.borrow().index_of(id)?;
        self.servers.borrow().get(place).cloned()
    }

    fn seat(self: &Rc<Self>, id: ServerId, place: Option<Place>) -> Option<Seat> {
        let server = self.server(id)?;
        let endings = server.endings.get();
        self.balancer.borrow_mut().begin(id);
        server.counters.chosen.inc();
        server.counters.in_flight.up();
        Some(Seat { backend: self.clone(), server, id, endings, place: RefCell::new(place) })
    }

    /// The server whose idle connection is the oldest, and since when it is idle.
    pub(crate) fn oldest_idle(&self) -> Option<(Instant, Rc<Server>)> {
        let servers = self.servers.borrow();
        let oldest = servers.iter().filter_map(|server| Some((server.idle.oldest()?, server)));
        oldest.min_by_key(|(since, _)| *since).map(|(since, server)| (since, server.clone()))
    }

    /// Closes connections that have been idle for too long. When to look again.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        self.servers.borrow().iter().filter_map(|server| server.expire(now)).min()
    }
}

impl Server {
    /// Takes the server as it is now. Whether its sessions have to end.
    fn follow(&self, view: &ServerView, rules: &BackendRules, is_sticky: bool) -> bool {
        let moved = self.address.replace(view.address) != view.address;
        let is_used = view.is_usable() || is_sticky && view.takes_its_own();
        self.usable.set(is_used);
        let out = Out::of(view);
        let went = self.out.replace(out) != out;
        let ending = out.filter(|_| went).and_then(|out| out.ends_sessions(rules));
        if ending.is_some() {
            self.endings.set(self.endings.get() + 1);
            self.ending.set(ending);
        }
        self.open_places();
        if moved {
            self.attention().forget();
        }
        if moved || !is_used {
            self.forget_idle();
        }
        ending.is_some()
    }

    /// Why sessions have to end that began when it had ended its sessions that often, if they have to.
    pub(crate) fn ends(&self, since: u64) -> Option<Cut> {
        self.ending.get().filter(|_| self.endings.get() != since)
    }

    /// Those who wait get a place here only while it takes requests.
    fn open_places(&self) {
        if let Some(places) = &*self.places.borrow() {
            places.set_open(self.usable.get());
        }
    }

    fn introduce_by(&self, introduction: Option<Version>) {
        if self.introduction.replace(introduction) != introduction {
            self.forget_idle();
        }
    }

    fn secure_by(&self, connector: Option<Arc<Connector>>) {
        let before = self.connector.replace(connector);
        if !is_same(before.as_ref(), self.connector.borrow().as_ref()) {
            self.forget_idle();
        }
    }

    /// What connections are secured with, if they are.
    pub(crate) fn connector(&self) -> Option<Arc<Connector>> {
        self.connector.borrow().clone()
    }

    /// The PROXY header that connections begin with.
    pub(crate) fn introduction(&self) -> Option<Version> {
        self.introduction.get()
    }

    fn keep_for(&self, keep_alive: Option<Duration>) {
        self.keep_alive.set(keep_alive);
        if keep_alive.is_none() {
            self.forget_idle();
        }
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address.get()
    }

    pub(crate) fn counters(&self) -> &ServiceCounters {
        &self.counters
    }

    /// What all workers have seen of it.
    pub(crate) fn attention(&self) -> &Arc<Attention> {
        self.idle.attention()
    }

    fn count_idle(&self) {
        self.counters.idle.set(self.idle.len() as u64);
    }

    /// An idle connection that still lives, the most recently used first. Where they are for one client alone, that is the one
    /// `reserved` for it, if any.
    pub(crate) fn reuse(
        &self,
        reuse: Reuse,
        now: Instant,
        reserved: &mut Option<Reserved>,
    ) -> Option<ServerConnection> {
        if self.introduction.get().is_some() {
            return reserved.take_if(|reserved| std::ptr::eq(&*reserved.server, self))?.redeem(reuse, now);
        }
        if reuse == Reuse::Never || self.idle.len() == 0 {
            return None;
        }
        let found = self.idle.take(reuse, now, self.keep_alive.get()?);
        self.count_idle();
        found
    }

    /// Keeps a connection for the next request, if the server takes any, and is where the connection leads. Its ticket, if it is
    /// kept.
    pub(crate) fn keep(&self, connection: ServerConnection, now: Instant) -> Option<u64> {
        let keep = self.keep_alive.get()?;
        let is_alike = connection.is_introduced == self.introduction.get().is_some()
            && is_same(connection.connector.as_ref(), self.connector.borrow().as_ref());
        if !(is_alike && self.usable.get() && Some(connection.address) == self.address.get()) {
            return None;
        }
        let ticket = self.idle.put(connection, now, keep);
        self.count_idle();
        ticket
    }

    /// The same, for the next request of one client alone.
    pub(crate) fn reserve(self: &Rc<Self>, connection: ServerConnection, now: Instant) -> Option<Reserved> {
        let ticket = self.keep(connection, now)?;
        Some(Reserved { server: self.clone(), ticket })
    }

    /// Closes the idle connection that was used least recently: a new one, which will be kept, takes its place.
    pub(crate) fn displace(&self) {
        self.idle.drop_oldest();
        self.count_idle();
    }

    fn expire(&self, now: Instant) -> Option<Instant> {
        if self.idle.len() == 0 {
            return None;
        }
        let next = self.idle.expire(now, self.keep_alive.get().unwrap_or_default());
        self.count_idle();
        next
    }

    fn forget_idle(&self) {
        self.idle.clear();
        self.count_idle();
    }
}

/// Whether both are the very same, or neither is there.
fn is_same<T>(held: Option<&Arc<T>>, now: Option<&Arc<T>>) -> bool {
    match (held, now) {
        (Some(held), Some(now)) => Arc::ptr_eq(held, now),
        (held, now) => held.is_none() && now.is_none(),
    }
}

/// An idle connection that is for one client alone. It is closed with this.
#[derive(Debug)]
pub(crate) struct Reserved {
    server: Rc<Server>,
    ticket: u64,
}

impl Reserved {
    /// The connection, if it will do.
    fn redeem(self, reuse: Reuse, now: Instant) -> Option<ServerConnection> {
        let keep = self.server.keep_alive.get()?;
        self.server.idle.redeem(self.ticket, reuse, now, keep)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.server.idle.cancel(self.ticket);
        self.server.count_idle();
    }
}

/// A request or session that its backend has in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Rc<Backend>);

impl InFlight {
    pub(crate) fn new(backend: &Rc<Backend>) -> Self {
        backend.counters().requests.inc();
        backend.counters().in_flight.up();
        Self(backend.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.counters().in_flight.down();
    }
}

/// Why a server's sessions may have to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    /// Checks say that it is down; also where it is tried all the same.
    Down,
    /// It is a backup server, and enough others are usable.
    StandsBy,
}

impl Out {
    fn of(view: &ServerView) -> Option<Self> {
        match view.health {
            Health::Down | Health::LastResort => Some(Self::Down),
            _ => view.stands_by.then_some(Self::StandsBy),
        }
    }

    /// Whether that ends its sessions.
    fn ends_sessions(self, rules: &BackendRules) -> Option<Cut> {
        match self {
            Self::Down => (rules.on_down == OnDown::CloseSessions).then_some(Cut::ServerDown),
            Self::StandsBy => (rules.on_up == OnUp::CloseBackupSessions).then_some(Cut::BackupRelieved),
        }
    }
}

/// A request's place at a server: in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    backend: Rc<Backend>,
    pub(crate) server: Rc<Server>,
    pub(crate) id: ServerId,
    /// How often the server had ended its sessions before.
    pub(crate) endings: u64,
    /// Where the server's requests are limited.
    place: RefCell<Option<Place>>,
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
        self.backend.failures.notify_one();
        self.server.attention().forget();
        self.unreachable();
    }

    /// This host cannot connect there now, for want of a local port: it goes elsewhere for a while, and nobody is blamed.
    pub(crate) fn unreachable(&self) {
        self.backend.balancer.borrow_mut().failed(self.id, self.backend.clock.tick());
        self.leave();
    }

    /// The server has no more to do for this request: another one may have its place.
    pub(crate) fn leave(&self) {
        self.place.take();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.server.counters.in_flight.down();
        self.backend.balancer.borrow_mut().end(self.id);
    }
}
