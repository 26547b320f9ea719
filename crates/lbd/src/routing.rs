//! The picture that workers route by: configuration, verdicts and operators' wishes in one immutable value, swapped whole.

use std::net::SocketAddr;
use std::sync::Arc;

use balance::{BackendView, Health, ServerView};
use config::LbConfig;
use health::Status;

use crate::counters::{FrontendCounters, PerWorker, ServiceCounters};
use crate::operator::Operator;
use crate::registry::Registry;
use crate::verdicts::Verdicts;

/// Everything a worker needs to know to route.
#[derive(Debug)]
pub struct Routing {
    /// In the order of the configuration.
    pub frontends: Vec<Frontend>,
    /// In the order of the configuration.
    pub backends: Vec<Backend>,
}

/// A frontend and where it is counted.
#[derive(Debug)]
pub struct Frontend {
    /// Its configuration.
    pub config: config::Frontend,
    /// Its counters.
    pub counters: Arc<PerWorker<FrontendCounters>>,
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
}

impl Routing {
    /// Puts the picture together. `address_of` says where a server of a backend is.
    pub fn new(
        config: &LbConfig,
        verdicts: &Verdicts,
        operator: &Operator,
        registry: &Registry,
        address_of: impl Fn(&str, &config::Server) -> Option<SocketAddr>,
    ) -> Self {
        let frontends = config.frontends.iter().map(|frontend| Frontend {
            config: frontend.clone(),
            counters: registry.frontend(&frontend.name),
        });
        let backends = config.backends.iter().map(|backend| {
            let servers = backend.servers.iter().map(|server| {
                let held = verdicts.get(&backend.name, &server.name);
                let (admin, weight) = operator.of(&backend.name, server);
                ServerView {
                    name: server.name.clone(),
                    address: address_of(&backend.name, server),
                    weight,
                    admin,
                    health: match held.map(|held| held.status()) {
                        // A server that is not checked is trusted; passive detection is all there is.
                        _ if backend.check.is_none() => Health::Up,
                        Some(Status::Up | Status::Unchecked) => Health::Up,
                        Some(Status::Down) => Health::Down,
                        Some(Status::Unknown) | None => Health::Unknown,
                    },
                }
            });
            Backend {
                name: backend.name.clone(),
                rules: BackendRules {
                    retries: backend.retries,
                    retry_budget: backend.retry_budget,
                    timeouts: backend.timeouts,
                },
                view: Arc::new(BackendView::new(backend.balance, servers.collect())),
                counters: registry.backend(&backend.name),
                servers: backend
                    .servers
                    .iter()
                    .map(|server| registry.server(&backend.name, &server.name))
                    .collect(),
            }
        });
        Self { frontends: frontends.collect(), backends: backends.collect() }
    }
}
