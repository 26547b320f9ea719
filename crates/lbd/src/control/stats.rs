//! Statistics rows from counters, verdicts and operators' wishes: the one source of the page, the CSV, the metrics and
//! `tandemctl status`.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use balance::{AdminState, BackendView, BackupLevel, Health, Throttle};
use health::Status;
use wire::{Backups, Condition, LifeState, Queue, RowKind, StatRow, StickyCounts, Troubles, Verdict};

use crate::control::state::State;
use crate::shared::counters::{
    Counter, FrontendCounters, HandshakeCounters, Http2Counters, PerWorker, Responses, ServiceCounters,
    StickyCounters,
};
use crate::shared::millis;
use crate::shared::routing::{Backend, Routing};
use crate::shared::tls::Terminator;
use crate::view::certificates::{CertificateRow, HandshakeRow};
use crate::view::http2::Http2Row;
use crate::view::routes::RouteRow;

/// The names of the rows that stand for a whole frontend or backend, as in HAProxy.
const FRONTEND: &str = "FRONTEND";
const BACKEND: &str = "BACKEND";

/// Rows of every frontend, then of every backend: its servers and their sum, as HAProxy orders them.
pub fn rows(state: &State, life: LifeState, now: Instant) -> Vec<StatRow> {
    let accepts = matches!(life, LifeState::Starting | LifeState::Ready);
    let routing = state.routing();
    let mut rows = Vec::new();
    for frontend in &*routing.frontends {
        let status = if accepts { Condition::Open } else { Condition::Stopped };
        let row = StatRow {
            kind: RowKind::Frontend,
            proxy: frontend.config.name.clone(),
            name: FRONTEND.into(),
            status: status.to_string(),
            active: u64::from(accepts),
            mode: mode(frontend.config.mode),
            sessions_limit: Some(frontend.config.maxconn.map_or_else(|| state.maxconn(), u64::from)),
            address: addresses(&frontend.config),
            ..count_frontend(&frontend.counters)
        };
        rows.push(state.rates().fill(row, now));
    }
    for (backend, config) in routing.backends.iter().zip(&state.config().backends) {
        let first = rows.len();
        for (place, (view, counters)) in backend.view.servers.iter().zip(&*backend.servers).enumerate() {
            let maxconn = backend.limits.as_ref().and_then(|limits| *limits.maxconn.get(place)?);
            let held = state.verdicts().get(&backend.name, &view.name).map(|held| held.at(now));
            let row = StatRow {
                kind: RowKind::Server,
                proxy: backend.name.to_string(),
                name: view.name.to_string(),
                address: view.address.map(|address| address.to_string()).unwrap_or_default(),
                weight: view.effective_weight(),
                mode: mode(config.mode),
                throttle: (view.throttle < Throttle::NONE).then(|| view.throttle.get()),
                sessions_limit: maxconn.map(u64::from),
                active: u64::from(view.is_usable() && view.health != Health::LastResort),
                backup: view.backup.map(BackupLevel::get),
                stands_by: view.stands_by,
                ..count_service(counters, state.start(), now)
            };
            let unchecked = config.servers.get(place).is_none_or(|server| config.check_of(server).is_none());
            let uptime = now.saturating_duration_since(state.start());
            let wanted = state.wanted_for(&backend.name, &view.name, now);
            let row = with_verdict(row, view, held, unchecked);
            let left = state.members().left(&backend.name, &view.name);
            let row = match left {
                Some(at) => leaving(row, at, now),
                None => row,
            };
            let row = StatRow { since_ms: since(&row, wanted, uptime), ..row };
            rows.push(state.rates().fill(row, now));
        }
        let age = state.age_of(&backend.name, now);
        let servers = &rows[first..];
        let usable = servers.iter().filter(|row| row.active > 0);
        let row = StatRow {
            kind: RowKind::Backend,
            proxy: backend.name.to_string(),
            name: BACKEND.into(),
            status: if usable.clone().count() > 0 { Condition::Up } else { Condition::Down }.to_string(),
            weight: usable.clone().map(|row| row.weight).sum(),
            active: usable.count() as u64,
            backups: backups(&backend.view),
            chosen: servers.iter().map(|row| row.chosen).sum(),
            retries: servers.iter().map(|row| row.retries).sum(),
            redispatches: servers.iter().map(|row| row.redispatches).sum(),
            failed_checks: servers.iter().map(|row| row.failed_checks).sum(),
            idle: servers.iter().map(|row| row.idle).sum(),
            since_ms: age.map_or(0, |age| millis(age.since)),
            downtime_ms: age.map_or(0, |age| millis(age.downtime)),
            downs: age.map_or(0, |age| age.downs),
            mode: mode(config.mode),
            algorithm: backend.view.algorithm.to_string(),
            last_resort: backend.view.is_last_resort(),
            reason: match backend.view.is_last_resort() {
                true => "every server is DOWN, and used all the same (when_all_down: try)".into(),
                false => String::new(),
            },
            discovery: state.members().discovery(config, now),
            sticky: backend.sticky.as_ref().map(|_| sticky(&backend.counters)),
            queue: backend.limits.as_ref().map(|limits| Queue {
                now: limits.queue.waiting(),
                max: limits.queue.most(),
                limit: u64::from(backend.rules.queue.max),
                refused: limits.queue.refused(),
            }),
            ..count_service(&backend.counters, state.start(), now)
        };
        rows.push(state.rates().fill(row, now));
    }
    rows
}

