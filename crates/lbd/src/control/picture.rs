//! Puts together what workers route by: configuration, verdicts and operators' wishes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use balance::{AdminState, BackendView, Health, ServerView, Throttle};
use config::{LbConfig, ServerAddress, WhenAllDown};
use health::Status;

use crate::control::connectors::ByBackend;
use crate::control::directory::{Directory, Names};
use crate::control::members::Members;
use crate::control::operator::Operator;
use crate::control::registry::Registry;
use crate::control::verdicts::Verdicts;
use crate::control::warmup::Warmups;
use crate::shared::routing::{Backend, BackendRules, Frontend, Limits, Routing, Terminators};
use crate::shared::sticky::StickyCookie;

/// One in so many servers is enough to begin with.
const QUARTERS: usize = 4;

/// What a picture is put together from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The configuration in force.
    pub config: &'a LbConfig,
    /// Its names.
    pub directory: &'a Directory,
    /// How TLS ends at the addresses that have it.
    pub terminators: &'a Terminators,
    /// What connections to servers are secured with.
    pub connectors: &'a ByBackend,
    /// What healthd says.
    pub verdicts: &'a Verdicts,
    /// The servers that were found.
    pub members: &'a Members,
    /// Addresses found by lbd itself.
    pub resolved: &'a HashMap<ServerAddress, SocketAddr>,
    /// What operators want.
    pub operator: &'a Operator,
    /// Where everything is counted.
    pub registry: &'a Registry,
    /// Whether first verdicts are still coming in.
    pub starting: bool,
    /// The time.
    pub now: Instant,
}

impl Sources<'_> {
    /// The whole picture.
    pub fn routing(&self, warmups: &mut Warmups) -> Routing {
        let Self { config, registry, .. } = self;
        let edited = config.backends.iter();
        let edited = edited.filter_map(|backend| Some((backend.name.clone(), backend.edits.clone()?)));
        let backend_edits: Arc<HashMap<_, _>> = Arc::new(edited.collect());
        let frontends = config.frontends.iter().map(|frontend| Frontend {
            config: frontend.clone(),
            backend_edits: backend_edits.clone(),
            counters: registry.frontend(&frontend.name),
            taken: registry.routes(&frontend.name),
            places: frontend.maxconn.map(|_| registry.frontend_places(&frontend.name)),
        });
        warmups.retain(|name| self.directory.backend(name).is_some());
        let backends = (0..config.backends.len()).filter_map(|place| self.backend(place, warmups));
        Routing {
            frontends: frontends.collect(),
            terminators: self.terminators.clone(),
            backends: backends.map(Arc::new).collect(),
            connections: config.lbd.maxconn.map(|_| registry.connections()),
            maxconn: config.lbd.maxconn,
        }
    }

    /// A backend, looked at anew.
    pub fn backend(&self, place: usize, warmups: &mut Warmups) -> Option<Backend> {
        let (config, names) = self.of(place)?;
        let servers = (0..names.servers.len()).filter_map(|place| self.server(config, names, place));
        let mut servers: Vec<ServerView> = servers.collect();
        self.compare(config, &mut servers, warmups);
        let counters = config.servers.iter().map(|server| self.registry.server(&config.name, &server.name));
        let attention =
            config.servers.iter().map(|server| self.registry.attention(&config.name, &server.name));
        Some(Backend {
            name: names.backend.clone(),
            rules: BackendRules {
                retries: config.retries,
                retry_budget: config.retry_budget,
                timeouts: config.timeouts,
                queue: config.queue,
                on_down: config.on_down,
                on_up: config.on_up,
                abort_on_close: config.abort_on_close,
            },
            sticky: config.sticky.as_ref().map(|sticky| {
                Arc::new(StickyCookie::new(sticky, &config.name, servers.iter().map(|server| &*server.name)))
            }),
            key: config.balance.key().cloned().map(Arc::new),
            unheard: self.unheard(config, &servers),
            well: well(&servers),
            view: Arc::new(
                BackendView::new(config.balance.algorithm(), servers).bounded(config.balance.factor()),
            ),
            counters: self.registry.backend(&config.name),
            servers: counters.collect(),
            attention: attention.collect(),
            introductions: config.servers.iter().map(|server| server.send_proxy).collect(),
            connectors: self.connectors.get(&config.name).cloned(),
            limits: limits(config, self.operator, self.registry).map(Arc::new),
        })
    }

    /// A backend after a change of some of its servers' health or address.
    pub fn changed(
        &self,
        place: usize,
        before: &Backend,
        servers: &[usize],
        warmups: &mut Warmups,
    ) -> Option<Backend> {
        let (config, names) = self.of(place)?;
        let mut views = before.view.servers.clone();
        for view in &mut views {
            view.stands_by = false;
            view.health = match view.health {
                Health::LastResort => Health::Down,
                Health::Awaited => Health::Unknown,
                other => other,
            };
        }
        for place in servers {
            if let Some((held, now)) = views.get_mut(*place).zip(self.server(config, names, *place)) {
                *held = now;
            }
        }
        self.compare(config, &mut views, warmups);
        let (unheard, well) = (self.unheard(config, &views), well(&views));
        Some(Backend { view: Arc::new(before.view.next(views)), unheard, well, ..before.clone() })
    }

    fn of(&self, backend: usize) -> Option<(&config::Backend, &Names)> {
        self.config.backends.get(backend).zip(self.directory.names().get(backend))
    }

    /// A server by itself.
    fn server(&self, backend: &config::Backend, names: &Names, place: usize) -> Option<ServerView> {
        let (server, name) = backend.servers.get(place).zip(names.servers.get(place))?;
        let held = self.verdicts.get(&backend.name, name);
        let wanted = self.operator.of(&backend.name, server);
        let found = || match held {
            // healthd's word counts, also that there is no address any more.
            Some(held) if held.is_resolved() => held.address(),
            Some(_) | None => self.resolved.get(&server.address).copied(),
        };
        Some(ServerView {
            name: name.clone(),
            address: server.address.literal().or_else(found),
            weight: wanted.weight,
            throttle: Throttle::NONE,
            // Whoever has its address now need not be the server that its clients belong to.
            admin: match self.members.left(&backend.name, name) {
                Some(_) => AdminState::Maint,
                None => wanted.state,
            },
            health: match held.map(|held| held.status()) {
                // A server that is not checked is trusted; passive detection is all there is.
                _ if backend.check_of(server).is_none() => Health::Up,
                Some(Status::Up | Status::Unchecked) => Health::Up,
                Some(Status::Down) => Health::Down,
                Some(Status::Unknown) | None => Health::Unknown,
            },
            backup: server.backup,
            stands_by: false,
        })
    }

    /// How many servers lack what a start waits for: a verdict, or where nothing is checked an address; and whether any are to be
    /// found at all is one more.
    fn unheard(&self, backend: &config::Backend, servers: &[ServerView]) -> usize {
        let awaited = backend.discover.is_some() && self.members.is_awaited(&backend.name);
        unheard(backend, servers) + usize::from(awaited)
    }

    /// What a server's part is depends on the others', too.
    fn compare(&self, backend: &config::Backend, servers: &mut [ServerView], warmups: &mut Warmups) {
        if backend.discover.is_some() && !self.starting {
            wait_for_newcomers(servers);
        }
        let takes = backend.servers.iter().map(|server| server.slow_start);
        warmups.apply(&backend.name, servers, takes, self.starting, self.now);
        if self.starting {
            wait_for_verdicts(servers);
        }
        if backend.when_all_down == WhenAllDown::Try {
            fall_back(servers);
        }
        backend.backups.arrange(servers);
    }
}

