//! Another release is taken into use while this one serves: the program that is installed now is started, makes itself ready, is given
//! the listeners, and accepts. Only then this lbd accepts no more, and finishes what it has, for `lbd.stop_timeout` at most.
//!
//! Whatever fails before that leaves everything as it was. Two lbd accept from the same sockets for a moment, and nobody waits.

use std::future::{Future, pending};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::entrance::Entrance;
use daemon::{Context, systemd};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep_until, timeout};
use wire::LifeState;
use wire::human::{duration, things};

use super::handover::{Handover, HandoverRequest, Step};
use super::stop::all;
use super::{App, Shared, lock};
use crate::control::drain;
use crate::control::heritage::successor::{Origin, Successor};
use crate::control::relatives::{self, PREDECESSORS_MAX};
use crate::shared::command::Command;
use crate::shared::millis;

/// How long a successor may take until it could serve: with what follows, shorter than whoever asks waits for an answer.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long the workers may take to stop accepting.
const GIVE_UP: Duration = Duration::from_secs(2);

/// Who serves then, or why nothing has changed.
pub type Outcome = Result<String, String>;

/// Somebody wants it, and is to be told.
pub type UpgradeRequest = oneshot::Sender<Outcome>;

/// What has a successor serve, or says why there is none.
type Work = Pin<Box<dyn Future<Output = Result<Attempt, String>> + Send>>;

/// An upgrade under way.
pub(super) struct Upgrade {
    work: Work,
    asked: Vec<UpgradeRequest>,
}

/// The end of the upgrade under way; none ever, without one. Cancel safe.
pub(super) async fn next(upgrade: &mut Option<Upgrade>) -> Result<Attempt, String> {
    match upgrade {
        Some(upgrade) => upgrade.work.as_mut().await,
        None => pending().await,
    }
}

/// What there is to be undone while it is not clear that there is a successor. Dropped, it is undone.
pub(super) struct Attempt {
    successor: Option<Successor>,
    has_succeeded: bool,
    state: Shared,
    workers: Vec<mpsc::Sender<Command>>,
    entrance: Arc<Entrance>,
    /// Where this lbd is found beside its successor.
    beside: Option<PathBuf>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.has_succeeded {
            return;
        }
        // It must not do anything any more when the rest is as it was.
        drop(self.successor.take());
        for worker in &self.workers {
            // It may have had clients wait where both accept. A worker that hangs shows that itself.
            let _ = worker.try_send(Command::Resume);
        }
        if let Some(beside) = &self.beside {
            self.entrance.retake(beside);
        }
        lock(&self.state).relatives_mut().changes_held = false;
    }
}

/// A successor that serves, and who is to be told.
pub(super) struct Succeeded {
    successor: Successor,
    beside: PathBuf,
    asked: Vec<UpgradeRequest>,
}

