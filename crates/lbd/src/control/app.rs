//! lbd's control thread: it starts the workers, keeps their routing up to date, and answers operators.
//!
//! Its loop, `App::run`, waits for healthd, operators, addresses, and its own ticks. The admin server and the control socket
//! have threads of their own: thousands of servers are a page that takes its time, a storm of verdicts is work here, and
//! pings are late for neither. Nothing here is on the path of a request.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use config::{Diagnostic, Invalid, LbConfig, ServerAddress, Severity};
use daemon::config_file::ConfigFile;
use daemon::entrance::Entrance;
use daemon::life::Life;
use daemon::serve::{self, Doors};
use daemon::signals::Signals;
use daemon::{Context, Failure, limits, listening};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use wire::client::{Client, ClientError, Follower, News, Update};
use wire::topic::{Key, Topic};
use wire::{Discovery, Item, LifeState, Liveness, Observation, Ping, Request, TopicName, Verdict};

use crate::control::control_socket::{Control, Reach, Socket};
use crate::control::heritage::predecessor::Predecessor;
use crate::control::heritage::successor::Origin;
use crate::control::heritage::{self, by_address};
use crate::control::members::{Kept, Members};
use crate::control::operator::Operator;
use crate::control::paused;
use crate::control::relatives;
use crate::control::server_files;
use crate::control::sessions::Sessions;
use crate::control::state::State;
use crate::control::tls;
use crate::control::verdicts::ServerKey;
use crate::shared::access_log::{self, Sink};
use crate::shared::command::Command;
use crate::shared::descriptors::Descriptors;
use crate::shared::listen;
use crate::shared::routing::Routing;
use crate::shared::spare::Spare;
use crate::view;
use crate::worker::{self, Setup};

pub mod handover;
pub mod reload;
mod start;
mod stop;
pub mod upgrade;

use self::handover::{Handover, HandoverRequest};
use self::reload::Adoption;
use self::start::{Relief, Start, Surplus};
use self::upgrade::{Upgrade, UpgradeRequest};

/// How often healthd is to show that it lives.
const HEALTHD_PING: Duration = Duration::from_secs(1);
/// How often rates are measured, workers asked for a sign, and names looked up that healthd has not resolved.
const TICK: Duration = Duration::from_secs(1);
/// How long a look-up may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// The least time between two reports to healthd of failures seen on the data path.
const REPORT_REST: Duration = Duration::from_millis(100);
/// Verdicts that come together are taken into force together, so many at most.
const NEWS_AT_ONCE: usize = 1024;
/// Commands that may wait for a worker: more than a reload of thousands of addresses has for it.
const COMMANDS: usize = 64 * 1024;
/// How long the disk may take for a file.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// The state behind its lock, which is held for a moment at a time and never across an await.
pub type Shared = Arc<Mutex<State>>;

/// Locks the state. A panic elsewhere would have ended the process; its lock holds whole values in any case.
pub fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs lbd until it is told to stop.
///
/// # Errors
/// When the configuration cannot be used, an address cannot be opened, or a worker dies.
pub async fn run(context: Context, origin: io::Result<Origin>) -> Result<(), Failure> {
    let predecessor = Predecessor::here();
    let result = live(context, origin, predecessor.clone()).await;
    if let (Err(failure), Some(predecessor)) = (&result, &predecessor) {
        predecessor.disappoint(&failure.to_string());
    }
    result
}

async fn live(
    mut context: Context,
    origin: io::Result<Origin>,
    predecessor: Option<Predecessor>,
) -> Result<(), Failure> {
    let signals = Signals::listen().map_err(|error| Failure::System(error.into()))?;
    if predecessor.is_some() {
        // That descriptor was for the one before.
        context.ready_fd = None;
    }
    let (file, config) = ConfigFile::open(&context.config)?;
    let (app, control, doors) = App::start(context, file, config, origin, predecessor).await?;
    let router =
        view::admin::router(&control).map_err(|error| anyhow!("cannot register metrics: {error}"))?;
    let (opened, is_open) = oneshot::channel();
    let socket = Arc::new(Socket(control.clone()));
    serve::serve(control, doors, socket, router, signals, start::begin(is_open), app.run(opened)).await
}

/// A worker thread, as the control thread knows it.
#[derive(Clone)]
struct Worker {
    commands: mpsc::Sender<Command>,
}

