//! Accepting connections.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use config::Mode;
use route::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::buffer::Buffer;
use super::dial::is_shortage;
use super::io::Io;
use crate::shared::limits::Admission;
use crate::shared::listen;
use crate::shared::tls::Terminator;
use crate::worker::Worker;
use crate::worker::frontend::Frontend;
use crate::worker::handshake;
use crate::worker::http::connection::Connection;
use crate::worker::introduction;
use crate::worker::presence::{Presence, Registered};
use crate::worker::tcp::hello::Hello;
use crate::worker::tcp::session::Session;

/// How long accepting pauses when the system has no descriptor or memory left: the backlog waits meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a listener that closes waits for handshakes that had begun.
pub(crate) const HANDSHAKES: Duration = Duration::from_millis(20);
/// How long it waits where nobody waits for it. Those whose SYN it has ignored try again after that time.
pub(crate) const LONG_HANDSHAKES: Duration = Duration::from_secs(1);
/// How long a handshake may last, with all repetitions, that a listener's hold has met.
const INHERITED: Duration = Duration::from_secs(120);

/// A listening socket and the task that accepts from it.
pub(crate) struct Listener {
    door: Rc<Door>,
    /// Whose connections arrive here.
    frontend: Rc<RefCell<Rc<Frontend>>>,
    close: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Listener {
    pub(crate) fn start(
        worker: &Rc<Worker>,
        frontend: Rc<Frontend>,
        listener: std::net::TcpListener,
    ) -> std::io::Result<(SocketAddr, Self)> {
        let address = listener.local_addr()?;
        let was_held = listen::was_held(&listener, address)?;
        let door = Rc::new(Door { socket: TcpListener::from_std(listener)?, address, held: Cell::new(None) });
        if was_held {
            // By the lbd before this one.
            door.held.set(Some(Instant::now()));
            door.resume();
        }
        let (close, closed) = oneshot::channel();
        let frontend = Rc::new(RefCell::new(frontend));
        let task =
            tokio::task::spawn_local(accept_all(worker.clone(), frontend.clone(), door.clone(), closed));
        Ok((address, Self { door, frontend, close, task }))
    }

    /// Connections belong to another frontend from now on.
    pub(crate) fn reassign(&self, frontend: Rc<Frontend>) {
        *self.frontend.borrow_mut() = frontend;
    }

    /// New SYNs are left to whoever listens next; connections that had arrived before go on being accepted.
    pub(crate) fn hold(&self) {
        self.door.hold();
    }

    /// Takes new connections again.
    pub(crate) fn resume(&self) {
        self.door.resume();
    }

    /// Stops accepting without refusing anybody: new SYNs are left to whoever listens next, and connections that had
    /// arrived before, or arrive within that time, are accepted.
    pub(crate) async fn close(self, patience: Duration) {
        self.hold();
        let _ = self.close.send(patience);
        let _ = self.task.await;
    }

    /// Another handle of the socket, for somebody who is to accept from it as well.
    pub(crate) fn copy(&self) -> std::io::Result<std::net::TcpListener> {
        Ok(self.door.socket.as_fd().try_clone_to_owned()?.into())
    }

    /// Stops accepting: the socket is left to whoever accepts from it next.
    pub(crate) async fn give_up(self) -> Option<std::net::TcpListener> {
        let _ = self.close.send(Duration::ZERO);
        let _ = self.task.await;
        // The task had the only other handle.
        Rc::into_inner(self.door)?.socket.into_std().ok()
    }
}

async fn accept_all(
    worker: Rc<Worker>,
    frontend: Rc<RefCell<Rc<Frontend>>>,
    door: Rc<Door>,
    mut closed: oneshot::Receiver<Duration>,
) {
    let patience = loop {
        tokio::select! {
            biased;
            patience = &mut closed => break patience.unwrap_or_default(),
            accepted = admit(&worker, &frontend, &door) => match accepted {
                Ok(arrival) => serve(&worker, &frontend.borrow(), &door, arrival),
                Err(error) => pause(&worker, &error).await,
            },
        }
    };
    let last = async {
        loop {
            match door.accept().await {
                Ok(arrival) => serve(&worker, &frontend.borrow(), &door, arrival),
                Err(error) => pause(&worker, &error).await,
            }
        }
    };
    if !patience.is_zero() {
        let _ = tokio::time::timeout(patience, last).await;
    }
}

/// Accepts the next connection once the limits leave room for it. Until then clients wait in the backlog.
async fn admit(worker: &Worker, frontend: &RefCell<Rc<Frontend>>, door: &Door) -> std::io::Result<Arrival> {
    loop {
        if worker.is_full() {
            worker.ended.notified().await;
            continue;
        }
        if worker.spare.is_short() {
            // Requests that have been accepted come first.
            let _ = tokio::time::timeout(PAUSE, worker.ended.notified()).await;
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
pub(crate) struct Arrival {
    pub(crate) client: Io,
    pub(crate) peer: SocketAddr,
    /// The port that it has connected to.
    pub(crate) port: u16,
    /// What was received and not yet used.
    pub(crate) input: Option<Buffer>,
    /// The server that its ClientHello names, where it was looked at.
    pub(crate) server_name: Option<Box<ServerName>>,
    /// Whether the client has sent something that was dropped, and will send it again.
    pub(crate) owes_request: bool,
}

/// A listening socket that can let clients wait.
struct Door {
    socket: TcpListener,
    address: SocketAddr,
    /// When it last ignored SYNs: what is accepted since then may have inherited that.
    held: Cell<Option<Instant>>,
}

impl Door {
    fn hold(&self) {
        self.held.set(Some(Instant::now()));
        if let Err(error) = listen::hold_new_connections(&self.socket, self.address) {
            tracing::warn!(%error, "clients that connect during the stop may be refused");
        }
    }

    fn resume(&self) {
        // One that was to succeed this lbd, and has failed, may have held the socket, which both have.
        let is_held = || listen::was_held(&self.socket, self.address).unwrap_or(true);
        if self.held.get().is_none() && !is_held() {
            return;
        }
        self.held.set(Some(Instant::now()));
        if let Err(error) = listen::resume_new_connections(&self.socket, self.address) {
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
        if let Some(held) = self.held.get() {
            listen::take_packets(&client, self.address)?;
            owes_request = listen::has_dropped(&client)?;
            if held.elapsed() > INHERITED {
                self.held.set(None);
                listen::take_packets(&self.socket, self.address)?;
            }
        }
        Ok(Arrival {
            client: Io::Tcp(client),
            peer,
            port: self.address.port(),
            input: None,
            server_name: None,
            owes_request,
        })
    }
}

/// Errors of a connection that was given up before it was accepted concern nobody; those of the system are waited out, unless
/// an idle connection to a server can make room.
async fn pause(worker: &Worker, error: &std::io::Error) {
    use std::io::ErrorKind;
    if matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    ) {
        return;
    }
    if is_shortage(error) && worker.make_room().await {
        return;
    }
    tracing::warn!(%error, "cannot accept connections; trying again shortly");
    tokio::time::sleep(PAUSE).await;
}

fn serve(worker: &Rc<Worker>, frontend: &Rc<Frontend>, door: &Door, arrival: Arrival) {
    let registered = Registered::new(worker, frontend, arrival.peer);
    let limits = [worker.places(), frontend.places()];
    let mut admission = Admission::ask(limits.into_iter().flatten());
    let (worker, frontend, presence) = (worker.clone(), frontend.clone(), registered.presence());
    let terminator = worker.terminator(door.address);
    let is_introduced = frontend.expects_introduction(arrival.peer.ip());
    if is_introduced || terminator.is_some() {
        tokio::task::spawn_local(async move {
            admission.complete().await;
            // Boxed: short beside what follows.
            let begun =
                Box::pin(begin(&worker, &frontend, &presence, arrival, is_introduced, terminator)).await;
            if let Some(arrival) = begun {
                converse(worker, frontend, presence, arrival).await;
            }
            drop((admission, registered));
        });
        return;
    }
    match frontend.rules().mode {
        Mode::Http => {
            let connection = Connection::new(worker, frontend, presence, arrival);
            tokio::task::spawn_local(async move {
                admission.complete().await;
                connection.serve().await;
                drop((admission, registered));
            })
        }
        Mode::Tcp => {
            let session = Session::new(worker, frontend, presence);
            // Boxed: all this is large and short, and sessions are many and long.
            let open = Box::pin(async move {
                admission.complete().await;
                session
                    .open(arrival.client, Hello::unread(None))
                    .await
                    .map(|connected| (connected, admission))
            });
            tokio::task::spawn_local(async move {
                if let Some((connected, _admission)) = open.await {
                    connected.carry().await;
                }
                drop(registered);
            })
        }
    };
}

/// What a connection has before there is anything to serve: a proxy's introduction, and a handshake. None if it is over.
async fn begin(
    worker: &Worker,
    frontend: &Frontend,
    presence: &Presence,
    mut arrival: Arrival,
    is_introduced: bool,
    terminator: Option<Arc<Terminator>>,
) -> Option<Arrival> {
    if is_introduced {
        arrival = introduction::hear(worker, frontend, presence, arrival).await?;
    }
    let Some(terminator) = terminator else { return Some(arrival) };
    if frontend.looks_at_server_names() {
        // What comes out of TLS does not tell it any more.
        let hello = Hello::read(worker, frontend, presence, &mut arrival.client, arrival.input.take()).await;
        let Hello { bytes, name } = hello.ok()?;
        (arrival.input, arrival.server_name) = ((!bytes.is_empty()).then_some(bytes), name);
    }
    handshake::shake(worker, frontend, presence, &terminator, arrival).await
}

/// Serves a client whose connection has begun.
async fn converse(worker: Rc<Worker>, frontend: Rc<Frontend>, presence: Rc<Presence>, arrival: Arrival) {
    match frontend.rules().mode {
        Mode::Http => Connection::new(worker, frontend, presence, arrival).serve().await,
        Mode::Tcp => {
            let session = Session::new(worker, frontend, presence);
            let hello = Hello { bytes: arrival.input.unwrap_or_default(), name: arrival.server_name };
            if let Some(connected) = Box::pin(session.open(arrival.client, hello)).await {
                connected.carry().await;
            }
        }
    }
}
