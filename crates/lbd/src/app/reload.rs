//! Reloading, a step at a time: the control thread waits neither for a disk that hangs nor for a worker.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Loaded;
use daemon::config_file;
use tokio::sync::oneshot;

use super::{App, DISK_TIMEOUT, binds, lock, lock_file, open_all};
use crate::worker::Command;

/// How long workers may take to close what they do not listen at any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a reload: what was done, or why nothing was.
type Outcome = Result<String, String>;

/// Where a reload stands. There is one at a time.
#[derive(Default)]
pub(super) struct Reload {
    stage: Stage,
    /// Who wants to know.
    asked: Option<oneshot::Sender<Outcome>>,
    /// Whether the file is to be read again, as it may have changed since it was read.
    again: bool,
}

#[derive(Default)]
enum Stage {
    /// There is none.
    #[default]
    Over,
    /// The file is being read.
    Loading(Pin<Box<dyn Future<Output = Result<Box<Loaded>, String>> + Send>>),
    /// It is in force; old addresses are being closed, so that the next reload may open them.
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// The end of a stage.
pub(super) enum Step {
    Loaded(Result<Box<Loaded>, String>),
    Closed,
}

impl Reload {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// The next step: none ever, without a reload. Cancel safe.
    pub(super) async fn next(&mut self) -> Step {
        match &mut self.stage {
            Stage::Over => pending().await,
            Stage::Loading(work) => Step::Loaded(work.await),
            Stage::Closing(work) => {
                work.await;
                Step::Closed
            }
        }
    }
}

impl App {
    /// Begins to take the configuration file into force as it is now. While another reload is under way, it begins after that.
    pub(super) fn begin_reload(&mut self, asked: Option<oneshot::Sender<Outcome>>) {
        if !self.reload.is_over() {
            self.reload.again = true;
            return;
        }
        let path = lock_file(&self.file).path().to_owned();
        // Reading may hang, on a network's file system for example.
        let loading = tokio::task::spawn_blocking(move || config_file::load(&path));
        let work = async {
            match tokio::time::timeout(DISK_TIMEOUT, loading).await {
                Ok(Ok(loaded)) => loaded.map(Box::new).map_err(|invalid| invalid.to_string()),
                Ok(Err(_)) | Err(_) => Err("the configuration file could not be read in time".into()),
            }
        };
        self.reload = Reload { stage: Stage::Loading(Box::pin(work)), asked, again: false };
    }

    /// Goes on with the reload that is under way.
    pub(super) fn advance_reload(&mut self, step: Step) {
        let outcome = match step {
            Step::Loaded(loaded) => match loaded.and_then(|loaded| self.adopt(*loaded)) {
                Ok(closing) => {
                    self.reload.stage = Stage::Closing(Box::pin(closed(closing)));
                    return;
                }
                Err(reason) => {
                    lock_file(&self.file).refused(&reason);
                    Err(format!("reload refused, the old configuration stays in force:\n{reason}"))
                }
            },
            Step::Closed => {
                Ok(format!("configuration reloaded, generation {}", lock_file(&self.file).generation()))
            }
        };
        let Reload { asked, again, .. } = std::mem::take(&mut self.reload);
        if let Some(asked) = asked {
            // Whoever asked may have gone.
            let _ = asked.send(outcome);
        }
        if again {
            self.begin_reload(None);
        }
    }

    /// Takes a configuration into force, or says why not and changes nothing. What is returned tells when addresses are closed.
    fn adopt(&mut self, loaded: Loaded) -> Result<Vec<oneshot::Receiver<()>>, String> {
        let Loaded { config, digest, .. } = loaded;
        lock(&self.state).descriptors().check(&config)?;
        let wanted = binds(&config);
        // Every new address is opened before anything changes: if one cannot be, nothing has.
        let mut opened = BTreeMap::new();
        for (address, frontend) in wanted.iter().filter(|(address, _)| !self.bound.contains_key(address)) {
            let listeners = open_all(*address, frontend, self.workers.len(), Vec::new())
                .map_err(|error| format!("{error:#}"))?;
            opened.insert(*address, listeners);
        }
        self.warn_of_restart(&config);
        lock(&self.state).adopt(Arc::new(config), Instant::now());
        lock_file(&self.file).adopted(digest);
        self.reloaded = true;
        let before = std::mem::replace(&mut self.bound, wanted);
        if self.is_starting() {
            let bound = &self.bound;
            self.waiting.retain(|address, _| bound.contains_key(address));
            self.waiting.extend(opened);
            return Ok(Vec::new());
        }
        Ok(self.rebind(before, opened).unwrap_or_else(|error| {
            // The new configuration is in force; a worker that cannot be told of it ends, or hangs, and shows that itself.
            tracing::error!("a worker does not follow the reload: {error:#}");
            Vec::new()
        }))
    }

    /// Tells the workers what has changed between the addresses of `before` and those bound now.
    fn rebind(
        &self,
        before: BTreeMap<SocketAddr, String>,
        opened: BTreeMap<SocketAddr, Vec<TcpListener>>,
    ) -> anyhow::Result<Vec<oneshot::Receiver<()>>> {
        for (address, listeners) in opened {
            self.listen(address, listeners)?;
        }
        let mut closing = Vec::new();
        for (address, frontend) in before {
            let now = self.bound.get(&address);
            if now == Some(&frontend) {
                continue;
            }
            for worker in &self.workers {
                worker.tell(match now {
                    Some(frontend) => Command::Reassign { address, frontend: frontend.clone() },
                    None => {
                        let (done, closed) = oneshot::channel();
                        closing.push(closed);
                        Command::Unlisten { address, done }
                    }
                })?;
            }
        }
        Ok(closing)
    }

    fn warn_of_restart(&self, config: &config::LbConfig) {
        let state = lock(&self.state);
        let old = &state.config().lbd;
        if config.lbd.workers != old.workers {
            tracing::warn!(
                running = self.workers.len(),
                "lbd.workers has changed: it takes effect at the next start"
            );
        }
        if config.lbd.admin != old.admin {
            tracing::warn!(running = %old.admin, "admin.bind has changed: it takes effect at the next start");
        }
    }
}

/// Waits until workers have closed what they were told to, but not for one that hangs.
async fn closed(closing: Vec<oneshot::Receiver<()>>) {
    let all = async {
        for closed in closing {
            // A worker that died has closed everything.
            let _ = closed.await;
        }
    };
    if tokio::time::timeout(CLOSE_TIMEOUT, all).await.is_err() {
        tracing::error!("a worker hangs, and does not close what it is not to listen at any more");
    }
}
