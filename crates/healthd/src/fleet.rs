//! The monitors of all servers, as the configuration wants them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use balance::AdminState;
use config::{Backend, LbConfig, Member};
use daemon::keeper::Keeper;
use health::{Moment, Status};
use thiserror::Error;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use wire::topic::Feed;
use wire::{Discovery, Info, Observation, Resolution, ServerAdminState, Verdict};

use crate::admin_states::AdminStates;
use crate::board::Board;
use crate::discover::{self, Finder, Found, KeptMembers, Report, Rules};
use crate::kept::{Kept, Standing};
use crate::metrics::Metrics;
use crate::monitor::{CheckPlan, Monitor, Plan, Shared};
use crate::pace::Pace;
use crate::probe::{BadCheck, Prober};
use crate::record::{Clock, ServerKey};
use crate::resolve::{Names, SystemFiles};
use crate::view::{Seen, ServerSeen};

/// Reports that wait for the fleet: a task waits for it, too.
const REPORTS: usize = 16;

/// The monitors of all servers, and what they know.
pub struct Fleet {
    shared: Arc<Shared>,
    state: Mutex<State>,
    admin_states: AdminStates,
    /// What the tasks tell that look for servers.
    found: (mpsc::Sender<Found>, tokio::sync::Mutex<mpsc::Receiver<Found>>),
}

#[derive(Default)]
struct State {
    /// As it was read, without the servers that are found.
    config: Option<Arc<LbConfig>>,
    /// How the servers of each backend that has checks are checked.
    checks: HashMap<String, CheckPlan>,
    watched: HashMap<ServerKey, Watched>,
    /// Who looks for servers, by backend.
    searches: HashMap<Arc<str>, Search>,
    /// How many there have been.
    searched: u64,
    /// Where the paths of files start in which servers are found.
    directory: PathBuf,
    /// Who was found before, until somebody looks.
    kept: KeptMembers,
    /// Keeps who is found.
    keeper: Option<Keeper<KeptMembers>>,
    /// What an earlier healthd knew, until this one has servers.
    remembered: HashMap<ServerKey, (Status, Moment)>,
}

/// A server's monitor, ended when it is dropped.
struct Watched {
    plan: watch::Sender<Plan>,
    hurried: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who looks for a backend's servers, ended when it is dropped.
struct Search {
    number: u64,
    rules: Rules,
    members: Vec<Member>,
    report: Report,
    /// None until the board knows of it.
    task: Option<JoinHandle<()>>,
}

impl Drop for Search {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
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
        let (found, reports) = mpsc::channel(REPORTS);
        Self {
            shared: Arc::new(shared),
            state: Mutex::new(state),
            admin_states: AdminStates::default(),
            found: (found, tokio::sync::Mutex::new(reports)),
        }
    }

    /// Looks for servers in files by paths that start at `directory`, from those that were found before, and keeps whom it finds in a
    /// file of `kept_in`.
    #[must_use]
    pub fn finding(self, directory: PathBuf, kept_in: &std::path::Path) -> Self {
        {
            let mut state = self.lock();
            state.directory = directory;
            state.kept = discover::load_kept(kept_in);
            let file = kept_in.join(discover::FILE);
            state.keeper = Some(Keeper::start(file, "which servers were found"));
        }
        self
    }

    /// Checks those who are found, for ever. Cancel safe.
    pub async fn follow_searches(&self) -> std::convert::Infallible {
        let mut reports = self.found.1.lock().await;
        loop {
            match reports.recv().await {
                Some(found) => self.take(found),
                // The other end lives as long as this one.
                None => std::future::pending().await,
            }
        }
    }

