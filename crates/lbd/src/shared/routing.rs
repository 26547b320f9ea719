//! The picture that workers route by: configuration, verdicts and operators' wishes in one immutable value, swapped whole.
//!
//! What has not changed is shared between a picture and the next, so that a change costs what it changes, here and in the
//! workers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use balance::BackendView;
use proxy_protocol::Version;

use crate::shared::attention::Attention;
use crate::shared::counters::{FrontendCounters, PerWorker, RouteCounters, ServiceCounters};
use crate::shared::limits::Places;
use crate::shared::queue::Queue;
use crate::shared::sticky::StickyCookie;
use crate::shared::tls::{Connector, Terminator};

/// Everything a worker needs to know to route.
#[derive(Clone, Debug)]
pub struct Routing {
    /// In the order of the configuration. Shared by all pictures of one configuration.
    pub frontends: Arc<[Frontend]>,
    /// How TLS ends at the addresses that have it. Shared as well.
    pub terminators: Terminators,
    /// In the order of the configuration.
    pub backends: Vec<Arc<Backend>>,
    /// The client connections of all frontends, where a limit is configured.
    pub connections: Option<Arc<Places>>,
    /// That limit.
    pub maxconn: Option<u32>,
}

/// How TLS ends, by the address that clients connect to.
pub type Terminators = Arc<HashMap<SocketAddr, Arc<Terminator>>>;

/// What connections to the servers of a backend are secured with, in the order of the configuration.
pub type Connectors = Arc<[Arc<Connector>]>;

/// A frontend and where it is counted.
#[derive(Debug)]
pub struct Frontend {
    /// Its configuration.
    pub config: config::Frontend,
    /// The edits of all backends that have some, by their names.
    pub backend_edits: Arc<HashMap<String, Arc<config::Edits>>>,
    /// Its counters.
    pub counters: Arc<PerWorker<FrontendCounters>>,
    /// How often each of its routes was taken.
    pub taken: Arc<PerWorker<RouteCounters>>,
    /// Its client connections, where they are limited.
    pub places: Option<Arc<Places>>,
}

/// A backend, its servers as they are now, and where they are counted.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name.
    pub name: Arc<str>,
    /// What routing needs of its configuration.
    pub rules: BackendRules,
    /// The part of a request that its server is chosen by, where that is asked for.
    pub key: Option<Arc<config::HashKey>>,
    /// The cookie by which clients stay with their server.
    pub sticky: Option<Arc<StickyCookie>>,
    /// Its servers.
    pub view: Arc<BackendView>,
    /// Its counters.
    pub counters: Arc<PerWorker<ServiceCounters>>,
    /// Its servers' counters, in the order of the view.
    pub servers: Arc<[Arc<PerWorker<ServiceCounters>>]>,
    /// What is seen of their attention to connections, in the same order.
    pub attention: Arc<[Arc<Attention>]>,
    /// The PROXY headers that connections to them begin with, in the same order.
    pub introductions: Arc<[Option<Version>]>,
    /// What connections to them are secured with, in the same order, if they are.
    pub connectors: Option<Connectors>,
    /// Its limits, if any of its servers has one.
    pub limits: Option<Arc<Limits>>,
    /// Servers of which nobody has said yet how they are, or where.
    pub unheard: usize,
    /// Servers that healthd found well, or that are not checked.
    pub well: usize,
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
    /// What becomes of the sessions with a server that goes down.
    pub on_down: config::OnDown,
    /// What becomes of the sessions with a backup server that is not needed any more.
    pub on_up: config::OnUp,
    /// Whether a client that ends its side has given up.
    pub abort_on_close: bool,
}

impl Routing {
    /// Nothing to route.
    pub fn empty() -> Self {
        Self {
            frontends: Arc::new([]),
            terminators: Terminators::default(),
            backends: Vec::new(),
            connections: None,
            maxconn: None,
        }
    }
}
