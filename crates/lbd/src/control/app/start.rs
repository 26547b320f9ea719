//! The end of a start: clients are served. An lbd that is to have the place of another listens no sooner, and asks that one whether it
//! may; until then nothing of it is to be seen.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::Pin;

use anyhow::{Context as _, anyhow};
use daemon::{Failure, listening};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use wire::LifeState;

use super::{App, lock};
use crate::control::heritage::predecessor::Predecessor;
use crate::shared::listen;

/// What a start waits for, beside servers.
#[derive(Default)]
pub(super) enum Start {
    /// Nothing, or nothing any more.
    #[default]
    Alone,
    /// An lbd serves, and is not asked before this one could.
    Behind(Predecessor),
    /// It is asked.
    Asks(Pin<Box<dyn Future<Output = anyhow::Result<Predecessor>> + Send>>),
}

/// Dropped when listeners that are too many may be closed.
pub(super) type Surplus = Vec<oneshot::Sender<Infallible>>;

/// Clients are served, and the lbd before is to know. What it still accepts from stays open until then.
pub(super) struct Relief {
    predecessor: Predecessor,
    surplus: Surplus,
}

impl Start {
    /// Returns when that lbd is to be relieved. Cancel safe.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Predecessor>> {
        match self {
            Self::Asks(asks) => {
                let answer = asks.await;
                *self = Self::Alone;
                answer.map(Some)
            }
            Self::Alone | Self::Behind(_) => pending().await,
        }
    }
}

impl App {
    /// Clients can be served, and are as soon as nobody else serves them.
    pub(super) fn may_serve(
        &mut self,
        opened: &mut Option<oneshot::Sender<Option<Relief>>>,
    ) -> anyhow::Result<()> {
        match mem::take(&mut self.start) {
            Start::Alone => self.open_for_business(None, opened),
            Start::Behind(predecessor) => {
                let addresses = self.bound.keys().copied().collect();
                let asks = spawn_blocking(move || predecessor.offer(addresses).map(|()| predecessor));
                self.start = Start::Asks(Box::pin(async { asks.await? }));
                Ok(())
            }
            asks @ Start::Asks(_) => {
                self.start = asks;
                Ok(())
            }
        }
    }

    /// Lets the workers accept, and tells that clients are served.
    pub(super) fn open_for_business(
        &mut self,
        predecessor: Option<Predecessor>,
        opened: &mut Option<oneshot::Sender<Option<Relief>>>,
    ) -> anyhow::Result<()> {
        let waiting = mem::take(&mut self.waiting);
        if let Some(predecessor) = &predecessor {
            listen(&self.life.context().config, &self.bound, &waiting)?;
            self.entrance.take().context("cannot have the place of the lbd before")?;
            tracing::info!(
                process = predecessor.pid,
                "lbd takes the place of another one, which finishes what it has"
            );
        }
        let mut surplus = Surplus::new();
        for (address, listeners) in waiting {
            self.listen(address, listeners, &mut surplus)?;
        }
        // Who begins to follow on the supervisor's word is to hear nothing else.
        self.set_life(LifeState::Ready);
        if let Some(opened) = opened.take() {
            // Who ends meanwhile need not know.
            let _ = opened.send(predecessor.map(|predecessor| Relief { predecessor, surplus }));
        }
        let usable: Vec<String> = {
            let state = lock(&self.state);
            state.relatives().look.notify_one();
            let backends = state.routing().backends.iter();
            backends
                .map(|backend| {
                    format!("{}: {} of {}", backend.name, backend.view.usable(), backend.view.servers.len())
                })
                .collect()
        };
        tracing::info!(usable = usable.join(", "), "clients are served");
        Ok(())
    }
}

/// Has clients wait in the backlogs of all of them.
pub(super) fn listen(
    file: &Path,
    bound: &BTreeMap<SocketAddr, String>,
    waiting: &BTreeMap<SocketAddr, Vec<TcpListener>>,
) -> anyhow::Result<()> {
    waiting.iter().try_for_each(|(address, listeners)| {
        let frontend = bound.get(address).map(String::as_str).unwrap_or_default();
        listen_at(file, frontend, *address, listeners).map_err(|why| anyhow!(why))
    })
}

/// The same at one address, which a frontend has.
pub(super) fn listen_at(
    file: &Path,
    frontend: &str,
    address: SocketAddr,
    listeners: &[TcpListener],
) -> Result<(), String> {
    listen::listen(listeners)
        .map_err(|error| listening::refused(file, &format!("frontends.{frontend}.bind"), address, &error))
}

/// Waits until clients are served, and whoever served them before knows. An lbd that ends before says why itself.
pub(super) async fn begin(is_open: oneshot::Receiver<Option<Relief>>) -> Result<(), Failure> {
    let Ok(relief) = is_open.await else { return pending().await };
    if let Some(Relief { predecessor, surplus }) = relief {
        // A panic there would be told by itself.
        if let Ok(Err(error)) = spawn_blocking(move || predecessor.relieve()).await {
            tracing::error!("{error:#}");
        }
        drop(surplus);
    }
    Ok(())
}
