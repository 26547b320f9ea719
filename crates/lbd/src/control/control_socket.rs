//! Operators' end of lbd: the control socket in both dialects, and what the admin pages and metrics show.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::LbConfig;
use daemon::life::Life;
use daemon::serve::{self, Own};
use daemon::signals::{Signal, Signals};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use wire::server::Handler;
use wire::text::{self, Command, DENIED};
use wire::topic::{Feed, Topic};
use wire::{
    Answer, DaemonHello, Info, LifeState, Liveness, Ping, Refusal, RefusalCode, Request, RowKind, StatRow,
    TopicName,
};

use crate::control::app::handover::{HandoverRequest, Step};
use crate::control::app::reload::Adoption;
use crate::control::app::upgrade::UpgradeRequest;
use crate::control::app::{Shared, lock};
use crate::control::operator::Wish;
use crate::control::sessions::Sessions;
use crate::control::stats;
use crate::shared::counters::Latency;
use crate::shared::millis;
use crate::shared::pulse::Pulse;
use crate::shared::sessions::Whose;
use crate::view::certificates::{CertificateRow, show_certificates};
use crate::view::metrics::{BackendLatency, Sample};
use crate::view::routes::{RouteRow, show_routes};
use crate::view::sessions::show_sessions;
use crate::view::{HealthdLink, command, csv, json, text as show};

/// A worker that has not ticked for this long makes lbd not ready.
const TICK_AGE_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether a worker that hangs moves again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// In how long sessions may be ended at most.
const CLOSE_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an operator waits for the disk: shorter than tandemctl waits for an answer.
const SAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What operators see of lbd, and what they may tell it.
#[derive(Debug)]
pub struct Control {
    life: Arc<Life>,
    state: Shared,
    pulse: Arc<Pulse>,
    liveness: Arc<Topic<Liveness>>,
    sessions: Sessions,
    reach: Reach,
}

/// How operators' end reaches the control thread.
#[derive(Debug)]
pub struct Reach {
    /// To take a configuration into force.
    pub adopt: mpsc::Sender<Adoption>,
    /// To hand over.
    pub handover: mpsc::Sender<HandoverRequest>,
    /// To have another lbd take this one's place.
    pub upgrade: mpsc::Sender<UpgradeRequest>,
    /// Counts how often lbd was told to stop.
    pub stop: watch::Sender<u32>,
    /// Whom the control thread is to show that it goes on.
    pub watchers: mpsc::Sender<oneshot::Sender<()>>,
}

const COMMANDS: &[Command] = &[
    Command { usage: "show info", help: "lbd itself: version, uptime, state, configuration" },
    Command {
        usage: "show stat [json]",
        help: "statistics of every frontend, server and backend, as CSV or JSON",
    },
    Command { usage: "show servers state [BACKEND]", help: "state, weight and address of every server" },
    Command { usage: "show servers conn [BACKEND]", help: "connections of every server" },
    Command {
        usage: "show routes [FRONTEND]",
        help: "the routes of frontends, and how often each was taken",
    },
    Command {
        usage: "show certificates [FRONTEND]",
        help: "the certificates that are presented, and how many days are left to them",
    },
    Command {
        usage: "show sess [BACKEND[/SERVER]]",
        help: "client connections: who they are with, since when, and what they carried",
    },
    Command { usage: "show backend", help: "the names of the backends" },
    Command {
        usage: "set server BACKEND/SERVER state ready|drain|maint",
        help: "put a server into service or take it out",
    },
    Command {
        usage: "set server BACKEND/SERVER weight 0..256",
        help: "change a server's share of the requests",
    },
    Command { usage: "set weight BACKEND/SERVER 0..256", help: "the same" },
    Command {
        usage: "set maxconn server BACKEND/SERVER N",
        help: "limit a server's requests at once; 0: no limit",
    },
    Command {
        usage: "enable server BACKEND/SERVER",
        help: "the same as `set server BACKEND/SERVER state ready`",
    },
    Command {
        usage: "disable server BACKEND/SERVER",
        help: "the same as `set server BACKEND/SERVER state maint`",
    },
    Command {
        usage: "shutdown sessions server BACKEND/SERVER",
        help: "end all sessions and requests that are with a server",
    },
    Command { usage: "shutdown session ID", help: "end one client connection" },
    Command { usage: "reload", help: "read the configuration file again" },
    Command {
        usage: "upgrade",
        help: "have the program that is installed now serve in this one's place, which finishes what it has",
    },
];