struct App {
    life: Arc<Life>,
    origin: io::Result<Origin>,
    entrance: Arc<Entrance>,
    /// Another handle of the listener at the admin address, for a successor; none once that has it.
    admin: Option<TcpListener>,
    state: Shared,
    liveness: Arc<Topic<Liveness>>,
    /// Which change of the liveness subscribers were told last, and which state.
    told: Option<(u64, LifeState)>,
    workers: Vec<Worker>,
    /// Ends when a worker does.
    worker_ended: mpsc::Receiver<usize>,
    /// Which frontend is listened for at which address.
    bound: BTreeMap<SocketAddr, String>,
    /// Listeners that wait for the first verdicts; clients wait in their backlogs.
    waiting: BTreeMap<SocketAddr, Vec<TcpListener>>,
    start: Start,
    adoptions: mpsc::Receiver<Adoption>,
    handover: Handover,
    handovers: mpsc::Receiver<HandoverRequest>,
    upgrade: Option<Upgrade>,
    upgrades: mpsc::Receiver<UpgradeRequest>,
    /// Changes each time that lbd is told to stop.
    stops: watch::Receiver<u32>,
    /// Who wants to see that this loop goes on.
    watchers: mpsc::Receiver<oneshot::Sender<()>>,
    resolved: (mpsc::Sender<Resolved>, mpsc::Receiver<Resolved>),
    resolving: bool,
    observed: HashMap<ServerKey, (u64, u64)>,
    /// The configuration in force is another one since the last turn of the loop.
    reloaded: bool,
    /// Whether healthd was last seen to run another configuration.
    differs: bool,
    /// Told when a server fails.
    failures: Arc<Notify>,
    log_writer: std::thread::JoinHandle<()>,
}

/// The end of a round of look-ups: the addresses found.
type Resolved = Vec<(ServerAddress, SocketAddr)>;

