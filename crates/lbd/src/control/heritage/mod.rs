//! What an lbd leaves to the next one: its listening sockets, with the clients in their backlogs and the handshakes under
//! way. A supervisor starts the next process when this one has ended, so somebody has to keep them meanwhile: systemd in its
//! descriptor store, and otherwise a process of our own ([`holder`]). One that takes the place of an lbd while that serves
//! ([`successor`]) is given them by itself.

pub mod holder;
mod pass;
pub mod predecessor;
pub mod successor;
mod words;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use anyhow::Context as _;
use daemon::{Context, systemd};
use listenfd::ListenFd;
use socket2::SockRef;

use self::holder::Holder;

/// What systemd calls the sockets that it keeps.
const STORED_AS: &str = "tandem-listener";

/// Listening sockets by their address.
pub type Listeners = BTreeMap<SocketAddr, Vec<TcpListener>>;

/// Takes what the lbd before this one has left. Nobody else keeps it any more; whoever is not listened to is refused. Waits for
/// a second at most. To be called when this process is sure to be the only lbd of its run directory.
pub fn take(context: &Context) -> Listeners {
    let mut all = stored();
    match holder::ask(context) {
        Ok(held) => all.extend(held),
        Err(error) => {
            tracing::error!(
                "clients that wait since the last stop are refused: {:#}",
                error.context(holder::NAME)
            );
        }
    }
    by_address(all)
}

/// Listening sockets by their address. Whatever else was passed is none of ours, and closed.
pub fn by_address(all: Vec<TcpListener>) -> Listeners {
    let mut listeners = Listeners::new();
    for listener in all {
        if let Ok(address) = listener.local_addr()
            && SockRef::from(&listener).is_listener().unwrap_or(false)
        {
            listeners.entry(address).or_default().push(listener);
        }
    }
    listeners
}

/// What systemd has kept. It would go on keeping it, also what this lbd closes.
fn stored() -> Vec<TcpListener> {
    let mut passed = ListenFd::from_env();
    let stored: Vec<_> =
        (0..passed.len()).filter_map(|at| passed.take_tcp_listener(at).ok().flatten()).collect();
    if !stored.is_empty()
        && systemd::is_there()
        && let Err(error) = systemd::forget(STORED_AS)
    {
        tracing::error!("systemd still keeps the listeners that it has kept since the last stop: {error:#}");
    }
    stored
}

/// Who keeps the listeners until the next lbd asks for them.
#[derive(Debug)]
pub enum Keeper {
    /// systemd. Whether there will be a next lbd is its own affair.
    Systemd,
    /// A process of ours, for a few seconds.
    Holder(Holder),
}

impl Keeper {
    /// Finds somebody who will keep listeners.
    ///
    /// # Errors
    /// When there is nobody.
    pub fn find(context: &Context) -> anyhow::Result<Self> {
        if systemd::is_there() { Ok(Self::Systemd) } else { Holder::start(context).map(Self::Holder) }
    }

    /// Hands the listeners on, and returns when they are kept.
    ///
    /// # Errors
    /// When they are not, or not all.
    pub fn keep(&mut self, listeners: &[TcpListener]) -> anyhow::Result<()> {
        match self {
            Self::Systemd => {
                let descriptors: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
                systemd::store(STORED_AS, &descriptors)
            }
            Self::Holder(holder) => holder.keep(listeners).context(holder::NAME),
        }
    }
}
