//! How tandemctl fails, and the exit code of each way.

use std::io;
use std::process::ExitCode;

use thiserror::Error;

use crate::node::Unreachable;

/// Why tandemctl did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A daemon refused, or answered something else than was asked: 1.
    #[error("{0}")]
    Refused(String),
    /// A daemon cannot be reached: 69, `EX_UNAVAILABLE`.
    #[error("{0}")]
    Unreachable(#[from] Unreachable),
    /// A daemon of another node cannot be reached, or not be understood: 69, `EX_UNAVAILABLE`.
    #[error("{0}")]
    Remote(String),
    /// A configuration cannot be used; it has been told why: 78, `EX_CONFIG`.
    #[error("the configuration cannot be used")]
    Configuration,
    /// Several things failed, each of which has been told: the code of the worst.
    #[error("not everything could be done")]
    Told(u8),
    /// Nobody reads the output any more, or it cannot be written: 1.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The exit code. Wrong usage is 2, which the command line's parser gives.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Output(_) => 1,
            Self::Unreachable(_) | Self::Remote(_) => 69,
            Self::Configuration => 78,
            Self::Told(code) => *code,
        }
    }

    /// Tells on standard error what has not been told yet.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Told(_) | Self::Configuration => {}
            // `tandemctl status | head` is no failure.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            told => eprintln!("tandemctl: {told}"),
        }
        ExitCode::from(self.code())
    }
}
