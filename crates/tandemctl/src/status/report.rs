//! What the daemons of a node say, collected.

use std::time::Duration;

use balance::AdminState;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;
use wire::{Answer, AnycastStatus, Condition, Document, Info, InstanceStatus, RowKind, StatRow, Verdict};

use crate::failure::Failure;
use crate::node::Node;
use crate::peer::Peer;

/// How long a daemon may take for all that is asked of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a daemon says of itself and what it is about, or why it does not.
type Said<T> = Result<(Info, Vec<T>), Failure>;

/// What the daemons say.
pub(crate) struct Report {
    /// The other node that they run on; none for this one.
    pub(crate) host: Option<String>,
    pub(crate) lbd: Said<StatRow>,
    pub(crate) healthd: Said<Verdict>,
    /// None where it does not run.
    pub(crate) vrrpd: Option<Said<InstanceStatus>>,
    /// vrrpd's anycast services.
    pub(crate) services: Vec<AnycastStatus>,
}

impl Report {
    /// Asks all daemons of this node at once.
    pub(crate) async fn gather(node: &Node) -> Self {
        let vrrpd = async {
            match node.has("vrrpd") {
                true => Some(timeout(PATIENCE, ask_vrrpd(node)).await),
                false => None,
            }
        };
        let (lbd, healthd, vrrpd) =
            tokio::join!(timeout(PATIENCE, ask_lbd(node)), timeout(PATIENCE, ask_healthd(node)), vrrpd);
        let (vrrpd, services) = match vrrpd.map(|vrrpd| vrrpd.unwrap_or_else(|_| Err(node.silent("vrrpd")))) {
            Some(Ok((info, instances, services))) => (Some(Ok((info, instances))), services),
            Some(Err(failure)) => (Some(Err(failure)), Vec::new()),
            None => (None, Vec::new()),
        };
        Self {
            host: None,
            lbd: lbd.unwrap_or_else(|_| Err(node.silent("lbd"))),
            healthd: healthd.unwrap_or_else(|_| Err(node.silent("healthd"))),
            vrrpd,
            services,
        }
    }

    /// Asks all daemons of another node at once.
    pub(crate) async fn gather_from(peer: &Peer) -> Self {
        let (lbd, healthd, vrrpd) =
            tokio::join!(peer.document("lbd"), peer.document("healthd"), peer.document("vrrpd"));
        let services = vrrpd.as_ref().map_or_else(|_| Vec::new(), |document| document.anycast.clone());
        Self {
            services,
            host: Some(peer.host.clone()),
            lbd: of_document(lbd, |about| match about {
                Answer::Stat(rows) => Some(rows),
                _ => None,
            }),
            healthd: of_document(healthd, |about| match about {
                Answer::Verdicts(verdicts) => Some(verdicts),
                _ => None,
            }),
            vrrpd: Some(of_document(vrrpd, |about| match about {
                Answer::Instances(instances) => Some(instances),
                _ => None,
            })),
        }
    }

    /// Each daemon that is expected to run: its name, and what it says of itself.
    pub(crate) fn daemons(&self) -> Vec<(&'static str, Result<&Info, &Failure>)> {
        let mut daemons = vec![
            ("lbd", self.lbd.as_ref().map(|(info, _)| info)),
            ("healthd", self.healthd.as_ref().map(|(info, _)| info)),
        ];
        daemons.extend(self.vrrpd.iter().map(|vrrpd| ("vrrpd", vrrpd.as_ref().map(|(info, _)| info))));
        daemons
    }

    /// vrrpd's instances.
    pub(crate) fn instances(&self) -> &[InstanceStatus] {
        match &self.vrrpd {
            Some(Ok((_, instances))) => instances,
            _ => &[],
        }
    }

    /// lbd's statistics. Without lbd, what healthd knows of the servers.
    pub(crate) fn rows(&self) -> Vec<StatRow> {
        match (&self.lbd, &self.healthd) {
            (Ok((_, rows)), _) => rows.clone(),
            (Err(_), Ok((_, verdicts))) => verdicts.iter().map(row_of).collect(),
            (Err(_), Err(_)) => Vec::new(),
        }
    }

    /// `daemons` by name, each with `info` or `error`, or null where it is not expected to run; `rows` of lbd, `verdicts` of healthd,
    /// `instances` and `anycast` of vrrpd; of another node its `host`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let daemons = self.daemons().into_iter().map(|(daemon, info)| {
            let said = match info {
                Ok(info) => json!({ "info": info }),
                Err(failure) => json!({ "error": failure.to_string() }),
            };
            (daemon.to_owned(), said)
        });
        let rows = list(self.lbd.as_ref().map(|(_, rows)| rows));
        let verdicts = list(self.healthd.as_ref().map(|(_, verdicts)| verdicts));
        let absent = self.vrrpd.is_none().then(|| ("vrrpd".to_owned(), json!(null)));
        let daemons: serde_json::Map<_, _> = daemons.chain(absent).collect();
        let instances = self.instances();
        let mut json = json!({ "daemons": daemons, "rows": rows, "verdicts": verdicts, "instances": instances, "anycast": self.services });
        if let Some(host) = &self.host {
            json["host"] = json!(host);
        }
        json
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

async fn ask_lbd(node: &Node) -> Said<StatRow> {
    let mut lbd = node.connect("lbd").await?;
    Ok((lbd.info().await?, lbd.rows().await?))
}

async fn ask_healthd(node: &Node) -> Said<Verdict> {
    let mut healthd = node.connect("healthd").await?;
    Ok((healthd.info().await?, healthd.verdicts().await?))
}

async fn ask_vrrpd(node: &Node) -> Result<(Info, Vec<InstanceStatus>, Vec<AnycastStatus>), Failure> {
    let mut vrrpd = node.connect("vrrpd").await?;
    let (info, instances) = (vrrpd.info().await?, vrrpd.instances().await?);
    // A vrrpd of an earlier release knows none.
    Ok((info, instances, vrrpd.services().await.unwrap_or_default()))
}

/// A document's info and its list.
fn of_document<T>(document: Result<Document, Failure>, list: fn(Answer) -> Option<Vec<T>>) -> Said<T> {
    let Document { info, about, .. } = document?;
    match list(about) {
        Some(list) => Ok((info, list)),
        None => Err(Failure::Remote(format!("{} tells of something else than it is about", info.daemon))),
    }
}

/// A verdict in the form of a server's statistics, without what only lbd knows.
fn row_of(verdict: &Verdict) -> StatRow {
    let condition = match verdict.admin_state {
        Some(AdminState::Maint) => Condition::Maint,
        Some(AdminState::Drain) => Condition::Drain,
        Some(AdminState::Ready) | None => verdict.health(),
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
        reason: verdict.name_trouble().unwrap_or_default().to_owned(),
        ..StatRow::default()
    }
}
