//! healthd as a whole: what it starts with, what it does when it is told to, and how it ends.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use config::LbConfig;
use daemon::admin::{self, Shown};
use daemon::config_file::ConfigFile;
use daemon::signals::{Signal, Signals};
use daemon::{Context, Failure, limits, metrics as shared, ready};
use health::Status as Health;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};
use wire::{Answer, DaemonHello, Document, Info, LifeState, server};

use crate::control::{Control, ReloadRequest};
use crate::fleet::{FirstRound, Fleet};
use crate::metrics::Metrics;
use crate::resolve::SystemFiles;
use crate::view::{self, Seen};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long readiness waits for the first check of every server. Those that hang are unknown until their checks end, and
/// unknown overrides nothing; lbd waits as long for its first verdicts.
const FIRST_ROUND: Duration = Duration::from_secs(3);

/// The fewest and the most checks at once.
const SEATS: (usize, usize) = (16, 4096);

/// Reloads that may wait.
const RELOADS: usize = 8;

/// Permissions of the socket: everybody may look. Who may change something is decided by who asks.
const SOCKET_MODE: u32 = 0o666;

/// The running daemon, as everybody who answers questions about it sees it.
pub struct Daemon {
    context: Context,
    started: Instant,
    /// As configured at the start.
    admin: SocketAddr,
    fleet: Fleet,
    status: Mutex<Status>,
}

struct Status {
    state: LifeState,
    file: ConfigFile,
}

/// Runs healthd until it is told to stop.
///
/// # Errors
/// When the configuration cannot be used, or the system refuses something.
pub async fn main(context: Context) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::System(error.into()))?;
    let (hup, reloads) = mpsc::channel(1);
    let stop = async move {
        loop {
            match signals.next().await {
                Signal::Stop => return,
                // One reload that waits stands for all.
                Signal::Reload => _ = hup.try_send(()),
            }
        }
    };
    run(context, SystemFiles::default(), reloads, stop).await
}

/// Runs healthd until `stop` ends. Each message of `hups` makes it reload, like SIGHUP.
///
/// # Errors
/// When the configuration cannot be used, or the system refuses something.
pub async fn run(
    context: Context,
    files: SystemFiles,
    mut hups: mpsc::Receiver<()>,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (file, config) = ConfigFile::open(&context.config)?;
    let admin_address = config.healthd.admin;
    let socket = context.socket("healthd");
    let listener =
        server::bind(&socket, SOCKET_MODE, "healthd").map_err(|error| Failure::System(error.into()))?;
    let admin_listener = admin::bind("healthd.admin.bind", admin_address).await?;

    let metrics = Arc::new(Metrics::new().context("metrics")?);
    let registry = shared::registry("healthd").context("metrics")?;
    let fleet = Fleet::new(&config, files, seats(), Arc::clone(&metrics));
    let mut first_round = fleet.apply(&config).context("the configuration cannot be used")?;
    let status = Mutex::new(Status { state: LifeState::Starting, file });
    let daemon = Arc::new(Daemon { context, started: Instant::now(), admin: admin_address, fleet, status });
    let looked_at = Arc::clone(&daemon);
    let exposition = metrics.exposition(registry, move || looked_at.seen()).context("metrics")?;

    let (requests, mut reloads) = mpsc::channel::<ReloadRequest>(RELOADS);
    let control = Arc::new(Control::new(Arc::clone(&daemon), requests));
    let serve_control = server::serve(listener, control);
    let serve_admin = admin::serve(admin_listener, admin::router(&daemon, exposition, &[]));
    let supervise = async {
        daemon.become_ready(&mut first_round).await?;
        loop {
            tokio::select! {
                Some(()) = hups.recv() => {
                    // The log has the reason.
                    let _ = daemon.reload();
                }
                Some(answer) = reloads.recv() => {
                    // Whoever asked may be gone.
                    let _ = answer.send(daemon.reload());
                }
                else => std::future::pending::<()>().await,
            }
        }
    };
    tokio::select! {
        () = serve_control => {}
        () = serve_admin => {}
        result = supervise => return result,
        () = stop => {}
    }
    daemon.status().state = LifeState::Stopping;
    info!("stopping");
    ready::stopping();
    // A socket that nobody answers on would only be in the way.
    let _ = std::fs::remove_file(socket);
    Ok(())
}

impl Daemon {
    /// What is known of the servers.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Who answers on the socket.
    pub fn hello(&self) -> DaemonHello {
        self.context.hello()
    }

    /// healthd in general.
    pub fn info(&self) -> Info {
        let tally = self.fleet.tally();
        let count = |status| tally.get(&status).copied().unwrap_or(0).to_string();
        let statuses = [Health::Up, Health::Down, Health::Unknown, Health::Unchecked];
        let details = statuses.map(|status| (format!("Servers_{}", status.word()), count(status))).into();
        let status = self.status();
        Info {
            daemon: self.context.name.to_owned(),
            version: VERSION.to_owned(),
            pid: std::process::id(),
            uptime_ms: crate::record::millis(self.started.elapsed()),
            state: status.state,
            config: status.file.path().display().to_string(),
            generation: status.file.generation(),
            reload_error: status.file.error().map(str::to_owned),
            details,
        }
    }

    /// Everything there is to see.
    pub fn seen(&self) -> Seen {
        let info = self.info();
        self.fleet.seen(info)
    }

    /// Waits for the first round of checks, within bounds, and says that healthd is ready.
    async fn become_ready(&self, first_round: &mut FirstRound) -> Result<(), Failure> {
        if timeout(FIRST_ROUND, first_round.ended()).await.is_err() {
            warn!("some servers' first checks have not ended; they are unknown until then");
        }
        self.status().state = LifeState::Ready;
        ready::ready(&self.context)?;
        info!("ready");
        Ok(())
    }

    /// Takes over the configuration file as it is now, wholly or not at all. What was done, or why nothing was.
    fn reload(&self) -> Result<String, String> {
        let loaded = self.status().file.load().map_err(|invalid| invalid.to_string());
        let applied = loaded.and_then(|config| match self.fleet.apply(&config) {
            Ok(_) => Ok(config),
            Err(error) => {
                tracing::error!("{error}");
                Err(error.to_string())
            }
        });
        let mut status = self.status();
        match applied {
            Ok(config) => {
                if config.healthd.admin != self.admin {
                    warn!(running = %self.admin, "healthd.admin.bind has changed: it takes effect at the next start");
                }
                status.file.adopted();
                Ok(done(&config, status.file.generation()))
            }
            Err(reason) => {
                status.file.refused(&reason);
                Err(reason)
            }
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn done(config: &LbConfig, generation: u64) -> String {
    let servers: usize = config.backends.iter().map(|backend| backend.servers.len()).sum();
    format!("generation {generation}: {servers} servers in {} backends", config.backends.len())
}

/// Half of the descriptors are for checks, the rest for clients and name servers.
fn seats() -> usize {
    let descriptors = usize::try_from(limits::raise_descriptors()).unwrap_or(usize::MAX);
    (descriptors / 2).clamp(SEATS.0, SEATS.1)
}

impl Shown for Daemon {
    fn ready(&self) -> Result<(), String> {
        match self.status().state {
            LifeState::Starting => Err("the first checks are running".to_owned()),
            LifeState::Stopping => Err("healthd is stopping".to_owned()),
            LifeState::Ready | LifeState::Draining => Ok(()),
        }
    }

    fn page(&self) -> String {
        view::page::render(&self.seen())
    }

    fn document(&self) -> Document {
        Document { info: self.info(), about: Answer::Verdicts(self.fleet.verdicts()) }
    }
}
