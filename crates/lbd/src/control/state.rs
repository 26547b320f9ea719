//! What the control thread knows: the configuration in force, verdicts, wishes and counters, and the routing made of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{LbConfig, ServerAddress};
use daemon::keeper::Saving;
use tokio::sync::watch;
use wire::{Discovery, LifeState, Liveness, Verdict};

use crate::control::connectors::{self, ByBackend};
use crate::control::directory::Directory;
use crate::control::intents::Intents;
use crate::control::members::{Members, Next};
use crate::control::operator::{Operator, Wish};
use crate::control::paused::Paused;
use crate::control::picture::Sources;
use crate::control::registry::Registry;
use crate::control::relatives::Relatives;
use crate::control::stats::{Age, Ages, Rates, Service};
use crate::control::tls::TlsListeners;
use crate::control::verdicts::Verdicts;
use crate::control::warmup::Warmups;
use crate::shared::descriptors::Descriptors;
use crate::shared::pulse::Pulse;
use crate::shared::routing::{Backend, Routing, Terminators};

/// Everything behind the control thread's lock. Workers see only the [`Routing`] that it publishes.
#[derive(Debug)]
pub struct State {
    start: Instant,
    /// Whether first verdicts have come in, or were waited for long enough.
    settled: bool,
    /// As it was read.
    declared: Arc<LbConfig>,
    /// The same with the servers that were found.
    config: Arc<LbConfig>,
    members: Members,
    directory: Directory,
    tls: TlsListeners,
    connectors: ByBackend,
    verdicts: Verdicts,
    operator: Operator,
    relatives: Relatives,
    intents: Intents,
    /// The servers that are out as operators want it, for healthd.
    paused: watch::Sender<Paused>,
    registry: Registry,
    descriptors: Descriptors,
    warmups: Warmups,
    /// Addresses found by lbd itself, for names that healthd has not told of.
    resolved: HashMap<ServerAddress, SocketAddr>,
    rates: Rates,
    ages: Ages,
    /// What the routing does not show yet: the backends concerned, and which of their servers.
    unrouted: BTreeMap<usize, Vec<usize>>,
    routing: Arc<Routing>,
    /// How many usable servers each backend has by the routing.
    usable: BTreeMap<String, u32>,
    /// Counts the changes of what subscribers to the liveness are told.
    told: u64,
    publish: watch::Sender<Arc<Routing>>,
    pulse: Arc<Pulse>,
}

/// What a configuration has to have beside itself to come into force.
#[derive(Debug)]
pub struct Prepared {
    terminators: Terminators,
    connectors: ByBackend,
    /// With all servers.
    config: Arc<LbConfig>,
    members: Next,
}

impl State {
    /// The state of a new lbd, and where its workers find the routing.
    ///
    /// # Errors
    /// Why TLS cannot be set up.
    pub fn new(
        config: LbConfig,
        mut members: Members,
        operator: Operator,
        descriptors: Descriptors,
        now: Instant,
    ) -> Result<(Self, watch::Receiver<Arc<Routing>>), String> {
        let declared = Arc::new(config);
        let config = Arc::new(members.expand(&declared));
        // What it is in truth is found below, by the one way that there is.
        let routing = Arc::new(Routing::empty());
        let (publish, receiver) = watch::channel(routing.clone());
        let mut tls = TlsListeners::default();
        let connectors = connectors::prepare(&config, &declared, &ByBackend::new())?;
        let (terminators, found) = (tls.prepare(&config, now)?, members.next(&declared, &config));
        let prepared = Prepared { terminators, connectors, config: config.clone(), members: found };
        let mut state = Self {
            start: now,
            settled: false,
            declared: declared.clone(),
            config: config.clone(),
            members,
            directory: Directory::default(),
            tls,
            connectors: ByBackend::new(),
            verdicts: Verdicts::default(),
            operator,
            relatives: Relatives::default(),
            intents: Intents::default(),
            paused: watch::Sender::default(),
            registry: Registry::new(config.lbd.workers),
            descriptors,
            warmups: Warmups::default(),
            resolved: HashMap::new(),
            rates: Rates::default(),
            ages: Ages::default(),
            unrouted: BTreeMap::new(),
            routing,
            usable: BTreeMap::new(),
            told: 0,
            publish,
            pulse: Arc::new(Pulse::new(config.lbd.workers, now)),
        };
        state.adopt(declared, prepared, now);
        Ok((state, receiver))
    }