/// Each route of every frontend that has some, and what no route fits.
pub fn routes(state: &State) -> Vec<RouteRow> {
    let mut rows = Vec::new();
    for frontend in &*state.routing().frontends {
        let config = &frontend.config;
        let row = |route: Option<usize>, action: String| RouteRow {
            frontend: config.name.clone(),
            route: route.map_or_else(|| "none".to_owned(), |place| config.routes.label(place)),
            action,
            taken: frontend.taken.sum(|worker| worker.taken(route)),
        };
        let list = config.routes.list();
        rows.extend(list.iter().enumerate().map(|(place, route)| row(Some(place), route.action.to_string())));
        if !list.is_empty() {
            let otherwise = match (&config.backend, config.mode) {
                (Some(name), _) => format!("backend {name}"),
                (None, config::Mode::Http) => "deny 404".to_owned(),
                (None, config::Mode::Tcp) => "close".to_owned(),
            };
            rows.push(row(None, otherwise));
        }
    }
    rows
}

/// This moment, in seconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// The certificates of every listener that presents some.
pub fn certificates(state: &State) -> Vec<CertificateRow> {
    let mut rows = Vec::new();
    for (frontend, terminator, address) in tls_listeners(state) {
        rows.extend(terminator.tls().store.certificates().iter().map(|certificate| CertificateRow {
            frontend: frontend.to_owned(),
            address,
            file: certificate.file.clone(),
            names: certificate.names.clone(),
            issuer: certificate.issuer.clone(),
            key: certificate.key.to_string(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            soon_from: certificate.soon_from(),
            staple: certificate.staple.map(|staple| staple.next_update),
        }));
    }
    rows
}

/// TLS handshakes of every frontend that has some, and with every server.
pub fn handshakes(state: &State) -> Vec<HandshakeRow> {
    let mut rows: Vec<HandshakeRow> = Vec::new();
    for (frontend, ..) in tls_listeners(state) {
        if rows.last().is_none_or(|row| row.proxy != frontend) {
            let counters = state.registry().frontend(frontend);
            rows.push(handshakes_of(frontend, None, |count| counters.sum(|worker| count(&worker.tls))));
        }
    }
    for backend in state.config().backends.iter().filter(|backend| backend.tls.is_some()) {
        rows.extend(backend.servers.iter().map(|server| {
            let counters = state.registry().server(&backend.name, &server.name);
            let sum = |count: Count| counters.sum(|worker| count(&worker.tls));
            handshakes_of(&backend.name, Some(server.name.clone()), sum)
        }));
    }
    rows
}

/// One of the counts of handshakes.
type Count = fn(&HandshakeCounters) -> u64;

fn handshakes_of(proxy: &str, server: Option<String>, sum: impl Fn(Count) -> u64) -> HandshakeRow {
    let (full, resumed) = (sum(|tls| tls.full.get()), sum(|tls| tls.resumed.get()));
    let tls12 = sum(|tls| tls.tls12.get());
    HandshakeRow {
        proxy: proxy.to_owned(),
        server,
        full,
        resumed,
        // The counters are read one after the other, while others count.
        versions: [("TLSv1.2", tls12), ("TLSv1.3", (full + resumed).saturating_sub(tls12))],
        failed: sum(|tls| tls.failed.get()),
    }
}

/// The addresses of a frontend.
fn addresses(frontend: &config::Frontend) -> String {
    frontend.bind.iter().map(|bind| bind.address.to_string()).collect::<Vec<_>>().join(",")
}

/// What of every frontend in HTTP mode is done in HTTP/2.
pub fn http2(state: &State) -> Vec<Http2Row> {
    let frontends = state.routing().frontends.iter().map(|frontend| &frontend.config);
    let rows = frontends.filter(|config| config.mode == config::Mode::Http).map(|config| {
        let counters = state.registry().frontend(&config.name);
        let sum = |of: fn(&Http2Counters) -> u64| counters.sum(|worker| of(&worker.http2));
        Http2Row {
            frontend: config.name.clone(),
            connections: sum(|counted| counted.connections.get()),
            streams: sum(|counted| counted.streams.get()),
            resets: [
                ("malformed", sum(|counted| counted.malformed.get())),
                ("client", sum(|counted| counted.reset_by_client.get())),
                ("response_broken", sum(|counted| counted.broken.get())),
            ],
        }
    });
    rows.collect()
}

/// In the order of the configuration.
fn tls_listeners(state: &State) -> impl Iterator<Item = (&str, &Arc<Terminator>, SocketAddr)> {
    let terminators = &state.routing().terminators;
    let frontends = state.routing().frontends.iter();
    frontends.flat_map(move |frontend| {
        let binds = frontend.config.bind.iter();
        binds.filter_map(move |bind| {
            let terminator = terminators.get(&bind.address)?;
            Some((frontend.config.name.as_str(), terminator, bind.address))
        })
    })
}

/// The backup servers of a backend, if it has any.
fn backups(view: &BackendView) -> Option<Backups> {
    let mut all = view.servers.iter().filter(|server| server.backup.is_some()).peekable();
    all.peek()?;
    let fit = all.filter(|server| server.is_fit()).count() as u64;
    Some(Backups { fit, used: view.backups() as u64 })
}

/// A mode as rows have it.
fn mode(mode: config::Mode) -> String {
    match mode {
        config::Mode::Http => String::new(),
        config::Mode::Tcp => mode.word().to_owned(),
    }
}

/// How a server's health and its operator's wish read in one word.
fn with_verdict(row: StatRow, view: &balance::ServerView, held: Option<Verdict>, unchecked: bool) -> StatRow {
    let health = match &held {
        Some(verdict) if !unchecked => verdict.health(),
        Some(_) | None => Condition::NoCheck,
    };
    let condition = match view.admin {
        AdminState::Maint => Condition::Maint,
        AdminState::Drain => Condition::Drain,
        AdminState::Ready if view.address.is_none() => Condition::Down,
        // Without weight a server finishes what it has, as in HAProxy.
        AdminState::Ready if view.weight.get() == 0 && !health.is_down() => Condition::Drain,
        AdminState::Ready => health,
    };
    let reason = match &held {
        Some(verdict) if verdict.resolve_error.is_some() => {
            verdict.name_trouble().unwrap_or_default().to_owned()
        }
        _ if view.address.is_none() => "the name has not been resolved yet".into(),
        None if !unchecked => "no verdict from healthd yet; used unchecked".into(),
        Some(verdict) if verdict.status == Status::Unknown => {
            "its first check has not ended; used unchecked".into()
        }
        _ => String::new(),
    };
    let Some(verdict) = held else { return StatRow { status: condition.to_string(), reason, ..row } };
    StatRow {
        status: condition.to_string(),
        reason,
        since_ms: verdict.since_ms,
        downtime_ms: verdict.downtime_ms,
        failed_checks: verdict.failed_checks,
        downs: verdict.downs,
        check: verdict.check,
        rise: verdict.rise,
        fall: verdict.fall,
        ..row
    }
}

/// A server that belongs to its backend no more is in drain, whatever else is known of it.
fn leaving(row: StatRow, left: Instant, now: Instant) -> StatRow {
    StatRow {
        status: Condition::Drain.to_string(),
        reason: "it belongs to the backend no more, and ends what it has".to_owned(),
        since_ms: millis(now.saturating_duration_since(left)),
        leaving: true,
        ..row
    }
}

/// For how long a server has had its status: what its operator wants, or its health, whichever changed last.
fn since(row: &StatRow, wanted: Option<Duration>, uptime: Duration) -> u64 {
    match Condition::of(&row.status) {
        Condition::Drain | Condition::Maint => millis(wanted.unwrap_or(uptime)),
        _ if row.check.is_none() && row.since_ms == 0 => millis(wanted.unwrap_or(uptime)),
        _ => wanted.map_or(row.since_ms, |wanted| row.since_ms.min(millis(wanted))),
    }
}

fn count_frontend(counters: &PerWorker<FrontendCounters>) -> StatRow {
    let mut row = StatRow {
        sessions: counters.sum(|worker| worker.connections.get()),
        sessions_max: counters.sum(|worker| worker.connections.max()),
        sessions_total: counters.sum(|worker| worker.accepted.get()),
        requests: counters.sum(|worker| worker.requests.get()),
        bytes_in: counters.sum(|worker| worker.bytes_in.get()),
        bytes_out: counters.sum(|worker| worker.bytes_out.get()),
        request_errors: counters.sum(|worker| worker.refused.get()),
        ..StatRow::default()
    };
    for worker in counters.iter() {
        worker.responses.add_to(&mut row.responses);
    }
    row
}

fn count_service(counters: &PerWorker<ServiceCounters>, start: Instant, now: Instant) -> StatRow {
    let uptime = millis(now.saturating_duration_since(start));
    let last = counters.iter().map(|worker| worker.last_request.get()).max().unwrap_or(0);
    let requests = counters.sum(|worker| worker.requests.get());
    // Each worker's average counts by its share of the requests.
    let average = |of: fn(&ServiceCounters) -> u64| {
        let sum: u64 = counters.iter().map(|worker| of(worker) * worker.requests.get()).sum();
        sum.checked_div(requests).unwrap_or(0)
    };
    let mut row = StatRow {
        sessions: counters.sum(|worker| worker.in_flight.get()),
        sessions_max: counters.sum(|worker| worker.in_flight.max()),
        idle: counters.sum(|worker| worker.idle.get()),
        sessions_total: requests,
        bytes_in: counters.sum(|worker| worker.bytes_in.get()),
        bytes_out: counters.sum(|worker| worker.bytes_out.get()),
        connect_errors: counters.sum(|worker| worker.connect_errors.get()),
        response_errors: counters.sum(|worker| worker.response_errors.get()),
        retries: counters.sum(|worker| worker.retries.get()),
        retries_refused: counters.sum(|worker| worker.retries_refused.get()),
        redispatches: counters.sum(|worker| worker.redispatches.get()),
        client_aborts: counters.sum(|worker| worker.client_aborts.get()),
        server_aborts: counters.sum(|worker| worker.server_aborts.get()),
        chosen: counters.sum(|worker| worker.chosen.get()),
        last_session_ms: (last > 0).then(|| uptime.saturating_sub(last - 1)),
        times_ms: [
            average(|worker| worker.queue_time.get()),
            average(|worker| worker.connect_time.get()),
            average(|worker| worker.response_time.get()),
            average(|worker| worker.total_time.get()),
        ],
        ..StatRow::default()
    };
    for worker in counters.iter() {
        worker.responses.add_to(&mut row.responses);
    }
    row
}

fn sticky(counters: &PerWorker<ServiceCounters>) -> StickyCounts {
    let sum = |of: fn(&StickyCounters) -> &Counter| counters.sum(|worker| of(&worker.sticky).get());
    StickyCounts {
        followed: sum(|sticky| &sticky.followed),
        dead: sum(|sticky| &sticky.dead),
        expired: sum(|sticky| &sticky.expired),
        unknown: sum(|sticky| &sticky.unknown),
        absent: sum(|sticky| &sticky.absent),
        new: sum(|sticky| &sticky.new),
        renewed: sum(|sticky| &sticky.renewed),
    }
}

/// What happened in the last second, the most that ever happened in one, and when things last went wrong; by proxy and name.
#[derive(Debug, Default)]
pub struct Rates(HashMap<String, HashMap<String, Rate>>);

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    sessions: PerSecond,
    requests: PerSecond,
    troubles: [Grown; 5],
}