impl App {
    /// Opens everything, and starts the workers. Nothing is accepted yet.
    async fn start(
        context: Context,
        file: ConfigFile,
        config: LbConfig,
        origin: io::Result<Origin>,
        predecessor: Option<Predecessor>,
    ) -> Result<(Self, Arc<Control>, Doors), Failure> {
        let now = Instant::now();
        let count = config.lbd.workers;
        let descriptors = Descriptors { allowed: limits::raise_descriptors(), workers: count };
        if let Err(problem) = descriptors.check(&config) {
            tracing::error!("{}: {problem}", context.config.display());
            return Err(Failure::Config(too_much(&context.config, problem)));
        }
        // Before what operators have set is read: nothing is set any more then.
        let inherited = match &predecessor {
            Some(predecessor) => Some(by_address(predecessor.ask().map_err(Failure::System)?)),
            None => None,
        };
        let operator = open_operator(&context).await;
        let members = open_members(&context).await;
        let (admin_address, access) = (config.lbd.admin, config.lbd.access.clone());
        let made = State::new(config, members, operator, descriptors, now);
        let (state, routing) = made.map_err(|why| Failure::System(anyhow!(why)))?;
        let state: Shared = Arc::new(Mutex::new(state));

        let wanted = binds(lock(&state).config());
        let (doors, mut inherited) = match inherited {
            Some(mut inherited) => {
                let admin = inherited.remove(&admin_address).and_then(|mut listeners| listeners.pop());
                (Doors::prepare(&context, "admin.bind", admin_address, admin).await?, inherited)
            }
            None => {
                let doors = Doors::open(&context, "admin.bind", admin_address).await?;
                (doors, heritage::take(&context))
            }
        };
        inherited.retain(|address, _| wanted.contains_key(address));
        let mut waiting = BTreeMap::new();
        for (address, frontend) in &wanted {
            let listeners = inherited.remove(address).unwrap_or_default();
            let listeners = open_all(&context.config, (*address, frontend), count, listeners);
            let listeners = listeners.map_err(|why| Failure::System(anyhow!(why)))?;
            waiting.insert(*address, listeners);
        }
        if predecessor.is_none() {
            start::listen(&context.config, &wanted, &waiting).map_err(Failure::System)?;
        }

        let (sink, log_writer) = access_log::start_writer().context("cannot start the access log")?;
        let failures = Arc::new(Notify::new());
        let (workers, worker_ended) = start_workers(&state, &routing, &sink, &failures, count)?;
        let (adopt, adoptions) = mpsc::channel(1);
        let (handover, handovers) = mpsc::channel(8);
        let (upgrade, upgrades) = mpsc::channel(4);
        let (stop, stops) = watch::channel(0);
        let (watch, watchers) = mpsc::channel(1);
        let of_servers = server_files::follow(state.clone(), context.config.clone(), adopt.clone());
        tokio::spawn(of_servers);
        let reach = Reach { adopt, handover, upgrade, stop, watchers: watch };
        let pulse = lock(&state).pulse().clone();
        let liveness = Topic::new(
            TopicName::Liveness,
            |_| Key::default(),
            move |liveness: &Liveness| {
                Item::Liveness(Liveness { tick_age_ms: pulse.age(), ..liveness.clone() })
            },
        );
        let liveness = Arc::new(liveness);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            config = %context.config.display(),
            workers = count,
            admin = %admin_address,
            "lbd starts"
        );
        let life = Arc::new(Life::new(context, file, &access));
        let sessions = Sessions::of(workers.iter().map(|worker| worker.commands.clone()).collect());
        let control = Control::new(life.clone(), state.clone(), liveness.clone(), sessions, reach);
        let app = Self {
            life,
            origin,
            entrance: doors.entrance().clone(),
            admin: Some(doors.admin().context("cannot share the admin address")?),
            state,
            liveness,
            told: None,
            workers,
            worker_ended,
            bound: wanted,
            waiting,
            start: predecessor.map_or(Start::Alone, Start::Behind),
            adoptions,
            handover: Handover::None,
            handovers,
            upgrade: None,
            upgrades,
            stops,
            watchers,
            resolved: mpsc::channel(1),
            resolving: false,
            observed: HashMap::new(),
            reloaded: false,
            differs: false,
            failures,
            log_writer,
        };
        Ok((app, Arc::new(control), doors))
    }

    /// Works until it is told to stop, and then until everything has ended well. Tells when clients are served.
    async fn run(mut self, opened: oneshot::Sender<Option<Relief>>) -> Result<(), Failure> {
        let mut opened = Some(opened);
        let mut stops = self.stops.clone();
        let mut healthd = self.follow_healthd();
        let context = self.life.context();
        // What they do is the next one's affair once it serves.
        let mut helpers = JoinSet::new();
        helpers.spawn(paused::tell(context.socket("healthd"), lock(&self.state).paused()));
        helpers.spawn(tls::follow_files(self.state.clone(), context.config.clone()));
        helpers.spawn(relatives::follow(self.state.clone(), context.own_dir()));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported = None;
        let mut failing = false;
        let patience = tokio::time::sleep(lock(&self.state).config().lbd.verdict_wait);
        tokio::pin!(patience);
        let mut measured = Instant::now();

        let succeeded = loop {
            if std::mem::take(&mut self.reloaded) {
                // What healthd said of servers that were somewhere else is to be heard again.
                healthd = self.follow_healthd();
            }
            self.tell_liveness();
            if self.is_starting() && lock(&self.state).can_serve() {
                self.may_serve(&mut opened)?;
            }
            let settled = lock(&self.state).settle_if_informed(Instant::now());
            let warm_up = lock(&self.state).warm_up_due();
            tokio::select! {
                news = healthd.next() => {
                    self.take_news(news);
                    self.take_what_is_there(&mut healthd).await;
                }
                _ = stops.changed() => break None,
                // Who has asked may have gone.
                Some(turn) = self.watchers.recv() => drop(turn.send(())),
                Some(adoption) = self.adoptions.recv() => self.take(adoption),
                Some(request) = self.handovers.recv() => self.take_handover_request(request),
                step = self.handover.next() => self.advance_handover(step),
                wanted = self.start.next() => self.open_for_business(wanted?, &mut opened)?,
                Some(request) = self.upgrades.recv() => self.take_upgrade_request(request),
                outcome = upgrade::next(&mut self.upgrade) => {
                    if let Some(succeeded) = self.conclude_upgrade(outcome) {
                        break Some(succeeded);
                    }
                }
                () = &mut patience, if !settled => {
                    let mut state = lock(&self.state);
                    match state.verdicts().is_connected() {
                        true => tracing::warn!("healthd has no verdict on every server yet: the others are used unchecked"),
                        false => tracing::warn!("no connection to healthd: servers are used unchecked until it comes"),
                    }
                    state.settle(Instant::now());
                    drop(state);
                    if self.is_starting() {
                        self.may_serve(&mut opened)?;
                    }
                }
                Some(worker) = self.worker_ended.recv() => {
                    return Err(anyhow!("worker {worker} has died; see the message before this one").into());
                }
                Some(found) = self.resolved.1.recv() => {
                    self.resolving = false;
                    lock(&self.state).resolve(found, Instant::now());
                }
                _ = tick.tick() => {
                    let now = Instant::now();
                    {
                        let mut state = lock(&self.state);
                        state.tick(now - measured, now);
                        state.forget_who_left(now);
                        state.pulse().ask();
                    }
                    measured = now;
                    self.resolve();
                }
                () = self.failures.notified(), if !failing => failing = true,
                () = at(reported.map(|reported| reported + REPORT_REST)), if failing => {
                    (failing, reported) = (false, Some(Instant::now()));
                    self.report();
                }
                () = at(warm_up), if warm_up.is_some() => lock(&self.state).warm_up(Instant::now()),
            }
        };
        match succeeded {
            Some(succeeded) => {
                // healthd need not tell it anything any more.
                drop((healthd, helpers));
                self.finish(succeeded, stops).await;
            }
            None => {
                self.call_off_upgrade("lbd stops");
                self.stop(stops).await;
            }
        }
        Ok(())
    }

    fn follow_healthd(&self) -> Follower {
        Follower::new(&self.life.context().socket("healthd"), "lbd", TopicName::Verdicts, HEALTHD_PING)
    }

    /// Takes what else healthd has said by now, and puts all of it into force at once.
    async fn take_what_is_there(&mut self, healthd: &mut Follower) {
        for _ in 1..NEWS_AT_ONCE {
            tokio::select! {
                biased;
                news = healthd.next() => self.take_news(news),
                () = std::future::ready(()) => break,
            }
        }
        lock(&self.state).catch_up(Instant::now());
    }

    fn take_news(&mut self, news: News) {
        let now = Instant::now();
        let digest = self.life.digest();
        let mut state = lock(&self.state);
        match news {
            News::Connected(hello) => {
                tracing::info!(version = hello.version, "connected to healthd");
                state.set_healthd(true, now);
                state.heard_healthd(now);
            }
            News::Update(update) => {
                state.heard_healthd(now);
                match update {
                    Update::Snapshot(items) => {
                        let (verdicts, discoveries) = sorted(items);
                        state.replace_verdicts(verdicts, discoveries, now);
                    }
                    Update::Event(Item::Verdict(verdict)) => state.update_verdict(verdict, now),
                    Update::Event(Item::Left(left)) => state.leave(&left.backend, &left.server, now),
                    Update::Event(Item::Discovery(discovery)) => state.tell_discovery(discovery, now),
                    Update::Event(Item::Liveness(_) | Item::Instance(_) | Item::Anycast(_)) => {}
                    Update::Ping(Ping { config: Some(theirs), .. }) => {
                        state.compare_configs(theirs == digest, now);
                        let differs = state.verdicts().differs_for(now).is_some();
                        if differs && !self.differs {
                            tracing::warn!(
                                "healthd runs another configuration: servers that it does not check keep their last \
                                 verdicts; `tandemctl reload` has both read the file"
                            );
                        }
                        self.differs = differs;
                    }
                    Update::Ping(_) => {}
                }
            }
            News::Disconnected(ClientError::Unreachable { .. })
                if self.life.state() == LifeState::Starting =>
            {
                tracing::info!("healthd is not there yet: waiting for its verdicts");
                state.set_healthd(false, now);
            }
            News::Disconnected(error) => {
                tracing::warn!(reason = %error, "no connection to healthd: its last verdicts stay in force");
                state.set_healthd(false, now);
            }
        }
    }

    /// Tells subscribers when the liveness has changed, its age aside.
    fn tell_liveness(&mut self) {
        let (state, life) = (lock(&self.state), self.life.state());
        let now = Some((state.told(), life));
        if std::mem::replace(&mut self.told, now) != now {
            self.liveness.set(state.liveness(life));
        }
    }

    /// Moves on in life, and tells so.
    fn set_life(&mut self, life: LifeState) {
        self.life.enter(life);
        self.tell_liveness();
    }

    fn is_starting(&self) -> bool {
        self.life.state() == LifeState::Starting
    }

    /// Has the workers accept at an address, for the frontend that is bound to it. The lbd before this one may have had more listeners
    /// than this one has workers: the others are closed as soon as what is put into `surplus` is dropped.
    fn listen(
        &self,
        address: SocketAddr,
        mut listeners: Vec<TcpListener>,
        surplus: &mut Surplus,
    ) -> anyhow::Result<()> {
        let Some(frontend) = self.bound.get(&address) else { return Ok(()) };
        let others = listeners.split_off(self.workers.len().min(listeners.len()));
        for (worker, listener) in self.workers.iter().zip(listeners) {
            worker.tell(Command::Listen { frontend: frontend.clone(), listener })?;
        }
        for (worker, listener) in self.workers.iter().cycle().zip(others) {
            let (hold, until) = oneshot::channel();
            surplus.push(hold);
            worker.tell(Command::Finish { frontend: frontend.clone(), listener, until })?;
        }
        Ok(())
    }

    /// Tells healthd of failures on the data path, so that it looks at once.
    fn report(&mut self) {
        let mut observations = Vec::new();
        let mut before = std::mem::take(&mut self.observed);
        {
            let state = lock(&self.state);
            for backend in &state.routing().backends {
                for (server, counters) in backend.view.servers.iter().zip(&*backend.servers) {
                    let total = (
                        counters.sum(|worker| worker.connect_errors.get()),
                        counters.sum(|worker| worker.response_errors.get() + worker.server_errors.get()),
                    );
                    if total == (0, 0) {
                        continue;
                    }
                    let key = (backend.name.to_string(), server.name.to_string());
                    let told = before.remove(&key).unwrap_or((0, 0));
                    self.observed.insert(key, total);
                    let connect_failures = total.0.saturating_sub(told.0);
                    let bad_responses = total.1.saturating_sub(told.1);
                    if connect_failures + bad_responses > 0 {
                        observations.push(Observation {
                            backend: backend.name.to_string(),
                            server: server.name.to_string(),
                            connect_failures,
                            bad_responses,
                        });
                    }
                }
            }
            if !state.verdicts().is_connected() {
                return;
            }
        }
        if !observations.is_empty() {
            let path = self.life.context().socket("healthd");
            // Bounded by the client's own timeouts; what does not arrive is found by the next regular check.
            tokio::spawn(async move {
                if let Err(error) = observe(path, observations).await {
                    tracing::debug!(%error, "cannot report to healthd");
                }
            });
        }
    }

    /// Looks up names that healthd has not told: lbd must route without it.
    fn resolve(&mut self) {
        let names = lock(&self.state).unresolved();
        if self.resolving || names.is_empty() {
            return;
        }
        self.resolving = true;
        let found = self.resolved.0.clone();
        tokio::spawn(async move {
            let mut addresses = Vec::new();
            for name in names {
                let lookup = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(name.to_string()));
                // The one that healthd would begin with.
                if let Ok(Ok(results)) = lookup.await
                    && let Some(address) = results.min()
                {
                    addresses.push((name, address));
                }
            }
            // The receiver lives as long as the process.
            let _ = found.send(addresses).await;
        });
    }
}

