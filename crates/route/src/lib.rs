//! Which of a frontend's routes a request takes: the first that fits. Pure: what is known of a request comes in, a number
//! comes out.
//!
//! Routes are compiled once into a [`Table`], which many requests are looked up in. What a request has to be for a route is
//! said by [`Conditions`], whose texts are read by [`HostPattern`], [`PathPattern`], [`FieldPattern`] and [`Network`].
//!
//! ```
//! use route::{Conditions, HostPattern, Path, PathPattern, Request, Route, Table};
//!
//! let api = Conditions {
//!     host: vec![HostPattern::parse("*.example.org")?],
//!     path: vec![PathPattern::parse("/v1/*")?],
//!     ..Conditions::default()
//! };
//! let table = Table::new(&[Route { when: api, not: Vec::new() }])?;
//! let mut scratch = Vec::new();
//! let request = Request {
//!     host: Some(b"API.example.org:80"),
//!     path: Path::read(b"/v1/%75sers", &mut scratch)?,
//!     ..Request::from_source([192, 0, 2, 1].into())
//! };
//! assert_eq!(table.choose(&request), Some(0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client_hello;
mod conditions;
mod cover;
mod field;
mod hex;
mod host;
mod index;
mod network;
mod path;
mod prefix;
mod query;
mod regular;
mod request;
mod table;

pub use client_hello::{CLIENT_HELLO_MAX, ClientHello, ServerName};
pub use conditions::{Conditions, Route};
pub use field::{FieldPattern, values};
pub use host::{HOST_MAX, HostPattern, canonical};
pub use network::{Network, Networks};
pub use path::{Ambiguous, Path, PathPattern};
pub use prefix::{PathPrefix, without_slashes};
pub use query::parameter;
pub use regular::Regular;
pub use request::Request;
pub use table::{PAIRS_MAX, Table, TooLarge, Unreached};

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is something else.
    #[error("{0}")]
    Because(String),
    /// It is near one.
    #[error("did you mean {0:?}?")]
    Meant(String),
}

impl PatternError {
    fn because<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Because(reason.into()))
    }
}
