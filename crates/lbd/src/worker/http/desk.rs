//! Where requests are served: the future of a request has some kilobytes, which an idle connection does without.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use super::connection::{After, Connection};
use crate::worker::net::buffer::Reusable;

/// A future that serves the requests of one connection after another, polled by the task of the one that it serves: so it is
/// made once, and no request allocates it.
#[derive(Default)]
pub(crate) struct Desk {
    work: Option<Work>,
    /// A connection has come, and has not left.
    busy: bool,
}

struct Work {
    /// It never ends: what it has done lies on the tray.
    future: Pin<Box<dyn Future<Output = ()>>>,
    tray: Rc<Tray>,
}

#[derive(Default)]
struct Tray {
    arrived: Cell<Option<Box<Connection>>>,
    served: Cell<Option<(Box<Connection>, After)>>,
}

impl Desk {
    /// Serves requests until nothing of a next one is there.
    pub(crate) async fn serve(&mut self, connection: Box<Connection>) -> (Box<Connection>, After) {
        let Some(Work { future, tray }) = &mut self.work else { return (connection, After::Close) };
        tray.arrived.set(Some(connection));
        self.busy = true;
        let served = poll_fn(|cx| {
            let _ = future.as_mut().poll(cx);
            tray.served.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.busy = false;
        served
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
        let tray = Rc::new(Tray::default());
        Self { work: Some(Work { future: Box::pin(work(tray.clone())), tray }), busy: false }
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
