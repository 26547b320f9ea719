//! From an open socket to a good end: what every daemon does in its life, whatever its work is.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use futures_util::FutureExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::sleep;
use wire::LifeState;
use wire::server::{self, Handler, Permitted};

use crate::admin::{self, Gate, Shown};
use crate::apart::{Apart, apart};
use crate::entrance::Entrance;
use crate::guard::Guard;
use crate::life::Life;
use crate::signals::{Signal, Signals};
use crate::{Context, Failure, ready, systemd};

/// Permissions of the socket: everybody may look. Who may change something is decided by who asks.
const SOCKET_MODE: u32 = 0o666;

/// What is a daemon's own.
pub trait Own: Shown {
    /// Its configuration.
    type Config: Send + 'static;

    /// Whether its doors have threads of their own: so that pings are late for no work, and work for no page that takes its
    /// time.
    const DOORS_APART: bool = false;

    /// Where it stands.
    fn life(&self) -> &Life<Self::Config>;

    /// Takes a configuration into force, wholly or not at all. What was done, or why nothing was.
    fn adopt(&self, config: Self::Config) -> impl Future<Output = Result<String, String>> + Send;

    /// Returns when its work has shown that it goes on, and not as long as it hangs. Work of the thread that asks has shown it by
    /// asking.
    fn goes_on(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Has the program that is installed now take its place, if it can do that, and waits for nothing. The log has the outcome.
    fn upgrade(&self) {
        tracing::warn!("a new release is taken into use by a restart");
    }

    /// Ends its work in good order. Signals that come meanwhile are its own, too.
    fn leave(&self, _signals: &mut Signals) -> impl Future<Output = ()> + Send {
        self.life().stop();
        std::future::ready(())
    }
}

/// Where a daemon is reached.
#[derive(Debug)]
pub struct Doors {
    entrance: Arc<Entrance>,
    socket: UnixListener,
    permitted: Permitted,
    admin: TcpListener,
}

impl Doors {
    /// Opens the daemon's socket and its admin address, which was configured under that key.
    ///
    /// # Errors
    /// When the system refuses, or another daemon has them.
    pub async fn open(context: &Context, key: &str, admin: SocketAddr) -> Result<Self, Failure> {
        let path = context.socket(context.name);
        let socket =
            server::bind(&path, SOCKET_MODE, context.name).map_err(|error| Failure::System(error.into()))?;
        let admin = admin::bind(&context.config, key, admin).await?;
        let entrance = Arc::new(Entrance::new(path.clone(), path, Gate::Open));
        Ok(Self { entrance, socket, permitted: Permitted::here(), admin })
    }

    /// Prepares what [`Doors::open`] opens, for one that takes the place of another daemon: that one is found until [`Entrance::take`].
    /// Its listener at the admin address may be handed over.
    ///
    /// # Errors
    /// When the system refuses, or somebody else has the admin address.
    pub async fn prepare(
        context: &Context,
        key: &str,
        admin: SocketAddr,
        inherited: Option<std::net::TcpListener>,
    ) -> Result<Self, Failure> {
        let path = context.socket(context.name);
        let (socket, made) =
            server::bind_beside(&path, SOCKET_MODE).map_err(|error| Failure::System(error.into()))?;
        let admin = match inherited {
            Some(listener) => {
                TcpListener::from_std(listener).map_err(|error| Failure::System(error.into()))?
            }
            None => admin::bind(&context.config, key, admin).await?,
        };
        let entrance = Arc::new(Entrance::new(path, made, Gate::Shut));
        Ok(Self { entrance, socket, permitted: Permitted::here(), admin })
    }

    /// Where others find them.
    pub const fn entrance(&self) -> &Arc<Entrance> {
        &self.entrance
    }

    /// Another handle of the listener at the admin address.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn admin(&self) -> io::Result<std::net::TcpListener> {
        Ok(self.admin.as_fd().try_clone_to_owned()?.into())
    }
}

