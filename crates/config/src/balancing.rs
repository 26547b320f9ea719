//! How a backend's next server is chosen.

use balance::{Algorithm, LoadFactor};

/// How a backend's next server is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// By an algorithm that needs no more than its name.
    By(Algorithm),
    /// Always the same server for a part of the request.
    Hash {
        /// Which part.
        of: HashKey,
        /// How much of its share a server may have in flight. Default: any number.
        factor: Option<LoadFactor>,
    },
}

impl Balance {
    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::By(algorithm) => *algorithm,
            Self::Hash { .. } => Algorithm::Hash,
        }
    }

    /// How much of its share a server may have in flight.
    pub const fn factor(&self) -> Option<LoadFactor> {
        match self {
            Self::By(_) => None,
            Self::Hash { factor, .. } => *factor,
        }
    }

    /// The part of the request that its server is chosen by.
    pub const fn key(&self) -> Option<&HashKey> {
        match self {
            Self::By(_) => None,
            Self::Hash { of, .. } => Some(of),
        }
    }
}

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The host, without case, port and final dot.
    Host,
    /// The path as it is written.
    Path,
    /// All that follows the question mark.
    Query,
    /// The first field of that name.
    Header(String),
    /// The first cookie of that name.
    Cookie(String),
    /// The first parameter of that name in the query.
    UrlParam(String),
}
