//! The messages of protocol 1, as `docs/protocol.md` specifies them.
//!
//! A client sends [`ClientLine`]s, a daemon answers with [`DaemonLine`]s, one JSON object a line. Unknown fields are
//! ignored everywhere, so that either side can be newer than the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use balance::{AdminState, Weight};
use health::{CheckCode, Status};
use serde::{Deserialize, Serialize};

use crate::{AnycastStatus, Condition, Discovery, InstanceStatus, Left, Member};

/// The protocol's version, in every hello.
pub const PROTOCOL: u32 = 1;

/// What a client may send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClientLine {
    /// The first line of every connection.
    Hello {
        /// Who speaks.
        hello: ClientHello,
    },
    /// Every later line.
    Request {
        /// Chosen by the client; comes back in every answer to this request.
        id: u64,
        /// What is wanted.
        #[serde(flatten)]
        request: Request,
    },
}

/// Who speaks to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// Must be [`PROTOCOL`].
    pub protocol: u32,
    /// The client's program name, for the log.
    pub client: String,
}

/// What is wanted of a daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// A snapshot of a topic, then its events, for as long as the connection lasts.
    Subscribe {
        /// What to subscribe to.
        topic: TopicName,
        /// How often a `ping` is wanted, 10 to 60,000 ms.
        ping_ms: u64,
    },
    /// One [`Info`].
    Info,
    /// lbd: its [`StatRow`]s, in parts.
    Stat,
    /// healthd: its [`Verdict`]s, in parts.
    Verdicts,
    /// healthd: what it knows of each name, as [`Resolution`]s, in parts.
    Resolvers,
    /// vrrpd: its [`InstanceStatus`]es, in parts.
    Instances,
    /// vrrpd: its [`AnycastStatus`]es, in parts.
    Anycast,
    /// vrrpd: give the virtual addresses to another router, and withdraw anycast services until they are asked for, without losing a
    /// request. Needs permission.
    Handover {
        /// Of this instance or service only; none: of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
    },
    /// vrrpd: announce anycast services again. Needs permission.
    Announce {
        /// This service only; none: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
    },
    /// vrrpd to lbd: hold new connections and finish requests in flight, because the virtual addresses are to leave this
    /// node. Answered when no request is in flight any more, or `lbd.handover_timeout` is over. Needs permission.
    Drain,
    /// vrrpd to lbd: this node holds no virtual address any more; go on, or end. Needs permission.
    Released,
    /// vrrpd to lbd: the virtual addresses stay on this node, because nobody takes them; go on, or end. Needs permission.
    Kept,
    /// lbd: the operator's wish for a server. Needs permission.
    SetServer {
        /// Its backend.
        backend: String,
        /// Its name.
        server: String,
        /// The state wanted, if it is to change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<AdminState>,
        /// The weight wanted, if it is to change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<Weight>,
        /// The requests at once wanted, if they are to change; 0 for no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        maxconn: Option<u32>,
        /// In how many ms the sessions and requests that are still with it are ended, if at all. A state alone has a server keep
        /// them, whatever was said before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        close_after_ms: Option<u64>,
    },
    /// Read the configuration again. Needs permission.
    Reload,
    /// lbd: have the program that is installed now serve in this one's place, and finish what is under way. Answered when it serves, or
    /// when it is clear that nothing has changed. Needs permission.
    Upgrade,
    /// lbd to healthd: what was seen of a server on the data path. Needs permission.
    Observe {
        /// Observations since the last report, at most one a server.
        observations: Vec<Observation>,
    },
    /// lbd to healthd: which servers operators have taken out, so that nobody takes them for a fault there. Needs permission.
    AdminStates {
        /// As many as fit into a line. Each counts for three seconds, or until it is told to be `ready`.
        servers: Vec<ServerAdminState>,
    },
}

impl Request {
    /// Whether only root, the daemon's user and its group may ask for it.
    pub const fn changes_something(&self) -> bool {
        match self {
            Self::SetServer { .. }
            | Self::Reload
            | Self::Upgrade
            | Self::Observe { .. }
            | Self::AdminStates { .. }
            | Self::Handover { .. }
            | Self::Announce { .. }
            | Self::Drain
            | Self::Released
            | Self::Kept => true,
            Self::Subscribe { .. }
            | Self::Info
            | Self::Stat
            | Self::Verdicts
            | Self::Resolvers
            | Self::Instances
            | Self::Anycast => false,
        }
    }