/// Running totals of a frontend, a backend or a server.
struct Totals {
    sessions: u64,
    requests: u64,
    /// In the order of [`Troubles`].
    troubles: [u64; 5],
}

/// A total, and when it last grew.
#[derive(Clone, Copy, Debug, Default)]
struct Grown {
    total: u64,
    at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PerSecond {
    total: u64,
    rate: u64,
    max: u64,
}

impl PerSecond {
    fn tick(&mut self, total: u64, elapsed: Duration) {
        let elapsed = millis(elapsed).max(1);
        self.rate = (total.saturating_sub(self.total) * 1000).div_ceil(elapsed);
        self.max = self.max.max(self.rate);
        self.total = total;
    }
}

impl Rates {
    /// Compares totals with those of `elapsed` ago.
    pub fn tick(&mut self, routing: &Routing, elapsed: Duration, now: Instant) {
        for frontend in &*routing.frontends {
            let totals = Totals::of_frontend(&frontend.counters);
            self.measure(&frontend.config.name, FRONTEND, &totals, elapsed, now);
        }
        for backend in &routing.backends {
            let servers = backend.view.servers.iter().map(|server| &*server.name).zip(&*backend.servers);
            for (name, counters) in servers.chain([(BACKEND, &backend.counters)]) {
                self.measure(&backend.name, name, &Totals::of_service(counters), elapsed, now);
            }
        }
    }