impl Worker {
    /// Leaves it a command. Nobody waits for a worker that hangs: it shows that itself.
    fn tell(&self, command: Command) -> anyhow::Result<()> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => anyhow!("a worker hangs"),
            TrySendError::Closed(_) => anyhow!("a worker has died"),
        })
    }
}

async fn open_operator(context: &Context) -> Operator {
    let path = context.own_dir().join("lbd.servers");
    let file = path.clone();
    let opening = tokio::task::spawn_blocking(move || Operator::open(&file));
    let opened = match tokio::time::timeout(DISK_TIMEOUT, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) | Err(_) => Err(anyhow!("{} could not be read in time", path.display())),
    };
    opened.unwrap_or_else(|error| {
        // An outage would be worse than forgotten wishes, as long as somebody is told.
        tracing::error!("server states set by operators are lost: {error:#}");
        Operator::forgetful(&path)
    })
}

async fn open_members(context: &Context) -> Members {
    let dir = context.own_dir();
    let from = dir.clone();
    let reading = tokio::task::spawn_blocking(move || Members::read(&from));
    let kept = match tokio::time::timeout(DISK_TIMEOUT, reading).await {
        Ok(Ok(kept)) => kept,
        Ok(Err(_)) | Err(_) => {
            tracing::error!(
                "{} cannot be read in time: servers that were found before are not known",
                dir.display()
            );
            Kept::default()
        }
    };
    Members::new(&dir, kept)
}