impl Control {
    /// The operators' end of this lbd.
    pub fn new(
        life: Arc<Life>,
        state: Shared,
        liveness: Arc<Topic<Liveness>>,
        sessions: Sessions,
        reach: Reach,
    ) -> Self {
        let pulse = lock(&state).pulse().clone();
        Self { life, state, pulse, liveness, sessions, reach }
    }

    /// lbd in general.
    pub fn info(&self) -> Info {
        let now = Instant::now();
        let state = lock(&self.state);
        let workers = &state.registry().worker;
        let details = [
            ("healthd", healthd_link(&state, now).to_string()),
            ("workers", state.registry().workers().to_string()),
            ("connections", workers.sum(|worker| worker.connections.get()).to_string()),
            ("Maxconn", state.maxconn().to_string()),
            ("Ulimit-n", state.descriptors().allowed.to_string()),
            ("tick_age_ms", self.pulse.age().to_string()),
        ];
        let details = details.into_iter().chain(state.relatives().details(now));
        self.life.info(details.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The statistics as they are now.
    pub fn rows(&self) -> Vec<StatRow> {
        self.with_ends(stats::rows(&lock(&self.state), self.life.state(), Instant::now()))
    }

    /// The same, put together on another thread: thousands of servers take a while, and pings on this one do not wait.
    async fn rows_apart(&self) -> Vec<StatRow> {
        let (state, life) = (self.state.clone(), self.life.state());
        let rows = tokio::task::spawn_blocking(move || stats::rows(&lock(&state), life, Instant::now()));
        self.with_ends(rows.await.unwrap_or_default())
    }

    /// Tells of servers whose sessions will be ended.
    fn with_ends(&self, mut rows: Vec<StatRow>) -> Vec<StatRow> {
        for row in rows.iter_mut().filter(|row| row.kind == RowKind::Server) {
            if let Some(time) = self.sessions.ends_in(&row.proxy, &row.name) {
                row.reason = format!("sessions end in {}", wire::human::duration(millis(time)));
            }
        }
        rows
    }

    /// The routes of frontends as they are now.
    pub fn routes(&self) -> Vec<RouteRow> {
        stats::routes(&lock(&self.state))
    }

    /// The certificates that are presented now.
    pub fn certificates(&self) -> Vec<CertificateRow> {
        stats::certificates(&lock(&self.state))
    }

    async fn routes_apart(&self) -> Vec<RouteRow> {
        let state = self.state.clone();
        tokio::task::spawn_blocking(move || stats::routes(&lock(&state))).await.unwrap_or_default()
    }

    /// How lbd stands with healthd.
    pub fn healthd(&self) -> HealthdLink {
        healthd_link(&lock(&self.state), Instant::now())
    }

    /// Whether lbd serves clients; if not, why.
    ///
    /// # Errors
    /// The reason.
    pub fn ready(&self) -> Result<(), String> {
        let age = Duration::from_millis(self.pulse.age());
        match self.life.state() {
            LifeState::Starting => Err("waiting for healthd's first verdicts".into()),
            LifeState::Draining => Err("draining: new connections are held for another node".into()),
            LifeState::Stopping => Err("stopping".into()),
            LifeState::Succeeded => Err("another lbd serves in this one's place".into()),
            LifeState::Ready | LifeState::Leaving if age > TICK_AGE_MAX => {
                Err(format!("a worker has not moved for {age:?}"))
            }
            LifeState::Ready | LifeState::Leaving => Ok(()),
        }
    }

    /// Everything that is measured.
    pub fn sample(&self) -> Sample {
        let now = Instant::now();
        let (info, rows) = (self.info(), self.rows());
        let state = lock(&self.state);
        let workers = &state.registry().worker;
        let mut refusals = BTreeMap::new();
        for worker in workers.iter() {
            worker.add_refusals(&mut refusals);
        }
        let latency = state.routing().backends.iter().map(|backend| BackendLatency {
            backend: backend.name.to_string(),
            times: Latency::sum(backend.counters.iter().map(|worker| &worker.latency)),
        });
        Sample {
            info,
            rows,
            routes: stats::routes(&state),
            certificates: stats::certificates(&state),
            handshakes: stats::handshakes(&state),
            http2: stats::http2(&state),
            latency: latency.collect(),
            healthd: healthd_link(&state, now),
            verdict_age: state.verdicts().age(now),
            workers: state.registry().workers() as u64,
            tick_age: Duration::from_millis(self.pulse.age()),
            connections: workers.sum(|worker| worker.connections.get()),
            predecessors: (state.relatives().predecessors.len() as u64, state.relatives().connections()),
            maxconn: state.maxconn(),
            descriptors: state.descriptors().allowed,
            log_dropped: workers.sum(|worker| worker.log_dropped.get()),
            refusals: refusals.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
        }
    }

    async fn set_server(
        &self,
        backend: &str,
        server: &str,
        wish: Wish,
        close_after: Option<Duration>,
    ) -> Result<Answer, Refusal> {
        let saving = {
            let mut state = lock(&self.state);
            if state.relatives().changes_held {
                return Err(Refusal::new(RefusalCode::Failed, HELD));
            }
            state.wish(backend, server, wish, Instant::now())
        };
        let Some(saving) = saving else {
            return Err(self.no_such_server(backend, server));
        };
        let what = [
            wish.state.map(|state| format!("state {state}")),
            wish.weight.map(|weight| format!("weight {weight}")),
            wish.maxconn.map(|maxconn| match maxconn {
                0 => "no maxconn".to_owned(),
                _ => format!("maxconn {maxconn}"),
            }),
        ];
        let what = what.into_iter().flatten().collect::<Vec<_>>().join(", ");
        tracing::info!(backend, server, "operator sets {what}");
        match close_after {
            Some(time) => self.sessions.cut_later(backend, server, time),
            None if wish.state.is_some() => self.sessions.spare(backend, server),
            None => {}
        }
        let saved = tokio::time::timeout(SAVE_TIMEOUT, saving.done()).await;
        let in_flight = {
            let state = lock(&self.state);
            state.registry().server(backend, server).sum(|worker| worker.in_flight.get())
        };
        let in_flight = wire::human::things(in_flight, "request");
        let mut done = format!("{backend}/{server}: {what}; {in_flight} in flight");
        if let Some(time) = close_after {
            done.push_str(&format!(", sessions end in {}", wire::human::duration(millis(time))));
        }
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => done.push_str(&format!(" (not saved, so lost when lbd stops: {error})")),
            Err(_) => done.push_str(" (not saved yet, as the disk is slow: lost if lbd stops before)"),
        }
        Ok(Answer::Done(done))
    }

    /// Ends client connections. HAProxy answers that with an empty line.
    async fn shut_down(&self, whose: &Whose) -> Result<String, String> {
        let ended = self.sessions.cut(whose).await?;
        match whose {
            Whose::One(id) if ended == 0 => return Err(format!("no session {id}; `show sess` lists them")),
            Whose::One(id) => tracing::info!(session = %id, "operator ends a session"),
            Whose::With { backend, server } => {
                tracing::info!(backend, server, sessions = ended, "operator ends sessions");
            }
            Whose::All => tracing::info!(sessions = ended, "operator ends all sessions"),
        }
        Ok(String::new())
    }

    fn no_such_server(&self, backend: &str, server: &str) -> Refusal {
        let state = lock(&self.state);
        let config = state.config();
        let message = match config.backend(backend) {
            Some(known) => {
                let names: Vec<&str> = known.servers.iter().map(|server| server.name.as_str()).collect();
                no_such("server", server, &names)
            }
            None => {
                let names: Vec<&str> = config.backends.iter().map(|backend| backend.name.as_str()).collect();
                no_such("backend", backend, &names)
            }
        };
        Refusal { code: RefusalCode::NotFound, message }
    }

    /// Has another lbd take this one's place. Who that is, or why nothing has changed.
    async fn succeed(&self) -> Result<String, String> {
        let (done, outcome) = oneshot::channel();
        match self.reach.upgrade.try_send(done) {
            Ok(()) => outcome.await.unwrap_or_else(|_| Err(ENDING.to_owned())),
            Err(TrySendError::Full(_)) => Err("others are waiting for that already".to_owned()),
            Err(TrySendError::Closed(_)) => Err(ENDING.to_owned()),
        }
    }

    async fn hand_over(&self, step: Step) -> Result<Answer, Refusal> {
        let (done, outcome) = oneshot::channel();
        match self.reach.handover.try_send(HandoverRequest { step, done }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let message = "other requests of a handover are waiting already".to_owned();
                return Err(Refusal { code: RefusalCode::Failed, message });
            }
            Err(TrySendError::Closed(_)) => return Ok(Answer::Done(ENDING.to_owned())),
        }
        // A channel that closes belongs to an lbd that ends, and so has nothing left to hand over.
        Ok(Answer::Done(outcome.await.unwrap_or_else(|_| ENDING.to_owned())))
    }
}

