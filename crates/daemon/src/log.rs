//! Events on standard error, one line each, with times in UTC.
//!
//! A thread writes them. Who logs hands the line over and goes on, also when nobody reads standard error: then up to
//! 1,024 lines wait, further ones are lost, and how many were is logged as soon as lines can be written again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Lines that may wait to be written.
const WAITING_MAX: usize = 1024;
/// How long the end of a daemon waits for its last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The form of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A started log. Dropping it waits, for a second at most, until what was logged is written.
#[derive(Debug)]
pub struct Log(Lines);

/// Starts logging what the filter lets through.
///
/// # Errors
/// When the filter cannot be understood, or no thread can be started.
pub fn start(format: LogFormat, filter: &str, colours: bool) -> anyhow::Result<Log> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .with_context(|| format!("`{filter}` is no filter; try error, warn, info, debug or trace"))?;
    let lines = Lines::start().context("cannot start the thread that writes the log")?;
    let writer = lines.clone();
    let events = fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        .with_target(false);
    match format {
        LogFormat::Text => events.with_ansi(colours).init(),
        LogFormat::Json => events.json().flatten_event(true).init(),
    }
    Ok(Log(lines))
}

impl Drop for Log {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let (written, all) = sync_channel(1);
        let mut message = Message::Flush(written);
        while let Err(std::sync::mpsc::TrySendError::Full(back)) = self.0.queue.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(10));
        }
        // Whoever does not read standard error even now does not get the last lines.
        let _ = all.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

enum Message {
    /// A line, with its newline.
    Line(Vec<u8>),
    /// Tells that everything before it was written.
    Flush(SyncSender<()>),
}

/// Hands lines to the thread that writes them.
#[derive(Clone, Debug)]
struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    fn start() -> io::Result<Self> {
        let (queue, messages) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let lines = Self { queue, lost: lost.clone() };
        std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&messages, &lost))?;
        Ok(lines)
    }
}

fn write_lines(messages: &Receiver<Message>, lost: &AtomicU64) {
    for message in messages {
        match message {
            // Without a standard error there is nowhere to say so.
            Message::Line(line) => _ = io::stderr().write_all(&line),
            Message::Flush(written) => _ = written.try_send(()),
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "events were lost: standard error was not read");
        }
    }
}

/// A subscriber writes each event as a whole.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