impl App {
    /// Begins, unless there is a reason against it.
    pub(super) fn take_upgrade_request(&mut self, done: UpgradeRequest) {
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.asked.push(done);
            return;
        }
        match self.begin_upgrade() {
            Ok(work) => self.upgrade = Some(Upgrade { work, asked: vec![done] }),
            Err(why) => {
                tracing::error!("nothing has changed: {why}");
                // Who has asked may have gone.
                let _ = done.send(Err(why));
            }
        }
    }

    fn begin_upgrade(&self) -> Result<Work, String> {
        let context = self.life.context();
        let origin = match &self.origin {
            Ok(origin) => origin.clone(),
            Err(error) => return Err(format!("it is not known by which program lbd was started: {error}")),
        };
        if !can_be_followed(context) {
            return Err(NO_SYSTEMD.to_owned());
        }
        if self.life.state() != LifeState::Ready || !matches!(self.handover, Handover::None) {
            return Err(format!("lbd is {}; try again when it is ready", self.life.state().word()));
        }
        let admin = self.admin.as_ref().map(TcpListener::try_clone).transpose();
        let admin = admin.map_err(|error| format!("cannot share the admin address: {error}"))?;
        let attempt = Attempt {
            successor: None,
            has_succeeded: false,
            state: self.state.clone(),
            workers: self.workers.iter().map(|worker| worker.commands.clone()).collect(),
            entrance: self.entrance.clone(),
            beside: None,
        };
        let beside = relatives::socket(&context.own_dir(), std::process::id());
        let within = PATIENCE;
        tracing::info!(program = %origin.program().display(), ?within, "another lbd is started, to have this one's place");
        Ok(Box::pin(bring_up(attempt, origin, beside, admin)))
    }

    /// A successor would not know of what begins now: there is to be none.
    pub(super) fn call_off_upgrade(&mut self, why: &str) {
        if let Some(Upgrade { work, asked }) = self.upgrade.take() {
            drop(work);
            tracing::error!("nothing has changed: {why}");
            for done in asked {
                let _ = done.send(Err(why.to_owned()));
            }
        }
    }

    /// What becomes of this lbd: nothing, if the upgrade has failed.
    pub(super) fn conclude_upgrade(&mut self, outcome: Result<Attempt, String>) -> Option<Succeeded> {
        let asked = self.upgrade.take().map(|upgrade| upgrade.asked).unwrap_or_default();
        let why = match outcome {
            Ok(mut attempt) => match (attempt.successor.take(), attempt.beside.take()) {
                (Some(successor), Some(beside)) => {
                    // Operators are to say it to the other one from now on.
                    attempt.has_succeeded = true;
                    return Some(Succeeded { successor, beside, asked });
                }
                _ => "the new lbd is gone".to_owned(),
            },
            Err(why) => why,
        };
        tracing::error!("nothing has changed: {why}");
        for done in asked {
            let _ = done.send(Err(why.clone()));
        }
        None
    }

    /// Leaves all newcomers to the successor, finishes what there is, and ends; whoever says it again is not kept waiting.
    pub(super) async fn finish(mut self, succeeded: Succeeded, mut again: watch::Receiver<u32>) {
        let Succeeded { mut successor, beside, asked } = succeeded;
        successor.release();
        let pid = successor.pid;
        let patience = lock(&self.state).config().lbd.stop_timeout;
        let due = Instant::now() + patience;
        lock(&self.state).relatives_mut().successor = Some(relatives::Successor { pid, due });
        self.entrance.leave(beside);
        self.admin = None;
        // Whoever follows this lbd follows the other one from now on.
        self.set_life(LifeState::Succeeded);
        tracing::info!(
            process = pid,
            version = successor.version,
            at_most = ?patience,
            "another lbd serves in this one's place; this one finishes what it has"
        );
        self.leave_listeners(&successor).await;
        // Whoever still asks is answered that lbd ends.
        self.adoptions.close();
        self.upgrades.close();
        while self.adoptions.try_recv().is_ok() {}

        let due = due.into();
        let connections = self.tell_all(|done| Command::Leave { due, done });
        let left = lock(&self.state).registry().worker.sum(|worker| worker.connections.get());
        let left = things(left, "connection");
        let outcome = format!(
            "process {pid} ({}) serves; process {} finishes what it has: {left}, for {} at most",
            successor.version,
            std::process::id(),
            duration(millis(patience))
        );
        for done in asked {
            let _ = done.send(Ok(outcome.clone()));
        }
        let mut connections = pin!(all(connections));
        loop {
            tokio::select! {
                biased;
                () = &mut connections => tracing::info!("nothing is in flight any more; this lbd ends"),
                () = sleep_until(due) => tracing::warn!("stop_timeout is over; this lbd breaks off what is left"),
                _ = again.changed() => tracing::warn!("told to stop; this lbd breaks off what is left"),
                Some(request) = self.handovers.recv() => {
                    self.drain_beside(request);
                    continue;
                }
            }
            break;
        }
        self.end().await;
    }

    /// The successor hands over, and clients of this lbd lose their address as well.
    fn drain_beside(&self, HandoverRequest { step, done }: HandoverRequest) {
        let Step::Drain = step else {
            let _ = done.send("another lbd serves in this one's place".to_owned());
            return;
        };
        let patience = self.handover_timeout();
        tracing::info!(at_most = ?patience, "this lbd drains beside the one that serves");
        let workers = self.workers.iter().map(|worker| worker.commands.clone()).collect();
        let counters = lock(&self.state).registry().worker.clone();
        // Whoever listens looks at the system's list of sockets.
        let drained = drain::drain(workers, counters, Vec::new(), patience);
        tokio::spawn(async move { done.send(drained.await) });
    }

    /// Stops accepting. Where the successor listens as well, that costs nobody anything; elsewhere those who have arrived are accepted.
    async fn leave_listeners(&mut self, successor: &Successor) {
        let mut closed = Vec::new();
        let gone: Vec<_> =
            self.bound.keys().filter(|address| !successor.addresses.contains(address)).copied().collect();
        for address in gone {
            closed.extend(self.tell_all(|done| Command::Unlisten { address, done }));
        }
        closed.extend(self.tell_all(|done| Command::GiveUp { done }));
        if timeout(GIVE_UP, all(closed)).await.is_err() {
            tracing::error!("a worker hangs, and goes on accepting when it goes on");
        }
    }
}

