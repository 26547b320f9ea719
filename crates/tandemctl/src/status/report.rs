//! What the daemons of a node say, collected.

use std::time::Duration;

use health::Status;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;
use wire::{Answer, Condition, Info, Request, RowKind, StatRow, Verdict};

use crate::failure::Failure;
use crate::node::Node;
use crate::server;

/// How long a daemon may take for all that is asked of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the daemons say, or why they do not.
pub(crate) struct Report {
    pub(crate) lbd: Result<(Info, Vec<StatRow>), Failure>,
    pub(crate) healthd: Result<(Info, Vec<Verdict>), Failure>,
}

impl Report {
    /// Asks all daemons at once.
    pub(crate) async fn gather(node: &Node) -> Self {
        let (lbd, healthd) =
            tokio::join!(timeout(PATIENCE, ask_lbd(node)), timeout(PATIENCE, ask_healthd(node)));
        Self {
            lbd: lbd.unwrap_or_else(|_| Err(node.silent("lbd"))),
            healthd: healthd.unwrap_or_else(|_| Err(node.silent("healthd"))),
        }
    }

    /// Each daemon: its name, and what it says of itself.
    pub(crate) fn daemons(&self) -> [(&'static str, Result<&Info, &Failure>); 2] {
        [
            ("lbd", self.lbd.as_ref().map(|(info, _)| info)),
            ("healthd", self.healthd.as_ref().map(|(info, _)| info)),
        ]
    }

    /// lbd's statistics. Without lbd, what healthd knows of the servers.
    pub(crate) fn rows(&self) -> Vec<StatRow> {
        match (&self.lbd, &self.healthd) {
            (Ok((_, rows)), _) => rows.clone(),
            (Err(_), Ok((_, verdicts))) => verdicts.iter().map(row_of).collect(),
            (Err(_), Err(_)) => Vec::new(),
        }
    }

    /// One line of JSON: `daemons` by name, each with `info` or `error`; `rows` of lbd; `verdicts` of healthd.
    pub(crate) fn to_json(&self) -> String {
        let daemons = self.daemons().map(|(daemon, info)| {
            let said = match info {
                Ok(info) => json!({ "info": info }),
                Err(failure) => json!({ "error": failure.to_string() }),
            };
            (daemon.to_owned(), said)
        });
        let rows = list(self.lbd.as_ref().map(|(_, rows)| rows));
        let verdicts = list(self.healthd.as_ref().map(|(_, verdicts)| verdicts));
        let daemons: serde_json::Map<_, _> = daemons.into_iter().collect();
        format!("{}\n", json!({ "daemons": daemons, "rows": rows, "verdicts": verdicts }))
    }

    /// Failure if a daemon failed, with its exit code. What failed has been shown.
    pub(crate) fn outcome(&self) -> Result<(), Failure> {
        let codes = self.daemons().into_iter().filter_map(|(_, info)| info.err().map(Failure::code));
        codes.max().map_or(Ok(()), |code| Err(Failure::Told(code)))
    }
}

/// A list for scripts: empty where its daemon did not answer.
fn list<T: Serialize>(items: Result<&Vec<T>, &Failure>) -> serde_json::Value {
    items.map_or_else(|_| json!([]), |items| json!(items))
}

async fn ask_lbd(node: &Node) -> Result<(Info, Vec<StatRow>), Failure> {
    let mut lbd = node.connect("lbd").await?;
    let info = match lbd.ask(Request::Info).await? {
        Answer::Info(info) => info,
        other => return Err(lbd.unexpected(&other)),
    };
    Ok((info, server::rows(&mut lbd).await?))
}

async fn ask_healthd(node: &Node) -> Result<(Info, Vec<Verdict>), Failure> {
    let mut healthd = node.connect("healthd").await?;
    let info = match healthd.ask(Request::Info).await? {
        Answer::Info(info) => info,
        other => return Err(healthd.unexpected(&other)),
    };
    match healthd.ask(Request::Verdicts).await? {
        Answer::Verdicts(verdicts) => Ok((info, verdicts)),
        other => Err(healthd.unexpected(&other)),
    }
}

/// A verdict in the form of a server's statistics, without what only lbd knows.
fn row_of(verdict: &Verdict) -> StatRow {
    let condition = match (verdict.status, verdict.streak) {
        (Status::Up, 0) => Condition::Up,
        (Status::Up, bad) => Condition::Falling { left: verdict.fall.saturating_sub(bad), of: verdict.fall },
        (Status::Down, 0) => Condition::Down,
        (Status::Down, good) => Condition::Rising { good, of: verdict.rise },
        (Status::Unknown | Status::Unchecked, _) => Condition::NoCheck,
    };
    StatRow {
        kind: RowKind::Server,
        proxy: verdict.backend.clone(),
        name: verdict.server.clone(),
        status: condition.to_string(),
        address: verdict.address.map(|address| address.to_string()).unwrap_or_default(),
        since_ms: verdict.since_ms,
        downtime_ms: verdict.downtime_ms,
        failed_checks: verdict.failed_checks,
        downs: verdict.downs,
        check: verdict.check.clone(),
        rise: verdict.rise,
        fall: verdict.fall,
        reason: verdict.resolve_error.clone().unwrap_or_default(),
        ..StatRow::default()
    }
}
