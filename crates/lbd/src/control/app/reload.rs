//! Taking another configuration into force. The control thread waits neither for a disk that hangs nor for a worker.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::LbConfig;
use tokio::sync::oneshot;

use super::start::Surplus;
use super::{App, binds, lock, open_all, start};
use crate::shared::command::Command;

/// How long workers may take to close what they do not listen at any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A configuration that is to come into force.
#[derive(Debug)]
pub struct Adoption {
    /// What is to be in force.
    pub config: Box<LbConfig>,
    /// What has to be in force until then; none if it does not matter.
    pub instead_of: Option<Arc<LbConfig>>,
    /// Whether it is, and what is still being closed then; or why nothing has changed.
    pub done: oneshot::Sender<Result<Closing, String>>,
}

/// Addresses that workers are closing, so that the next configuration may have them opened.
#[derive(Debug, Default)]
pub struct Closing(Vec<oneshot::Receiver<()>>);

impl Closing {
    /// Waits until they are closed, but not for a worker that hangs.
    pub async fn closed(self) {
        let all = async {
            for closed in self.0 {
                // A worker that died has closed everything.
                let _ = closed.await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, all).await.is_err() {
            tracing::error!("a worker hangs, and does not close what it is not to listen at any more");
        }
    }
}

impl App {
    /// Takes a configuration into force that somebody wants.
    pub(super) fn take(&mut self, adoption: Adoption) {
        let Adoption { config, instead_of, done } = adoption;
        let is_reload = instead_of.is_none();
        let is_late = instead_of.is_some_and(|before| !Arc::ptr_eq(&before, lock(&self.state).declared()));
        let outcome = match is_late {
            true => Err("another configuration has come into force meanwhile".to_owned()),
            // That one has read another configuration, perhaps. What files of certificates say it looks at itself.
            false if is_reload && self.upgrade.is_some() => {
                Err("another lbd is about to take this one's place".to_owned())
            }
            false => self.adopt(*config),
        };
        // Whoever asked may have gone.
        let _ = done.send(outcome);
    }

    /// Takes a configuration into force, or says why not and changes nothing.
    fn adopt(&mut self, config: LbConfig) -> Result<Closing, String> {
        lock(&self.state).descriptors().check(&config)?;
        let wanted = binds(&config);
        // Every new address is opened before anything changes: if one cannot be, nothing has.
        let mut opened = BTreeMap::new();
        for (address, frontend) in wanted.iter().filter(|(address, _)| !self.bound.contains_key(address)) {
            let file = &self.life.context().config;
            let listeners = open_all(file, (*address, frontend), self.workers.len(), Vec::new())?;
            start::listen_at(file, frontend, *address, &listeners)?;
            opened.insert(*address, listeners);
        }
        let now = Instant::now();
        let prepared = lock(&self.state).prepare(&config, now)?;
        self.warn_of_restart(&config);
        self.life.guard().admit(&config.lbd.access);
        lock(&self.state).adopt(Arc::new(config), prepared, now);
        self.reloaded = true;
        let before = std::mem::replace(&mut self.bound, wanted);
        if self.is_starting() {
            let bound = &self.bound;
            self.waiting.retain(|address, _| bound.contains_key(address));
            self.waiting.extend(opened);
            return Ok(Closing::default());
        }
        Ok(self.rebind(before, opened).unwrap_or_else(|error| {
            // The new configuration is in force; a worker that cannot be told of it ends, or hangs, and shows that itself.
            tracing::error!("a worker does not follow the reload: {error:#}");
            Closing::default()
        }))
    }

    /// Tells the workers what has changed between the addresses of `before` and those bound now.
    fn rebind(
        &self,
        before: BTreeMap<SocketAddr, String>,
        opened: BTreeMap<SocketAddr, Vec<TcpListener>>,
    ) -> anyhow::Result<Closing> {
        for (address, listeners) in opened {
            self.listen(address, listeners, &mut Surplus::new())?;
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
        Ok(Closing(closing))
    }

    fn warn_of_restart(&self, config: &LbConfig) {
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
