//! Planned handovers: the virtual addresses leave this node, and no request is lost.
//!
//! lbd first holds new connections, without refusing any, and finishes what is in flight; then the addresses move; then lbd
//! goes on, or ends. Clients whose connection was held try again by themselves, and reach the next master.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};
use wire::client::{Client, ClientError};
use wire::{InstanceState, Request};

use crate::board::Board;
use crate::order::{ANSWER, HANDOVER, Order, Release, give};
use crate::track::Reporter;

/// How long lbd may take to say that it is reached, and that it has heard. How long it drains it bounds itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a new master serves before its lbd holds connections. A client whose first SYN the last master held repeats it
/// after a second; held again, it would wait for three in all.
const REPEATED: Duration = Duration::from_millis(1250);

/// Gives the addresses of one instance, or of all, to other nodes. What was done, in words.
///
/// # Errors
/// In words, why there is nothing to hand over.
pub async fn hand_over(
    board: &Board,
    orders: &mpsc::Sender<Order>,
    lbd: &Path,
    instance: Option<&str>,
) -> Result<String, String> {
    let statuses = board.statuses();
    if let Some(name) = instance
        && !statuses.iter().any(|status| status.instance == name)
    {
        let names: Vec<&str> = statuses.iter().map(|status| status.instance.as_str()).collect();
        return Err(format!("there is no instance {name}; there are {}", names.join(", ")));
    }
    let is_meant = |name: &str| instance.is_none_or(|wanted| wanted == name);
    if !statuses.iter().any(|status| is_meant(&status.instance) && status.state == InstanceState::Master) {
        return Err("this node is not master, so there is nothing to hand over".to_owned());
    }
    serve_the_held(board, is_meant).await;
    let began = Instant::now();
    let lbd = drain(lbd).await;
    let names = statuses.into_iter().map(|status| status.instance).filter(|name| is_meant(name)).collect();
    let outcome = release(orders, names).await;
    let stay = outcome.as_ref().map_or(true, |all| !all.is_empty() && all.iter().all(|one| one.kept));
    tell(lbd, if stay { Request::Kept } else { Request::Released }).await;
    let outcome = outcome?;
    if outcome.is_empty() {
        return Err("another node has become master meanwhile, so there is nothing to hand over".to_owned());
    }
    let took = began.elapsed().as_millis();
    let list = |kept: bool| {
        let some = outcome.iter().filter(|one| one.kept == kept).map(|one| one.instance.as_str());
        some.collect::<Vec<_>>().join(", ")
    };
    let (kept, released) = (list(true), list(false));
    let nobody = format!(
        "nobody took over {kept} within {took} ms, so the addresses have stayed here; does vrrpd run on another node, \
         in state backup?"
    );
    if released.is_empty() {
        warn!(instances = kept, "{nobody}");
        return Err(nobody);
    }
    info!(instances = released, took = format!("{took} ms"), "handed over");
    let done = format!("handed over {released} in {took} ms");
    Ok(if kept.is_empty() { done } else { format!("{done}; {nobody}") })
}

/// Leaves all elections before vrrpd ends. As a handover, if there is anything to hand over.
pub async fn leave(board: &Board, orders: &mpsc::Sender<Order>, lbd: &Path) {
    let is_master = board.statuses().iter().any(|status| status.state == InstanceState::Master);
    let lbd = if is_master {
        serve_the_held(board, |_| true).await;
        drain(lbd).await
    } else {
        None
    };
    leave_at_once(orders).await;
    tell(lbd, Request::Released).await;
}

/// Leaves all elections, whoever is being served.
pub async fn leave_at_once(orders: &mpsc::Sender<Order>) {
    let (done, left) = oneshot::channel();
    if let Err(reason) = give(orders, Order::Stop { done }, left, ANSWER).await {
        error!(%reason, "cannot give the addresses up in good order");
    }
}

/// Has these instances, where they are master, leave mastership. What became of those.
pub(crate) async fn release(
    orders: &mpsc::Sender<Order>,
    instances: Vec<String>,
) -> Result<Vec<Release>, String> {
    let (done, released) = oneshot::channel();
    let outcome = give(orders, Order::Release { instances, done }, released, HANDOVER).await;
    outcome.map_err(|why| why.to_string())
}

/// For an lbd that is to stop: has it drain, once clients that the last master held have come to this one.
pub(crate) async fn prepare(lbd: PathBuf, board: Arc<Board>, instances: Vec<String>) {
    serve_the_held(&board, |name| instances.iter().any(|meant| meant == name)).await;
    drain(&lbd).await;
}

/// For an lbd that stops: once the election has heard of it, instances that it costs but priority are handed over like
/// the others. lbd is told what became of the addresses of all that track it.
pub(crate) async fn let_go(lbd: PathBuf, reporter: Reporter, instances: Vec<String>) {
    reporter.settled().await;
    let kept: Vec<String> = match release(reporter.orders(), instances).await {
        Ok(outcome) => outcome.into_iter().filter(|one| one.kept).map(|one| one.instance).collect(),
        Err(reason) => {
            warn!(reason, "lbd stops, and where the addresses are is not known");
            return;
        }
    };
    let outcome = if kept.is_empty() {
        Request::Released
    } else {
        warn!(instances = kept.join(", "), "lbd stops, and nobody takes its addresses");
        Request::Kept
    };
    tell(connect(&lbd).await, outcome).await;
}

/// Waits until clients that the last master held have come to this one, where it has not been master for long.
async fn serve_the_held(board: &Board, is_meant: impl Fn(&str) -> bool) {
    let statuses = board.statuses();
    let masters = statuses.iter().filter(|one| one.state == InstanceState::Master && is_meant(&one.instance));
    if let Some(age) = masters.map(|one| Duration::from_millis(one.since_ms)).min() {
        sleep(REPEATED.saturating_sub(age)).await;
    }
}

/// Has lbd hold new connections and finish what is in flight. Who is to be told when the addresses are gone.
async fn drain(lbd: &Path) -> Option<Client> {
    let mut lbd = connect(lbd).await?;
    if let Err(error) = lbd.request(Request::Drain).await {
        warn!(reason = %error, "lbd could not be drained; requests in flight are lost");
    }
    Some(lbd)
}

async fn connect(lbd: &Path) -> Option<Client> {
    match timeout(PATIENCE, Client::connect(lbd, "vrrpd")).await.unwrap_or(Err(ClientError::TimedOut)) {
        Ok(client) => Some(client),
        Err(ClientError::Unreachable { .. }) => {
            debug!("lbd is not there, so nothing waits for a handover");
            None
        }
        Err(error) => {
            warn!(reason = %error, "lbd cannot be spoken with, so the handover goes on without it");
            None
        }
    }
}

async fn tell(lbd: Option<Client>, outcome: Request) {
    let Some(mut lbd) = lbd else { return };
    let told = timeout(PATIENCE, lbd.request(outcome)).await;
    if let Err(error) = told.unwrap_or(Err(ClientError::TimedOut)) {
        debug!(reason = %error, "lbd could not be told where the addresses are; it goes on by itself");
    }
}