    /// Takes what a search has found.
    fn take(&self, found: Found) {
        let Found { finder, backend, members, report, first_round } = found;
        let mut state = self.lock();
        // One that was ended meanwhile speaks of another configuration.
        let Some(search) = state.searches.get_mut(&backend).filter(|search| search.number == finder) else {
            return;
        };
        search.report = report.clone();
        let Some(members) = members else { return self.shared.board.report(&backend, report) };
        search.members = members;
        self.shared.pace.set(state.intervals());
        let Some(config) = state.config.clone() else { return };
        let Some(config) = config.backend(&backend) else { return };
        let plans = state.plans(config);
        let round = first_round.unwrap_or_else(|| mpsc::channel(1).0);
        let stay: Vec<ServerKey> = plans.iter().map(|(key, ..)| key.clone()).collect();
        let gone = |key: &ServerKey| key.0 == backend && !stay.contains(key);
        let gone: Vec<ServerKey> = state.watched.keys().filter(|key| gone(key)).cloned().collect();
        for key in gone {
            state.watched.remove(&key);
        }
        let new = self.plan(&mut state, plans, &round);
        let records = new.iter().map(|(.., monitor)| monitor.record().clone()).collect();
        self.shared.board.set_found(&backend, stay, records, report);
        state.start(new);
        state.keep();
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
        let forgotten = std::mem::replace(&mut state.checks, checks);
        for backend in forgotten.keys().filter(|backend| !state.checks.contains_key(*backend)) {
            self.shared.metrics.forget_backend(backend);
        }
        state.config = Some(Arc::clone(&config));
        let finders = self.search(state, &config, &round);
        self.shared.pace.set(state.intervals());
        let plans: Vec<_> = config.backends.iter().flat_map(|backend| state.plans(backend)).collect();
        let order: Vec<ServerKey> = plans.iter().map(|(key, ..)| key.clone()).collect();
        let mut before = std::mem::take(&mut state.watched);
        for key in &order {
            if let Some(watched) = before.remove(key) {
                state.watched.insert(key.clone(), watched);
            }
        }
        drop(before);
        let new = self.plan(state, plans, &round);
        // The board knows a server before its monitor speaks.
        let records: Vec<_> = new.iter().map(|(.., monitor)| monitor.record().clone()).collect();
        let reports = state.searches.iter().map(|(backend, one)| (Arc::clone(backend), one.report.clone()));
        self.shared.board.set_servers(order, records, reports);
        state.start(new);
        for finder in finders {
            state.search(finder);
        }
        state.remembered.clear();
        state.keep();
        Ok(FirstRound(first_round))
    }

    /// Ends the searches that a configuration does not want, and makes those that are new, which begin with who is known.
    fn search(&self, state: &mut State, config: &LbConfig, round: &mpsc::Sender<()>) -> Vec<Finder> {
        let mut before = std::mem::take(&mut state.searches);
        let mut finders = Vec::new();
        for backend in &config.backends {
            let Some(discover) = &backend.discover else { continue };
            let name: Arc<str> = backend.name.as_str().into();
            let rules = Rules::new(discover, state.directory.clone());
            let known = match before.remove(&name) {
                Some(search) if search.rules == rules => {
                    state.searches.insert(name, search);
                    continue;
                }
                Some(mut search) => std::mem::take(&mut search.members),
                None => discover::members(state.kept.remove(&backend.name).unwrap_or_default()),
            };
            state.searched += 1;
            let ends = (self.found.0.clone(), round.clone());
            let finder = Finder::new(state.searched, name, rules, known, Arc::clone(&self.shared), ends);
            finders.push(finder);
        }
        for finder in &finders {
            // Its task is started when the board knows of it.
            state.searches.insert(finder.backend(), Search::of(finder));
        }
        finders
    }

    /// Has the servers checked as these plans say. Those that were not there before are new.
    fn plan(
        &self,
        state: &mut State,
        plans: Vec<(ServerKey, Plan, Turn)>,
        round: &mpsc::Sender<()>,
    ) -> Vec<(watch::Sender<Plan>, Arc<Notify>, Monitor)> {
        let mut new = Vec::new();
        for (key, plan, turn) in plans {
            if let Some(watched) = state.watched.get(&key) {
                watched.plan.send_if_modified(|known| {
                    let changed = *known != plan;
                    *known = plan;
                    changed
                });
                continue;
            }
            let (plan, plans) = watch::channel(plan);
            let hurried = Arc::new(Notify::new());
            let shared = Arc::clone(&self.shared);
            let before = state.remembered.remove(&key);
            let mut monitor = Monitor::new(shared, key, plans, turn, Arc::clone(&hurried), round.clone());
            if let Some((status, since)) = before {
                monitor.remember(status, since);
            }
            new.push((plan, hurried, monitor));
        }
        new
    }

