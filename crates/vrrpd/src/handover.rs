//! Planned handovers: the virtual addresses leave this node, and no request is lost.
//!
//! lbd first holds new connections, without refusing any, and finishes what is in flight; then the addresses move; then lbd
//! goes on, or ends. Clients whose connection was held try again by themselves, and reach the next master, or another node that
//! announces the address. For anycast the order is the same: a router that hears of a withdrawal sends packets of connections that
//! live elsewhere at once, and what had been in flight would be cut.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};
use wire::client::{Client, ClientError};
use wire::human::things;
use wire::{AnycastState, InstanceState, Request};

use crate::board::Board;
use crate::order::{ANSWER, HANDOVER, Order, Release, give};
use crate::track::Reporter;

/// How long lbd may take to say that it is reached, and that it has heard. How long it drains it bounds itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a new master serves before its lbd holds connections. A client whose first SYN the last master held repeats it
/// after a second; held again, it would wait for three in all.
const REPEATED: Duration = Duration::from_millis(1250);

/// What is to leave this node.
struct Leaving {
    /// Instances, of which at least one is master here.
    instances: Vec<String>,
    /// Services that have not been withdrawn yet.
    services: Vec<String>,
    /// Whether clients are served at any of the addresses.
    serves: bool,
}

impl Leaving {
    /// The instance or service of that name, or all of them.
    ///
    /// # Errors
    /// In words, why there is nothing.
    fn find(board: &Board, which: Option<&str>) -> Result<Self, String> {
        let (instances, services) = (board.statuses(), board.services());
        let names = || {
            let instances = instances.iter().map(|one| one.instance.as_str());
            instances.chain(services.iter().map(|one| one.service.as_str()))
        };
        if let Some(name) = which.filter(|name| !names().any(|known| known == *name)) {
            return Err(format!("there is no instance or service {name}; there are {}", join(names())));
        }
        let is_meant = |name: &str| which.is_none_or(|wanted| wanted == name);
        let meant = || instances.iter().filter(|one| is_meant(&one.instance));
        let is_master = meant().any(|one| one.state == InstanceState::Master);
        let meant = if is_master { meant().map(|one| one.instance.clone()).collect() } else { Vec::new() };
        let is_gone = |state| matches!(state, AnycastState::Leaving | AnycastState::Withdrawn);
        let here = services.iter().filter(|one| is_meant(&one.service) && !is_gone(one.state));
        let is_announced = here.clone().any(|one| one.state == AnycastState::Announced);
        let here: Vec<String> = here.map(|one| one.service.clone()).collect();
        if meant.is_empty() && here.is_empty() {
            return Err(match services.is_empty() {
                true => "this node is not master, so there is nothing to hand over".to_owned(),
                false => "this node is not master, and has withdrawn its services already".to_owned(),
            });
        }
        Ok(Self { instances: meant, services: here, serves: is_master || is_announced })
    }
}

