//! Draining: after it, no client waits for anything of this node.
//!
//! New SYNs are held, which loses nothing, because clients' kernels repeat them. Everything older is finished: handshakes
//! under way, connections in the backlog, requests in flight, and responses on their way. A response is the client's only
//! when it has been acknowledged: once the address is another node's, nobody here can repeat what was lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::control::sockets::{self, Pending};
use crate::shared::command::Command;
use crate::shared::counters::{PerWorker, WorkerCounters};

/// How often it is looked whether everything is finished.
const LOOK: Duration = Duration::from_millis(2);
/// How long a worker may take to hold new connections.
const HOLD: Duration = Duration::from_millis(250);

/// Has the workers hold new connections at the addresses `listening`, and waits until all else is finished, at most for
/// `patience`, which requests that wait for a server make do with. Says how it went.
pub async fn drain(
    workers: Vec<mpsc::Sender<Command>>,
    counters: Arc<PerWorker<WorkerCounters>>,
    listening: Vec<SocketAddr>,
    patience: Duration,
) -> String {
    let begun = Instant::now();
    let due = begun + patience;
    if timeout(HOLD, hold(&workers, due)).await.is_err() {
        tracing::error!("a worker hangs, and its new connections are not held");
    }
    let awaited = || counters.sum(|worker| worker.awaited.get());
    let mut pending = None;
    let finished = timeout_at(due, finish(awaited, listening, &mut pending)).await.is_ok();
    let time = format!("{:.1} ms", begun.elapsed().as_secs_f64() * 1000.0);
    match (awaited(), pending) {
        (0, _) if finished => format!("drained after {time}"),
        (0, Some(pending)) => format!("handover_timeout is over after {time}: {pending}"),
        (0, None) => {
            format!("handover_timeout is over after {time}, too soon to know that clients have everything")
        }
        (left, _) => {
            let left = wire::human::things(left, "connection");
            format!("handover_timeout is over after {time} with {left} in use")
        }
    }
}

async fn hold(workers: &[mpsc::Sender<Command>], due: Instant) {
    let mut holding = Vec::new();
    for worker in workers {
        let (done, held) = oneshot::channel();
        // A worker that is gone holds nothing and has nothing to finish.
        if worker.send(Command::Hold { due, done }).await.is_ok() {
            holding.push(held);
        }
    }
    for held in holding {
        let _ = held.await;
    }
}

/// Returns when nothing was left to finish twice in a row: the system's list of sockets is no picture of one moment. What
/// was seen last stays in `pending`.
async fn finish(awaited: impl Fn() -> u64, listening: Vec<SocketAddr>, pending: &mut Option<Pending>) {
    let listening = Arc::new(listening);
    let mut looks = 0;
    while looks < 2 {
        sleep(LOOK).await;
        let mut quiet = awaited() == 0;
        if quiet {
            *pending = look(&listening).await;
            quiet = pending.is_none() && awaited() == 0;
        }
        looks = if quiet { looks + 1 } else { 0 };
    }
}

async fn look(listening: &Arc<Vec<SocketAddr>>) -> Option<Pending> {
    let listening = listening.clone();
    // The list may be long; this thread also tells vrrpd that lbd lives.
    let looked = tokio::task::spawn_blocking(move || sockets::first_pending(&listening)).await;
    match looked {
        Ok(Ok(pending)) => pending,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot look at sockets: responses on their way are not waited for");
            None
        }
        Err(_) => None,
    }
}