    /// Checks servers soon that somebody saw fail; how many of them are known. Others are ignored: lbd may be about to
    /// reload.
    pub fn observe(&self, observations: &[Observation]) -> usize {
        let state = self.lock();
        let mut known = 0;
        for seen in observations {
            let key: ServerKey = (seen.backend.as_str().into(), seen.server.as_str().into());
            let Some(watched) = state.watched.get(&key) else { continue };
            self.shared.metrics.observed(seen);
            watched.hurried.notify_one();
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
            keys.filter(|(key, _)| state.watched.contains_key(key)).collect();
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

    /// Where servers are found.
    pub fn discoveries(&self) -> Vec<Discovery> {
        self.shared.board.discoveries()
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
        Seen {
            info,
            servers: self.servers(),
            names: self.resolutions(),
            discoveries: self.discoveries(),
            subscribers,
        }
    }

    fn servers(&self) -> Vec<ServerSeen> {
        self.shared.board.seen(&self.admin_states.at(self.shared.clock.now()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Search {
    /// One whose task has not been started.
    fn of(finder: &Finder) -> Self {
        let (members, report) = (finder.members().to_vec(), finder.report().clone());
        Self { number: finder.number(), rules: finder.rules().clone(), members, report, task: None }
    }
}

impl State {
    /// Starts a search.
    fn search(&mut self, finder: Finder) {
        if let Some(search) = self.searches.get_mut(&finder.backend()) {
            search.task = Some(tokio::spawn(finder.run()));
        }
    }

    /// Starts monitors.
    fn start(&mut self, new: Vec<(watch::Sender<Plan>, Arc<Notify>, Monitor)>) {
        for (plan, hurried, monitor) in new {
            let key = monitor.record().key.clone();
            self.watched.insert(key, Watched { plan, hurried, task: tokio::spawn(monitor.run()) });
        }
    }

    /// Has it kept who was found.
    fn keep(&self) {
        let Some(keeper) = &self.keeper else { return };
        let found = self.searches.iter().filter(|(_, search)| !search.members.is_empty());
        let found = found.map(|(backend, search)| (backend.to_string(), discover::told(&search.members)));
        // Nobody waits for the disk.
        drop(keeper.keep(&found.collect()));
    }

    /// How often each server is checked.
    fn intervals(&self) -> impl Iterator<Item = Duration> {
        let backends = self.config.iter().flat_map(|config| &config.backends);
        backends.flat_map(|backend| {
            let named = backend.servers.iter().filter(|server| backend.check_of(server).is_some()).count();
            let is_checked = backend.discover.as_ref().is_some_and(|discover| discover.check.is_some());
            let found = self.searches.get(backend.name.as_str()).filter(|_| is_checked);
            let count = named + found.map_or(0, |search| search.members.len());
            let interval = backend.check.as_ref().map(|check| check.timing.interval);
            interval.into_iter().flat_map(move |interval| std::iter::repeat_n(interval, count))
        })
    }

    /// How the servers of a backend are checked, those that were found among them.
    fn plans(&self, backend: &Backend) -> Vec<(ServerKey, Plan, Turn)> {
        let check = self.checks.get(&backend.name);
        let Some(discover) = &backend.discover else { return plans(backend, check, &[]) };
        let members = self.searches.get(backend.name.as_str()).map(|search| &search.members[..]);
        let members = members.unwrap_or_default();
        let servers = members.iter().map(|member| discover.server(member)).collect();
        let told: Vec<_> = members.iter().map(|member| Arc::new(wire::Member::of(member))).collect();
        plans(&Backend { servers, ..backend.clone() }, check, &told)
    }

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

/// What the configuration wants of each server of a backend, in its order. lbd knows the operator's wishes at runtime; here only
/// those of the file count: a server that it puts into maintenance is not checked.
fn plans(
    backend: &Backend,
    check: Option<&CheckPlan>,
    found: &[Arc<wire::Member>],
) -> Vec<(ServerKey, Plan, Turn)> {
    let name: Arc<str> = backend.name.as_str().into();
    let count = backend.servers.len();
    let of_server = |(place, server): (usize, &config::Server)| {
        let wanted = backend.check_of(server).filter(|_| server.state != AdminState::Maint);
        let check = check.filter(|_| wanted.is_some()).cloned();
        let own = wanted.map(|(_, own)| own.clone()).unwrap_or_default();
        let proxy = backend.check_proxy_of(server);
        let tls_name = backend.check_tls_of(server).and_then(|_| backend.tls_name_of(server));
        let member = found.get(place).cloned();
        let plan = Plan { server: server.address.clone(), check, own, proxy, tls_name, member };
        ((Arc::clone(&name), Arc::from(server.name.as_str())), plan, (place, count))
    };
    backend.servers.iter().enumerate().map(of_server).collect()
}