/// While first verdicts come in, those that were found well carry the load alone as soon as they are a quarter of all that may
/// be: the others may be dead, and fewer could be overloaded. Backup servers play no part.
fn wait_for_verdicts(servers: &mut [ServerView]) {
    let is_unknown = |server: &ServerView| server.health == Health::Unknown && server.backup.is_none();
    let is_active = |server: &&ServerView| server.backup.is_none();
    let well = servers.iter().filter(is_active).filter(is_well).count();
    let unknown = servers.iter().filter(|server| is_unknown(server) && server.is_usable()).count();
    if well > 0 && well * QUARTERS >= well + unknown {
        servers
            .iter_mut()
            .filter(|server| is_unknown(server))
            .for_each(|server| server.health = Health::Awaited);
    }
}

/// Servers that have just been found take no requests before their first check has ended, where others do.
fn wait_for_newcomers(servers: &mut [ServerView]) {
    if servers.iter().any(|server| is_well(&server)) {
        let unknown = servers.iter_mut().filter(|server| server.health == Health::Unknown);
        unknown.for_each(|server| server.health = Health::Awaited);
    }
}

/// How many servers take requests and are known to be able to.
fn well(servers: &[ServerView]) -> usize {
    servers.iter().filter(is_well).count()
}

fn is_well(server: &&ServerView) -> bool {
    server.health == Health::Up && server.is_usable()
}

/// How many servers lack what a start waits for: a verdict, or where nothing is checked an address.
fn unheard(backend: &config::Backend, servers: &[ServerView]) -> usize {
    let is_unheard = |(server, view): &(&config::Server, &ServerView)| match backend.check_of(server) {
        _ if view.admin == AdminState::Maint => false,
        Some(_) => matches!(view.health, Health::Unknown | Health::Awaited),
        None => view.address.is_none(),
    };
    backend.servers.iter().zip(servers).filter(is_unheard).count()
}

/// Where no server is usable, those that are down are, unless their operator wants otherwise.
fn fall_back(servers: &mut [ServerView]) {
    let is_out = |server: &ServerView| server.admin == AdminState::Ready && server.health == Health::Down;
    if servers.iter().any(ServerView::is_usable) {
        return;
    }
    for server in servers.iter_mut().filter(|server| is_out(server)) {
        server.health = Health::LastResort;
    }
}

fn limits(backend: &config::Backend, operator: &Operator, registry: &Registry) -> Option<Limits> {
    let maxconn: Vec<Option<u32>> =
        backend.servers.iter().map(|server| operator.of(&backend.name, server).maxconn).collect();
    if maxconn.iter().all(Option::is_none) {
        return None;
    }
    let places = backend.servers.iter().zip(&maxconn);
    let places =
        places.map(|(server, maxconn)| maxconn.map(|_| registry.server_places(&backend.name, &server.name)));
    Some(Limits { queue: registry.queue(&backend.name), places: places.collect(), maxconn })
}