    fn measure(&mut self, proxy: &str, name: &str, totals: &Totals, elapsed: Duration, now: Instant) {
        let Some(rate) = self.0.get_mut(proxy).and_then(|names| names.get_mut(name)) else {
            self.0.entry(proxy.to_owned()).or_default().insert(name.to_owned(), Rate::default());
            return self.measure(proxy, name, totals, elapsed, now);
        };
        rate.sessions.tick(totals.sessions, elapsed);
        rate.requests.tick(totals.requests, elapsed);
        for (grown, total) in rate.troubles.iter_mut().zip(totals.troubles) {
            grown.tick(total, now);
        }
    }

    /// Forgets what is not in the routing.
    pub fn retain(&mut self, routing: &Routing) {
        let frontends = routing.frontends.iter().map(|frontend| (frontend.config.name.as_str(), FRONTEND));
        let backends = routing.backends.iter().flat_map(|backend| {
            let servers = backend.view.servers.iter().map(|server| &*server.name);
            servers.chain([BACKEND]).map(|name| (&*backend.name, name))
        });
        let known: HashSet<(&str, &str)> = frontends.chain(backends).collect();
        for (proxy, names) in &mut self.0 {
            names.retain(|name, _| known.contains(&(proxy.as_str(), name.as_str())));
        }
        self.0.retain(|_, names| !names.is_empty());
    }