/// Whether somebody can be told that another process is the service from now on.
fn can_be_followed(context: &Context) -> bool {
    systemd::is_there() && context.ready_fd.is_none() && std::process::id() != 1
}

const NO_SYSTEMD: &str = "lbd was not started by systemd, and whoever started it would take its end for the end of lbd, and start a \
                          third one; restart it instead: clients wait in the backlogs meanwhile";

/// Has a successor serve.
async fn bring_up(
    mut attempt: Attempt,
    origin: Origin,
    beside: PathBuf,
    admin: Option<TcpListener>,
) -> Result<Attempt, String> {
    let due = Instant::now() + PATIENCE;
    let dir = beside.clone();
    let finish = apart(move || Ok(dir.parent().map_or(0, relatives::count))).await?;
    if finish >= PREDECESSORS_MAX {
        return Err(format!(
            "{finish} earlier lbd still finish what they have, and no more may; `tandemctl status` shows them, \
             `tandemctl --process PID sessions` what they have"
        ));
    }
    let successor = apart(move || Successor::start(&origin, due)).await?;
    let link = attempt.successor.insert(successor).link();
    // From here on until it ends, operators are told to wait: what they set would be lost.
    let saving = {
        let mut state = lock(&attempt.state);
        state.relatives_mut().changes_held = true;
        state.saving()
    };
    let saved = timeout(due - Instant::now(), saving.done()).await;
    match saved {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(format!("what operators have set cannot be written down: {error}")),
        Err(_) => return Err("the disk is too slow for what operators have set".to_owned()),
    }
    attempt
        .entrance
        .open_beside(&beside)
        .map_err(|error| format!("cannot be reached beside another lbd at {}: {error}", beside.display()))?;
    attempt.beside = Some(beside);
    let mut listeners =
        copies(&attempt.workers).await.map_err(|error| format!("cannot share listeners: {error}"))?;
    listeners.extend(admin);
    let addresses = apart(move || {
        let addresses = link.install(&listeners, due)?;
        link.appoint().map(|()| addresses)
    })
    .await?;
    if let Some(successor) = &mut attempt.successor {
        successor.addresses = addresses;
    }
    Ok(attempt)
}

/// Other handles of all listeners.
async fn copies(workers: &[mpsc::Sender<Command>]) -> io::Result<Vec<TcpListener>> {
    let hangs = || io::Error::other("a worker hangs");
    let mut listeners = Vec::new();
    for worker in workers {
        let (done, copied) = oneshot::channel();
        worker.try_send(Command::Copy { done }).map_err(|_| hangs())?;
        let copied = timeout(GIVE_UP, copied).await.map_err(|_| hangs())?;
        listeners.extend(copied.map_err(|_| hangs())??);
    }
    Ok(listeners)
}

/// Does what waits for another process on a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    spawn_blocking(work).await.unwrap_or_else(|died| Err(died.to_string()))
}
