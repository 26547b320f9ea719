//! The lbd before this one, which serves until this one does.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::pass;
use super::words::{self, Word};

/// Names the process before this one; standard input is the socket to it.
pub(super) const VARIABLE: &str = "TANDEM_SUCCEEDS";

/// How long it may take to write down what operators have set, and to give its listeners.
const GIVES: Duration = Duration::from_secs(5);
/// How long it may take for another word. systemd is asked before the last.
const WORD: Duration = Duration::from_secs(3);

/// The lbd that has started this one to have its place.
#[derive(Clone, Debug)]
pub struct Predecessor {
    /// Its process.
    pub pid: u32,
    channel: Arc<UnixStream>,
}

impl Predecessor {
    /// Who has started this process, if it was an lbd.
    pub fn here() -> Option<Self> {
        let pid = std::env::var(VARIABLE).ok()?.parse().ok()?;
        let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        // Somebody who has taken the variable over has another standard input.
        channel.peer_addr().is_ok().then(|| Self { pid, channel: Arc::new(channel) })
    }

    /// Asks for its listeners. From now on operators can set nothing there, until this process serves, or ends.
    ///
    /// # Errors
    /// When it does not give them.
    pub fn ask(&self) -> anyhow::Result<Vec<TcpListener>> {
        let ask = || {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            self.say(&Word::Asks { pid: std::process::id(), version })?;
            self.hear(&Word::Gives, GIVES)?;
            pass::be_patient(&self.channel)?;
            let listeners = pass::receive(&self.channel)?;
            pass::say(&self.channel)?;
            io::Result::Ok(listeners)
        };
        ask().context("the lbd that is to be succeeded does not give its listeners")
    }

    /// Says that this process could serve, and waits until it is to.
    ///
    /// # Errors
    /// When it is not.
    pub fn offer(&self, addresses: Vec<SocketAddr>) -> anyhow::Result<()> {
        let offer = || {
            self.say(&Word::Ready { addresses })?;
            self.hear(&Word::Go, WORD)
        };
        offer().context("the lbd that is to be succeeded has called that off, or is gone")
    }

    /// Says that this process serves, and waits until that is known.
    ///
    /// # Errors
    /// When that is not to be known.
    pub fn relieve(&self) -> anyhow::Result<()> {
        let relieve = || {
            self.say(&Word::Serves)?;
            self.hear(&Word::Done, WORD)
        };
        relieve().context("the lbd that was succeeded has not said that it knows")
    }

    /// Says why this process cannot serve.
    pub fn disappoint(&self, why: &str) {
        // One that is gone need not know.
        let _ = self.say(&Word::Failed { why: why.to_owned() });
    }

    fn say(&self, word: &Word) -> io::Result<()> {
        words::say(&self.channel, word)
    }

    fn hear(&self, word: &Word, patience: Duration) -> io::Result<()> {
        let heard = words::hear(&self.channel, Instant::now() + patience)?;
        if heard == *word { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    }
}
