//! What `lb.yaml` means, after defaults. Durations and counts are final: nothing downstream knows a default.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use balance::{AdminState, BackupLevel, BackupRules, Weight};
use http1::ForwardedFields;
use proxy_protocol::Version;
use route::Network;

use crate::scalar::{self, Problem};
use crate::{
    Access, Action, Balance, Check, CheckProxy, CheckTls, Discover, Edits, Page, RequestId, Routes,
    ServerCheck, ServerTls, Sticky, Tls,
};

/// A whole `lb.yaml`.
#[derive(Clone, Debug, PartialEq)]
pub struct LbConfig {
    /// Where clients connect, in the order of the file. At least one.
    pub frontends: Vec<Frontend>,
    /// Where requests go, in the order of the file. At least one.
    pub backends: Vec<Backend>,
    /// How server names are resolved.
    pub resolvers: Resolvers,
    /// lbd's process.
    pub lbd: Lbd,
    /// healthd's process.
    pub healthd: Healthd,
}

impl LbConfig {
    /// The backend of that name.
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.name == name)
    }
}

/// What is understood of the bytes that a frontend takes, or a backend is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are requests and responses (`http`, the default).
    #[default]
    Http,
    /// Nothing: a client's connection is carried to a server as it is (`tcp`).
    Tcp,
}

impl Mode {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// A set of listening addresses and what happens to requests that arrive there.
#[derive(Clone, Debug, PartialEq)]
pub struct Frontend {
    /// Its key in the file.
    pub name: String,
    /// What it understands. The same as its backend.
    pub mode: Mode,
    /// Listening addresses. At least one.
    pub bind: Vec<Bind>,
    /// Whose connections begin with a PROXY header, which says who the client is. Default: nobody's.
    pub accept_proxy: Vec<Network>,
    /// Whether clients may speak HTTP/2. Default: they may.
    pub http2: bool,
    /// Where requests go, or are answered, that one of these fits.
    pub routes: Routes,
    /// The name of an existing backend, for all others; none answers them with 404. There is one where there are no routes.
    pub backend: Option<String>,
    /// What lbd's own answers of some statuses say, each status once. Default: a line or two.
    pub errors: Vec<(u16, Page)>,
    /// How long a client may take.
    pub timeouts: ClientTimeouts,
    /// How large a request may be.
    pub limits: RequestLimits,
    /// What becomes of what the client sent about where a request is from.
    pub forwarded_for: ForwardedFor,
    /// The fields that tell servers where a request is from. Default: X-Forwarded-For and X-Forwarded-Proto.
    pub forwarded: ForwardedFields,
    /// What requests are known by. Default: they have no name.
    pub request_id: Option<RequestId>,
    /// What becomes of heads, before the edits of a route or a backend. Default: nothing.
    pub edits: Option<Arc<Edits>>,
    /// Whether, and how, requests are logged.
    pub access_log: AccessLog,
    /// Client connections at once; more wait in the backlog. Default: no limit but lbd's own.
    pub maxconn: Option<u32>,
}

impl Frontend {
    /// The names of all backends that it may send to, some of them several times.
    pub fn backends(&self) -> impl Iterator<Item = &str> {
        let routed = self.routes.list().iter().filter_map(|route| match &route.action {
            Action::Backend(name) => Some(name.as_str()),
            Action::Redirect(_) | Action::Respond(_) | Action::Deny(_) => None,
        });
        routed.chain(self.backend.as_deref())
    }
}

/// An address that a frontend listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address.
    pub address: SocketAddr,
    /// What is presented to those who connect; nothing where they speak without TLS. Several addresses may share it.
    pub tls: Option<Arc<Tls>>,
}

impl Bind {
    /// An address without TLS.
    pub const fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From the first byte of a request head (or from accepting the connection) to its last. Default 10 s.
    pub request_head: Duration,
    /// In TCP mode, where routes look at the server name: from accepting the connection to the end of the ClientHello. Default 5 s.
    pub client_hello: Duration,
    /// On addresses with TLS: from accepting the connection to the end of the handshake. Default 10 s.
    pub handshake: Duration,
    /// An idle connection between two requests. Default 10 s.
    pub keep_alive: Duration,
    /// No progress in reading a body from, or writing to, the client. Default 50 s. In TCP mode only for writing.
    pub client: Duration,
    /// No progress in either direction of an upgraded connection, or one in TCP mode. Default 1 h.
    pub tunnel: Duration,
    /// The same, in TCP mode, when the server has ended its side. Default: as `tunnel`.
    pub client_fin: Option<Duration>,
}

