//! Events on standard error, one line each, with times in UTC.

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The form of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging what the filter lets through. Events are rare, so they are written by whoever has one; the data path has
/// none.
///
/// # Errors
/// When the filter cannot be understood.
pub fn start(format: LogFormat, filter: &str, colours: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .with_context(|| format!("`{filter}` is no filter; try error, warn, info, debug or trace"))?;
    let events =
        fmt::Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => events.with_ansi(colours).init(),
        LogFormat::Json => events.json().flatten_event(true).init(),
    }
    Ok(())
}
