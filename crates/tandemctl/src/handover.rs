//! `handover`: the virtual addresses go to another node, anycast services are withdrawn, and no request is lost. `announce`:
//! services come back.

use std::io::Write;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire::{Answer, AnycastState, AnycastStatus, InstanceState, InstanceStatus, Request};

use crate::failure::Failure;
use crate::node::{Connection, Node};

/// How long another node may take to say that it is master. After that, this node is master again, if nobody else is.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often to look whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// How long routers may be given to learn of a withdrawal, and a moment more.
const LEARNING: Duration = Duration::from_secs(62);

/// Hands over one instance or service, or all, and says who has what then. Fails if nobody took an instance over.
pub(crate) async fn run(node: &Node, which: Option<String>) -> Result<(), Failure> {
    let mut vrrpd = node.connect("vrrpd").await?;
    let before = vrrpd.instances().await?;
    let is_meant = |status: &InstanceStatus| which.as_ref().is_none_or(|name| *name == status.instance);
    let given: Vec<InstanceStatus> = before
        .into_iter()
        .filter(|status| is_meant(status) && status.state == InstanceState::Master)
        .collect();
    let mut out = std::io::stdout();
    match vrrpd.ask(Request::Handover { instance: which.clone() }).await? {
        Answer::Done(done) => writeln!(out, "{done}")?,
        other => return Err(vrrpd.unexpected(&other)),
    }
    wait_for_routers(&mut vrrpd, which.as_deref()).await?;
    let until = Instant::now() + PATIENCE;
    let outcomes = loop {
        let now = vrrpd.instances().await?;
        let outcomes: Vec<Outcome> = given.iter().map(|status| Outcome::of(status, &now)).collect();
        if !outcomes.contains(&Outcome::Open) || Instant::now() >= until {
            break outcomes;
        }
        sleep(LOOK).await;
    };
    for (status, outcome) in given.iter().zip(&outcomes) {
        writeln!(out, "{}", outcome.tell(status))?;
    }
    let taken = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Taken { .. }));
    if taken { Ok(()) } else { Err(Failure::Told(1)) }
}

/// Waits until routers have had the time that they are given to learn of withdrawals, and says what is withdrawn then.
async fn wait_for_routers(vrrpd: &mut Connection, which: Option<&str>) -> Result<(), Failure> {
    let is_meant = |status: &AnycastStatus| which.is_none_or(|name| name == status.service);
    let until = Instant::now() + LEARNING;
    let mut out = std::io::stdout();
    loop {
        // A vrrpd of an earlier release knows none.
        let services = vrrpd.services().await.unwrap_or_default();
        let services: Vec<AnycastStatus> = services.into_iter().filter(is_meant).collect();
        let are_leaving = services.iter().any(|status| status.state == AnycastState::Leaving);
        if !are_leaving || Instant::now() >= until {
            for status in &services {
                let AnycastStatus { service, addresses, state, reason, .. } = status;
                writeln!(out, "{service}: {} is {state} here: {reason}", addresses.join(", "))?;
            }
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

/// Announces one service again, or all, and says where they stand then.
pub(crate) async fn announce(node: &Node, service: Option<String>) -> Result<(), Failure> {
    let mut vrrpd = node.connect("vrrpd").await?;
    match vrrpd.ask(Request::Announce { service }).await? {
        Answer::Done(done) => Ok(writeln!(std::io::stdout(), "{done}")?),
        other => Err(vrrpd.unexpected(&other)),
    }
}

/// What became of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nobody is known to be master yet.
    Open,
    /// Another node is master.
    Taken { by: String, priority: Option<u8> },
    /// This node is master again, for this reason.
    Back(String),
}

impl Outcome {
    fn of(before: &InstanceStatus, now: &[InstanceStatus]) -> Self {
        let Some(now) = now.iter().find(|now| now.instance == before.instance) else { return Self::Open };
        match now.master {
            _ if now.state == InstanceState::Master => Self::Back(now.reason.clone()),
            Some(by) if now.source != Some(by) => {
                Self::Taken { by: by.to_string(), priority: now.master_priority }
            }
            _ => Self::Open,
        }
    }

    fn tell(&self, status: &InstanceStatus) -> String {
        let from = status.source.map_or_else(String::new, |source| format!(" from {source}"));
        let what = format!("{}: {}", status.instance, status.addresses.join(", "));
        match self {
            Self::Taken { by, priority } => {
                let priority = priority.map_or_else(String::new, |priority| format!(", priority {priority}"));
                format!("{what} went{from} to {by}{priority}")
            }
            Self::Back(reason) => format!("{what} stays on this node: {reason}"),
            Self::Open => format!(
                "{what} left this node, but no other node has said within {} s that it is master",
                PATIENCE.as_secs()
            ),
        }
    }
}