    fn fill(&self, row: StatRow, now: Instant) -> StatRow {
        let rate = self.0.get(&row.proxy).and_then(|names| names.get(&row.name)).copied().unwrap_or_default();
        StatRow {
            rate: rate.sessions.rate,
            rate_max: rate.sessions.max,
            request_rate: rate.requests.rate,
            request_rate_max: rate.requests.max,
            troubles: troubles(rate.troubles, now),
            ..row
        }
    }
}

impl Grown {
    fn tick(&mut self, total: u64, now: Instant) {
        if total > self.total {
            self.at = Some(now);
        }
        self.total = total;
    }
}

impl Totals {
    fn of_frontend(counters: &PerWorker<FrontendCounters>) -> Self {
        let [client, server] = errors(counters, |worker| &worker.responses);
        Self {
            sessions: counters.sum(|worker| worker.accepted.get()),
            requests: counters.sum(|worker| worker.requests.get()),
            troubles: [client, server, 0, 0, counters.sum(|worker| worker.refused.get())],
        }
    }

    fn of_service(counters: &PerWorker<ServiceCounters>) -> Self {
        let [client, server] = errors(counters, |worker| &worker.responses);
        let errors = counters.sum(|worker| worker.connect_errors.get() + worker.response_errors.get());
        Self {
            sessions: counters.sum(|worker| worker.requests.get()),
            requests: 0,
            troubles: [client, server, errors, counters.sum(|worker| worker.retries.get()), 0],
        }
    }
}

/// Responses with 4xx and 5xx.
fn errors<T>(counters: &PerWorker<T>, of: fn(&T) -> &Responses) -> [u64; 2] {
    let mut classes = [0; 6];
    counters.iter().for_each(|worker| of(worker).add_to(&mut classes));
    [classes[3], classes[4]]
}

fn troubles(grown: [Grown; 5], now: Instant) -> Troubles {
    let age = |grown: Grown| grown.at.map(|at| millis(now.saturating_duration_since(at)));
    let [responses_4xx, responses_5xx, errors, retries, refused] = grown.map(age);
    Troubles { responses_4xx, responses_5xx, errors, retries, refused }
}

/// Since when a backend has, or lacks, a usable server.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// How long it has been as it is.
    pub since: Duration,
    /// How long it was without a usable server, in all.
    pub downtime: Duration,
    /// How often it lost its last usable server.
    pub downs: u64,
}

