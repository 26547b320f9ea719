//! How servers are checked, after defaults.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use health::Timing;
use health::dialogue::{RedisRole, Step};
use proxy_protocol::Version;

/// How the servers of a backend are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What a check does.
    pub probe: Probe,
    /// When, and how many decide.
    pub timing: Timing,
    /// Check this port instead of the server's own.
    pub port: Option<u16>,
    /// Whether a check begins with a PROXY header. Default auto.
    pub send_proxy: CheckProxy,
    /// Whether a check is secured. Default auto.
    pub over_tls: CheckTls,
}

/// Whether checks begin with a PROXY header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckProxy {
    /// As requests to the server do, unless the check has a port of its own (`auto`, the default).
    #[default]
    Auto,
    /// Never (`off`).
    Off,
    /// Always, of this version (`v1`, `v2`).
    Always(Version),
}

impl CheckProxy {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Always(version) => version.word(),
        }
    }
}

/// Whether checks are secured as requests to the server are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckTls {
    /// Where requests are, unless the check has a port of its own (`auto`, the default).
    #[default]
    Auto,
    /// Never (`off`).
    Off,
    /// Always, also on a port of its own (`on`).
    On,
}

impl CheckTls {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Off, Self::On];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::On => "on",
        }
    }
}

/// What is one server's own in its checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServerCheck {
    /// Check this port instead of the backend's choice.
    pub port: Option<u16>,
    /// The Host field of HTTP checks, or the name of TLS checks, instead of the backend's choice.
    pub host: Option<String>,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// Connects, and closes.
    Tcp,
    /// Sends and expects bytes.
    Steps(Vec<Step>),
    /// Sends a request and looks at the answer.
    Http(HttpProbe),
    /// Logs in to MySQL or MariaDB.
    Mysql {
        /// Who has to be let in without a password; without one nobody has to.
        user: Option<String>,
    },
    /// Asks PostgreSQL for a session.
    Postgres {
        /// Whose session.
        user: String,
        /// In which database. Default: that of the user's name.
        database: Option<String>,
    },
    /// Asks Redis whether it is there.
    Redis {
        /// What it has to be.
        role: Option<RedisRole>,
    },
    /// Greets a mail server.
    Smtp {
        /// What the check calls itself. Default `localhost`.
        domain: String,
    },
    /// Makes a TLS handshake.
    Tls(TlsProbe),
}

/// The request of an HTTP check, and what is expected of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// Default GET.
    pub method: String,
    /// Path and query. Default `/`.
    pub path: String,
    /// The Host field. Default: the server's address as configured, with the port that is checked.
    pub host: Option<String>,
    /// Further fields, in order.
    pub headers: Vec<(String, String)>,
    /// Statuses taken as good. Default 200.
    pub expect: ExpectedStatus,
    /// What the body has to have. Default: nothing.
    pub body: Option<ExpectedBody>,
}

/// A set of HTTP statuses: `200`, `[200, 204]`, `"200-299"`, or a list of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedStatus(pub Vec<RangeInclusive<u16>>);

impl ExpectedStatus {
    /// Whether a status is in the set.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

/// What the start of a body, up to [`ExpectedBody::LOOKED_AT`], has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedBody {
    /// This text, somewhere.
    Contains(String),
    /// A match of this regular expression, somewhere.
    Matches(Pattern),
}

impl ExpectedBody {
    /// How many bytes of a body are looked at.
    pub const LOOKED_AT: u64 = 64 * 1024;

    /// Whether a body that starts so is good.
    pub fn is_in(&self, body: &[u8]) -> bool {
        match self {
            Self::Contains(text) => memchr::memmem::find(body, text.as_bytes()).is_some(),
            Self::Matches(pattern) => pattern.0.is_match(body),
        }
    }
}

/// A regular expression over bytes, compiled. Equal to another one of the same text.
#[derive(Clone, Debug)]
pub struct Pattern(regex::bytes::Regex);

impl Pattern {
    /// What a compiled pattern may take of memory.
    const SIZE: usize = 256 << 10;

    /// Compiles it.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn new(text: &str) -> Result<Self, String> {
        let compiled = regex::bytes::RegexBuilder::new(text).unicode(false).size_limit(Self::SIZE).build();
        compiled.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
            error => {
                // The last line says what is wrong, those before it show where.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                reason.trim_start_matches("error: ").to_owned()
            }
        })
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// The handshake of a TLS check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProbe {
    /// The name that is asked for (SNI), and that a certificate has to have if one is verified. Default: the server's name, if
    /// it has one.
    pub name: Option<String>,
    /// The authorities that certificates are verified by. Default: they are not verified.
    pub ca_file: Option<PathBuf>,
}