/// Gives the addresses of one instance or service, or of all, to other nodes. What was done, in words.
///
/// # Errors
/// In words, why there is nothing to hand over.
pub async fn hand_over(
    board: &Board,
    orders: &mpsc::Sender<Order>,
    lbd: &Path,
    which: Option<&str>,
) -> Result<String, String> {
    let Leaving { instances, services, serves } = Leaving::find(board, which)?;
    let meant: BTreeSet<String> = instances.iter().chain(&services).cloned().collect();
    let reset_before = reset(board, &meant);
    serve_the_held(board, |name| instances.iter().any(|meant| meant == name)).await;
    let began = Instant::now();
    let lbd = if serves { drain(lbd).await } else { None };
    // Routers are told first: an instance waits for its successor.
    let withdrawn =
        if services.is_empty() { Ok(Vec::new()) } else { withdraw(orders, services.clone()).await };
    let nobody_else = instances.is_empty();
    let outcome = if nobody_else { Ok(Vec::new()) } else { release(orders, instances).await };
    let stay = outcome.as_ref().map_or(true, |all| all.iter().all(|one| one.kept));
    let stay = stay && withdrawn.as_ref().is_ok_and(Vec::is_empty);
    tell(lbd, if stay { Request::Kept } else { Request::Released }).await;
    let (outcome, withdrawn) = (outcome?, withdrawn?);
    let took = began.elapsed().as_millis();
    let mut done = Vec::new();
    if !services.is_empty() {
        info!(
            services = services.join(", "),
            announced = withdrawn.join(", "),
            took = format!("{took} ms"),
            "withdrawn"
        );
        done.push(format!("withdrew {} in {took} ms", services.join(", ")));
    }
    let resets = match reset(board, &meant).saturating_sub(reset_before) {
        0 => None,
        some => Some(format!("reset {} that had not ended", things(some, "connection"))),
    };
    if nobody_else {
        done.extend(resets);
        return Ok(done.join("; "));
    }
    if outcome.is_empty() {
        let why = "another node has become master meanwhile, so there is nothing to hand over";
        return if done.is_empty() { Err(why.to_owned()) } else { Ok(done.join("; ")) };
    }
    let list =
        |kept: bool| join(outcome.iter().filter(|one| one.kept == kept).map(|one| one.instance.as_str()));
    let (kept, released) = (list(true), list(false));
    if !released.is_empty() {
        info!(instances = released, took = format!("{took} ms"), "handed over");
        done.push(format!("handed over {released} in {took} ms"));
    }
    if !kept.is_empty() {
        let nobody = format!(
            "nobody took over {kept} within {took} ms, so the addresses have stayed here; does vrrpd run on another node, \
             in state backup?"
        );
        if done.is_empty() {
            warn!(instances = kept, "{nobody}");
            return Err(nobody);
        }
        done.push(nobody);
    }
    done.extend(resets);
    Ok(done.join("; "))
}

/// How many connections of these instances and services have been reset so far.
fn reset(board: &Board, meant: &BTreeSet<String>) -> u64 {
    let (instances, services) = (board.statuses(), board.services());
    let of_instances = instances.iter().map(|one| (&one.instance, one.counters.connections_reset));
    let of_services = services.iter().map(|one| (&one.service, one.counters.connections_reset));
    of_instances.chain(of_services).filter(|(name, _)| meant.contains(*name)).map(|(_, reset)| reset).sum()
}

/// Announces one service again, or all. Where they stand then, in words.
///
/// # Errors
/// In words, why none is.
pub async fn announce(
    board: &Board,
    orders: &mpsc::Sender<Order>,
    which: Option<&str>,
) -> Result<String, String> {
    let known: Vec<String> = board.services().into_iter().map(|one| one.service).collect();
    if known.is_empty() {
        return Err("there is no anycast service here".to_owned());
    }
    if let Some(name) = which.filter(|name| !known.iter().any(|one| one == name)) {
        return Err(format!("there is no service {name}; there are {}", known.join(", ")));
    }
    let services = which.map_or(known, |name| vec![name.to_owned()]);
    let (done, decided) = oneshot::channel();
    let outcome = give(orders, Order::Announce { services, done }, decided, ANSWER).await;
    let states = outcome.map_err(|why| why.to_string())?;
    let statuses = board.services();
    let told = |(name, state): &(String, AnycastState)| {
        let status = statuses.iter().find(|one| one.service == *name);
        let reason = status.map_or("", |status| status.reason.as_str());
        format!("{name} is {state}: {reason}")
    };
    let all = states.iter().map(told).collect::<Vec<_>>().join("; ");
    let comes = |state| matches!(state, AnycastState::Announced | AnycastState::Waiting);
    if states.iter().any(|(_, state)| comes(*state)) { Ok(all) } else { Err(all) }
}

/// Leaves all elections, and withdraws all services, before vrrpd ends. As a handover, if there is anything to hand over.
pub async fn leave(board: &Board, orders: &mpsc::Sender<Order>, lbd: &Path) {
    let lbd = match Leaving::find(board, None) {
        Ok(Leaving { serves: true, .. }) => {
            serve_the_held(board, |_| true).await;
            drain(lbd).await
        }
        _ => None,
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

/// Withdraws services until they are asked for. Which had been announced.
async fn withdraw(orders: &mpsc::Sender<Order>, services: Vec<String>) -> Result<Vec<String>, String> {
    let (done, withdrawn) = oneshot::channel();
    let outcome = give(orders, Order::Withdraw { services, done }, withdrawn, ANSWER).await;
    outcome.map_err(|why| why.to_string())
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
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
