//! `load`: a steady stream of requests, each on a connection of its own, to measure what a fault costs clients.
//!
//! Requests begin at fixed times, whether or not earlier ones were answered: a server that hangs does not slow the load
//! down, and what it would have lost is counted as lost.

mod args;
mod report;
mod request;
mod tally;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

pub(crate) use args::LoadArgs;

use crate::failure::Failure;
use request::{Answered, Lost, Target};
use tally::Tally;

/// How long resolving the host's name may take.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(5);

/// What became of one request.
struct Outcome {
    /// When it was to begin.
    begun: Instant,
    ended: Instant,
    result: Result<Answered, Lost>,
}

/// Sends the load and prints the summary. Fails if a request was lost.
pub(crate) async fn run(args: LoadArgs) -> Result<(), Failure> {
    let address = resolve(&args.url.host, args.url.port).await?;
    let target = Arc::new(Target::new(&args.url, address, args.by_title, args.keep));
    let tally = send(&args, &target).await?;
    report::write(&tally.summary(), args.json, &mut io::stdout())?;
    if tally.is_complete() { Ok(()) } else { Err(Failure::Told(1)) }
}

/// The host's first address: a load test measures one address, and names it once.
async fn resolve(host: &str, port: u16) -> Result<SocketAddr, Failure> {
    let unknown = |why: String| Failure::Refused(format!("{host} has no address: {why}"));
    let found = timeout(RESOLVE_PATIENCE, lookup_host((host, port))).await;
    let mut addresses = found
        .map_err(|_| unknown(format!("no answer within {} s", RESOLVE_PATIENCE.as_secs())))?
        .map_err(|error| unknown(error.to_string()))?;
    addresses.next().ok_or_else(|| unknown("the name has none".into()))
}

/// Sends requests at the rate until all are sent or a signal ends it, and waits for those in flight.
async fn send(args: &LoadArgs, target: &Arc<Target>) -> io::Result<Tally> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let start = Instant::now();
    let mut ticks = interval_at(start, args.interval());
    // After a stall of this process the missed requests follow at once: the count stays what was asked for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut tally = Tally::new(start);
    let mut in_flight: JoinSet<Outcome> = JoinSet::new();
    let mut left = args.requests();
    while left > 0 || !in_flight.is_empty() {
        tokio::select! {
            biased;
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            Some(done) = in_flight.join_next() => count(&mut tally, done),
            begun = ticks.tick(), if left > 0 => {
                left -= 1;
                if in_flight.len() < args.in_flight() {
                    in_flight.spawn(attempt(target.clone(), begun, args.timeout));
                } else {
                    tally.count(begun, Instant::now(), Err(Lost::NotSent));
                }
            }
        }
    }
    tally.end(Instant::now());
    Ok(tally)
}

async fn attempt(target: Arc<Target>, begun: Instant, patience: Duration) -> Outcome {
    let result = timeout(patience, target.get()).await.unwrap_or(Err(Lost::TimedOut));
    Outcome { begun, ended: Instant::now(), result }
}

fn count(tally: &mut Tally, done: Result<Outcome, tokio::task::JoinError>) {
    // A task ends otherwise only by a panic, which was told on standard error.
    if let Ok(Outcome { begun, ended, result }) = done {
        tally.count(begun, ended, result);
    }
}