/// More than the system allows, as a mistake of the file: starting again would not mend it.
fn too_much(file: &Path, message: String) -> Invalid {
    let file = file.display().to_string();
    Invalid {
        diagnostics: vec![Diagnostic {
            file,
            line: 0,
            column: 0,
            severity: Severity::Error,
            message,
            help: None,
        }],
    }
}

fn binds(config: &LbConfig) -> BTreeMap<SocketAddr, String> {
    let frontends = config.frontends.iter();
    frontends
        .flat_map(|frontend| frontend.bind.iter().map(|bind| (bind.address, frontend.name.clone())))
        .collect()
}

/// Binds as many sockets as are missing beside the listeners that there are, or says why it cannot.
fn open_all(
    file: &Path,
    (address, frontend): (SocketAddr, &str),
    count: usize,
    mut listeners: Vec<TcpListener>,
) -> Result<Vec<TcpListener>, String> {
    let opened = if listeners.is_empty() {
        listen::open(address, count)
    } else {
        listeners
            .iter()
            .try_for_each(listen::prepare)
            .and_then(|()| listen::join(address, count.saturating_sub(listeners.len())))
    };
    if opened.is_ok() && !listening::is_ours(address.ip()) {
        tracing::info!(
            "no interface has {} now: frontend {frontend} listens for when it comes, as a virtual address does",
            address.ip()
        );
    }
    let opened = opened
        .map_err(|error| listening::refused(file, &format!("frontends.{frontend}.bind"), address, &error))?;
    listeners.extend(opened);
    Ok(listeners)
}