    /// The daemons that know it.
    const fn answered_by(&self) -> &'static str {
        match self {
            Self::Stat
            | Self::SetServer { .. }
            | Self::Upgrade
            | Self::Drain
            | Self::Released
            | Self::Kept => "lbd",
            Self::Verdicts | Self::Resolvers | Self::Observe { .. } | Self::AdminStates { .. } => "healthd",
            Self::Instances | Self::Anycast | Self::Handover { .. } | Self::Announce { .. } => "vrrpd",
            Self::Subscribe { .. } | Self::Info | Self::Reload => "every daemon",
        }
    }
}

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicName {
    /// healthd: [`Verdict`]s.
    Verdicts,
    /// lbd: one [`Liveness`].
    Liveness,
    /// vrrpd: [`InstanceStatus`]es, at every transition.
    Instances,
    /// vrrpd: [`AnycastStatus`]es, at every transition.
    Anycast,
}

/// What a daemon may send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DaemonLine {
    /// The answer to the client's hello.
    Hello {
        /// Who answers.
        hello: DaemonHello,
    },
    /// The answer to a request, or a part of it.
    Answer {
        /// The request's.
        id: u64,
        /// What was asked for.
        ok: Answer,
        /// Whether more lines with this id follow.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
    },
    /// A request that was refused; or, without an id, a line that was not understood: then the connection is closed.
    Error {
        /// The request's, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Why.
        error: Refusal,
    },
    /// The whole state of a topic, or a part of it. Replaces everything known before.
    Snapshot {
        /// The state.
        snapshot: Snapshot,
    },
    /// One changed item of a topic, whole.
    Event {
        /// The item.
        event: Event,
    },
    /// The daemon lives. Sent at the rate that the subscription asked for.
    Ping {
        /// What the daemon says with it.
        ping: Ping,
    },
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonHello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// `lbd`, `healthd` or `vrrpd`.
    pub daemon: String,
    /// Its version.
    pub version: String,
    /// New at each start of the daemon.
    pub epoch: u64,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what is wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal whose message says what is wrong and what to do.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A request that is not for `daemon`: who knows it instead.
    pub fn not_for(daemon: &str, request: &Request) -> Self {
        let message = format!("{daemon} does not know this request; ask {}", request.answered_by());
        Self::new(RefusalCode::UnknownRequest, message)
    }
}

/// Why a request was refused, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Not JSON, not an object, no hello, or longer than a line may be.
    BadLine,
    /// The client speaks another version of the protocol.
    BadProtocol,
    /// This daemon does not know the request.
    UnknownRequest,
    /// A field of the request is missing or has no sensible value.
    BadRequest,
    /// No such backend, server or topic.
    NotFound,
    /// Only root, the daemon's user, its group and the group `tandem` may change something.
    Forbidden,
    /// The request was understood, and could not be carried out.
    Failed,
    /// The client read too slowly, or asked for too much at once.
    Lagged,
    /// A code of a later version.
    #[serde(other)]
    Other,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The request was carried out. One line says what it did.
    Done(String),
    /// To [`Request::Subscribe`]: the snapshot follows.
    Subscribed(TopicName),
    /// To [`Request::Info`].
    Info(Info),
    /// To [`Request::Stat`].
    Stat(Vec<StatRow>),
    /// To [`Request::Verdicts`].
    Verdicts(Vec<Verdict>),
    /// To [`Request::Resolvers`].
    Resolvers(Vec<Resolution>),
    /// To [`Request::Instances`].
    Instances(Vec<InstanceStatus>),
    /// To [`Request::Anycast`].
    Anycast(Vec<AnycastStatus>),
}

/// The whole state of a topic, or a part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Which topic.
    pub topic: TopicName,
    /// The sequence number of this line; the next line of this subscription has one more.
    pub seq: u64,
    /// The items.
    pub items: Vec<Item>,
    /// Whether the next line continues this snapshot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// One changed item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Which topic.
    pub topic: TopicName,
    /// One more than the line of this subscription before it.
    pub seq: u64,
    /// The item, whole.
    pub item: Item,
}

/// An item of a topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// Of [`TopicName::Verdicts`].
    Verdict(Verdict),
    /// Of [`TopicName::Verdicts`]: a server that was found is gone.
    Left(Left),
    /// Of [`TopicName::Verdicts`]: where servers are found.
    Discovery(Discovery),
    /// Of [`TopicName::Liveness`].
    Liveness(Liveness),
    /// Of [`TopicName::Instances`].
    Instance(Box<InstanceStatus>),
    /// Of [`TopicName::Anycast`].
    Anycast(Box<AnycastStatus>),
}

impl Item {
    /// The verdict, if it is one.
    pub fn into_verdict(self) -> Option<Verdict> {
        match self {
            Self::Verdict(verdict) => Some(verdict),
            Self::Left(_) | Self::Discovery(_) | Self::Liveness(_) | Self::Instance(_) | Self::Anycast(_) => {
                None
            }
        }
    }
}