/// Who serves a backend's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Servers that are well.
    Usable,
    /// Servers that are well, backup servers among them.
    Backups,
    /// Servers that are down, because no other is left.
    LastResort,
    /// Nobody.
    None,
}

impl Service {
    fn of(view: &BackendView) -> Self {
        match view.usable() {
            0 if view.is_last_resort() => Self::LastResort,
            0 => Self::None,
            _ if view.backups() > 0 => Self::Backups,
            _ => Self::Usable,
        }
    }

    fn is_usable(self) -> bool {
        matches!(self, Self::Usable | Self::Backups)
    }
}

/// The ages of backends, kept as routing changes.
#[derive(Debug, Default)]
pub struct Ages(HashMap<Arc<str>, Standing>);

#[derive(Clone, Copy, Debug)]
struct Standing {
    service: Service,
    since: Instant,
    downtime: Duration,
    downs: u64,
}

impl Ages {
    /// Compares a backend with how it stood. Tells how it was served and is now, when it gained its first or lost its last usable server, or its last resort
    /// was taken up or given up for; also when backup servers join or leave.
    pub fn update(&mut self, backend: &Backend, now: Instant) -> Option<(Service, Service)> {
        let service = Service::of(&backend.view);
        let new = || Standing { service, since: now, downtime: Duration::ZERO, downs: 0 };
        let standing = self.0.entry(backend.name.clone()).or_insert_with(new);
        if standing.service.is_usable() != service.is_usable() {
            if service.is_usable() {
                standing.downtime += now.saturating_duration_since(standing.since);
            } else {
                standing.downs += 1;
            }
            standing.since = now;
        }
        let before = std::mem::replace(&mut standing.service, service);
        (before != service).then_some((before, service))
    }

    /// Forgets the backends that are gone.
    pub fn retain(&mut self, is_known: impl Fn(&str) -> bool) {
        self.0.retain(|backend, _| is_known(backend));
    }

    /// The age of a backend.
    pub fn of(&self, backend: &str, now: Instant) -> Option<Age> {
        let standing = self.0.get(backend)?;
        let since = now.saturating_duration_since(standing.since);
        let downtime =
            if standing.service.is_usable() { standing.downtime } else { standing.downtime + since };
        Some(Age { since, downtime, downs: standing.downs })
    }
}
