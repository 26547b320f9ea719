//! Accepting connections.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Worker;
use super::connection::Connection;
use super::frontend::Frontend;
use super::presence::Registered;
use crate::limits::Admission;
use crate::listen;

/// How long accepting pauses when the system has no descriptor or memory left: the backlog waits meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a listener that closes waits for handshakes that had begun.
const HANDSHAKES: Duration = Duration::from_millis(20);

/// A listening socket and the task that accepts from it.
pub(super) struct Listener {
    door: Rc<Door>,
    /// Whose connections arrive here.
    frontend: Rc<RefCell<Rc<Frontend>>>,
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Listener {
    pub(super) fn start(
        worker: &Rc<Worker>,
        frontend: Rc<Frontend>,
        listener: std::net::TcpListener,
    ) -> std::io::Result<(SocketAddr, Self)> {
        let address = listener.local_addr()?;
        let socket = TcpListener::from_std(listener)?;
        let door = Rc::new(Door { socket, address, was_held: Cell::new(false) });
        let (close, closed) = oneshot::channel();
        let frontend = Rc::new(RefCell::new(frontend));
        let task =
            tokio::task::spawn_local(accept_all(worker.clone(), frontend.clone(), door.clone(), closed));
        Ok((address, Self { door, frontend, close, task }))
    }

    /// Connections belong to another frontend from now on.
    pub(super) fn reassign(&self, frontend: Rc<Frontend>) {
        *self.frontend.borrow_mut() = frontend;
    }

    /// New SYNs are left to whoever listens next; connections that had arrived before go on being accepted.
    pub(super) fn hold(&self) {
        self.door.hold();
    }

    /// Takes new connections again.
    pub(super) fn resume(&self) {
        self.door.resume();
    }

    /// Stops accepting without refusing anybody: new SYNs are left to whoever listens next, and connections that had
    /// arrived before are accepted.
    pub(super) async fn close(self) {
        // The task's own handle is then the last: the socket closes with it.
        drop(self.door);
        let _ = self.close.send(());
        let _ = self.task.await;
    }
}

async fn accept_all(
    worker: Rc<Worker>,
    frontend: Rc<RefCell<Rc<Frontend>>>,
    door: Rc<Door>,
    mut closed: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            _ = &mut closed => break,
            accepted = admit(&worker, &frontend, &door) => match accepted {
                Ok(arrival) => serve(&worker, &frontend.borrow(), arrival),
                Err(error) => pause(&error).await,
            },
        }
    }
    door.hold();
    let last = async {
        loop {
            match door.accept().await {
                Ok(arrival) => serve(&worker, &frontend.borrow(), arrival),
                Err(error) => pause(&error).await,
            }
        }
    };
    let _ = tokio::time::timeout(HANDSHAKES, last).await;
}

/// Accepts the next connection once the limits leave room for it. Until then clients wait in the backlog.
async fn admit(worker: &Worker, frontend: &RefCell<Rc<Frontend>>, door: &Door) -> std::io::Result<Arrival> {
    loop {
        if worker.is_full() {
            worker.ended.notified().await;
            continue;
        }
        let full = || {
            let limits = [worker.places(), frontend.borrow().places()];
            limits.into_iter().flatten().find(|places| places.is_full())
        };
        match full() {
            Some(full) => full.room().await,
            // Another worker may have taken the last place while this one waited for a client.
            None => {
                if let Some(accepted) = door.accept_unless(|| full().is_some()).await {
                    return accepted;
                }
            }
        }
    }
}

/// A connection that was accepted.
pub(super) struct Arrival {
    pub(super) client: TcpStream,
    pub(super) peer: SocketAddr,
    /// Whether the client has sent something that was dropped, and will send it again.
    pub(super) owes_request: bool,
}

/// A listening socket that can let clients wait.
struct Door {
    socket: TcpListener,
    address: SocketAddr,
    /// Whether it ever ignored SYNs: what is accepted since then may have inherited that.
    was_held: Cell<bool>,
}

impl Door {
    fn hold(&self) {
        self.was_held.set(true);
        if let Err(error) = listen::hold_new_connections(&self.socket, self.address) {
            tracing::warn!(%error, "clients that connect during the stop may be refused");
        }
    }

    fn resume(&self) {
        if let Err(error) = listen::take_packets(&self.socket, self.address) {
            tracing::error!(%error, "a listener cannot take new connections again");
        }
    }

    async fn accept(&self) -> std::io::Result<Arrival> {
        self.take(self.socket.accept().await)
    }

    /// Waits for a client, and accepts it unless `full` says no by then.
    async fn accept_unless(&self, full: impl Fn() -> bool) -> Option<std::io::Result<Arrival>> {
        let accepted = poll_fn(|cx| match full() {
            true => Poll::Ready(None),
            false => self.socket.poll_accept(cx).map(Some),
        });
        accepted.await.map(|accepted| self.take(accepted))
    }

    fn take(&self, accepted: std::io::Result<(TcpStream, SocketAddr)>) -> std::io::Result<Arrival> {
        let (client, peer) = accepted?;
        let mut owes_request = false;
        if self.was_held.get() {
            listen::take_packets(&client, self.address)?;
            owes_request = listen::has_dropped(&client)?;
        }
        Ok(Arrival { client, peer, owes_request })
    }
}

/// Errors of a connection that was given up before it was accepted concern nobody; those of the system are waited out.
async fn pause(error: &std::io::Error) {
    use std::io::ErrorKind;
    if matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    ) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections; trying again shortly");
    tokio::time::sleep(PAUSE).await;
}

fn serve(worker: &Rc<Worker>, frontend: &Rc<Frontend>, arrival: Arrival) {
    let registered = Registered::new(worker, frontend);
    let limits = [worker.places(), frontend.places()];
    let mut admission = Admission::ask(limits.into_iter().flatten());
    let connection = Connection::new(worker.clone(), frontend.clone(), registered.presence(), arrival);
    tokio::task::spawn_local(async move {
        admission.complete().await;
        connection.serve().await;
        drop(admission);
        drop(registered);
    });
}