/// The daemon lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// lbd: the age of its slowest worker's last tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick_age_ms: Option<u64>,
    /// healthd: the digest of the configuration that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// What healthd holds of one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its backend.
    pub backend: String,
    /// Its name.
    pub server: String,
    /// Up, down, or not known yet.
    pub status: Status,
    /// Where its name leads now; none while it does not resolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Why there is no address, or why the one given is the last known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_error: Option<String>,
    /// The last check that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<LastCheck>,
    /// Checks in a row that agree with each other: counted towards `rise` while down, towards `fall` while up.
    pub streak: u32,
    /// Good checks in a row that bring it up.
    pub rise: u32,
    /// Bad checks in a row that take it down.
    pub fall: u32,
    /// How long the status has held.
    pub since_ms: u64,
    /// Checks that failed while it was up.
    pub failed_checks: u64,
    /// Times that it went down.
    pub downs: u64,
    /// Time spent down, in all.
    pub downtime_ms: u64,
    /// What operators want of it, as far as lbd tells. None in a subscription: there lbd is who listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_state: Option<AdminState>,
    /// What was found out about it, if it is not in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Member>,
}

impl Verdict {
    /// What its checks say.
    pub const fn health(&self) -> Condition {
        match (self.status, self.streak) {
            (Status::Up, 0) => Condition::Up,
            (Status::Up, bad) => Condition::Falling { left: self.fall.saturating_sub(bad), of: self.fall },
            (Status::Down, 0) => Condition::Down,
            (Status::Down, good) => Condition::Rising { good, of: self.rise },
            (Status::Unknown | Status::Unchecked, _) => Condition::NoCheck,
        }
    }

    /// What is wrong with its name, unless its last check says the same.
    pub fn name_trouble(&self) -> Option<&str> {
        let said = self.check.as_ref().map(|check| check.text.as_str());
        self.resolve_error.as_deref().filter(|error| said != Some(*error))
    }
}

/// The last check of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastCheck {
    /// How it ended.
    pub code: CheckCode,
    /// The HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// How long it took.
    pub duration_ms: u64,
    /// For people.
    pub text: String,
    /// How long ago it ended.
    pub age_ms: u64,
}

/// What healthd knows of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The name.
    pub name: String,
    /// Its addresses; empty while it does not resolve.
    pub addresses: Vec<std::net::IpAddr>,
    /// Why the last query failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it is asked again.
    pub next_query_ms: u64,
    /// Queries that were answered with addresses.
    pub resolved: u64,
    /// Queries that failed.
    pub failed: u64,
}

/// What lbd saw of one server on the data path since its last report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Its backend.
    pub backend: String,
    /// Its name.
    pub server: String,
    /// Connections that failed.
    pub connect_failures: u64,
    /// Answers with a 5xx status, or broken ones.
    pub bad_responses: u64,
}

/// What operators want of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAdminState {
    /// Its backend.
    pub backend: String,
    /// Its name.
    pub server: String,
    /// `drain` without weight, too.
    pub state: AdminState,
}

/// The state of a daemon in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LifeState {
    /// Not ready yet.
    Starting,
    /// Does its work.
    Ready,
    /// Is to stop, and does its work until it is asked to give it away, for a bounded time.
    Leaving,
    /// Gives its work away.
    Draining,
    /// Finishes what is in flight.
    Stopping,
    /// Finishes what is in flight, and another process has its place: that is found at the path of this one's socket.
    Succeeded,
}

impl LifeState {
    /// The word in messages and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
        }
    }
}

/// Whether lbd can serve clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Where lbd stands.
    pub state: LifeState,
    /// The age of the slowest worker's last tick.
    pub tick_age_ms: u64,
    /// Usable servers by backend.
    pub usable: BTreeMap<String, u32>,
}

/// A daemon in general.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// `lbd`, `healthd` or `vrrpd`.
    pub daemon: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since its start.
    pub uptime_ms: u64,
    /// Where it stands.
    pub state: LifeState,
    /// The configuration file in force.
    pub config: String,
    /// Successful loads of the configuration, the start included.
    pub generation: u64,
    /// Why the last reload was refused, until one succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_error: Option<String>,
    /// What else is worth knowing: name and value, for people and scripts.
    pub details: BTreeMap<String, String>,
}

/// What a row of statistics is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// A frontend.
    #[default]
    Frontend,
    /// A backend: the sum of its servers.
    Backend,
    /// A server.
    Server,
}

/// Requests that wait for a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Waiting now.
    pub now: u64,
    /// The most that waited at once.
    pub max: u64,
    /// How many may wait.
    pub limit: u64,
    /// Requests that were answered 503 because too many waited, or they had waited for too long.
    pub refused: u64,
}

/// The backup servers of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backups {
    /// Those that could take new requests.
    pub fit: u64,
    /// Those that do, since too few others can.
    pub used: u64,
}

