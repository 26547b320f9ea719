//! The monitors of all servers, as the configuration wants them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use balance::AdminState;
use config::{Backend, LbConfig};
use health::{Moment, Status};
use thiserror::Error;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use wire::topic::Feed;
use wire::{Info, Observation, Resolution, ServerAdminState, Verdict};

use crate::admin_states::AdminStates;
use crate::board::Board;
use crate::kept::{Kept, Standing};
use crate::metrics::Metrics;
use crate::monitor::{CheckPlan, Monitor, Plan, Shared};
use crate::pace::Pace;
use crate::probe::{BadCheck, Prober};
use crate::record::{Clock, ServerKey};
use crate::resolve::{Names, SystemFiles};
use crate::view::{Seen, ServerSeen};

/// The monitors of all servers, and what they know.
pub struct Fleet {
    shared: Arc<Shared>,
    state: Mutex<State>,
    admin_states: AdminStates,
}

#[derive(Default)]
struct State {
    /// What is in force.
    config: Option<Arc<LbConfig>>,
    /// How the servers of each backend that has checks are checked.
    checks: HashMap<String, CheckPlan>,
    members: HashMap<ServerKey, Member>,
    /// What an earlier healthd knew, until this one has servers.
    remembered: HashMap<ServerKey, (Status, Moment)>,
}

/// A server's monitor, ended when it is dropped.
struct Member {
    plan: watch::Sender<Plan>,
    hurried: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A backend's check that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("backend `{backend}`: {reason}")]
pub struct ApplyError {
    backend: String,
    reason: BadCheck,
}

/// Ends when each of the servers that were new has been checked once.
#[derive(Debug)]
pub struct FirstRound(mpsc::Receiver<()>);

impl FirstRound {
    /// Waits for the end of the round. Cancel safe.
    pub async fn ended(&mut self) {
        // Nothing is ever sent: the channel closes when the last monitor drops its end.
        while self.0.recv().await.is_some() {}
    }
}

impl Fleet {
    /// No servers yet. `seats` is the number of checks at once, `kept` what an earlier healthd knew.
    pub fn new(
        config: &LbConfig,
        files: SystemFiles,
        seats: usize,
        metrics: Arc<Metrics>,
        kept: Kept,
    ) -> Self {
        let first = kept.values().map(|(_, age)| *age).max().unwrap_or_default();
        let clock = Clock::start_at(first);
        let since = |(key, (status, age)): (ServerKey, (Status, Duration))| (key, (status, first - age));
        let state = State { remembered: kept.into_iter().map(since).collect(), ..State::default() };
        let names = Names::new(&config.resolvers, files, metrics.queries());
        let board = Board::new(clock);
        let shared = Shared { clock, names, board, metrics, seats: Semaphore::new(seats), pace: Pace::new() };
        Self { shared: Arc::new(shared), state: Mutex::new(state), admin_states: AdminStates::default() }
    }

    /// Checks the servers of `config` from now on. Those that stay keep their verdicts, new ones start unknown. Has to be
    /// called in a tokio runtime.
    ///
    /// # Errors
    /// When a check cannot be made; then nothing is changed.
    pub fn apply(&self, config: LbConfig) -> Result<FirstRound, ApplyError> {
        self.apply_to(&mut self.lock(), config)
    }

    /// The same, instead of what is in force, if nothing else is by now.
    ///
    /// # Errors
    /// As above.
    pub fn replace(&self, before: &Arc<LbConfig>, config: LbConfig) -> Result<bool, ApplyError> {
        let mut state = self.lock();
        if !state.config.as_ref().is_some_and(|now| Arc::ptr_eq(now, before)) {
            return Ok(false);
        }
        self.apply_to(&mut state, config).map(|_| true)
    }

    /// What is in force.
    pub fn config(&self) -> Option<Arc<LbConfig>> {
        self.lock().config.clone()
    }

    fn apply_to(&self, state: &mut State, config: LbConfig) -> Result<FirstRound, ApplyError> {
        let config = Arc::new(config);
        let checks = state.checks(&config)?;
        self.shared.names.configure(&config.resolvers);
        let (round, first_round) = mpsc::channel(1);
        let mut before = std::mem::take(&mut state.members);
        let (mut order, mut new) = (Vec::new(), Vec::new());
        let mut remembered = std::mem::take(&mut state.remembered);
        let plans = plans(&config, &checks);
        let timings =
            plans.iter().filter_map(|(_, plan, _)| plan.check.as_ref()).map(|plan| plan.check.timing);
        self.shared.pace.set(timings.map(|timing| timing.interval));
        for (key, plan, turn) in plans {
            order.push(key.clone());
            if let Some(member) = before.remove(&key) {
                member.plan.send_if_modified(|known| {
                    let changed = *known != plan;
                    *known = plan;
                    changed
                });
                state.members.insert(key, member);
                continue;
            }
            let (plan, plans) = watch::channel(plan);
            let hurried = Arc::new(Notify::new());
            let shared = Arc::clone(&self.shared);
            let before = remembered.remove(&key);
            let mut monitor = Monitor::new(shared, key, plans, turn, Arc::clone(&hurried), round.clone());
            if let Some((status, since)) = before {
                monitor.remember(status, since);
            }
            new.push((plan, hurried, monitor));
        }
        // The board knows a server before its monitor speaks.
        self.shared.board.set_servers(order, new.iter().map(|(.., monitor)| monitor.record().clone()));
        for (plan, hurried, monitor) in new {
            let key = monitor.record().key.clone();
            state.members.insert(key, Member { plan, hurried, task: tokio::spawn(monitor.run()) });
        }
        state.config = Some(config);
        let forgotten = std::mem::replace(&mut state.checks, checks);
        for backend in forgotten.keys().filter(|backend| !state.checks.contains_key(*backend)) {
            self.shared.metrics.forget_backend(backend);
        }
        Ok(FirstRound(first_round))
    }

