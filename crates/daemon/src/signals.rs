//! SIGTERM and SIGINT stop a daemon, SIGHUP makes it read its configuration again, SIGUSR2 has another process take its place.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Finish and stop; the second time, stop at once.
    Stop,
    /// Read the configuration again. Never comes after [`Signal::Stop`].
    Reload,
    /// Have the program that is installed now take this one's place. Never comes after [`Signal::Stop`].
    Upgrade,
}

/// The signals of this process. SIGPIPE needs no care: Rust programs ignore it.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    user: Stream,
    stopping: bool,
}

impl Signals {
    /// Takes over the signals.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined2())?,
            stopping: false,
        })
    }

    /// The next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        let signal = tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            // There is nothing to reload while stopping, and a reload is no reason to stop at once.
            _ = self.hangup.recv(), if !self.stopping => Signal::Reload,
            _ = self.user.recv(), if !self.stopping => Signal::Upgrade,
        };
        self.stopping |= signal == Signal::Stop;
        signal
    }
}
