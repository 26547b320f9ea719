//! The words of health checking: verdicts, check results in HAProxy's codes, and the timing of checks.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What healthd holds of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not decided yet: the first check has not ended. Never overrides a verdict that a reader already holds.
    #[default]
    Unknown,
    /// Takes requests.
    Up,
    /// Takes none.
    Down,
    /// Not checked by configuration, and so taken as up.
    Unchecked,
}

impl Status {
    /// The word in messages and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
            Self::Unchecked => "unchecked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How a check ended, in HAProxy's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CheckCode {
    /// No check has ended yet.
    #[serde(rename = "INI")]
    Ini,
    /// The check could not be started: no socket, or the name does not resolve.
    #[serde(rename = "SOCKERR")]
    SockErr,
    /// TCP check: connected.
    #[serde(rename = "L4OK")]
    L4Ok,
    /// No connection in time.
    #[serde(rename = "L4TOUT")]
    L4Tout,
    /// Connection refused or unreachable.
    #[serde(rename = "L4CON")]
    L4Con,
    /// TLS check: the handshake has ended.
    #[serde(rename = "L6OK")]
    L6Ok,
    /// Connected, but no whole handshake in time.
    #[serde(rename = "L6TOUT")]
    L6Tout,
    /// The answer was not TLS, or the handshake failed.
    #[serde(rename = "L6RSP")]
    L6Rsp,
    /// The server answered as expected.
    #[serde(rename = "L7OK")]
    L7Ok,
    /// Connected, but no whole answer in time.
    #[serde(rename = "L7TOUT")]
    L7Tout,
    /// The answer was not of the protocol, was cut off, or had not the expected content.
    #[serde(rename = "L7RSP")]
    L7Rsp,
    /// An answer of the protocol, but another than expected: an HTTP status, a refusal.
    #[serde(rename = "L7STS")]
    L7Sts,
}

impl CheckCode {
    /// All codes.
    pub const ALL: [Self; 12] = [
        Self::Ini,
        Self::SockErr,
        Self::L4Ok,
        Self::L4Tout,
        Self::L4Con,
        Self::L6Ok,
        Self::L6Tout,
        Self::L6Rsp,
        Self::L7Ok,
        Self::L7Tout,
        Self::L7Rsp,
        Self::L7Sts,
    ];

    /// The code as HAProxy spells it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ini => "INI",
            Self::SockErr => "SOCKERR",
            Self::L4Ok => "L4OK",
            Self::L4Tout => "L4TOUT",
            Self::L4Con => "L4CON",
            Self::L6Ok => "L6OK",
            Self::L6Tout => "L6TOUT",
            Self::L6Rsp => "L6RSP",
            Self::L7Ok => "L7OK",
            Self::L7Tout => "L7TOUT",
            Self::L7Rsp => "L7RSP",
            Self::L7Sts => "L7STS",
        }
    }

    /// Whether the check found the server well.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::L4Ok | Self::L6Ok | Self::L7Ok)
    }
}

impl fmt::Display for CheckCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// When a certificate ends, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateEnd {
    /// Until when it is valid.
    pub not_after: i64,
    /// From when on that is told of.
    pub soon_from: i64,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// How it ended.
    pub code: CheckCode,
    /// The HTTP status of the answer, if there was one.
    pub http_status: Option<u16>,
    /// From the start of the check to its end.
    pub duration: Duration,
    /// One line for people: `200 OK`, `Connection refused`.
    pub text: String,
    /// When the certificate ends that the server has shown, if it has shown one.
    pub certificate: Option<CertificateEnd>,
}

/// When checks run and how many of them decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// The interval while the verdict is in transition (some checks disagree with it).
    pub fast_interval: Duration,
    /// The interval while the server is down.
    pub down_interval: Duration,
    /// The whole time of a check. Connecting has at most `interval` of it, as in HAProxy.
    pub timeout: Duration,
    /// Good checks in a row that bring a server up.
    pub rise: u32,
    /// Bad checks in a row that take a server down.
    pub fall: u32,
}

impl Default for Timing {
    fn default() -> Self {
        let interval = Duration::from_secs(2);
        Self {
            interval,
            fast_interval: interval,
            down_interval: interval,
            timeout: Duration::from_secs(10),
            rise: 2,
            fall: 3,
        }
    }
}
