//! From `main` to a daemon's own code and back to an exit code.

use std::future::Future;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser};
use config::{Diagnostic, Invalid};
use thiserror::Error;
use wire::{DaemonHello, PROTOCOL};

use crate::generated::Generated;
use crate::log::{self, LogFormat};

/// A daemon, before it runs.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Its configuration file unless told otherwise.
    pub default_config: &'static str,
    /// Checks a configuration file; its warnings.
    pub check: fn(&Path) -> Result<Vec<Diagnostic>, Invalid>,
    /// What else it can do.
    pub errand: Option<Errand>,
}

/// Something that a daemon does instead of running, when an option says so. It needs no configuration.
#[derive(Clone, Copy, Debug)]
pub struct Errand {
    /// The option, without its dashes.
    pub option: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Does it, in the daemon's own directory; what was done, in words.
    pub run: fn(&Path) -> anyhow::Result<String>,
}

/// What every daemon is told on its command line, or in its environment.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Configuration file
    #[arg(short, long, value_name = "PATH", env = "TANDEM_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of the daemons' directories, which hold their sockets
    #[arg(long, value_name = "DIR", env = "TANDEM_RUN_DIR", default_value = "/run/tandem")]
    run_dir: PathBuf,
    /// Check the configuration file and exit: 0 if it can be used, 78 if not
    #[arg(long)]
    check: bool,
    /// Form of the events on standard error
    #[arg(long, value_name = "FORMAT", env = "TANDEM_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Events to log: error, warn, info, debug or trace, also by module, as in `info,lbd=debug`
    #[arg(long, value_name = "FILTER", env = "TANDEM_LOG", default_value = "info")]
    log_level: String,
    /// Write a newline to this descriptor when ready, as s6's notification-fd wants it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..1024))]
    ready_fd: Option<i32>,
    /// Print what packages have beside the program
    #[arg(long, value_name = "WHAT", value_enum, hide = true)]
    generate: Option<Generated>,
}

/// What a daemon starts with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The daemon's name.
    pub name: &'static str,
    /// Its configuration file.
    pub config: PathBuf,
    /// Where the daemons have a directory each.
    pub run_dir: PathBuf,
    /// Where to say that it is ready, beside systemd's socket.
    pub ready_fd: Option<i32>,
    /// New at each start: tells a client that the daemon was restarted.
    pub epoch: u64,
}

impl Context {
    /// The directory in which this daemon writes.
    pub fn own_dir(&self) -> PathBuf {
        wire::own_dir(&self.run_dir, self.name)
    }

    /// The socket of a daemon of this node.
    pub fn socket(&self, daemon: &str) -> PathBuf {
        wire::socket(&self.run_dir, daemon)
    }

    /// Who answers on this daemon's socket.
    pub fn hello(&self) -> DaemonHello {
        DaemonHello {
            protocol: PROTOCOL,
            daemon: self.name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.epoch,
        }
    }
}

/// Why a daemon ends otherwise than it should. Each kind has its own exit code.
#[derive(Debug, Error)]
pub enum Failure {
    /// The configuration cannot be used: 78.
    #[error("{0}")]
    Config(#[from] Invalid),
    /// The system refuses something: 71.
    #[error("{0:#}")]
    System(anyhow::Error),
    /// Anything else: 1.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// The exit code, as `sysexits.h` numbers them. Supervisors restart after all of them but 78.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 78,
            Self::System(_) => 71,
            Self::Other(_) => 1,
        }
    }
}

impl Program {
    /// Runs a daemon: reads the command line, starts the log and a runtime of one thread, and runs `app` to its end.
    pub fn main<F, Fut>(self, app: F) -> ExitCode
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        end_at_panics();
        let mut command =
            Args::command().name(self.name).about(self.about).version(env!("CARGO_PKG_VERSION"));
        command = command.mut_arg("config", |config| {
            config.help(format!("Configuration file [default: {}]", self.default_config))
        });
        if let Some(errand) = self.errand {
            command = command.arg(
                Arg::new(errand.option).long(errand.option).help(errand.about).action(ArgAction::SetTrue),
            );
        }
        let matches = command.clone().get_matches();
        let args = match Args::from_arg_matches(&matches) {
            Ok(args) => args,
            Err(error) => error.exit(),
        };
        if let Some(generated) = args.generate {
            return match generated.write(command, &mut std::io::stdout()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        let config = args.config.unwrap_or_else(|| self.default_config.into());
        if let Some(errand) = self.errand.filter(|errand| matches.get_flag(errand.option)) {
            return self.run(errand, &args.run_dir);
        }
        if args.check {
            return self.check(&config);
        }
        // Held to the end, so that the last events are written.
        let _log = match log::start(args.log_format, &args.log_level, std::io::stderr().is_terminal()) {
            Ok(log) => log,
            Err(error) => {
                eprintln!("{}: --log-level or TANDEM_LOG: {error:#}", self.name);
                return ExitCode::from(2);
            }
        };
        let context = Context {
            name: self.name,
            config,
            run_dir: args.run_dir,
            ready_fd: args.ready_fd,
            epoch: epoch(),
        };
        let result = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::System(error.into()))
            .and_then(|runtime| {
                let result = runtime.block_on(app(context));
                // A thread that still writes to a pipe nobody reads, or looks up a name, must not hold up the end.
                runtime.shutdown_background();
                result
            });
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                // Diagnostics have been logged one by one, where they were found.
                match &failure {
                    Failure::Config(_) => {
                        tracing::error!("the configuration cannot be used; {} stops", self.name);
                    }
                    other => tracing::error!("{other}; {} stops", self.name),
                }
                ExitCode::from(failure.exit_code())
            }
        }
    }

    fn run(&self, errand: Errand, run_dir: &Path) -> ExitCode {
        match (errand.run)(&wire::own_dir(run_dir, self.name)) {
            Ok(done) => {
                println!("{done}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{} --{}: {error:#}", self.name, errand.option);
                ExitCode::FAILURE
            }
        }
    }

    fn check(&self, config: &Path) -> ExitCode {
        match (self.check)(config) {
            Ok(warnings) => {
                for warning in warnings {
                    eprintln!("{warning}");
                }
                println!("{}: the configuration can be used", config.display());
                ExitCode::SUCCESS
            }
            Err(invalid) => {
                eprintln!("{invalid}");
                ExitCode::from(Failure::Config(invalid).exit_code())
            }
        }
    }
}

/// A panic ends the daemon, whatever thread or task it is in: the others would go on without it, and nobody would know. The
/// supervisor starts the daemon anew.
fn end_at_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

/// The time of the start in microseconds, with the process as the last digits: two starts never share it.
fn epoch() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX) / 1000 * 1000 + u64::from(std::process::id() % 1000)
}