/// How large a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of the request line, beyond which the answer is 414. Default 8 KiB.
    pub request_line: usize,
    /// Bytes of the whole head, beyond which the answer is 431. Default 16 KiB; at most 32 KiB.
    pub head: usize,
    /// Number of fields, beyond which the answer is 431. Default 100; at most 256.
    pub fields: usize,
    /// Bytes of a request's body, beyond which the answer is 413. Default: no limit.
    pub body: Option<u64>,
}

/// What becomes of what the client sent about where a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedFor {
    /// The client's address is appended to what the client sent (`append`, the default).
    Append,
    /// What the client sent is removed first (`replace`): right where clients are not trusted.
    Replace,
    /// Nothing is added, and what the client sent is passed on (`off`).
    Off,
}

/// Whether, and how, requests are logged to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// HAProxy's `httplog` fields (`httplog`, the default of HTTP).
    Httplog,
    /// HAProxy's `tcplog` fields (`tcplog`, the default of TCP mode).
    Tcplog,
    /// One JSON object a line (`json`).
    Json,
    /// Not at all (`off`).
    Off,
}

/// A set of servers that answer the same requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Its key in the file.
    pub name: String,
    /// What it understands.
    pub mode: Mode,
    /// How the next server is chosen. Default roundrobin.
    pub balance: Balance,
    /// The cookie by which clients stay with their server. Default: none.
    pub sticky: Option<Sticky>,
    /// How servers are checked; none means unchecked. Default: `GET /`, 200; in TCP mode a connection.
    pub check: Option<Check>,
    /// In the order of the file. At least one, unless they are found elsewhere.
    pub servers: Vec<Server>,
    /// Where servers are found, if they are not in the file.
    pub discover: Option<Discover>,
    /// The PROXY header that connections to servers begin with, unless a server has its own. Default: none.
    pub send_proxy: Option<Version>,
    /// How connections to servers are secured. Default: they are not.
    pub tls: Option<Arc<ServerTls>>,
    /// How many other attempts a request gets when connecting fails. Default 3.
    pub retries: u32,
    /// Retries in per cent of requests, beyond which a failure is final. Default 20; a few are always allowed.
    pub retry_budget: u32,
    /// How long servers may take.
    pub timeouts: ServerTimeouts,
    /// Requests that wait because each server has as many as it may.
    pub queue: Queue,
    /// How long a server that has come up takes to get its full share, unless it has its own. Default: no time.
    pub slow_start: Option<Duration>,
    /// What becomes of requests while every server is down. Default reject.
    pub when_all_down: WhenAllDown,
    /// What becomes of the sessions with a server that goes down.
    pub on_down: OnDown,
    /// When backup servers join.
    pub backups: BackupRules,
    /// What becomes of the sessions with backup servers that are not needed any more.
    pub on_up: OnUp,
    /// Whether a client that ends its side is taken as gone, and its request given up. Default no.
    pub abort_on_close: bool,
    /// What becomes of heads, behind the edits of a frontend and a route. Default: nothing.
    pub edits: Option<Arc<Edits>>,
}

impl Backend {
    /// How one of its servers is checked; none if it is not.
    pub fn check_of<'a>(&'a self, server: &'a Server) -> Option<(&'a Check, &'a ServerCheck)> {
        self.check.as_ref().zip(server.check.as_ref())
    }

    /// What one of its servers is asked for, and its certificate has to be for: a host's name or an address; none without TLS.
    pub fn tls_name_of(&self, server: &Server) -> Option<String> {
        let tls = self.tls.as_ref()?;
        let host = || match &server.address.host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        let given = server.server_name.as_ref().or(tls.server_name.as_ref());
        Some(given.cloned().unwrap_or_else(host))
    }

    /// How checks of one of its servers are secured, if they are.
    pub fn check_tls_of(&self, server: &Server) -> Option<&Arc<ServerTls>> {
        let (check, own) = self.check_of(server)?;
        let tls = self.tls.as_ref();
        match check.over_tls {
            CheckTls::Auto => tls.filter(|_| own.port.or(check.port).is_none()),
            CheckTls::Off => None,
            CheckTls::On => tls,
        }
    }

    /// The PROXY header that checks of one of its servers begin with.
    pub fn check_proxy_of(&self, server: &Server) -> Option<Version> {
        let (check, own) = self.check_of(server)?;
        match check.send_proxy {
            CheckProxy::Auto => server.send_proxy.filter(|_| own.port.or(check.port).is_none()),
            CheckProxy::Off => None,
            CheckProxy::Always(version) => Some(version),
        }
    }
}

