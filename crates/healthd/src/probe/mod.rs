//! One check of one server: a fresh connection, and what came of it, in HAProxy's codes.

mod dial;
mod exchange;
mod failure;
mod http;
mod tcp;
mod tls;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use config::{Check, Host, Mode, Probe, ServerAddress, ServerCheck, ServerTls};
use health::dialogue::{Dialogue, Mysql, Postgres, Redis, Smtp, Steps, Verdict};
use health::{CheckCode, CheckResult};
use proxy_protocol::Version;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use dial::{Connected, Dial};
pub use failure::io_text;
use http::HttpCheck;
use tls::{Expiry, TlsCheck};

/// Runs the checks of a backend's servers. Cheap to share, and does nothing by itself.
#[derive(Debug)]
pub struct Prober {
    kind: Kind,
    /// What checks are secured with, where requests to the servers are.
    secure: Option<TlsCheck>,
    limits: Limits,
}

/// What is prepared once for all checks of a backend.
#[derive(Debug)]
enum Kind {
    Http(Box<HttpCheck>),
    Tls(Box<TlsCheck>),
    /// Nothing is.
    Other(Probe),
}

/// Whom a check is of, beside the address at which it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host that the configuration has for it.
    server: Host,
    /// The port that is checked.
    port: u16,
    /// The host and that port, as in a Host field.
    authority: String,
    /// The Host field of its own.
    host: Option<String>,
    /// The PROXY header that a connection begins with.
    proxy: Option<Version>,
    /// Whom its certificate has to be for, where checks of it are secured as requests are.
    tls_name: Option<String>,
}

impl Target {
    /// A server of the configuration: `port` is the check's in its backend, unless the server has its own.
    pub fn new(server: &ServerAddress, port: Option<u16>, own: &ServerCheck) -> Self {
        let port = own.port.or(port).unwrap_or(server.port);
        let checked = ServerAddress { host: server.host.clone(), port };
        let (authority, host) = (checked.to_string(), own.host.clone());
        Self { authority, server: checked.host, port, host, proxy: None, tls_name: None }
    }

    /// The same, but connections begin with a PROXY header of that version, if any.
    #[must_use]
    pub fn introduced(self, proxy: Option<Version>) -> Self {
        Self { proxy, ..self }
    }

    /// The same, but checks are secured as requests to it are, if it has such a name.
    #[must_use]
    pub fn secured(self, tls_name: Option<String>) -> Self {
        Self { tls_name, ..self }
    }

    /// The port that is checked.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// How long a check may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// To be connected.
    connect: Duration,
    /// In all.
    whole: Duration,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It says something about the server.
    Server(CheckResult),
    /// This host had no descriptor, port or memory for it, which says nothing about the server.
    Starved(CheckResult),
}

/// A check that cannot be made: its request would not be HTTP, or a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCheck(String);

impl Prober {
    /// Prepares the checks of a backend.
    ///
    /// # Errors
    /// When the method, path or a header of an HTTP check cannot be sent, or the authorities of a TLS check cannot be read.
    pub fn new(check: &Check) -> Result<Self, BadCheck> {
        let whole = check.timing.timeout;
        // As in HAProxy: a server that does not even accept is found out within an interval.
        let limits = Limits { connect: check.timing.interval.min(whole), whole };
        let kind = match &check.probe {
            Probe::Http(probe) => Kind::Http(Box::new(HttpCheck::new(probe)?)),
            Probe::Tls(probe) => Kind::Tls(Box::new(TlsCheck::new(probe)?)),
            other => Kind::Other(other.clone()),
        };
        Ok(Self { kind, secure: None, limits })
    }

    /// The same, but checks are secured as requests to the servers of such a backend are.
    ///
    /// # Errors
    /// When rustls cannot work with it.
    pub fn secured(self, check: &Check, tls: &ServerTls, mode: Mode) -> Result<Self, BadCheck> {
        Ok(Self { secure: Some(TlsCheck::as_requests(tls, mode, &check.probe)?), ..self })
    }