    /// When lbd started.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// The servers that were found.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The configuration in force, as it was read.
    pub fn declared(&self) -> &Arc<LbConfig> {
        &self.declared
    }

    /// The same, with the servers that were found.
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

    /// Whether the workers move.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// The rates of the last second.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Since when a backend has, or lacks, a usable server.
    pub fn age_of(&self, backend: &str, now: Instant) -> Option<Age> {
        self.ages.of(backend, now)
    }

    /// For how long a server has been wanted as it is; none if that has not changed since the start.
    pub fn wanted_for(&self, backend: &str, server: &str, now: Instant) -> Option<Duration> {
        self.intents.age(backend, server, now)
    }

    /// The servers that are out as operators want it, now and later.
    pub fn paused(&self) -> watch::Receiver<Paused> {
        self.paused.subscribe()
    }

    /// Sets up what a configuration has to have beside itself to come into force.
    ///
    /// # Errors
    /// Why that is not possible.
    pub fn prepare(&mut self, config: &LbConfig, now: Instant) -> Result<Prepared, String> {
        let mut members = self.members.next(config, &self.config);
        let config = Arc::new(members.expand(config));
        let connectors = connectors::prepare(&config, &self.config, &self.connectors)?;
        Ok(Prepared { terminators: self.tls.prepare(&config, now)?, connectors, config, members })
    }

    /// The TLS listeners, whose files are to be looked after. Their tickets get another key if it is time.
    pub fn renewable(&mut self, now: Instant) -> Terminators {
        self.tls.rotate(now);
        self.tls.terminators().clone()
    }

    /// Takes another configuration into force, with what was prepared for it.
    pub fn adopt(&mut self, declared: Arc<LbConfig>, prepared: Prepared, now: Instant) {
        let Prepared { terminators, connectors, config, members } = prepared;
        self.tls.adopt(terminators);
        self.declared = declared;
        self.members.adopt(members);
        self.put_in_force(config, connectors, now);
        self.registry.limit(&self.config, &self.operator);
        self.reroute(now);
        self.rates.retain(&self.routing);
        let directory = &self.directory;
        self.ages.retain(|backend| directory.backend(backend).is_some());
        self.members.keep();
    }

    /// What there is beside the routing becomes that of a configuration.
    fn put_in_force(&mut self, config: Arc<LbConfig>, connectors: ByBackend, now: Instant) {
        self.connectors = connectors;
        self.registry.adopt(&config);
        self.intents.adopt(&config, &self.operator, now);
        let paused = self.intents.paused();
        self.paused.send_if_modified(|known| {
            let has_changed = *known != paused;
            *known = paused;
            has_changed
        });
        self.directory = Directory::new(&config);
        self.verdicts.adopt(&config);
        let known: HashSet<&ServerAddress> = config
            .backends
            .iter()
            .flat_map(|backend| backend.servers.iter().map(|server| &server.address))
            .collect();
        self.resolved.retain(|name, _| known.contains(name));
        self.config = config;
    }

    /// Takes a snapshot of all verdicts into force, and of who was found.
    pub fn replace_verdicts(&mut self, verdicts: Vec<Verdict>, found: Vec<Discovery>, now: Instant) {
        self.members.replace(&verdicts, found, now);
        if self.members.has_changed() {
            self.regrow(now);
        }
        self.verdicts.replace(verdicts, now);
        self.reroute(now);
    }

    /// Takes it that a server belongs to its backend no more. It is in force after [`State::catch_up`].
    pub fn leave(&mut self, backend: &str, server: &str, now: Instant) {
        self.members.leave(backend, server, now);
    }

    /// Takes what is told of where servers are found.
    pub fn tell_discovery(&mut self, discovery: Discovery, now: Instant) {
        let was_awaited = self.members.is_awaited(&discovery.backend);
        let place = self.directory.backend(&discovery.backend);
        self.members.tell(discovery, now);
        if let Some(place) = place.filter(|_| was_awaited) {
            self.unrouted.entry(place).or_default();
        }
    }

