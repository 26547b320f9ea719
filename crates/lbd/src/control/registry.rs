//! The counters and limits of everything that has a name. They outlive reloads: a name that stays keeps its counts.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use config::LbConfig;

use crate::control::operator::Operator;
use crate::control::verdicts::ServerKey;
use crate::shared::attention::Attention;
use crate::shared::counters::{FrontendCounters, PerWorker, RouteCounters, ServiceCounters, WorkerCounters};
use crate::shared::limits::Places;
use crate::shared::queue::Queue;

/// Counters and limits by name.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
    /// The workers' own counters.
    pub worker: Arc<PerWorker<WorkerCounters>>,
    frontends: HashMap<String, Arc<PerWorker<FrontendCounters>>>,
    /// With the routes that are counted: those of other routes begin anew.
    routes: HashMap<String, (config::Routes, Arc<PerWorker<RouteCounters>>)>,
    backends: HashMap<String, Arc<PerWorker<ServiceCounters>>>,
    servers: HashMap<ServerKey, Arc<PerWorker<ServiceCounters>>>,
    /// Client connections of all frontends.
    connections: Arc<Places>,
    frontend_places: HashMap<String, Arc<Places>>,
    server_places: HashMap<ServerKey, Arc<Places>>,
    attention: HashMap<ServerKey, Arc<Attention>>,
    queues: HashMap<String, Arc<Queue>>,
}

impl Registry {
    /// No counters yet but the workers' own.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            worker: Arc::new(PerWorker::new(workers)),
            frontends: HashMap::new(),
            routes: HashMap::new(),
            backends: HashMap::new(),
            servers: HashMap::new(),
            connections: Arc::new(Places::default()),
            frontend_places: HashMap::new(),
            server_places: HashMap::new(),
            attention: HashMap::new(),
            queues: HashMap::new(),
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Makes counters and limits for every name of a configuration and forgets the names that are gone.
    pub fn adopt(&mut self, config: &LbConfig) {
        let workers = self.workers;
        let frontends = || config.frontends.iter().map(|frontend| frontend.name.clone());
        let backends = || config.backends.iter().map(|backend| backend.name.clone());
        let servers = || {
            config.backends.iter().flat_map(|backend| {
                backend.servers.iter().map(|server| (backend.name.clone(), server.name.clone()))
            })
        };
        retain(&mut self.frontends, frontends(), |_| PerWorker::new(workers));
        self.adopt_routes(config);
        retain(&mut self.backends, backends(), |_| PerWorker::new(workers));
        retain(&mut self.servers, servers(), |_| PerWorker::new(workers));
        retain(&mut self.attention, servers(), |_| Attention::default());
        retain(&mut self.frontend_places, frontends(), |_| Places::default());
        retain(&mut self.queues, backends(), |_| Queue::default());
        let queues = &self.queues;
        retain(&mut self.server_places, servers(), |(backend, _)| {
            Places::queued(queues.get(backend).cloned().unwrap_or_default())
        });
    }

    fn adopt_routes(&mut self, config: &LbConfig) {
        let mut before = std::mem::take(&mut self.routes);
        for frontend in &config.frontends {
            let routes = &frontend.routes;
            let held = before.remove(&frontend.name).filter(|(counted, _)| counted == routes);
            let held = held.unwrap_or_else(|| {
                let new = || RouteCounters::new(routes.list().len());
                (routes.clone(), Arc::new(PerWorker::with(self.workers, new)))
            });
            self.routes.insert(frontend.name.clone(), held);
        }
    }

    /// Puts the limits into force that are configured, or that operators want instead.
    pub fn limit(&self, config: &LbConfig, operator: &Operator) {
        self.connections.limit_to(config.lbd.maxconn);
        for frontend in &config.frontends {
            if let Some(places) = self.frontend_places.get(&frontend.name) {
                places.limit_to(frontend.maxconn);
            }
        }
        config.backends.iter().for_each(|backend| self.limit_backend(backend, operator));
    }

    /// The same for one backend.
    pub fn limit_backend(&self, backend: &config::Backend, operator: &Operator) {
        for server in &backend.servers {
            let most = operator.of(&backend.name, server).maxconn;
            self.server_places(&backend.name, &server.name).limit_to(most);
        }
    }

    /// The client connections of all frontends.
    pub fn connections(&self) -> Arc<Places> {
        self.connections.clone()
    }

    /// The client connections of a frontend.
    pub fn frontend_places(&self, name: &str) -> Arc<Places> {
        self.frontend_places.get(name).cloned().unwrap_or_else(|| Arc::new(Places::default()))
    }

    /// The requests at a server.
    pub fn server_places(&self, backend: &str, server: &str) -> Arc<Places> {
        let key = (backend.to_owned(), server.to_owned());
        self.server_places.get(&key).cloned().unwrap_or_else(|| Arc::new(Places::default()))
    }

    /// What is seen of a server's attention to its connections.
    pub fn attention(&self, backend: &str, server: &str) -> Arc<Attention> {
        let key = (backend.to_owned(), server.to_owned());
        self.attention.get(&key).cloned().unwrap_or_default()
    }

    /// The queue of a backend.
    pub fn queue(&self, backend: &str) -> Arc<Queue> {
        self.queues.get(backend).cloned().unwrap_or_default()
    }

    /// The counters of a frontend.
    pub fn frontend(&self, name: &str) -> Arc<PerWorker<FrontendCounters>> {
        self.frontends.get(name).cloned().unwrap_or_else(|| Arc::new(PerWorker::new(self.workers)))
    }

    /// The counters of a frontend's routes.
    pub fn routes(&self, name: &str) -> Arc<PerWorker<RouteCounters>> {
        let held = self.routes.get(name).map(|(_, counters)| counters.clone());
        held.unwrap_or_else(|| Arc::new(PerWorker::new(self.workers)))
    }

    /// The counters of a backend.
    pub fn backend(&self, name: &str) -> Arc<PerWorker<ServiceCounters>> {
        self.backends.get(name).cloned().unwrap_or_else(|| Arc::new(PerWorker::new(self.workers)))
    }

    /// The counters of a server.
    pub fn server(&self, backend: &str, server: &str) -> Arc<PerWorker<ServiceCounters>> {
        let key = (backend.to_owned(), server.to_owned());
        self.servers.get(&key).cloned().unwrap_or_else(|| Arc::new(PerWorker::new(self.workers)))
    }
}

fn retain<K: Eq + Hash, T>(
    map: &mut HashMap<K, Arc<T>>,
    names: impl Iterator<Item = K>,
    new: impl Fn(&K) -> T,
) {
    let mut before = std::mem::take(map);
    for name in names {
        let held = before.remove(&name).unwrap_or_else(|| Arc::new(new(&name)));
        map.insert(name, held);
    }
}
