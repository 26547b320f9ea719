//! Who may see the admin pages.

use crate::Secret;

/// Who may see the admin pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Names, each with a hash of its password, as crypt(3) writes it: SHA-512 or SHA-256. Without any, everybody may.
    pub users: Vec<(String, Secret)>,
    /// What everybody may see all the same. Default: health and ready.
    pub open: Vec<OpenPath>,
}

/// A path that may be open to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenPath {
    /// `/health`
    Health,
    /// `/ready`
    Ready,
    /// `/metrics`
    Metrics,
}

impl OpenPath {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Health, Self::Ready, Self::Metrics];

    /// The word for it in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Metrics => "metrics",
        }
    }

    /// The path itself.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Ready => "/ready",
            Self::Metrics => "/metrics",
        }
    }
}

/// A hash of no password, in the place of one that is not shown.
pub(crate) fn masked() -> Secret {
    Secret::new(format!("$6$masked${}", ".".repeat(86)))
}