/// Lives: answers at its doors, is ready when `begin` has ended, reloads at each SIGHUP, shows the watchdog that it goes on, and
/// leaves when it is told to stop.
/// `work` is what it does all the time: where that ends, so does the daemon.
///
/// # Errors
/// When it cannot begin, or cannot go on.
pub async fn serve<D: Own>(
    daemon: Arc<D>,
    doors: Doors,
    handler: Arc<impl Handler>,
    router: Router,
    signals: Signals,
    begin: impl Future<Output = Result<(), Failure>>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let Doors { entrance, socket, permitted, admin } = doors;
    let gate = entrance.gate();
    let guard = daemon.life().guard().clone();
    let life = live(&daemon, signals, begin, work);
    let result = if D::DOORS_APART {
        let _doors = open_apart(socket, permitted, handler, (admin, gate), (router, guard))
            .context("cannot answer at the doors")?;
        life.await
    } else {
        tokio::select! {
            () = server::serve(socket, permitted, handler) => Ok(()),
            () = admin::serve(admin, router, guard, gate) => Ok(()),
            result = life => result,
        }
    };
    // A socket that nobody answers on would only be in the way.
    entrance.remove();
    result
}

/// Answers at the doors on threads of their own.
fn open_apart(
    socket: UnixListener,
    permitted: Permitted,
    handler: Arc<impl Handler>,
    (admin, gate): (TcpListener, watch::Receiver<Gate>),
    (router, guard): (Router, Arc<Guard>),
) -> io::Result<[Apart; 2]> {
    let (socket, admin) = (socket.into_std()?, admin.into_std()?);
    Ok([
        apart(wire::SOCKET_THREAD, move || {
            Ok(server::serve(UnixListener::from_std(socket)?, permitted, handler))
        })?,
        apart("admin", move || Ok(admin::serve(TcpListener::from_std(admin)?, router, guard, gate)))?,
    ])
}

async fn live<D: Own>(
    daemon: &Arc<D>,
    mut signals: Signals,
    begin: impl Future<Output = Result<(), Failure>>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let (mut begin, mut work) = (pin!(begin), pin!(work));
    let mut watched = pin!(show_life(&**daemon));
    let mut is_ready = false;
    let mut is_changed = false;
    let mut reloading = None;
    loop {
        if is_ready && reloading.is_none() && std::mem::take(&mut is_changed) {
            reloading = Some(Box::pin(reload(daemon)));
        }
        let reloaded = async {
            match &mut reloading {
                // The log has the outcome.
                Some(reloading) => drop(reloading.await),
                None => pending().await,
            }
        };
        tokio::select! {
            // Why it cannot begin says more than that it has ended.
            biased;
            begun = begin.as_mut(), if !is_ready => {
                begun?;
                daemon.life().become_ready();
                is_ready = true;
            }
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => is_changed = true,
                Signal::Upgrade => daemon.upgrade(),
            },
            () = reloaded => reloading = None,
            never = watched.as_mut(), if is_ready => match never {},
            ended = work.as_mut() => {
                // Another thread may have told why it cannot begin just before it ended.
                if !is_ready && let Some(begun) = begin.as_mut().now_or_never() {
                    begun?;
                }
                return ended;
            }
        }
    }
    // Of one that was succeeded the supervisor knows no more.
    if daemon.life().state() != LifeState::Succeeded {
        ready::stopping();
    }
    if !is_ready {
        ready::never(daemon.life().context());
    }
    tokio::select! {
        () = daemon.leave(&mut signals) => Ok(()),
        ended = work.as_mut() => ended,
    }
}

/// Shows systemd's watchdog that the daemon lives, as long as its work does: one that hangs is started anew.
async fn show_life<D: Own>(daemon: &D) -> Infallible {
    let Some(every) = systemd::watchdog() else { return pending().await };
    loop {
        daemon.goes_on().await;
        systemd::alive();
        sleep(every).await;
    }
}

/// Takes over the configuration file as it is now, wholly or not at all. What was done, or why nothing was. It goes on even if
/// whoever asked goes away.
///
/// # Errors
/// Why nothing was done.
pub async fn reload<D: Own>(daemon: &Arc<D>) -> Result<String, String> {
    let owned = daemon.clone();
    let reload = tokio::spawn(async move { owned.life().reload(|config| owned.adopt(config)).await });
    reload.await.unwrap_or_else(|_| Err(format!("{} is stopping", daemon.life().context().name)))
}
