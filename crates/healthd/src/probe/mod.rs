//! One check of one server: a fresh connection, and what came of it, in HAProxy's codes.

mod dial;
mod failure;
mod http;
mod tcp;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use config::{Check, Probe};
use health::{CheckCode, CheckResult};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use dial::{Connected, Dial};
pub use failure::io_text;
use http::HttpProber;

/// Runs the checks of a backend's servers. Cheap to share, and does nothing by itself.
#[derive(Debug)]
pub struct Prober {
    probe: Kind,
    limits: Limits,
}

#[derive(Debug)]
enum Kind {
    Tcp,
    Http(Box<HttpProber>),
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

/// A check that cannot be made: its request would not be HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCheck(String);

impl Prober {
    /// Prepares the checks of a backend.
    ///
    /// # Errors
    /// When the method, path or a header of an HTTP check cannot be sent.
    pub fn new(check: &Check) -> Result<Self, BadCheck> {
        let whole = check.timing.timeout;
        // As in HAProxy: a server that does not even accept is found out within an interval.
        let limits = Limits { connect: check.timing.interval.min(whole), whole };
        let probe = match &check.probe {
            Probe::Tcp => Kind::Tcp,
            Probe::Http(http) => Kind::Http(Box::new(HttpProber::new(http, limits)?)),
        };
        Ok(Self { probe, limits })
    }

    /// Checks the server at `address` (the port is the check's), which the configuration calls `configured`.
    ///
    /// Ends within the check's timeout. Dropping the future closes the connection.
    pub async fn run(&self, configured: &str, address: SocketAddr) -> Probed {
        let started = Instant::now();
        let finding = match &self.probe {
            Kind::Tcp => tcp::probe(address, self.limits, started).await,
            Kind::Http(http) => http.probe(configured, address, started).await,
        };
        let duration = started.elapsed();
        let result = CheckResult {
            code: finding.code,
            http_status: finding.http_status,
            duration,
            text: finding.text,
        };
        if finding.starved { Probed::Starved(result) } else { Probed::Server(result) }
    }
}

/// A connection to the server, which begins with `bytes`, or why there is none.
async fn connect(
    address: SocketAddr,
    bytes: &[u8],
    limits: Limits,
    started: Instant,
) -> Result<Connected, Finding> {
    let failed = |error: io::Error| Finding::not_connected(&error, limits);
    let dial = Dial::begin(address, bytes).map_err(failed)?;
    // Checks that begin together all connect, and then all send: the same code of the kernel in a row, and the answers to the
    // first handshakes have time to come.
    yield_now().await;
    match timeout_at(started + limits.connect, dial.connected()).await {
        Ok(connected) => connected.map_err(failed),
        Err(_) => Err(Finding::connect_timeout(limits)),
    }
}

/// The result of a check that cannot be made because the server's name has no address.
pub fn unresolved(reason: &str) -> CheckResult {
    CheckResult {
        code: CheckCode::SockErr,
        http_status: None,
        duration: Duration::ZERO,
        text: reason.to_owned(),
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

    fn answer_timeout(limits: Limits) -> Self {
        Self::new(CheckCode::L7Tout, format!("connected, but no answer within {}", seconds(limits.whole)))
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