    /// Forgets servers that have left and have ended what they had.
    pub fn forget_who_left(&mut self, now: Instant) {
        if !self.members.has_leaving() {
            return;
        }
        let registry = &self.registry;
        let is_busy = |backend: &str, server: &str| {
            registry.server(backend, server).sum(|worker| worker.in_flight.get()) > 0
        };
        for (backend, server) in self.members.forget(is_busy) {
            self.verdicts.forget(&backend, &server);
        }
        self.catch_up(now);
    }

    /// Has the routing show the servers that were found, of the backends where these are others than before.
    fn regrow(&mut self, now: Instant) {
        let changed = self.members.take_changed();
        let config = Arc::new(self.members.expand(&self.declared));
        let connectors = match connectors::prepare(&config, &self.config, &self.connectors) {
            Ok(connectors) => connectors,
            Err(why) => return tracing::error!(why, "servers that were found cannot be used"),
        };
        self.put_in_force(config, connectors, now);
        let places: Vec<usize> = changed.iter().filter_map(|name| self.directory.backend(name)).collect();
        let config = self.config.clone();
        for backend in places.iter().filter_map(|place| config.backends.get(*place)) {
            self.registry.limit_backend(backend, &self.operator);
        }
        self.unrouted.retain(|place, _| !places.contains(place));
        let (sources, warmups) = self.sources(now);
        let new: Vec<(usize, Backend)> =
            places.into_iter().filter_map(|place| Some((place, sources.backend(place, warmups)?))).collect();
        self.replace(new, now);
        self.rates.retain(&self.routing);
        self.members.keep();
    }

    /// Takes a changed verdict. It is in force after [`State::catch_up`], with others that came at the same time.
    pub fn update_verdict(&mut self, verdict: Verdict, now: Instant) {
        self.members.update(&verdict);
        let place = self.directory.server(&verdict.backend, &verdict.server);
        if self.verdicts.update(verdict, now)
            && let Some((backend, server)) = place
        {
            self.unrouted.entry(backend).or_default().push(server);
        }
    }

    /// Whether there is something that the routing does not show yet.
    pub fn is_behind(&self) -> bool {
        !self.unrouted.is_empty() || self.members.has_changed()
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
        let (place, server) = self.directory.server(backend, server)?;
        let config = self.config.clone();
        let backend = config.backends.get(place)?;
        let configured = backend.servers.get(server)?;
        let saving = self.operator.set(backend, configured, wish);
        self.intents.update(
            &backend.name,
            &configured.name,
            self.operator.of(&backend.name, configured),
            now,
        );
        self.paused.send_replace(self.intents.paused());
        self.registry.limit_backend(backend, &self.operator);
        let before = self.routing.backends.get(place).cloned();
        let (sources, warmups) = self.sources(now);
        let new = match before {
            // What does not concern limits concerns this server alone.
            Some(before) if wish.maxconn.is_none() => sources.changed(place, &before, &[server], warmups),
            _ => sources.backend(place, warmups),
        };
        if let Some(new) = new {
            self.replace([(place, new)], now);
        }
        Some(saving)
    }

    /// What operators have set, on its way to the disk.
    pub fn saving(&self) -> Saving {
        self.operator.saving()
    }

    /// The lbd before and after this one.
    pub fn relatives(&self) -> &Relatives {
        &self.relatives
    }

    /// The same, to be changed.
    pub fn relatives_mut(&mut self) -> &mut Relatives {
        &mut self.relatives
    }

    /// Whether each backend has a server that is known to be well, or all is known of it.
    pub fn can_serve(&self) -> bool {
        self.routing.backends.iter().all(|backend| backend.well > 0 || backend.unheard == 0)
    }

    /// Ends the start if there is a verdict on every server that is checked, and an address of every other. Returns whether the
    /// start is over.
    pub fn settle_if_informed(&mut self, now: Instant) -> bool {
        if !self.settled && self.routing.backends.iter().all(|backend| backend.unheard == 0) {
            self.settle(now);
        }
        self.settled
    }

