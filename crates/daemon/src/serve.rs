//! From an open socket to a good end: what every daemon does in its life, whatever its work is.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use wire::server::{self, Handler};

use crate::admin::{self, Shown};
use crate::life::Life;
use crate::metrics::Exposition;
use crate::signals::{Signal, Signals};
use crate::{Context, Failure};

/// Permissions of the socket: everybody may look. Who may change something is decided by who asks.
const SOCKET_MODE: u32 = 0o666;

/// What is a daemon's own.
pub trait Own: Shown {
    /// Its configuration.
    type Config: Send + 'static;

    /// Where it stands.
    fn life(&self) -> &Life<Self::Config>;

    /// Takes a configuration into force, wholly or not at all. What was done, or why nothing was.
    fn adopt(&self, config: Self::Config) -> impl Future<Output = Result<String, String>> + Send;

    /// Waits until the daemon cannot go on.
    fn broken(&self) -> impl Future<Output = Failure> + Send {
        std::future::pending()
    }

    /// Ends its work in good order.
    fn leave(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Where a daemon is reached.
#[derive(Debug)]
pub struct Doors {
    path: PathBuf,
    socket: UnixListener,
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
        Ok(Self { path, socket, admin: admin::bind(key, admin).await? })
    }
}

/// Lives: answers at its doors, is ready when `begin` has ended, reloads at each SIGHUP, and leaves when it is told to stop.
///
/// # Errors
/// When it cannot begin, or cannot go on.
pub async fn serve<D: Own>(
    daemon: Arc<D>,
    doors: Doors,
    handler: Arc<impl Handler>,
    metrics: Exposition,
    signals: Signals,
    begin: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let result = tokio::select! {
        () = server::serve(doors.socket, handler) => Ok(()),
        () = admin::serve(doors.admin, admin::router(&daemon, metrics, &[])) => Ok(()),
        result = live(&daemon, signals, begin) => result,
    };
    // A socket that nobody answers on would only be in the way.
    let _ = std::fs::remove_file(doors.path);
    result
}

async fn live<D: Own>(
    daemon: &Arc<D>,
    mut signals: Signals,
    begin: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut begin = std::pin::pin!(begin);
    let mut is_ready = false;
    let mut is_changed = false;
    loop {
        if is_ready && std::mem::take(&mut is_changed) {
            // The log has the reason.
            let _ = reload(daemon).await;
        }
        tokio::select! {
            begun = begin.as_mut(), if !is_ready => {
                begun?;
                daemon.life().become_ready()?;
                is_ready = true;
            }
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => is_changed = true,
            },
            failure = daemon.broken(), if is_ready => return Err(failure),
        }
    }
    daemon.life().stop();
    daemon.leave().await;
    Ok(())
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