fn start_workers(
    state: &Shared,
    routing: &watch::Receiver<Arc<Routing>>,
    log: &Sink,
    failures: &Arc<Notify>,
    count: usize,
) -> anyhow::Result<(Vec<Worker>, mpsc::Receiver<usize>)> {
    let (start, pulse, counters, descriptors) = {
        let state = lock(state);
        (state.start(), state.pulse().clone(), state.registry().worker.clone(), state.descriptors())
    };
    let (ended, worker_ended) = mpsc::channel(count);
    let spare = Spare::new(count);
    let mut workers = Vec::with_capacity(count);
    for id in 0..count {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let setup = Setup {
            id,
            start,
            pulse: pulse.clone(),
            failures: failures.clone(),
            counters: counters.clone(),
            routing: routing.clone(),
            commands: receiver,
            log: log.clone(),
            descriptors,
            spare: spare.clone(),
        };
        let death = Death { id, ended: ended.clone() };
        std::thread::Builder::new()
            .name(format!("{}{id}", wire::WORKER_THREADS))
            .spawn(move || {
                let _death = death;
                if let Err(error) = worker::run(setup) {
                    tracing::error!(worker = id, %error, "a worker cannot start");
                }
            })
            .with_context(|| format!("cannot start worker {id}"))?;
        workers.push(Worker { commands });
    }
    Ok((workers, worker_ended))
}

/// Tells that a worker ended, which could not start then.
struct Death {
    id: usize,
    ended: mpsc::Sender<usize>,
}

impl Drop for Death {
    fn drop(&mut self) {
        // There is room for one message from each worker; during a stop nobody listens.
        let _ = self.ended.try_send(self.id);
    }
}

/// Waits until then; without a time, not at all. Cancel safe.
async fn at(time: Option<Instant>) {
    if let Some(time) = time {
        tokio::time::sleep_until(time.into()).await;
    }
}

/// What is said of servers, and of where they are found.
fn sorted(items: Vec<Item>) -> (Vec<Verdict>, Vec<Discovery>) {
    let (mut verdicts, mut discoveries) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Verdict(verdict) => verdicts.push(verdict),
            Item::Discovery(discovery) => discoveries.push(discovery),
            Item::Left(_) | Item::Liveness(_) | Item::Instance(_) | Item::Anycast(_) => {}
        }
    }
    (verdicts, discoveries)
}

async fn observe(path: PathBuf, observations: Vec<Observation>) -> Result<(), ClientError> {
    Client::connect(&path, "lbd").await?.request(Request::Observe { observations }).await?;
    Ok(())
}