    /// Ends the start: servers that nobody has told of are used unchecked from now on.
    pub fn settle(&mut self, now: Instant) {
        self.settled = true;
        let waiting = self.routing.backends.iter().enumerate().filter(|(_, backend)| backend.unheard > 0);
        for (place, _) in waiting {
            self.unrouted.entry(place).or_default();
        }
        self.catch_up(now);
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

    /// Takes addresses into force that lbd found by itself.
    pub fn resolve(&mut self, found: Vec<(ServerAddress, SocketAddr)>, now: Instant) {
        let mut new = HashSet::new();
        for (name, address) in found {
            if self.resolved.insert(name.clone(), address) != Some(address) {
                new.insert(name);
            }
        }
        for (place, backend) in self.config.backends.iter().enumerate() {
            for (server, _) in
                backend.servers.iter().enumerate().filter(|(_, one)| new.contains(&one.address))
            {
                self.unrouted.entry(place).or_default().push(server);
            }
        }
        self.catch_up(now);
    }

    /// Compares the counters with those of `elapsed` ago.
    pub fn tick(&mut self, elapsed: Duration, now: Instant) {
        self.rates.tick(&self.routing, elapsed, now);
    }

    /// Whether lbd can serve clients, but for the age of its workers' last signs.
    pub fn liveness(&self, state: LifeState) -> Liveness {
        Liveness { state, tick_age_ms: 0, usable: self.usable.clone() }
    }

    /// Counts the changes of the liveness, its age aside.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// When servers that warm up are to get another share; none if none warms up.
    pub fn warm_up_due(&self) -> Option<Instant> {
        self.warmups.due()
    }

    /// Gives servers that warm up the share that they have by now.
    pub fn warm_up(&mut self, now: Instant) {
        for backend in self.warmups.due_by(now).filter_map(|name| self.directory.backend(name)) {
            self.unrouted.entry(backend).or_default();
        }
        self.catch_up(now);
    }

    /// Makes the routing show what has changed, and publishes it.
    pub fn catch_up(&mut self, now: Instant) {
        if self.members.has_changed() {
            self.regrow(now);
        }
        if self.unrouted.is_empty() {
            return;
        }
        let unrouted = std::mem::take(&mut self.unrouted);
        let routing = self.routing.clone();
        let (sources, warmups) = self.sources(now);
        let changed = unrouted.into_iter().filter_map(|(place, servers)| {
            let before = routing.backends.get(place)?;
            Some((place, sources.changed(place, before, &servers, warmups)?))
        });
        let changed: Vec<(usize, Backend)> = changed.collect();
        self.replace(changed, now);
    }

    /// Makes the routing anew and publishes it.
    fn reroute(&mut self, now: Instant) {
        self.unrouted.clear();
        let (sources, warmups) = self.sources(now);
        let routing = sources.routing(warmups);
        self.usable.clear();
        self.publish(routing, 0.., now);
    }

    /// Publishes the routing with other backends at some places.
    fn replace(&mut self, changed: impl IntoIterator<Item = (usize, Backend)>, now: Instant) {
        let mut routing = Routing::clone(&self.routing);
        let mut places = Vec::new();
        for (place, new) in changed {
            if let Some(held) = routing.backends.get_mut(place) {
                *held = Arc::new(new);
                places.push(place);
            }
        }
        self.publish(routing, places, now);
    }

    /// Publishes a routing, of which the backends at these places are new.
    fn publish(&mut self, routing: Routing, new: impl IntoIterator<Item = usize>, now: Instant) {
        let new = new.into_iter().map_while(|place| routing.backends.get(place));
        for backend in new {
            let usable = u32::try_from(backend.view.usable()).unwrap_or(u32::MAX);
            if self.usable.get(&*backend.name) != Some(&usable) {
                self.usable.insert(backend.name.to_string(), usable);
                self.told += 1;
            }
            if let Some((before, service)) = self.ages.update(backend, now) {
                report(&backend.name, before, service);
            }
        }
        self.routing = Arc::new(routing);
        self.publish.send_replace(self.routing.clone());
    }

    fn sources(&mut self, now: Instant) -> (Sources<'_>, &mut Warmups) {
        let sources = Sources {
            config: &self.config,
            directory: &self.directory,
            terminators: self.tls.terminators(),
            connectors: &self.connectors,
            verdicts: &self.verdicts,
            members: &self.members,
            resolved: &self.resolved,
            operator: &self.operator,
            registry: &self.registry,
            starting: !self.settled,
            now,
        };
        (sources, &mut self.warmups)
    }
}

/// Tells who serves a backend's requests from now on.
fn report(backend: &str, before: Service, service: Service) {
    match service {
        Service::Usable if before == Service::Backups => {
            tracing::info!(backend, "backend has enough usable servers: its backup servers stand by again");
        }
        Service::Usable => tracing::info!(backend, "backend has a usable server"),
        Service::Backups => {
            tracing::warn!(backend, "backend has too few usable servers: backup servers take requests, too");
        }
        Service::None => {
            tracing::error!(backend, "backend has no usable server left: its clients get 503");
        }
        Service::LastResort => tracing::error!(
            backend,
            "every server of the backend is DOWN: they are used all the same, as when_all_down says"
        ),
    }
}

#[cfg(test)]
mod tests {
    use health::Status;

