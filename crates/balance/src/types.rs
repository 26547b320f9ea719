//! The words of balancing: what a server weighs, how one is chosen, and what its operator wants of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A server's share of its backend's requests, relative to the other servers' weights.
///
/// Zero means: no new requests. The range is HAProxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// No new requests.
    pub const ZERO: Self = Self(0);
    /// The default.
    pub const ONE: Self = Self(1);
    /// The largest weight.
    pub const MAX: Self = Self(256);

    /// A weight, if `value` is at most [`Weight::MAX`].
    pub const fn new(value: u16) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The plain number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl TryFrom<u16> for Weight {
    type Error = String;

    fn try_from(value: u16) -> Result<Self, String> {
        Self::new(value).ok_or_else(|| format!("a weight is 0 to {}, not {value}", Self::MAX.0))
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much of its weight counts of a server that has just come up, in per cent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Throttle(u8);

impl Throttle {
    /// All of it.
    pub const NONE: Self = Self(100);

    /// That many per cent, but at least one and at most all.
    pub const fn per_cent(value: u8) -> Self {
        match value {
            0 => Self(1),
            1..=100 => Self(value),
            _ => Self::NONE,
        }
    }

    /// The per cent.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Why no server was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpicked {
    /// No server is usable.
    NoneUsable,
    /// Each server that would do has as many requests as it may.
    AllFull,
}

/// Defines an enum whose variants have one spelling, used in configuration, messages and text alike.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every spelling, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The one spelling of this value.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { expected: Self::WORDS }),
                }
            }
        }
    };
}

/// A word that is none of those expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    /// The words that would have been right.
    pub expected: &'static [&'static str],
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected one of: {}", self.expected.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

words! {
    /// How a backend's next server is chosen.
    Algorithm {
        /// In turn, in proportion to weight, and smoothly: never a burst to one server.
        Roundrobin = "roundrobin",
        /// The server with the fewest requests in flight for its weight.
        Leastconn = "leastconn",
        /// Always the same server for a client address; one server's death moves only its own clients.
        Source = "source",
        /// The less busy of two servers drawn by weight.
        Random = "random",
        /// Always the same server for a part of the request; one server's death moves only what was its.
        Hash = "hash",
    }
}

impl Algorithm {
    /// Whether it chooses by the request's key.
    pub(crate) const fn asks_for_key(self) -> bool {
        matches!(self, Self::Source | Self::Hash)
    }
}

words! {
    /// How many backup servers join at once.
    BackupUse {
        /// As few as are needed, in the order of the configuration.
        First = "first",
        /// All of a level.
        All = "all",
    }
}

words! {
    /// What the operator wants of a server, whatever its health.
    AdminState {
        /// Takes requests while it is healthy.
        Ready = "ready",
        /// Takes no new requests; those in flight are finished. It is still checked.
        Drain = "drain",
        /// Out of service: no requests, no checks.
        Maint = "maint",
    }
}

/// A moment, in milliseconds from a start that the caller chose. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// The moment that many milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The moment `millis` later.
    pub const fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds since an earlier moment; zero for a later one.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
