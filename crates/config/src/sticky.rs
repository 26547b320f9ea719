//! Sessions that stay with a server, by a cookie.

use std::time::Duration;

use crate::Secret;

/// The cookie by which clients stay with their server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// Its name.
    pub cookie: String,
    /// What its values are made with, besides names. Default: nothing.
    pub key: Option<Secret>,
    /// How long a session may be idle. Default: for any time.
    pub max_idle: Option<Duration>,
    /// How long a session may last. Default: for any time.
    pub max_life: Option<Duration>,
    /// Whether browsers send it over TLS only. Default no.
    pub secure: bool,
    /// Whether it is kept from scripts. Default yes.
    pub http_only: bool,
    /// Whether browsers send it with requests from other sites. Default: what they choose.
    pub same_site: Option<SameSite>,
    /// The domain it is for, with all hosts below. Default: the host that sets it, alone.
    pub domain: Option<String>,
    /// The path it is for, with all below. Default `/`.
    pub path: String,
}

/// Whether browsers send a cookie with requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When a link is followed.
    Lax,
    /// Always.
    None,
}

impl SameSite {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Lax, Self::None];

    /// The word for it in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Lax => "lax",
            Self::None => "none",
        }
    }
}