    use super::*;
    use crate::control::members::Kept;

    fn state() -> State {
        let text = "frontends: { f: { bind: '127.0.0.1:80', backend: a } }\nbackends:\n  a: { check: { tcp: {} }, servers: { s: '127.0.0.1:81' } }\n  \
                    b: { check: { tcp: {} }, servers: { s: '127.0.0.1:81', t: '127.0.0.1:82' } }\n";
        let config = config::parse("lb.yaml", text).unwrap().config;
        let directory = tempfile::tempdir().unwrap();
        let operator = Operator::forgetful(&directory.path().join("lbd.servers"));
        let members = Members::new(directory.path(), Kept::new());
        State::new(config, members, operator, Descriptors { allowed: 1024, workers: 1 }, Instant::now())
            .unwrap()
            .0
    }

    fn verdict(backend: &str, server: &str, status: Status) -> Verdict {
        Verdict {
            backend: backend.to_owned(),
            server: server.to_owned(),
            status,
            address: None,
            resolve_error: None,
            check: None,
            streak: 0,
            rise: 2,
            fall: 3,
            since_ms: 0,
            failed_checks: 0,
            downs: 0,
            downtime_ms: 0,
            admin_state: None,
            member: None,
        }
    }

    impl State {
        fn hear(&mut self, verdicts: &[(&str, &str, Status)]) {
            for (backend, server, status) in verdicts {
                self.update_verdict(verdict(backend, server, *status), Instant::now());
            }
            self.catch_up(Instant::now());
        }

        fn usable(&self) -> [usize; 2] {
            [0, 1].map(|backend| self.routing.backends[backend].view.usable())
        }
    }

    #[tokio::test]
    async fn a_verdict_changes_its_own_backend_and_nothing_else() {
        let mut state = state();
        state.hear(&[("a", "s", Status::Up), ("b", "s", Status::Up), ("b", "t", Status::Up)]);
        let before = state.routing().clone();
        state.hear(&[("b", "t", Status::Up), ("b", "unknown", Status::Down)]);
        assert!(Arc::ptr_eq(&before, state.routing()), "nothing that concerns routing");
        state.hear(&[("b", "t", Status::Down), ("b", "s", Status::Down)]);
        assert_eq!(state.usable(), [1, 0]);
        let (old, new) = (&before.backends, &state.routing().backends);
        assert!(Arc::ptr_eq(&before.frontends, &state.routing().frontends));
        assert!(Arc::ptr_eq(&old[0], &new[0]) && !Arc::ptr_eq(&old[1], &new[1]));
        assert!(Arc::ptr_eq(&old[1].servers, &new[1].servers), "the counters stay");
        assert_eq!(
            state.liveness(LifeState::Ready).usable,
            [("a".to_owned(), 1), ("b".to_owned(), 0)].into()
        );
    }

    #[tokio::test]
    async fn a_start_needs_one_good_server_of_each_backend_and_uses_it_alone() {
        let mut state = state();
        assert!(!state.can_serve());
        state.hear(&[("b", "s", Status::Up)]);
        assert!(!state.can_serve(), "nothing is known of the other backend");
        assert_eq!(state.usable(), [1, 1], "who may be dead is left alone while somebody else is well");
        state.hear(&[("a", "s", Status::Down)]);
        assert!(state.can_serve(), "all is known of it");
        assert!(!state.settle_if_informed(Instant::now()));
        state.settle(Instant::now());
        assert_eq!(state.usable(), [0, 2], "nobody knows better by now");
    }
}
