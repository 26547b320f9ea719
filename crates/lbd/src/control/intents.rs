//! What operators want of servers, by command or by configuration, and since when.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use balance::AdminState;
use config::LbConfig;

use crate::control::operator::{InForce, Operator};
use crate::control::paused::Paused;

/// By backend and server.
#[derive(Debug, Default)]
pub struct Intents(HashMap<String, HashMap<String, Intent>>);

#[derive(Clone, Copy, Debug)]
struct Intent {
    state: AdminState,
    /// None: since lbd's start, or longer.
    since: Option<Instant>,
}

impl Intents {
    /// Compares what is in force for all servers with what was, and forgets those that are gone.
    pub fn adopt(&mut self, config: &LbConfig, operator: &Operator, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for backend in &config.backends {
            let mut known = before.remove(&backend.name).unwrap_or_default();
            known.retain(|name, _| backend.servers.iter().any(|server| server.name == *name));
            self.0.insert(backend.name.clone(), known);
            for server in &backend.servers {
                self.update(&backend.name, &server.name, operator.of(&backend.name, server), now);
            }
        }
    }

    /// Compares what is in force for a server with what was.
    pub fn update(&mut self, backend: &str, server: &str, in_force: InForce, now: Instant) {
        let state = wanted(in_force);
        let known = self.0.entry(backend.to_owned()).or_default();
        match known.get_mut(server) {
            Some(intent) if intent.state == state => {}
            Some(intent) => *intent = Intent { state, since: Some(now) },
            None => _ = known.insert(server.to_owned(), Intent { state, since: None }),
        }
    }

    /// The servers that are wanted otherwise than ready.
    pub fn paused(&self) -> Paused {
        let servers = self.0.iter().flat_map(|(backend, servers)| {
            servers.iter().map(move |(server, intent)| ((backend.clone(), server.clone()), intent.state))
        });
        servers.filter(|(_, state)| *state != AdminState::Ready).collect()
    }

    /// For how long a server has been wanted as it is; none if that has not changed since lbd's start.
    pub fn age(&self, backend: &str, server: &str, now: Instant) -> Option<Duration> {
        let since = self.0.get(backend)?.get(server)?.since?;
        Some(now.saturating_duration_since(since))
    }
}

/// Without weight a server finishes what it has, as in HAProxy.
fn wanted(in_force: InForce) -> AdminState {
    match in_force.state {
        AdminState::Ready if in_force.weight.get() == 0 => AdminState::Drain,
        state => state,
    }
}
