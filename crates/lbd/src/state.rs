//! What the control thread knows: the configuration in force, verdicts, wishes and counters, and the routing made of them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::AdminState;
use config::{LbConfig, ServerAddress};
use health::Status;
use tokio::sync::watch;
use wire::{LifeState, Liveness, Verdict};

use crate::descriptors::Descriptors;
use crate::keeper::Saving;
use crate::operator::{Operator, Wish};
use crate::registry::Registry;
use crate::routing::Routing;
use crate::stats::{Age, Ages, Rates, Service};
use crate::verdicts::{Verdicts, millis};
use crate::warmup::Warmups;

/// Everything behind the control thread's lock. Workers see only the [`Routing`] that it publishes.
#[derive(Debug)]
pub struct State {
    start: Instant,
    life: LifeState,
    config: Arc<LbConfig>,
    verdicts: Verdicts,
    operator: Operator,
    registry: Registry,
    descriptors: Descriptors,
    warmups: Warmups,
    /// Addresses found by lbd itself, for names that healthd has not told of.
    resolved: HashMap<ServerAddress, SocketAddr>,
    rates: Rates,
    ages: Ages,
    routing: Arc<Routing>,
    publish: watch::Sender<Arc<Routing>>,
}

impl State {
    /// The state of a new lbd, and where its workers find the routing.
    pub fn new(
        config: LbConfig,
        operator: Operator,
        descriptors: Descriptors,
        now: Instant,
    ) -> (Self, watch::Receiver<Arc<Routing>>) {
        let mut registry = Registry::new(config.lbd.workers);
        registry.adopt(&config);
        // What it is in truth is found below, by the one way that there is.
        let routing = Arc::new(Routing {
            frontends: Vec::new(),
            backends: Vec::new(),
            connections: None,
            maxconn: None,
        });
        let (publish, receiver) = watch::channel(routing.clone());
        let mut state = Self {
            start: now,
            life: LifeState::Starting,
            config: Arc::new(config),
            verdicts: Verdicts::default(),
            operator,
            registry,
            descriptors,
            warmups: Warmups::default(),
            resolved: HashMap::new(),
            rates: Rates::default(),
            ages: Ages::default(),
            routing,
            publish,
        };
        state.verdicts.adopt(&state.config);
        state.reroute(now);
        (state, receiver)
    }

    /// When lbd started.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Where lbd stands in its life.
    pub fn life(&self) -> LifeState {
        self.life
    }

    /// Moves on in life.
    pub fn set_life(&mut self, life: LifeState) {
        self.life = life;
    }

