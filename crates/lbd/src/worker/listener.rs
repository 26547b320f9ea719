//! Accepting connections.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Worker;
use super::connection::{Connection, Presence};
use super::frontend::Frontend;
use crate::listen;

/// How long accepting pauses when the system has no descriptor or memory left: the backlog waits meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a listener that closes waits for handshakes that had begun.
const HANDSHAKES: Duration = Duration::from_millis(20);

/// A listening socket and the task that accepts from it.
pub(super) struct Listener {
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
        let listener = TcpListener::from_std(listener)?;
        let (close, closed) = oneshot::channel();
        let frontend = Rc::new(RefCell::new(frontend));
        let task = tokio::task::spawn_local(accept_all(worker.clone(), frontend.clone(), listener, closed));
        Ok((address, Self { frontend, close, task }))
    }

    /// Connections belong to another frontend from now on.
    pub(super) fn reassign(&self, frontend: Rc<Frontend>) {
        *self.frontend.borrow_mut() = frontend;
    }

    /// Stops accepting without refusing anybody: new SYNs are left to whoever listens next, and connections that had
    /// arrived before are accepted.
    pub(super) async fn close(self) {
        let _ = self.close.send(());
        let _ = self.task.await;
    }
}

async fn accept_all(
    worker: Rc<Worker>,
    frontend: Rc<RefCell<Rc<Frontend>>>,
    listener: TcpListener,
    mut closed: oneshot::Receiver<()>,
) {
    loop {
        let full = worker.connections.borrow().len() >= worker.connections_max;
        tokio::select! {
            biased;
            _ = &mut closed => break,
            () = worker.ended.notified(), if full => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((client, peer)) => serve(&worker, &frontend.borrow(), client, peer),
                Err(error) => pause(&error).await,
            },
        }
    }
    if let Err(error) = listen::hold_new_connections(&listener) {
        tracing::warn!(%error, "clients that connect during the stop may be refused");
    }
    let last = async {
        loop {
            match listener.accept().await {
                Ok((client, peer)) => serve(&worker, &frontend.borrow(), client, peer),
                Err(error) => pause(&error).await,
            }
        }
    };
    let _ = tokio::time::timeout(HANDSHAKES, last).await;
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

fn serve(worker: &Rc<Worker>, frontend: &Rc<Frontend>, client: TcpStream, peer: SocketAddr) {
    let presence = Rc::new(Presence::new(frontend.clone()));
    let id = worker.next_connection.get();
    worker.next_connection.set(id.wrapping_add(1));
    worker.connections.borrow_mut().insert(id, presence.clone());
    worker.counters().connections.set(worker.connections.borrow().len() as u64);
    frontend.counters().accepted.inc();
    frontend.counters().connections.up();

    let connection = Connection::new(worker.clone(), frontend.clone(), presence, client, peer);
    let (worker, frontend) = (worker.clone(), frontend.clone());
    tokio::task::spawn_local(async move {
        connection.serve().await;
        worker.connections.borrow_mut().remove(&id);
        worker.counters().connections.set(worker.connections.borrow().len() as u64);
        frontend.counters().connections.down();
        worker.ended.notify_waiters();
    });
}