    /// Checks the server at `address` (the port is the check's).
    ///
    /// Ends within the check's timeout. Dropping the future closes the connection.
    pub async fn run(&self, target: &Target, address: SocketAddr) -> Probed {
        let started = Instant::now();
        let line = Line { address, proxy: target.proxy, limits: self.limits, started };
        let expiry = Expiry::new();
        let finding = match self.dialogue(target, &expiry) {
            None => tcp::probe(line).await,
            Some(mut dialogue) => exchange::run(&mut *dialogue, line).await,
        };
        let duration = started.elapsed();
        let result = CheckResult {
            code: finding.code,
            http_status: finding.http_status,
            duration,
            text: finding.text,
            certificate: expiry.get().copied(),
        };
        if finding.starved { Probed::Starved(result) } else { Probed::Server(result) }
    }

    /// What is said and heard in one check; nothing where a connection is enough.
    fn dialogue<'a>(&'a self, target: &'a Target, expiry: &'a Expiry) -> Option<Box<dyn Dialogue + 'a>> {
        let secure = self.secure.as_ref().filter(|_| target.tls_name.is_some());
        match (&self.kind, secure) {
            (Kind::Tls(own), secure) => {
                // What it says itself of the handshake counts.
                let tls = secure.filter(|_| !own.is_particular()).unwrap_or(own);
                Some(Box::new(tls.dialogue(target, None, expiry)))
            }
            (_, Some(secure)) => Some(Box::new(secure.dialogue(target, self.inner(target), expiry))),
            (_, None) => self.inner(target),
        }
    }

    /// The same without TLS.
    fn inner<'a>(&'a self, target: &'a Target) -> Option<Box<dyn Dialogue + 'a>> {
        Some(match &self.kind {
            Kind::Http(http) => Box::new(http.dialogue(target)),
            Kind::Other(probe) => match probe {
                Probe::Steps(steps) => Box::new(Steps::new(steps)),
                Probe::Mysql { user } => Box::new(Mysql::new(user.as_deref())),
                Probe::Postgres { user, database } => Box::new(Postgres::new(user, database.as_deref())),
                Probe::Redis { role } => Box::new(Redis::new(*role)),
                Probe::Smtp { domain } => Box::new(Smtp::new(domain)),
                Probe::Tcp | Probe::Http(_) | Probe::Tls(_) => return None,
            },
            Kind::Tls(_) => return None,
        })
    }
}

/// Where a check goes, and how long it may take.
#[derive(Clone, Copy, Debug)]
struct Line {
    address: SocketAddr,
    /// The PROXY header that the connection begins with.
    proxy: Option<Version>,
    limits: Limits,
    started: Instant,
}

impl Line {
    /// A connection to the server, on which the dialogue begins with `opening`, or why there is none.
    async fn connect(self, opening: Vec<u8>) -> Result<Connected, Finding> {
        let failed = |error: io::Error| Finding::not_connected(&error, self.limits);
        let dial = Dial::begin(self.address, self.proxy, opening).map_err(failed)?;
        // Checks that begin together all connect, and then all send: the same code of the kernel in a row, and the answers to
        // the first handshakes have time to come.
        yield_now().await;
        match timeout_at(self.started + self.limits.connect, dial.connected()).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => Err(Finding::connect_timeout(self.limits)),
        }
    }
}

/// The result of a check that cannot be made because the server's name has no address.
pub fn unresolved(reason: &str) -> CheckResult {
    CheckResult {
        code: CheckCode::SockErr,
        http_status: None,
        duration: Duration::ZERO,
        text: reason.to_owned(),
        certificate: None,
    }
}

/// What a check found, before its duration is known.
#[derive(Debug)]
struct Finding {
    code: CheckCode,
    http_status: Option<u16>,
    text: String,
    starved: bool,
}

impl Finding {
    fn new(code: CheckCode, text: impl Into<String>) -> Self {
        Self { code, http_status: None, text: text.into(), starved: false }
    }

    fn connect_timeout(limits: Limits) -> Self {
        Self::new(CheckCode::L4Tout, format!("no connection within {}", seconds(limits.connect)))
    }
}

impl From<Verdict> for Finding {
    fn from(Verdict { code, http_status, text }: Verdict) -> Self {
        Self { code, http_status, text, starved: false }
    }
}

fn seconds(duration: Duration) -> String {
    wire::human::duration(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl fmt::Display for BadCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for BadCheck {}
