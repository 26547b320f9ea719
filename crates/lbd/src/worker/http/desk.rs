//! Where requests are served: the future of a request has some kilobytes, which an idle connection does without.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use super::connection::{After, Connection};
use crate::worker::net::buffer::{Pool, Reusable};

/// The desks of a worker.
#[derive(Debug)]
pub(crate) struct Desks {
    free: Pool<Desk>,
    tray: Rc<Tray>,
}

/// A future that serves the requests of one connection after another, polled by the task of the one that it serves: so it is
/// made once, and no request allocates it.
#[derive(Default)]
struct Desk {
    /// It never ends: what it has done lies on the tray.
    work: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// A connection has come, and has not left.
    busy: bool,
}

/// How a connection comes to a desk, and leaves it. One does for all: what is put there is taken before another desk is polled.
#[derive(Default)]
struct Tray {
    arrived: Cell<Option<Box<Connection>>>,
    served: Cell<Option<(Box<Connection>, After)>>,
}

impl Desks {
    /// So many that nobody needs may stand there.
    pub(crate) fn new(keep: usize) -> Self {
        Self { free: Pool::new(0, keep), tray: Rc::default() }
    }

    /// Serves requests until nothing of a next one is there.
    pub(crate) async fn serve(&self, connection: Box<Connection>) -> (Box<Connection>, After) {
        let mut desk = self.free.lend();
        desk.busy = true;
        let mut arriving = Some(connection);
        let served = poll_fn(|cx| {
            let work = desk.work.get_or_insert_with(|| Box::pin(work(self.tray.clone())));
            if let Some(connection) = arriving.take() {
                self.tray.arrived.set(Some(connection));
            }
            let _ = work.as_mut().poll(cx);
            self.tray.served.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        desk.busy = false;
        served
    }

    /// Gives back those that nobody has needed since the last time.
    pub(crate) fn shrink(&self) {
        self.free.shrink();
    }
}

async fn work(tray: Rc<Tray>) {
    loop {
        // Whoever puts a connection here polls next.
        let mut connection = poll_fn(|_| tray.arrived.take().map_or(Poll::Pending, Poll::Ready)).await;
        let after = connection.serve_requests().await;
        tray.served.set(Some((connection, after)));
    }
}

impl Reusable for Desk {
    fn with_room(_: usize) -> Self {
        Self::default()
    }

    fn clear(&mut self) {}

    /// A desk that is left in the middle of a request is of no use.
    fn has_room(&self) -> bool {
        self.work.is_some() && !self.busy
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("busy", &self.busy).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tray").finish_non_exhaustive()
    }
}
