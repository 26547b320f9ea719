//! Where each server of a configuration stands: looked up by name once, and found by number from then on.

use std::collections::HashMap;
use std::sync::Arc;

use config::LbConfig;

/// A backend's place in the configuration, and a server's in its backend.
pub type Place = (usize, usize);

/// The names of a configuration.
#[derive(Debug, Default)]
pub struct Directory {
    names: Vec<Names>,
    backends: HashMap<Arc<str>, usize>,
}

/// The names of a backend and its servers.
#[derive(Debug)]
pub struct Names {
    /// The backend's.
    pub backend: Arc<str>,
    /// Its servers', in their order.
    pub servers: Vec<Arc<str>>,
    places: HashMap<Arc<str>, usize>,
}

impl Directory {
    /// The directory of a configuration.
    pub fn new(config: &LbConfig) -> Self {
        let names: Vec<Names> = config.backends.iter().map(Names::of).collect();
        let backends = names.iter().enumerate().map(|(place, names)| (names.backend.clone(), place));
        Self { backends: backends.collect(), names }
    }

    /// The place of a backend.
    pub fn backend(&self, name: &str) -> Option<usize> {
        self.backends.get(name).copied()
    }

    /// The place of a server.
    pub fn server(&self, backend: &str, server: &str) -> Option<Place> {
        let backend = self.backend(backend)?;
        Some((backend, *self.names.get(backend)?.places.get(server)?))
    }

    /// The names of all backends, in their order.
    pub fn names(&self) -> &[Names] {
        &self.names
    }
}

impl Names {
    fn of(backend: &config::Backend) -> Self {
        let servers: Vec<Arc<str>> =
            backend.servers.iter().map(|server| Arc::from(server.name.as_str())).collect();
        let places = servers.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        Self { backend: backend.name.as_str().into(), servers, places }
    }
}
