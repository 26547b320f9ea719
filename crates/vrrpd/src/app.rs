//! vrrpd as a whole: what it starts with, and what it does when it is told to.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use config::VrrpConfig;
use daemon::admin::{self, Shown};
use daemon::config_file::ConfigFile;
use daemon::life::Life;
use daemon::metrics::Exposition;
use daemon::serve::{self, Doors, Own};
use daemon::signals::Signals;
use daemon::{Context, Failure, metrics};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};
use wire::human::things;
use wire::{Answer, AnycastState, AnycastStatus, Document, Info, InstanceState, InstanceStatus, LifeState};

use crate::board::{Board, STALE, hangs};
use crate::control::Control;
use crate::order::{ANSWER, Order, Undone, give};
use crate::process::ElectionThread;
use crate::track::{Reporter, Trackers};
use crate::view::metrics::{FAMILIES, Seen};
use crate::{check, election, handover, notify, sequences, view};

/// Orders that may wait for the election.
const ORDERS: usize = 64;
/// How often the election is to show that it goes on.
const LOOK: Duration = Duration::from_secs(1);
/// Instances and services that may wait for somebody to tell of them.
const HOOKS: usize = 64;
/// How long the last notifications may take before vrrpd ends.
const LAST_NOTICES: Duration = Duration::from_secs(5);

/// The running daemon, as everybody who answers questions about it sees it.
#[derive(Debug)]
pub struct Daemon {
    life: Life<VrrpConfig>,
    /// As configured at the start, like all that concerns the process.
    process: config::Vrrpd,
    board: Arc<Board>,
    orders: mpsc::Sender<Order>,
    trackers: Mutex<Trackers>,
    /// Ends when the election has, and everybody has been notified. Waited for once.
    notified: Mutex<Option<JoinHandle<()>>>,
}

/// Runs vrrpd until it is told to stop.
///
/// # Errors
/// When the configuration cannot be used, or the system refuses something.
pub async fn main(context: Context, election: anyhow::Result<ElectionThread>) -> Result<(), Failure> {
    let signals = Signals::listen().map_err(|error| Failure::System(error.into()))?;
    let (file, config) = ConfigFile::open_with(&context.config, check::load)?;
    let election = election.map_err(Failure::System)?;
    let doors = Doors::open(&context, "admin.bind", config.vrrpd.admin).await?;

    let kept = sequences::load(&context.own_dir());
    let board = Arc::new(Board::new(kept.clone()).context("cannot open an eventfd")?);
    tokio::spawn(sequences::keep(context.own_dir(), board.clone(), kept));
    board.relay().context("cannot listen to the election")?;
    let (orders, obeyed) = mpsc::channel(ORDERS);
    let (hooks, hooked) = mpsc::channel(HOOKS);
    let (opened, is_open) = oneshot::channel();
    let configured = (config.instances.clone(), config.anycast.clone());
    let (shown, run_dir) = (board.clone(), context.own_dir());
    election.run(config.vrrpd.clone(), move |prepared| match prepared {
        Ok(()) => election::run(configured, shown, &run_dir, obeyed, hooks, opened),
        // Nobody listens only if the daemon has ended.
        Err(error) => _ = opened.send(Err(error)),
    });
    let notified = tokio::spawn(notify::run(hooked, board.clone(), Reporter::new(orders.clone())));
    let mut trackers = Trackers::new(orders.clone(), board.clone(), &context.socket("lbd"));
    trackers.apply(&config.instances, &config.anycast);
    let daemon = Arc::new(Daemon {
        life: Life::new(context, file, &config.access),
        process: config.vrrpd,
        board,
        orders,
        trackers: Mutex::new(trackers),
        notified: Mutex::new(Some(notified)),
    });

    let registry = metrics::registry("vrrpd").context("metrics")?;
    let looked_at = daemon.clone();
    let look = move || Seen {
        info: looked_at.info(),
        instances: looked_at.statuses(),
        services: looked_at.services(),
    };
    let metrics = Exposition::new(registry, FAMILIES, look);
    let control = Arc::new(Control::new(daemon.clone()));
    let router = admin::router(&daemon, metrics, &[]);
    let work = elect(daemon.clone());
    serve::serve(daemon, doors, control, router, signals, begin(is_open), work).await
}

/// Waits until the election has its sockets.
async fn begin(is_open: oneshot::Receiver<anyhow::Result<()>>) -> Result<(), Failure> {
    let opened = is_open.await.unwrap_or_else(|_| Err(anyhow!("the election's thread has ended")));
    opened.map_err(Failure::System)
}

/// The election goes on on a thread of its own; it ends where vrrpd leaves, or else cannot go on.
async fn elect(daemon: Arc<Daemon>) -> Result<(), Failure> {
    tokio::select! {
        () = daemon.orders.closed() => {}
        never = daemon.look_after_election() => match never {},
    }
    match daemon.life.state() {
        // There are notifications to be sent.
        LifeState::Stopping => pending().await,
        _ => Err(anyhow!("the election's thread has ended").into()),
    }
}

