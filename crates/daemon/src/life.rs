//! Where a daemon stands: in its life, and with its configuration file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::{Access, LbConfig, Loaded};
use tokio::sync::Semaphore;
use tracing::{error, info};
use wire::{DaemonHello, Info, LifeState};

use crate::config_file::{self, ConfigFile};
use crate::guard::Guard;
use crate::{Context, ready};

/// How long reading the configuration file may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Reloads at once: one is carried out, the others wait for their turn.
const RELOADS_MAX: usize = 8;

/// What every daemon keeps of itself. Each lock is held for a moment.
#[derive(Debug)]
pub struct Life<C = LbConfig> {
    context: Context,
    started: Instant,
    state: Mutex<LifeState>,
    file: Mutex<ConfigFile<C>>,
    /// A place for each reload that is wanted.
    wanted: Semaphore,
    /// Who lets people in to the admin pages.
    guard: Arc<Guard>,
    /// Held for a whole reload: a signal and a request that come at once are two reloads, one after the other.
    reloading: tokio::sync::Mutex<()>,
}

impl<C: Send + 'static> Life<C> {
    /// The life of a daemon that starts now, and whose admin pages these may see.
    pub fn new(context: Context, file: ConfigFile<C>, access: &Access) -> Self {
        let guard = Guard::default();
        guard.admit(access);
        Self {
            guard: Arc::new(guard),
            context,
            started: Instant::now(),
            state: Mutex::new(LifeState::Starting),
            file: Mutex::new(file),
            wanted: Semaphore::new(RELOADS_MAX),
            reloading: tokio::sync::Mutex::default(),
        }
    }

    /// What the daemon was started with.
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// Who lets people in to the admin pages.
    pub const fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Who answers on the socket.
    pub fn hello(&self) -> DaemonHello {
        self.context.hello()
    }

    /// The daemon in general; `details` are for people.
    pub fn info(&self, details: BTreeMap<String, String>) -> Info {
        let DaemonHello { daemon, version, .. } = self.hello();
        let file = self.file();
        Info {
            daemon,
            version,
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            state: self.state(),
            config: file.path().display().to_string(),
            generation: file.generation(),
            reload_error: file.error().map(str::to_owned),
            details,
        }
    }

    /// Whether the daemon does its work; `starting` says what it waits for before it does.
    ///
    /// # Errors
    /// Why it does not.
    pub fn ready(&self, starting: &str) -> Result<(), String> {
        match self.state() {
            LifeState::Starting => Err(starting.to_owned()),
            LifeState::Stopping | LifeState::Succeeded => Err(format!("{} is stopping", self.context.name)),
            LifeState::Ready | LifeState::Leaving | LifeState::Draining => Ok(()),
        }
    }

    /// Tells the configuration in force from others.
    pub fn digest(&self) -> String {
        self.file().digest().to_owned()
    }

    /// Where the daemon stands in its life.
    pub fn state(&self) -> LifeState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on in life.
    pub fn enter(&self, state: LifeState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The daemon does its work from now on, and the supervisor is told.
    pub(crate) fn become_ready(&self) {
        self.enter(LifeState::Ready);
        match ready::ready(&self.context) {
            Ok(()) => info!("ready"),
            // It does its work: a supervisor that cannot be told is no reason to stop.
            Err(error) => error!("ready, but the supervisor cannot be told: {error:#}"),
        }
    }

    /// The daemon is about to end: it does nothing new from now on.
    pub fn stop(&self) {
        self.enter(LifeState::Stopping);
        info!("stopping");
    }

    /// Reads the configuration file again and has it adopted, wholly or not at all; one reload at a time. What was done, or why
    /// nothing was: the log, and who looks at the daemon, are told too.
    pub(crate) async fn reload<F>(&self, adopt: impl FnOnce(C) -> F) -> Result<String, String>
    where
        F: Future<Output = Result<String, String>>,
    {
        let Ok(_place) = self.wanted.try_acquire() else {
            return Err("other reloads are waiting already".to_owned());
        };
        let _alone = self.reloading.lock().await;
        let outcome = match self.load().await {
            Ok(Loaded { config, digest, .. }) => adopt(config).await.map(|done| (done, digest)),
            Err(reason) => Err(reason),
        };
        let mut file = self.file();
        match outcome {
            Ok((done, digest)) => {
                file.adopted(digest);
                Ok(format!("generation {}: {done}", file.generation()))
            }
            Err(reason) => {
                file.refused(&reason);
                Err(reason)
            }
        }
    }

    /// Reading may hang, on a network's file system for example, and must not take this thread with it.
    async fn load(&self) -> Result<Loaded<C>, String> {
        let (path, parse) = {
            let file = self.file();
            (file.path().to_owned(), file.parse())
        };
        let loading = tokio::task::spawn_blocking(move || config_file::load_with(&path, parse));
        match tokio::time::timeout(LOAD_TIMEOUT, loading).await {
            Ok(Ok(loaded)) => loaded.map_err(|invalid| invalid.to_string()),
            Ok(Err(_)) | Err(_) => Err("the configuration file could not be read in time".to_owned()),
        }
    }

    fn file(&self) -> MutexGuard<'_, ConfigFile<C>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use config::{Diagnostic, Invalid, Severity};

    use super::*;

    /// A file is good if it says so.
    fn parse(path: &Path) -> Result<Loaded<String>, Invalid> {
        let config = std::fs::read_to_string(path).unwrap_or_default();
        if config.starts_with("good") {
            return Ok(Loaded { config, warnings: Vec::new(), digest: String::new() });
        }
        let (file, message) = (path.display().to_string(), "it is bad".to_owned());
        let diagnostic =
            Diagnostic { file, line: 1, column: 1, severity: Severity::Error, message, help: None };
        Err(Invalid { diagnostics: vec![diagnostic] })
    }

    fn start(path: &Path) -> Life<String> {
        std::fs::write(path, "good").unwrap();
        let (file, _) = ConfigFile::open_with(path, parse).unwrap();
        let run_dir = path.parent().unwrap().to_owned();
        let context = Context { name: "healthd", config: path.to_owned(), run_dir, ready_fd: None, epoch: 1 };
        Life::new(context, file, &Access::default())
    }

    #[tokio::test]
    async fn a_reload_leaves_its_outcome() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let life = start(&path);
        let adopt = |config: String| async move { Ok(config) };
        std::fs::write(&path, "good too").unwrap();
        assert_eq!(life.reload(adopt).await, Ok("generation 2: good too".to_owned()));
        std::fs::write(&path, "bad").unwrap();
        assert!(life.reload(adopt).await.unwrap_err().contains("it is bad"));
        assert!(life.info(BTreeMap::new()).reload_error.is_some_and(|error| error.contains("it is bad")));
        std::fs::write(&path, "good again").unwrap();
        // What is read well and cannot be adopted is refused like what cannot be read.
        assert!(life.reload(|_| async { Err("no room".to_owned()) }).await.is_err());
        let info = life.info(BTreeMap::new());
        assert_eq!((info.generation, info.reload_error.as_deref()), (2, Some("no room")));
        assert!(life.reload(adopt).await.is_ok());
        assert_eq!(life.info(BTreeMap::new()).reload_error, None);
    }

    #[tokio::test]
    async fn reloads_come_one_after_the_other_and_not_without_bound() {
        let dir = tempfile::tempdir().unwrap();
        let life = Arc::new(start(&dir.path().join("config")));
        let running = Arc::new(AtomicUsize::new(0));
        let reloads: Vec<_> = (0..RELOADS_MAX + 3)
            .map(|_| {
                let (life, running) = (life.clone(), running.clone());
                tokio::spawn(async move {
                    let adopt = |_| async {
                        assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0, "two at once");
                        tokio::task::yield_now().await;
                        running.fetch_sub(1, Ordering::Relaxed);
                        Ok(String::new())
                    };
                    life.reload(adopt).await.is_ok()
                })
            })
            .collect();
        let mut done = 0;
        for reload in reloads {
            done += usize::from(reload.await.unwrap());
        }
        assert_eq!(done, RELOADS_MAX);
    }
}