/// Requests for a backend whose clients stay with their server, by what their cookie said; and the cookies that were set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StickyCounts {
    /// It led to the server that took the request.
    pub followed: u64,
    /// Its server could take no request.
    pub dead: u64,
    /// Its session was idle or had lasted for too long.
    pub expired: u64,
    /// It was none that is known.
    pub unknown: u64,
    /// There was none.
    pub absent: u64,
    /// Responses that set a new one.
    pub new: u64,
    /// Responses that renewed one.
    pub renewed: u64,
}

/// How many ms ago something unwelcome last happened, by its kind; none where it never did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Troubles {
    /// A response with a 4xx status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses_4xx: Option<u64>,
    /// A response with a 5xx status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses_5xx: Option<u64>,
    /// A connection that failed, or a response that broke off or was malformed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    /// An attempt that was repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// A request that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

impl Troubles {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The statistics of a frontend, a backend or a server: the source of the CSV, the page and `tandemctl status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatRow {
    /// What the row is about.
    pub kind: RowKind,
    /// The frontend or backend.
    pub proxy: String,
    /// `FRONTEND`, `BACKEND`, or the server.
    pub name: String,
    /// HAProxy's status words: `OPEN`, `UP`, `DOWN`, `UP 1/3`, `DOWN 1/2`, `MAINT`, `DRAIN`, `no check`.
    pub status: String,
    /// Where a server listens; empty while its name does not resolve.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Effective weight; a backend's is the sum over its usable servers.
    pub weight: u64,
    /// How much of its configured weight that is, in per cent, while a server that has come up warms up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<u8>,
    /// Servers that take new requests (a server: 1 or 0).
    pub active: u64,
    /// A backup server's level, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<u8>,
    /// Whether a backup server takes no requests because enough others do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stands_by: bool,
    /// Backup servers of a backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backups: Option<Backups>,
    /// Sessions now: client connections of a frontend, requests in flight of a server or backend.
    pub sessions: u64,
    /// The most at once.
    pub sessions_max: u64,
    /// How many there may be at once, where that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions_limit: Option<u64>,
    /// Requests that wait for a server, of a backend that limits its servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// What sticky cookies said, of a backend that has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickyCounts>,
    /// Whether requests go to servers that are down, because no other is left; a backend's only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last_resort: bool,
    /// Idle connections kept for reuse, a server's or a backend's.
    #[serde(default)]
    pub idle: u64,
    /// Connections (frontend) or requests (server, backend) since the start.
    pub sessions_total: u64,
    /// In the last second.
    pub rate: u64,
    /// The most in a second.
    pub rate_max: u64,
    /// Requests, a frontend's only.
    pub requests: u64,
    /// Requests in the last second, a frontend's only.
    pub request_rate: u64,
    /// The most requests in a second, a frontend's only.
    pub request_rate_max: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Requests refused as malformed, too large or too slow.
    pub request_errors: u64,
    /// Connections to servers that failed.
    pub connect_errors: u64,
    /// Responses that broke off or were malformed.
    pub response_errors: u64,
    /// Connection attempts repeated.
    pub retries: u64,
    /// Attempts not repeated because the budget of retries was used up, a backend's only.
    #[serde(default)]
    pub retries_refused: u64,
    /// Requests that went to another server than the first chosen.
    pub redispatches: u64,
    /// Transfers that the client broke off.
    pub client_aborts: u64,
    /// Transfers that the server broke off.
    pub server_aborts: u64,
    /// Times chosen by balancing.
    pub chosen: u64,
    /// Responses by class: 1xx, 2xx, 3xx, 4xx, 5xx, other.
    pub responses: [u64; 6],
    /// When things last went wrong.
    #[serde(default, skip_serializing_if = "Troubles::is_none")]
    pub troubles: Troubles,
    /// Since the last change of status.
    pub since_ms: u64,
    /// Time spent down.
    pub downtime_ms: u64,
    /// Since the last request; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_session_ms: Option<u64>,
    /// Checks that failed while up.
    pub failed_checks: u64,
    /// Times gone down.
    pub downs: u64,
    /// The last check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<LastCheck>,
    /// Good checks that bring it up.
    pub rise: u32,
    /// Bad checks that take it down.
    pub fall: u32,
    /// Why a server is as it is, where its check does not say: a name that does not resolve, for example.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Average ms over the last 1,024 requests: queue, connect, response, total.
    pub times_ms: [u64; 4],
    /// `tcp` where bytes are carried as they are; absent for HTTP.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// The backend's algorithm.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub algorithm: String,
    /// Where a backend's servers are found, if they are not in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// Whether a server belongs to the backend no more, and only ends what it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}