impl Daemon {
    /// vrrpd in general.
    pub(crate) fn info(&self) -> Info {
        let instances = self.board.statuses();
        let count = |state| instances.iter().filter(|instance| instance.state == state).count().to_string();
        let details = InstanceState::ALL.map(|state| (format!("Instances_{}", state.word()), count(state)));
        let services = self.board.services();
        let count = |state| services.iter().filter(|service| service.state == state).count().to_string();
        let anycast = AnycastState::ALL.map(|state| (format!("Anycast_{}", state.word()), count(state)));
        let anycast = anycast.into_iter().filter(|_| !services.is_empty());
        self.life.info(details.into_iter().chain(anycast).collect())
    }

    /// All instances.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        self.board.statuses()
    }

    /// All anycast services.
    pub fn services(&self) -> Vec<AnycastStatus> {
        self.board.services()
    }

    /// Sees again and again whether the election goes on.
    async fn look_after_election(&self) -> Infallible {
        loop {
            if timeout(STALE, self.goes_on()).await.is_err() {
                error!("the election hangs: what is shown of it is stale");
                self.board.publish_all();
                self.goes_on().await;
                info!("the election goes on");
            }
            self.board.refresh();
            sleep(LOOK).await;
        }
    }

    fn election_goes_on(&self) -> Result<(), String> {
        self.board.stale().map_or(Ok(()), |silence| Err(hangs(silence)))
    }

    /// What subscribers follow.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Gives the addresses of one instance or service, or of all, to other nodes. What was done, or why nothing was.
    pub(crate) async fn hand_over(&self, which: Option<String>) -> Result<String, String> {
        let lbd = self.life.context().socket("lbd");
        handover::hand_over(&self.board, &self.orders, &lbd, which.as_deref()).await
    }

    /// Announces one service again, or all. What was done, or why nothing was.
    pub(crate) async fn announce(&self, service: Option<String>) -> Result<String, String> {
        handover::announce(&self.board, &self.orders, service.as_deref()).await
    }
}

impl Own for Daemon {
    type Config = VrrpConfig;

    fn life(&self) -> &Life<VrrpConfig> {
        &self.life
    }

    async fn adopt(&self, config: VrrpConfig) -> Result<String, String> {
        if config.vrrpd != self.process {
            warn!("admin.bind or vrrpd has changed: that takes effect at the next start");
        }
        self.life.guard().admit(&config.access);
        let what = match (config.instances.len(), config.anycast.len()) {
            (instances, 0) => things(instances, "instance"),
            (0, services) => things(services, "anycast service"),
            (instances, services) => {
                format!("{}, {}", things(instances, "instance"), things(services, "anycast service"))
            }
        };
        // First, so that new trackers have reported when the election learns of them.
        self.trackers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(&config.instances, &config.anycast);
        let (done, applied) = oneshot::channel();
        let order = Order::Reload { instances: config.instances, services: config.anycast, done };
        match give(&self.orders, order, applied, ANSWER).await {
            Ok(()) => Ok(what),
            Err(late @ Undone::Late(_)) => {
                warn!("a reload takes its time: {late}");
                Ok(format!("{what}; {late}"))
            }
            Err(refused) => Err(refused.to_string()),
        }
    }

    /// The election's loop, and those of all instances.
    async fn goes_on(&self) {
        let (done, settled) = oneshot::channel();
        if self.orders.send(Order::Settle { done }).await.is_ok() {
            // An election that ends takes vrrpd with it.
            let _ = settled.await;
        }
    }

    /// Leaves all elections, and has everybody notified of that. Told a second time, it waits for nobody.
    async fn leave(&self, signals: &mut Signals) {
        self.life.stop();
        tokio::select! {
            () = self.leave_in_order() => {}
            _ = signals.next() => {
                warn!("told to stop again: neither lbd nor notifications are waited for");
                handover::leave_at_once(&self.orders).await;
            }
        }
    }
}

impl Daemon {
    async fn leave_in_order(&self) {
        handover::leave(&self.board, &self.orders, &self.life.context().socket("lbd")).await;
        let notified = self.notified.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(notified) = notified
            && timeout(LAST_NOTICES, notified).await.is_err()
        {
            warn!("a notification takes too long and is ended with vrrpd");
        }
    }
}

impl Shown for Daemon {
    fn ready(&self) -> Result<(), String> {
        self.life.ready("the sockets are being opened").and_then(|()| self.election_goes_on())
    }

    fn page(&self) -> String {
        view::page::render(&self.info(), &self.statuses(), &self.services())
    }

    fn document(&self) -> Document {
        Document { info: self.info(), about: Answer::Instances(self.statuses()), anycast: self.services() }
    }
}