    /// Checks servers soon that somebody saw fail; how many of them are known. Others are ignored: lbd may be about to
    /// reload.
    pub fn observe(&self, observations: &[Observation]) -> usize {
        let state = self.lock();
        let mut known = 0;
        for seen in observations {
            let key: ServerKey = (seen.backend.as_str().into(), seen.server.as_str().into());
            let Some(member) = state.members.get(&key) else { continue };
            self.shared.metrics.observed(seen);
            member.hurried.notify_one();
            known += 1;
        }
        known
    }

    /// Notes what operators want of servers; how many of them are known.
    pub fn note_admin_states(&self, told: &[ServerAdminState]) -> usize {
        let state = self.lock();
        let keys =
            told.iter().map(|told| ((told.backend.as_str().into(), told.server.as_str().into()), told.state));
        let known: Vec<(ServerKey, AdminState)> =
            keys.filter(|(key, _)| state.members.contains_key(key)).collect();
        let count = known.len();
        self.admin_states.hear(known, self.shared.clock.now());
        count
    }

    /// How every server stands, and the moment of that.
    pub fn standing(&self) -> (Standing, Moment) {
        self.shared.board.standing()
    }

    /// Every verdict, in the order of the configuration, with what operators want of the server.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.servers().into_iter().map(|server| server.verdict).collect()
    }

    /// What is known of each name in use.
    pub fn resolutions(&self) -> Vec<Resolution> {
        self.shared.names.resolutions()
    }

    /// The verdicts, for followers.
    pub fn feed(&self) -> Arc<dyn Feed> {
        Arc::clone(&self.shared.board) as Arc<dyn Feed>
    }

    /// How many servers have each status.
    pub fn tally(&self) -> HashMap<Status, usize> {
        self.shared.board.tally()
    }

    /// Everything there is to see.
    pub fn seen(&self, info: Info) -> Seen {
        let subscribers = self.shared.board.followers();
        Seen { info, servers: self.servers(), names: self.resolutions(), subscribers }
    }

    fn servers(&self) -> Vec<ServerSeen> {
        self.shared.board.seen(&self.admin_states.at(self.shared.clock.now()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How the servers of each backend are checked from now on; what is the same is shared with what is in force.
    fn checks(&self, config: &LbConfig) -> Result<HashMap<String, CheckPlan>, ApplyError> {
        let mut checks = HashMap::new();
        for backend in &config.backends {
            let Some(check) = &backend.check else { continue };
            let tls = backend.tls.as_ref();
            let is_same = |known: &&CheckPlan| {
                *known.check == *check && known.tls.as_ref() == tls && known.mode == backend.mode
            };
            let plan = match self.checks.get(&backend.name).filter(is_same) {
                Some(known) => known.clone(),
                None => {
                    let failed = |reason| ApplyError { backend: backend.name.clone(), reason };
                    let mut prober = Prober::new(check).map_err(failed)?;
                    if let Some(tls) = tls {
                        prober = prober.secured(check, tls, backend.mode).map_err(failed)?;
                    }
                    CheckPlan {
                        check: Arc::new(check.clone()),
                        tls: tls.cloned(),
                        mode: backend.mode,
                        prober: Arc::new(prober),
                    }
                }
            };
            checks.insert(backend.name.clone(), plan);
        }
        Ok(checks)
    }
}

/// A server's place in its backend, and how many there are.
type Turn = (usize, usize);

/// What the configuration wants of each server, in its order. lbd knows the operator's wishes at runtime; here only those
/// of the file count: a server that it puts into maintenance is not checked.
fn plans(config: &LbConfig, checks: &HashMap<String, CheckPlan>) -> Vec<(ServerKey, Plan, Turn)> {
    let of_backend = |backend: &Backend| {
        let name: Arc<str> = backend.name.as_str().into();
        let mut plans = Vec::with_capacity(backend.servers.len());
        for (place, server) in backend.servers.iter().enumerate() {
            let wanted = backend.check_of(server).filter(|_| server.state != AdminState::Maint);
            let check = checks.get(&backend.name).filter(|_| wanted.is_some()).cloned();
            let own = wanted.map(|(_, own)| own.clone()).unwrap_or_default();
            let proxy = backend.check_proxy_of(server);
            let tls_name = backend.check_tls_of(server).and_then(|_| backend.tls_name_of(server));
            let plan = Plan { server: server.address.clone(), check, own, proxy, tls_name };
            let turn = (place, backend.servers.len());
            plans.push(((Arc::clone(&name), Arc::from(server.name.as_str())), plan, turn));
        }
        plans
    };
    config.backends.iter().flat_map(of_backend).collect()
}