    /// Whether new connections are taken.
    pub fn accepts(&self) -> bool {
        matches!(self.life, LifeState::Starting | LifeState::Ready)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<LbConfig> {
        &self.config
    }

    /// The routing in force.
    pub fn routing(&self) -> &Arc<Routing> {
        &self.routing
    }

    /// The verdicts held.
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// The counters.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The descriptors that this process may have.
    pub fn descriptors(&self) -> Descriptors {
        self.descriptors
    }

    /// Client connections that there may be at once.
    pub fn maxconn(&self) -> u64 {
        self.descriptors.connections(self.config.lbd.maxconn)
    }

    /// The rates of the last second.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Since when a backend has, or lacks, a usable server.
    pub fn age_of(&self, backend: &str, now: Instant) -> Option<Age> {
        self.ages.of(backend, now)
    }

    /// Takes another configuration into force.
    pub fn adopt(&mut self, config: LbConfig, now: Instant) {
        self.registry.adopt(&config);
        self.config = Arc::new(config);
        self.verdicts.adopt(&self.config);
        self.reroute(now);
    }

    /// Takes a snapshot of all verdicts.
    pub fn replace_verdicts(&mut self, verdicts: Vec<Verdict>, now: Instant) {
        self.verdicts.replace(verdicts, now);
        self.reroute(now);
    }

    /// Takes changed verdicts.
    pub fn update_verdicts(&mut self, verdicts: Vec<Verdict>, now: Instant) {
        let mut concerned = false;
        for verdict in verdicts {
            concerned |= self.verdicts.update(verdict, now);
        }
        if concerned {
            self.reroute(now);
        }
    }

    /// Notes that healthd came or went.
    pub fn set_healthd(&mut self, connected: bool, now: Instant) {
        self.verdicts.set_connected(connected, now);
    }

    /// Notes whether healthd runs the same configuration.
    pub fn compare_configs(&mut self, same: bool, now: Instant) {
        self.verdicts.compare(same, now);
    }

    /// Notes that healthd said something.
    pub fn heard_healthd(&mut self, now: Instant) {
        self.verdicts.heard(now);
    }

    /// Takes an operator's wish into force, and has it saved. `None` if there is no such server.
    pub fn wish(&mut self, backend: &str, server: &str, wish: Wish, now: Instant) -> Option<Saving> {
        let config = self.config.clone();
        let backend = config.backend(backend)?;
        let server = backend.servers.iter().find(|known| known.name == server)?;
        let saving = self.operator.set(backend, server, wish);
        self.reroute(now);
        Some(saving)
    }

    /// Whether routing has all it waits for at the start: a verdict on every server that is checked, and an address of
    /// every other.
    pub fn is_informed(&self) -> bool {
        self.config.backends.iter().all(|backend| {
            backend.servers.iter().all(|server| {
                let held = self.verdicts.get(&backend.name, &server.name);
                match held.map(|held| held.status()) {
                    Some(Status::Up | Status::Down) => true,
                    Some(Status::Unknown | Status::Unchecked) | None => {
                        backend.check.is_none() && self.address_of(&backend.name, server).is_some()
                            || server.state == AdminState::Maint
                    }
                }
            })
        })
    }

    /// Where a server is: as configured, as healthd says, or as lbd found by itself.
    fn address_of(&self, backend: &str, server: &config::Server) -> Option<SocketAddr> {
        let found = || match self.verdicts.get(backend, &server.name) {
            // healthd's word counts, also that there is no address any more.
            Some(held) if held.is_resolved() => held.address(),
            _ => self.resolved.get(&server.address).copied(),
        };
        server.address.literal().or_else(found)
    }

    /// Servers whose name leads nowhere yet.
    pub fn unresolved(&self) -> Vec<ServerAddress> {
        let servers = self.config.backends.iter().flat_map(|backend| {
            backend.servers.iter().filter(|server| {
                let held = self.verdicts.get(&backend.name, &server.name);
                server.address.literal().is_none() && !held.is_some_and(|held| held.is_resolved())
            })
        });
        servers.map(|server| server.address.clone()).collect()
    }

    /// Takes an address that lbd found by itself.
    pub fn resolve(&mut self, name: ServerAddress, address: SocketAddr, now: Instant) {
        if self.resolved.insert(name, address) != Some(address) {
            self.reroute(now);
        }
    }

    /// Compares the counters with those of `elapsed` ago.
    pub fn tick(&mut self, elapsed: Duration, now: Instant) {
        let rows = crate::stats::rows(self, now);
        self.rates.tick(&rows, elapsed);
    }

    /// Whether lbd can serve clients.
    pub fn liveness(&self, now: Instant) -> Liveness {
        let usable =
            self.routing.backends.iter().map(|backend| {
                (backend.name.clone(), u32::try_from(backend.view.usable()).unwrap_or(u32::MAX))
            });
        Liveness {
            state: self.life,
            tick_age_ms: self.tick_age(now),
            usable: usable.collect::<BTreeMap<_, _>>(),
        }
    }

    /// The age of the slowest worker's last tick, in ms.
    pub fn tick_age(&self, now: Instant) -> u64 {
        let slowest = self.registry.worker.iter().map(|worker| worker.tick.get()).min().unwrap_or(0);
        millis(now.saturating_duration_since(self.start)).saturating_sub(slowest)
    }

    /// Gives servers that warm up the share that they have by now.
    pub fn warm_up(&mut self, now: Instant) {
        if self.warmups.is_due(now) {
            self.reroute(now);
        }
    }

    /// Makes the routing anew and publishes it.
    fn reroute(&mut self, now: Instant) {
        let known: std::collections::HashSet<&ServerAddress> = self
            .config
            .backends
            .iter()
            .flat_map(|backend| backend.servers.iter().map(|server| &server.address))
            .collect();
        self.resolved.retain(|name, _| known.contains(name));
        self.registry.limit(&self.config, &self.operator);
        let mut warmups = std::mem::take(&mut self.warmups);
        let starting = self.life == LifeState::Starting;
        let routing = Routing::new(
            &self.config,
            &self.verdicts,
            &self.operator,
            &self.registry,
            &mut warmups,
            (starting, now),
            |backend, server| self.address_of(backend, server),
        );
        self.warmups = warmups;
        for (backend, service) in self.ages.update(&routing, now) {
            match service {
                Service::Usable => tracing::info!(backend, "backend has a usable server"),
                Service::None => {
                    tracing::error!(backend, "backend has no usable server left: its clients get 503");
                }
                Service::LastResort => tracing::error!(
                    backend,
                    "every server of the backend is DOWN: they are used all the same, as when_all_down says"
                ),
            }
        }
        self.routing = Arc::new(routing);
        self.publish.send_replace(self.routing.clone());
    }
}
