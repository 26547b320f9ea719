//! Client connections as operators see them.

use std::fmt;
use std::net::SocketAddr;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

/// What tells a connection from all others of this lbd, written `WORKER-NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId {
    /// Its worker's number.
    pub worker: usize,
    /// Its own there: from 0, in the order of their coming.
    pub number: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.worker, self.number)
    }
}

/// These are no two numbers with a dash between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl From<ParseIntError> for NotAnId {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for SessionId {
    type Err = NotAnId;

    fn from_str(word: &str) -> Result<Self, NotAnId> {
        let (worker, number) = word.split_once('-').ok_or(NotAnId)?;
        Ok(Self { worker: worker.parse()?, number: number.parse()? })
    }
}

/// Which connections are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All of them.
    All,
    /// Those with a server of a backend; with any, where none is named.
    With {
        /// The backend.
        backend: String,
        /// The server.
        server: Option<String>,
    },
    /// This one.
    One(SessionId),
}

/// A client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// What tells it from others.
    pub id: SessionId,
    /// Its frontend.
    pub frontend: String,
    /// Where the client is.
    pub client: SocketAddr,
    /// Who serves it now, as `BACKEND/SERVER`; nobody while it is idle between requests, or waits for a server.
    pub server: Option<String>,
    /// Since it was accepted.
    pub age: Duration,
    /// What it has carried, if it is a session in TCP mode or a request that switched protocols.
    pub carried: Option<Carried>,
}

/// What a session has carried so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// Since the last of them.
    pub idle: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = SessionId { worker: 3, number: 1234 };
        assert_eq!(id.to_string(), "3-1234");
        assert_eq!("3-1234".parse(), Ok(id));
        for wrong in ["", "3", "3-", "-4", "a-4", "3-4-5", "3-99999999999999999999"] {
            assert_eq!(wrong.parse::<SessionId>(), Err(NotAnId), "{wrong}");
        }
    }
}
