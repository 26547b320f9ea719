//! The smallest daemon: reads its configuration, says that it is ready, reloads and stops when told to.

use std::process::ExitCode;

use daemon::config_file::{self, ConfigFile};
use daemon::signals::{Signal, Signals};
use daemon::{Context, Failure, Program, ready};

fn main() -> ExitCode {
    Program {
        name: "smallest",
        about: "Reads lb.yaml and waits for signals",
        default_config: "/etc/tandem/lb.yaml",
        check: config_file::check,
        errand: None,
    }
    .main(run)
}

async fn run(context: Context) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::System(error.into()))?;
    let (mut file, config) = ConfigFile::open(&context.config)?;
    let socket = wire::server::bind(&context.socket(context.name), 0o660, context.name)
        .map_err(|error| Failure::System(error.into()))?;
    ready::ready(&context)?;
    tracing::info!(backends = config.backends.len(), "ready");
    while signals.next().await == Signal::Reload {
        match config_file::load(file.path()) {
            Ok(loaded) => file.adopted(loaded.digest),
            Err(invalid) => file.refused(&invalid.to_string()),
        }
    }
    ready::stopping();
    tracing::info!("stopping until told again");
    drop(socket);
    // A real daemon finishes what is in flight here.
    signals.next().await;
    Ok(())
}
