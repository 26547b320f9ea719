//! vrrpd as a whole: what it starts with, what it does when it is told to, and how it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use config::VrrpConfig;
use daemon::admin::{self, Shown};
use daemon::config_file::ConfigFile;
use daemon::metrics::Exposition;
use daemon::signals::{Signal, Signals};
use daemon::{Context, Failure, metrics, ready};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};
use wire::{Answer, DaemonHello, Document, Info, InstanceState, InstanceStatus, LifeState, server};

use crate::board::Board;
use crate::control::Control;
use crate::order::{ANSWER, Order, give};
use crate::process::ElectionThread;
use crate::track::Trackers;
use crate::view::metrics::{FAMILIES, Seen};
use crate::{election, handover, notify, view};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Permissions of the socket: everybody may look. Who may change something is decided by who asks.
const SOCKET_MODE: u32 = 0o666;
/// Orders that may wait for the election.
const ORDERS: usize = 64;
/// Notifications that may wait to be sent.
const NOTICES: usize = 64;
/// How long the last notifications may take before vrrpd ends.
const LAST_NOTICES: Duration = Duration::from_secs(5);

/// The running daemon, as everybody who answers questions about it sees it.
#[derive(Debug)]
pub struct Daemon {
    context: Context,
    started: Instant,
    /// As configured at the start, like all that concerns the process.
    process: config::Vrrpd,
    board: Arc<Board>,
    orders: mpsc::Sender<Order>,
    trackers: Mutex<Trackers>,
    status: Mutex<Status>,
    /// Held for a whole reload: a signal and a request that come at once are two reloads, one after the other.
    reloading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Status {
    state: LifeState,
    file: ConfigFile<VrrpConfig>,
}

/// Runs vrrpd until it is told to stop.
///
/// # Errors
/// When the configuration cannot be used, or the system refuses something.
pub async fn main(context: Context, election: anyhow::Result<ElectionThread>) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::System(error.into()))?;
    let (file, config) = ConfigFile::open_with(&context.config, config::load_vrrp)?;
    let election = election.map_err(Failure::System)?;
    let socket = context.socket("vrrpd");
    let listener =
        server::bind(&socket, SOCKET_MODE, "vrrpd").map_err(|error| Failure::System(error.into()))?;
    let admin_listener = admin::bind("admin.bind", config.vrrpd.admin).await?;

    let board = Arc::new(Board::new());
    let (orders, obeyed) = mpsc::channel(ORDERS);
    let (notices, noticed) = mpsc::channel(NOTICES);
    let (opened, is_open) = oneshot::channel();
    let (routers, shown) = (config.instances.clone(), board.clone());
    election.run(config.vrrpd.clone(), move |prepared| match prepared {
        Ok(()) => election::run(routers, shown, obeyed, notices, opened),
        // Nobody listens only if the daemon has ended.
        Err(error) => _ = opened.send(Err(error)),
    });
    let status = Mutex::new(Status { state: LifeState::Starting, file });
    let started = Instant::now();
    let notified = tokio::spawn(notify::run(noticed, board.clone()));
    let mut trackers = Trackers::new(orders.clone(), &context.socket("lbd"));
    trackers.apply(&config.instances);
    let trackers = Mutex::new(trackers);
    let daemon = Arc::new(Daemon {
        context,
        started,
        process: config.vrrpd,
        board,
        orders,
        trackers,
        status,
        reloading: tokio::sync::Mutex::default(),
    });

    let registry = metrics::registry("vrrpd").context("metrics")?;
    let looked_at = daemon.clone();
    let look = move || Seen { info: looked_at.info(), instances: looked_at.statuses() };
    let metrics = Exposition::new(registry, FAMILIES, look);
    let serve_control = server::serve(listener, Arc::new(Control::new(daemon.clone())));
    let serve_admin = admin::serve(admin_listener, admin::router(&daemon, metrics, &[]));
    let supervise = async {
        daemon.become_ready(is_open).await?;
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop => break,
                    // The log has the reason.
                    Signal::Reload => _ = daemon.reload().await,
                },
                () = daemon.orders.closed() => return Err(anyhow!("the election's thread has ended").into()),
            }
        }
        daemon.stop().await;
        if timeout(LAST_NOTICES, notified).await.is_err() {
            warn!("a notification takes too long and is ended with vrrpd");
        }
        Ok(())
    };
    let result = tokio::select! {
        () = serve_control => Ok(()),
        () = serve_admin => Ok(()),
        result = supervise => result,
    };
    // A socket that nobody answers on would only be in the way.
    let _ = std::fs::remove_file(socket);
    result
}

