//! Draining: after it, no client waits for anything of this node.
//!
//! New SYNs are held, which loses nothing, because clients' kernels repeat them. Everything older is finished: handshakes
//! under way, connections in the backlog, requests in flight, and responses on their way. A response is the client's only
//! when it has been acknowledged: once the address is another node's, nobody here can repeat what was lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::counters::{PerWorker, WorkerCounters};
use crate::sockets;
use crate::worker::Command;

/// How often it is looked whether everything is finished.
const LOOK: Duration = Duration::from_millis(2);
/// How long a worker may take to hold new connections.
const HOLD: Duration = Duration::from_millis(250);

/// Has the workers hold new connections at the addresses `listening`, and waits until all else is finished, at most for
/// `patience`. Says how it went.
pub async fn drain(
    workers: Vec<mpsc::Sender<Command>>,
    counters: Arc<PerWorker<WorkerCounters>>,
    listening: Vec<SocketAddr>,
    patience: Duration,
) -> String {
    let begun = Instant::now();
    if timeout(HOLD, hold(&workers)).await.is_err() {
        tracing::error!("a worker hangs, and its new connections are not held");
    }
    let awaited = || counters.sum(|worker| worker.awaited.get());
    let finished = timeout(patience, finish(awaited, listening)).await.is_ok();
    let time = format!("{:.1} ms", begun.elapsed().as_secs_f64() * 1000.0);
    match awaited() {
        0 if finished => format!("drained after {time}"),
        0 => format!("handover_timeout is over after {time}, and clients have not acknowledged everything"),
        left => format!("handover_timeout is over after {time} with {left} connections in use"),
    }
}

async fn hold(workers: &[mpsc::Sender<Command>]) {
    let mut holding = Vec::new();
    for worker in workers {
        let (done, held) = oneshot::channel();
        // A worker that is gone holds nothing and has nothing to finish.
        if worker.send(Command::Hold { done }).await.is_ok() {
            holding.push(held);
        }
    }
    for held in holding {
        let _ = held.await;
    }
}

/// Returns when nothing was left to finish twice in a row: the system's list of sockets is no picture of one moment.
async fn finish(awaited: impl Fn() -> u64, listening: Vec<SocketAddr>) {
    let listening = Arc::new(listening);
    let mut looks = 0;
    while looks < 2 {
        sleep(LOOK).await;
        let quiet = awaited() == 0 && !is_busy(&listening).await && awaited() == 0;
        looks = if quiet { looks + 1 } else { 0 };
    }
}

async fn is_busy(listening: &Arc<Vec<SocketAddr>>) -> bool {
    let listening = listening.clone();
    // The list may be long; this thread also tells vrrpd that lbd lives.
    let looked = tokio::task::spawn_blocking(move || sockets::any_busy(&listening)).await;
    match looked {
        Ok(Ok(busy)) => busy,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot look at sockets: responses on their way are not waited for");
            false
        }
        Err(_) => false,
    }
}
