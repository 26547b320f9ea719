//! The counters of everything that has a name. They outlive reloads: a name that stays keeps its counts.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use config::LbConfig;

use crate::counters::{FrontendCounters, PerWorker, ServiceCounters, WorkerCounters};
use crate::verdicts::ServerKey;

/// Counters by name.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
    /// The workers' own counters.
    pub worker: Arc<PerWorker<WorkerCounters>>,
    frontends: HashMap<String, Arc<PerWorker<FrontendCounters>>>,
    backends: HashMap<String, Arc<PerWorker<ServiceCounters>>>,
    servers: HashMap<ServerKey, Arc<PerWorker<ServiceCounters>>>,
}

impl Registry {
    /// No counters yet but the workers' own.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            worker: Arc::new(PerWorker::new(workers)),
            frontends: HashMap::new(),
            backends: HashMap::new(),
            servers: HashMap::new(),
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Makes counters for every name of a configuration and forgets the names that are gone.
    pub fn adopt(&mut self, config: &LbConfig) {
        let workers = self.workers;
        retain(&mut self.frontends, config.frontends.iter().map(|frontend| frontend.name.clone()), workers);
        retain(&mut self.backends, config.backends.iter().map(|backend| backend.name.clone()), workers);
        let servers = config.backends.iter().flat_map(|backend| {
            backend.servers.iter().map(|server| (backend.name.clone(), server.name.clone()))
        });
        retain(&mut self.servers, servers, workers);
    }

    /// The counters of a frontend.
    pub fn frontend(&self, name: &str) -> Arc<PerWorker<FrontendCounters>> {
        self.frontends.get(name).cloned().unwrap_or_else(|| Arc::new(PerWorker::new(self.workers)))
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

fn retain<K: Eq + Hash, T: Default>(
    map: &mut HashMap<K, Arc<PerWorker<T>>>,
    names: impl Iterator<Item = K>,
    workers: usize,
) {
    let mut before = std::mem::take(map);
    for name in names {
        let counters = before.remove(&name).unwrap_or_else(|| Arc::new(PerWorker::new(workers)));
        map.insert(name, counters);
    }
}