impl Daemon {
    /// Who answers on the socket.
    pub fn hello(&self) -> DaemonHello {
        self.context.hello()
    }

    /// vrrpd in general.
    pub(crate) fn info(&self) -> Info {
        let instances = self.board.statuses();
        let count = |state| instances.iter().filter(|instance| instance.state == state).count().to_string();
        let details =
            InstanceState::ALL.map(|state| (format!("Instances_{}", state.word()), count(state))).into();
        let status = self.status();
        Info {
            daemon: self.context.name.to_owned(),
            version: VERSION.to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            state: status.state,
            config: status.file.path().display().to_string(),
            generation: status.file.generation(),
            reload_error: status.file.error().map(str::to_owned),
            details,
        }
    }

    /// All virtual routers.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        self.board.statuses()
    }

    /// What subscribers follow.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Gives the addresses of one virtual router, or of all, to another node. What was done, or why nothing was.
    pub(crate) async fn hand_over(&self, instance: Option<String>) -> Result<String, String> {
        let lbd = self.context.socket("lbd");
        handover::hand_over(&self.board, &self.orders, &lbd, instance.as_deref()).await
    }

    /// Waits until the election has its sockets, and says that vrrpd is ready.
    async fn become_ready(&self, is_open: oneshot::Receiver<anyhow::Result<()>>) -> Result<(), Failure> {
        let opened = is_open.await.unwrap_or_else(|_| Err(anyhow!("the election's thread has ended")));
        opened.map_err(Failure::System)?;
        self.status().state = LifeState::Ready;
        ready::ready(&self.context)?;
        info!("ready");
        Ok(())
    }

    /// Takes over the configuration file as it is now, wholly or not at all. What was done, or why nothing was.
    pub(crate) async fn reload(&self) -> Result<String, String> {
        let _alone = self.reloading.lock().await;
        let loaded = self.status().file.load().map_err(|invalid| invalid.to_string());
        let config = match loaded {
            Ok(config) => config,
            Err(reason) => {
                self.status().file.refused(&reason);
                return Err(reason);
            }
        };
        if config.vrrpd != self.process {
            warn!("admin.bind or vrrpd has changed: that takes effect at the next start");
        }
        let instances = config.instances.len();
        // First, so that new trackers have reported when the election learns of them.
        self.trackers.lock().unwrap_or_else(PoisonError::into_inner).apply(&config.instances);
        let (done, applied) = oneshot::channel();
        give(&self.orders, Order::Reload { routers: config.instances, done }, applied, ANSWER).await?;
        let mut status = self.status();
        status.file.adopted();
        Ok(format!("generation {}: {instances} virtual routers", status.file.generation()))
    }

    /// Leaves all elections in good order.
    async fn stop(&self) {
        self.status().state = LifeState::Stopping;
        info!("stopping");
        ready::stopping();
        handover::leave(&self.board, &self.orders, &self.context.socket("lbd")).await;
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown for Daemon {
    fn ready(&self) -> Result<(), String> {
        match self.status().state {
            LifeState::Starting => Err("the sockets are being opened".to_owned()),
            LifeState::Stopping => Err("vrrpd is stopping".to_owned()),
            LifeState::Ready | LifeState::Draining => Ok(()),
        }
    }

    fn page(&self) -> String {
        view::page::render(&self.info(), &self.statuses())
    }

    fn document(&self) -> Document {
        Document { info: self.info(), about: Answer::Instances(self.statuses()) }
    }
}