/// The answer to a change that another lbd would not know of.
const HELD: &str = "another lbd takes this one's place, and knows what was set so far; try again in a moment";
/// The answer to a handover's requests when lbd is about to be gone.
const ENDING: &str = "lbd ends";

impl Own for Control {
    type Config = LbConfig;

    const DOORS_APART: bool = true;

    fn life(&self) -> &Life {
        &self.life
    }

    async fn adopt(&self, config: LbConfig) -> Result<String, String> {
        let gone = || "lbd is stopping".to_owned();
        let (done, adopted) = oneshot::channel();
        self.reach
            .adopt
            .send(Adoption { config: Box::new(config), instead_of: None, done })
            .await
            .map_err(|_| gone())?;
        adopted.await.map_err(|_| gone())??.closed().await;
        Ok("configuration reloaded".to_owned())
    }

    /// The control thread's loop, and all workers.
    async fn goes_on(&self) {
        if self.life.state() == LifeState::Succeeded {
            // systemd listens to another process.
            return pending().await;
        }
        let (turn, taken) = oneshot::channel();
        if self.reach.watchers.send(turn).await.is_ok() {
            // An lbd that ends has other watchers.
            let _ = taken.await;
        }
        while Duration::from_millis(self.pulse.age()) > TICK_AGE_MAX {
            self.pulse.ask();
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn upgrade(&self) {
        // The log has the outcome.
        let (done, _) = oneshot::channel();
        if self.reach.upgrade.try_send(done).is_err() {
            tracing::error!("lbd does not look for a successor any more, or does so already");
        }
    }

    /// lbd's work ends when everything has ended well, and lbd with it.
    async fn leave(&self, signals: &mut Signals) {
        loop {
            self.reach.stop.send_modify(|times| *times += 1);
            while signals.next().await != Signal::Stop {}
        }
    }
}

/// The control socket, in both dialects.
#[derive(Debug)]
pub struct Socket(pub Arc<Control>);

impl Socket {
    async fn reload(&self) -> Result<String, String> {
        let refused = |why| format!("reload refused, the old configuration stays in force:\n{why}");
        serve::reload(&self.0).await.map_err(refused)
    }
}

impl Handler for Socket {
    fn hello(&self) -> DaemonHello {
        self.0.life.hello()
    }

    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Info => Ok(Answer::Info(self.0.info())),
            Request::Stat => Ok(Answer::Stat(self.0.rows_apart().await)),
            Request::SetServer { backend, server, state, weight, maxconn, close_after_ms } => {
                let close_after = close_after_ms.map(Duration::from_millis);
                if close_after.is_some_and(|time| time > CLOSE_AFTER_MAX) {
                    let message = format!("close_after_ms is at most {}", CLOSE_AFTER_MAX.as_millis());
                    return Err(Refusal { code: RefusalCode::BadRequest, message });
                }
                self.0.set_server(&backend, &server, Wish { state, weight, maxconn }, close_after).await
            }
            Request::Reload => match self.reload().await {
                Ok(done) => Ok(Answer::Done(done)),
                Err(why) => Err(Refusal { code: RefusalCode::Failed, message: why }),
            },
            Request::Upgrade => match self.0.succeed().await {
                Ok(done) => Ok(Answer::Done(done)),
                Err(why) => Err(Refusal { code: RefusalCode::Failed, message: unchanged(&why) }),
            },
            Request::Drain => self.0.hand_over(Step::Drain).await,
            Request::Released => self.0.hand_over(Step::Released).await,
            Request::Kept => self.0.hand_over(Step::Kept).await,
            Request::Subscribe { .. }
            | Request::Verdicts
            | Request::Resolvers
            | Request::Observe { .. }
            | Request::AdminStates { .. }
            | Request::Instances
            | Request::Anycast
            | Request::Handover { .. }
            | Request::Announce { .. } => {
                let message = "lbd does not know this request; another daemon may".to_owned();
                Err(Refusal { code: RefusalCode::UnknownRequest, message })
            }
        }
    }

