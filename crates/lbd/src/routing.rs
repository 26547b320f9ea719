//! The picture that workers route by: configuration, verdicts and operators' wishes in one immutable value, swapped whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use balance::{AdminState, BackendView, Health, ServerView, Throttle};
use config::{LbConfig, WhenAllDown};
use health::Status;

use crate::counters::{FrontendCounters, PerWorker, ServiceCounters};
use crate::limits::Places;
use crate::operator::Operator;
use crate::queue::Queue;
use crate::registry::Registry;
use crate::verdicts::Verdicts;
use crate::warmup::Warmups;

/// Everything a worker needs to know to route.
#[derive(Debug)]
pub struct Routing {
    /// In the order of the configuration.
    pub frontends: Vec<Frontend>,
    /// In the order of the configuration.
    pub backends: Vec<Backend>,
    /// The client connections of all frontends, where a limit is configured.
    pub connections: Option<Arc<Places>>,
    /// That limit.
    pub maxconn: Option<u32>,
}

/// A frontend and where it is counted.
#[derive(Debug)]
pub struct Frontend {
    /// Its configuration.
    pub config: config::Frontend,
    /// Its counters.
    pub counters: Arc<PerWorker<FrontendCounters>>,
    /// Its client connections, where they are limited.
    pub places: Option<Arc<Places>>,
}

/// A backend, its servers as they are now, and where they are counted.
#[derive(Debug)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// What routing needs of its configuration.
    pub rules: BackendRules,
    /// Its servers.
    pub view: Arc<BackendView>,
    /// Its counters.
    pub counters: Arc<PerWorker<ServiceCounters>>,
    /// Its servers' counters, in the order of the view.
    pub servers: Vec<Arc<PerWorker<ServiceCounters>>>,
    /// Its limits, if any of its servers has one.
    pub limits: Option<Limits>,
}

/// The limits of a backend's servers.
#[derive(Debug)]
pub struct Limits {
    /// Who waits for a place at a server.
    pub queue: Arc<Queue>,
    /// The requests at each server that is limited, in the order of the view.
    pub places: Vec<Option<Arc<Places>>>,
    /// How many requests there may be at each.
    pub maxconn: Vec<Option<u32>>,
}

/// What routing needs of a backend's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendRules {
    /// Further attempts when connecting fails.
    pub retries: u32,
    /// Retries in per cent of requests.
    pub retry_budget: u32,
    /// How long servers may take.
    pub timeouts: config::ServerTimeouts,
    /// How long requests wait for a place at a server, and how many.
    pub queue: config::Queue,
    /// Whether a client that ends its side has given up.
    pub abort_on_close: bool,
}

impl Routing {
    /// Puts the picture together. `address_of` says where a server of a backend is.
    pub fn new(
        config: &LbConfig,
        verdicts: &Verdicts,
        operator: &Operator,
        registry: &Registry,
        warmups: &mut Warmups,
        (starting, now): (bool, Instant),
        address_of: impl Fn(&str, &config::Server) -> Option<SocketAddr>,
    ) -> Self {
        let frontends = config.frontends.iter().map(|frontend| Frontend {
            config: frontend.clone(),
            counters: registry.frontend(&frontend.name),
            places: frontend.maxconn.map(|_| registry.frontend_places(&frontend.name)),
        });
        warmups.retain(|name| config.backend(name).is_some());
        let backends = config.backends.iter().map(|backend| {
            let servers = backend.servers.iter().map(|server| {
                let held = verdicts.get(&backend.name, &server.name);
                let wanted = operator.of(&backend.name, server);
                ServerView {
                    name: server.name.clone(),
                    address: address_of(&backend.name, server),
                    weight: wanted.weight,
                    throttle: Throttle::NONE,
                    admin: wanted.state,
                    health: match held.map(|held| held.status()) {
                        // A server that is not checked is trusted; passive detection is all there is.
                        _ if backend.check.is_none() => Health::Up,
                        Some(Status::Up | Status::Unchecked) => Health::Up,
                        Some(Status::Down) => Health::Down,
                        Some(Status::Unknown) | None => Health::Unknown,
                    },
                }
            });
            let mut servers: Vec<ServerView> = servers.collect();
            let takes = backend.servers.iter().map(|server| server.slow_start);
            warmups.apply(&backend.name, &mut servers, takes, starting, now);
            if backend.when_all_down == WhenAllDown::Try {
                fall_back(&mut servers);
            }
            Backend {
                name: backend.name.clone(),
                rules: BackendRules {
                    retries: backend.retries,
                    retry_budget: backend.retry_budget,
                    timeouts: backend.timeouts,
                    queue: backend.queue,
                    abort_on_close: backend.abort_on_close,
                },
                view: Arc::new(BackendView::new(backend.balance, servers)),
                counters: registry.backend(&backend.name),
                servers: backend
                    .servers
                    .iter()
                    .map(|server| registry.server(&backend.name, &server.name))
                    .collect(),
                limits: limits(backend, operator, registry),
            }
        });
        Self {
            frontends: frontends.collect(),
            backends: backends.collect(),
            connections: config.lbd.maxconn.map(|_| registry.connections()),
            maxconn: config.lbd.maxconn,
        }
    }
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
