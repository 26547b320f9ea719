//! healthd as a whole: what it starts with, and what it does when it is told to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use config::LbConfig;
use daemon::admin::{self, Shown};
use daemon::config_file::ConfigFile;
use daemon::life::Life;
use daemon::serve::{self, Doors, Own};
use daemon::signals::Signals;
use daemon::{Context, Failure, limits, metrics as shared};
use health::Status as Health;
use tokio::time::timeout;
use tracing::warn;
use wire::human::things;
use wire::{Answer, Document, Info, Ping};

use crate::control::Control;
use crate::fleet::{FirstRound, Fleet};
use crate::kept;
use crate::metrics::Metrics;
use crate::resolve::SystemFiles;
use crate::server_files;
use crate::view::{self, Seen};

/// How long readiness waits for the first check of every server. Those that hang are unknown until their checks end, and
/// unknown overrides nothing; lbd waits as long for its first verdicts.
const FIRST_ROUND: Duration = Duration::from_secs(3);

/// The fewest and the most checks at once.
const SEATS: (usize, usize) = (16, 4096);

/// The running daemon, as everybody who answers questions about it sees it.
pub struct Daemon {
    life: Life,
    /// As configured at the start.
    admin: SocketAddr,
    fleet: Fleet,
}

/// Runs healthd until it is told to stop.
///
/// # Errors
/// When the configuration cannot be used, or the system refuses something.
pub async fn main(context: Context) -> Result<(), Failure> {
    let signals = Signals::listen().map_err(|error| Failure::System(error.into()))?;
    let (file, config) = ConfigFile::open_with(&context.config, config::load_for_checks)?;
    let address = config.healthd.admin;
    let doors = Doors::open(&context, "healthd.admin.bind", address).await?;

    let metrics = Arc::new(Metrics::new().context("metrics")?);
    let registry = shared::registry("healthd").context("metrics")?;
    let dir = context.own_dir();
    let kept = kept::load(&dir);
    let fleet = Fleet::new(&config, SystemFiles::default(), seats(), Arc::clone(&metrics), kept);
    let directory = context.config.parent().map(PathBuf::from).unwrap_or_default();
    let fleet = fleet.finding(directory, &dir);
    let access = config.healthd.access.clone();
    let first_round = fleet.apply(config).context("the configuration cannot be used")?;
    let beside = context.config.clone();
    let daemon = Arc::new(Daemon { life: Life::new(context, file, &access), admin: address, fleet });
    let looked_at = Arc::clone(&daemon);
    let exposition = metrics.exposition(registry, move || looked_at.seen()).context("metrics")?;
    let router = admin::router(&daemon, exposition, &[]);
    let control = Arc::new(Control::new(Arc::clone(&daemon)));
    let watched = Arc::clone(&daemon);
    let work = async move {
        tokio::select! {
            never = kept::keep(dir, &watched.fleet) => match never {},
            never = server_files::follow(&watched.fleet, &beside) => match never {},
            never = watched.fleet.follow_searches() => match never {},
        }
    };
    serve::serve(daemon, doors, control, router, signals, begin(first_round), work).await
}

/// Waits for the first round of checks, within bounds.
async fn begin(mut first_round: FirstRound) -> Result<(), Failure> {
    if timeout(FIRST_ROUND, first_round.ended()).await.is_err() {
        warn!("some servers' first checks have not ended; they are unknown until then");
    }
    Ok(())
}

impl Daemon {
    /// What is known of the servers.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// healthd in general.
    pub fn info(&self) -> Info {
        let tally = self.fleet.tally();
        let count = |status| tally.get(&status).copied().unwrap_or(0).to_string();
        let statuses = [Health::Up, Health::Down, Health::Unknown, Health::Unchecked];
        self.life.info(statuses.map(|status| (format!("Servers_{}", status.word()), count(status))).into())
    }

    /// That healthd lives, and which configuration it runs.
    pub fn ping(&self) -> Ping {
        Ping { config: Some(self.life.digest()), ..Ping::default() }
    }

    /// Everything there is to see.
    pub fn seen(&self) -> Seen {
        let info = self.info();
        self.fleet.seen(info)
    }
}

impl Own for Daemon {
    type Config = LbConfig;

    fn life(&self) -> &Life {
        &self.life
    }

    async fn adopt(&self, config: LbConfig) -> Result<String, String> {
        let (done, admin, access) = (done(&config), config.healthd.admin, config.healthd.access.clone());
        self.fleet.apply(config).map_err(|error| {
            tracing::error!("{error}");
            error.to_string()
        })?;
        self.life.guard().admit(&access);
        if admin != self.admin {
            warn!(running = %self.admin, "healthd.admin.bind has changed: it takes effect at the next start");
        }
        Ok(done)
    }
}

fn done(config: &LbConfig) -> String {
    let servers: usize = config.backends.iter().map(|backend| backend.servers.len()).sum();
    let found = config.backends.iter().filter(|backend| backend.discover.is_some()).count();
    let found =
        if found > 0 { format!(", and those found for {}", things(found, "backend")) } else { String::new() };
    format!("{} in {}{found}", things(servers, "server"), things(config.backends.len(), "backend"))
}

/// Half of the descriptors are for checks, the rest for clients and name servers.
fn seats() -> usize {
    let descriptors = usize::try_from(limits::raise_descriptors()).unwrap_or(usize::MAX);
    (descriptors / 2).clamp(SEATS.0, SEATS.1)
}

impl Shown for Daemon {
    fn ready(&self) -> Result<(), String> {
        self.life.ready("the first checks are running")
    }

    fn page(&self) -> String {
        view::page::render(&self.seen())
    }

    fn document(&self) -> Document {
        Document { info: self.info(), about: Answer::Verdicts(self.fleet.verdicts()), anycast: Vec::new() }
    }
}