    fn feed(&self, name: TopicName) -> Option<Arc<dyn Feed>> {
        match name {
            TopicName::Liveness => Some(self.0.liveness.clone()),
            TopicName::Verdicts | TopicName::Instances | TopicName::Anycast => None,
        }
    }

    fn ping(&self) -> Ping {
        let age = self.0.pulse.age();
        // Whoever moves has given a sign by the next ping.
        self.0.pulse.ask();
        Ping { tick_age_ms: Some(age), ..Ping::default() }
    }

    async fn command(&self, command: &str, privileged: bool) -> String {
        let words: Vec<&str> = command.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["help"] => text::help(COMMANDS),
            ["show", "info"] => show::show_info(&self.0.info(), &self.0.rows_apart().await),
            ["show", "stat"] => csv::render(&self.0.rows_apart().await),
            ["show", "stat", "json"] => json::render(&self.0.rows_apart().await),
            ["show", "servers", "state", backend @ ..] if backend.len() < 2 => {
                show::show_servers_state(&self.0.rows_apart().await, backend.first().copied())
            }
            ["show", "servers", "conn", backend @ ..] if backend.len() < 2 => {
                show::show_servers_conn(&self.0.rows_apart().await, backend.first().copied())
            }
            ["show", "routes", frontend @ ..] if frontend.len() < 2 => {
                show_routes(&self.0.routes_apart().await, frontend.first().copied())
            }
            ["show", "certificates", frontend @ ..] if frontend.len() < 2 => {
                show_certificates(&self.0.certificates(), frontend.first().copied(), stats::now())
            }
            ["show", "sess", whose @ ..] if whose.len() < 2 => {
                match command::listed(whose.first().copied(), &self.0.rows_apart().await) {
                    Ok(whose) => {
                        self.0.sessions.list(&whose).await.map_or_else(line, |all| show_sessions(&all))
                    }
                    Err(error) => line(error.to_string()),
                }
            }
            ["shutdown", ..] if !privileged => DENIED.to_owned(),
            ["shutdown", rest @ ..] => match command::shut_down(rest, &self.0.rows_apart().await) {
                Ok(whose) => self.0.shut_down(&whose).await.unwrap_or_else(line),
                Err(error) => line(error.to_string()),
            },
            ["show", "backend"] => show::show_backend(&self.0.rows_apart().await),
            ["reload" | "upgrade"] if !privileged => DENIED.to_owned(),
            ["upgrade"] => match self.0.succeed().await {
                Ok(done) => line(done),
                Err(why) => line(unchanged(&why)),
            },
            ["reload"] => match self.reload().await {
                Ok(done) => format!("{done}\n"),
                Err(why) => format!("{why}\n"),
            },
            _ => match command::parse(command, &self.0.rows_apart().await) {
                Some(Ok(_)) if !privileged => DENIED.to_owned(),
                // HAProxy answers a change that was carried out with an empty line.
                Some(Ok(request)) => match self.request(request).await {
                    Ok(_) => String::new(),
                    Err(refusal) => format!("{}\n", refusal.message),
                },
                Some(Err(error)) => format!("{error}\n"),
                None => text::unknown(command, COMMANDS),
            },
        }
    }
}

fn healthd_link(state: &crate::control::state::State, now: Instant) -> HealthdLink {
    match state.verdicts().stale_for(now) {
        _ if state.verdicts().is_connected() => {
            state.verdicts().differs_for(now).map_or(HealthdLink::Connected, HealthdLink::Differs)
        }
        Some(age) => HealthdLink::Lost(age),
        None => HealthdLink::Never(now - state.start()),
    }
}

fn unchanged(why: &str) -> String {
    format!("nothing has changed: {why}")
}

fn line(text: String) -> String {
    text + "\n"
}

fn no_such(kind: &str, name: &str, known: &[&str]) -> String {
    let hint = match config::nearest(name, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::from("."),
    };
    format!("no {kind} `{name}`{hint} There are: {}", known.join(", "))
}
