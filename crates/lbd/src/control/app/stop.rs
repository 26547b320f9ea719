//! The graceful stop, which refuses nobody: whoever comes is served, by this process or by the next one.
//!
//! First lbd goes on serving, while what was in flight at the signal ends. Every response says that it is the last of its
//! connection. Then nobody is accepted any more: the listeners are handed on, what has been accepted meanwhile is
//! finished, and clients wait in the backlogs for the next lbd. All of this has `lbd.stop_timeout`.

use std::time::Duration;

use daemon::systemd;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use wire::LifeState;

use super::{App, lock};
use crate::control::heritage::Keeper;
use crate::shared::command::Command;

/// What of the time for a stop is left to those who were accepted meanwhile: a quarter, and so long at most, because others wait
/// then.
const LAST_PART: (u32, Duration) = (4, Duration::from_secs(5));
/// What a stop takes at most beside its waits: clients that had been held before a handover, the listeners, the log.
const BESIDE: Duration = Duration::from_secs(15);
/// How long the workers may take to give their listeners up.
const GIVE_UP: Duration = Duration::from_secs(2);

impl App {
    /// Finishes what is in flight, hands the listeners on, and ends; whoever says it again is not kept waiting.
    pub(super) async fn stop(mut self, mut again: watch::Receiver<u32>) {
        // A configuration that comes now is refused.
        self.adoptions.close();
        while self.adoptions.try_recv().is_ok() {}
        let was_starting = self.is_starting();
        let (mut patience, handover) = {
            let state = lock(&self.state);
            let lbd = &state.config().lbd;
            (lbd.stop_timeout, lbd.handover_timeout)
        };
        // A handover waits twice: for requests, and for vrrpd.
        if let Err(error) = systemd::stop_may_take(patience + 2 * handover + BESIDE) {
            tracing::warn!("systemd may end lbd before stop_timeout is over: {error:#}");
        }
        if self.liveness.subscribers() > 0 && !was_starting {
            tokio::select! {
                () = self.hand_over() => {}
                _ = again.changed() => {
                    tracing::warn!("told again to stop; lbd does not wait for the handover");
                    patience = Duration::ZERO;
                }
            }
        }
        tracing::info!(at_most = ?patience, "lbd stops: it serves until what is in flight has ended");
        self.set_life(LifeState::Stopping);
        // Whoever still asks is answered that lbd ends.
        self.handovers.close();
        while self.handovers.try_recv().is_ok() {}

        let mut deadline = Instant::now() + patience;
        let (share, most) = LAST_PART;
        let elders = self.tell_all(|done| Command::Leave { due: deadline, done });
        tokio::select! {
            () = all(elders) => {}
            () = sleep_until(deadline - (patience / share).min(most)) => {}
            _ = again.changed() => {
                tracing::warn!("told again to stop; lbd does not wait for requests in flight");
                deadline = Instant::now();
            }
        }
        // Kept to the end: a holder counts from there.
        let (_keeper, connections) = self.hand_on(deadline).await;
        tokio::select! {
            biased;
            () = all(connections) => tracing::info!("nothing is in flight any more; lbd stops"),
            () = sleep_until(deadline) => tracing::warn!("stop_timeout is over; lbd breaks off what is left"),
            _ = again.changed() => tracing::warn!("told again to stop; lbd breaks off what is left"),
        }
        self.end().await;
    }

    /// Ends when the log is written.
    pub(super) async fn end(mut self) {
        // Workers that ended have handed over their last lines; the writer ends behind them.
        self.workers.clear();
        let writer = spawn_blocking(move || self.log_writer.join());
        let _ = timeout(Duration::from_secs(1), writer).await;
    }

    /// Has the workers stop accepting, and hands their listeners on. Who keeps them, and what waits for the end of each worker's
    /// connections.
    async fn hand_on(&mut self, due: Instant) -> (Option<Keeper>, Vec<oneshot::Receiver<()>>) {
        let context = self.life.context().clone();
        // A panic there would be told by itself.
        let keeper = spawn_blocking(move || Keeper::find(&context)).await.ok().and_then(|found| {
            found
                .inspect_err(|error| tracing::error!("clients are refused until lbd is back: {error:#}"))
                .ok()
        });
        let mut surrendered = Vec::new();
        let connections = self.tell_all(|done| {
            let (listeners, given_up) = oneshot::channel();
            if keeper.is_some() {
                surrendered.push(given_up);
            }
            Command::Stop { due, listeners, done }
        });
        let Some(mut keeper) = keeper else { return (None, connections) };
        let mut listeners: Vec<_> = std::mem::take(&mut self.waiting).into_values().flatten().collect();
        let patience = Instant::now() + GIVE_UP;
        for given_up in surrendered {
            // A worker that is gone has closed them, and one that hangs has them to its end.
            if let Ok(Ok(given_up)) = timeout_at(patience, given_up).await {
                listeners.extend(given_up);
            }
        }
        let kept = spawn_blocking(move || {
            keeper
                .keep(&listeners)
                .inspect_err(|error| tracing::error!("waiting clients are refused: {error:#}"))
                .ok()?;
            tracing::info!(listeners = listeners.len(), "the listeners wait for the next lbd");
            Some(keeper)
        });
        (kept.await.ok().flatten(), connections)
    }

    /// Tells all workers; what they answer when they are done. One that is gone has nothing left to do.
    pub(super) fn tell_all(
        &self,
        mut command: impl FnMut(oneshot::Sender<()>) -> Command,
    ) -> Vec<oneshot::Receiver<()>> {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (done, answer) = oneshot::channel();
            if worker.tell(command(done)).is_ok() {
                answers.push(answer);
            }
        }
        answers
    }
}

/// Waits until each has answered, or is gone.
pub(super) async fn all(answers: Vec<oneshot::Receiver<()>>) {
    for answer in answers {
        let _ = answer.await;
    }
}