/// What becomes of the sessions, in TCP mode, with a server that goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDown {
    /// They go on for as long as they can (`keep_sessions`, the default).
    KeepSessions,
    /// They are reset at once (`close_sessions`).
    CloseSessions,
}

/// What becomes of the sessions, in TCP mode, with backup servers when enough others are usable again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUp {
    /// They go on for as long as they like (`keep_sessions`, the default).
    KeepSessions,
    /// They are reset at once (`close_backup_sessions`).
    CloseBackupSessions,
}

/// Requests that wait because each server has as many as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How long a request waits, all its attempts together. Default 5 s.
    pub timeout: Duration,
    /// How many wait, beyond which the answer is 503 at once. Default 1,000.
    pub max: u32,
}

/// What becomes of requests while checks say of every server that it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenAllDown {
    /// 503 (`reject`, the default).
    Reject,
    /// They go to the servers all the same (`try`), but for those in drain or maint.
    Try,
}

/// How long servers may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// From choosing a server to being connected, all attempts together. Default 5 s.
    pub connect: Duration,
    /// No progress in reading from, or writing to, the server. Default 50 s.
    pub server: Duration,
    /// No progress in either direction, in TCP mode, when the client has ended its side. Default: as the frontend's `tunnel`.
    pub server_fin: Option<Duration>,
    /// An idle pooled connection; none where each request gets a connection of its own. Default 10 s.
    pub keep_alive: Option<Duration>,
}

/// A server of a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its key in the file.
    pub name: String,
    /// Where it listens.
    pub address: ServerAddress,
    /// Its share of requests. Default 1.
    pub weight: Weight,
    /// The state it starts in. Default ready.
    pub state: AdminState,
    /// Requests at once, of all workers together; more wait in the queue. Default: no limit.
    pub maxconn: Option<u32>,
    /// How long it takes to get its full share after it has come up. Default: the backend's.
    pub slow_start: Option<Duration>,
    /// What is its own in its checks; none means unchecked, whatever the backend says. Default: nothing is.
    pub check: Option<ServerCheck>,
    /// Whether it is a backup server, and of which level. Default no.
    pub backup: Option<BackupLevel>,
    /// The PROXY header that connections begin with. Default: the backend's.
    pub send_proxy: Option<Version>,
    /// What it is asked for, and its certificate has to be for. Default: the backend's choice.
    pub server_name: Option<String>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// An address, or a name to resolve.
    pub host: Host,
    /// TCP port.
    pub port: u16,
}

/// An address, or a name to resolve.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A host name.
    Name(String),
}

impl ServerAddress {
    /// The socket address, unless a name has to be resolved first.
    pub fn literal(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        scalar::server_address(text).map_err(|problem| match problem {
            Problem::Because(reason) => reason,
            Problem::Unexpected | Problem::NoneOf { .. } => "not an address with a port".to_owned(),
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// How server names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolvers {
    /// Explicit name servers; empty means the system's resolv.conf.
    pub nameservers: Vec<SocketAddr>,
    /// How long one query may take. Default 1 s.
    pub timeout: Duration,
    /// The shortest time an answer is kept, whatever its TTL. Default 1 s.
    pub min_ttl: Duration,
    /// The longest time an answer is kept, whatever its TTL. Default 60 s.
    pub max_ttl: Duration,
    /// How long an address is used after the name servers have begun to say that there is none. Default 30 s.
    pub hold: Duration,
}

/// lbd's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lbd {
    /// Its admin HTTP, the file's top-level `admin.bind`. Default 127.0.0.1:8404.
    pub admin: SocketAddr,
    /// Who may see its admin pages.
    pub access: Access,
    /// Worker threads. Default: one a processor.
    pub workers: usize,
    /// Client connections at once; more wait in the backlog. Default: as many as the descriptors are enough for.
    pub maxconn: Option<u32>,
    /// How long a graceful stop waits for requests in flight. Default 30 s.
    pub stop_timeout: Duration,
    /// How long a planned handover waits for requests in flight, and then for the virtual addresses to be gone. Default 1 s.
    pub handover_timeout: Duration,
    /// How long a start waits for healthd's first verdicts. Default 3 s.
    pub verdict_wait: Duration,
}

/// healthd's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthd {
    /// Its admin HTTP. Default 127.0.0.1:8406.
    pub admin: SocketAddr,
    /// Who may see its admin pages.
    pub access: Access,
}
