//! Server connections that were asked for a head alone.
//!
//! Some servers send the body of a response to HEAD all the same (RFC 9110 section 9.3.2 forbids it), with the head or a moment
//! later, and it would be read as the response to the next request. So such a connection is kept once it has been quiet for
//! a while, and closed when anything arrives on it before.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::idle::ServerConnection;
use super::service::Server;

/// Longer than a body takes that its server's kernel holds back until the head is acknowledged, which takes up to 40 ms.
const QUIET: Duration = Duration::from_millis(200);
/// How many of a worker are watched at once; others are closed.
const MOST: usize = 256;

/// The connections of a worker that are watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settling(Rc<Cell<usize>>);

impl Settling {
    /// Keeps a connection if it is quiet.
    pub(crate) fn keep(&self, server: &Rc<Server>, connection: ServerConnection) {
        if self.0.get() >= MOST {
            return;
        }
        let (watched, server) = (Watched::new(self), server.clone());
        tokio::task::spawn_local(async move {
            if timeout(QUIET, connection.stream.readable()).await.is_err() {
                server.keep(connection, Instant::now());
            }
            drop(watched);
        });
    }
}

struct Watched(Rc<Cell<usize>>);

impl Watched {
    fn new(Settling(count): &Settling) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
