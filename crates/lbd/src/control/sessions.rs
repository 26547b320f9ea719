//! Operators' hold on client connections: to list them, to end them, and to end those of a server some time after it was taken
//! out of service.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::shared::command::Command;
use crate::shared::sessions::{SessionRow, Whose};

/// Connections that are listed at once.
pub const LISTED_MAX: usize = 10_000;
/// How long a worker may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Connections as they are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// So many at most as are listed at once, the oldest of each worker first.
    pub rows: Vec<SessionRow>,
    /// How many there are besides.
    pub more: usize,
}

/// The way to the connections of all workers.
#[derive(Debug)]
pub struct Sessions {
    workers: Vec<mpsc::Sender<Command>>,
    /// What will end the connections of a server, by backend and server.
    ends: Mutex<HashMap<(String, String), End>>,
}

#[derive(Debug)]
struct End {
    at: Instant,
    task: AbortHandle,
}

impl Sessions {
    /// The connections of these workers.
    pub fn of(workers: Vec<mpsc::Sender<Command>>) -> Self {
        Self { workers, ends: Mutex::default() }
    }

    /// Lists connections.
    ///
    /// # Errors
    /// When a worker hangs: says so.
    pub async fn list(&self, whose: &Whose) -> Result<Listed, String> {
        let tell = |done| Command::Sessions { whose: whose.clone(), limit: LISTED_MAX, done };
        let answers = ask_all(&self.workers, tell).await?;
        let all: usize = answers.iter().map(|(_, count)| count).sum();
        let mut rows: Vec<SessionRow> = answers.into_iter().flat_map(|(rows, _)| rows).collect();
        rows.sort_unstable_by_key(|row| row.id);
        rows.truncate(LISTED_MAX);
        Ok(Listed { more: all - rows.len(), rows })
    }

    /// Ends connections at once. How many they were.
    ///
    /// # Errors
    /// When a worker hangs: says so. The others have ended theirs.
    pub async fn cut(&self, whose: &Whose) -> Result<usize, String> {
        cut(&self.workers, whose).await
    }

    /// Ends the connections with a server, unless it is told otherwise before.
    pub fn cut_later(&self, backend: &str, server: &str, after: Duration) {
        let at = Instant::now() + after;
        let (workers, whose) = (self.workers.clone(), with(backend, server));
        let (in_backend, name) = (backend.to_owned(), server.to_owned());
        let task = tokio::spawn(async move {
            sleep_until(at).await;
            let (backend, server) = (in_backend, name);
            match cut(&workers, &whose).await {
                Ok(sessions) => {
                    tracing::info!(backend, server, sessions, "its time is over: sessions are ended");
                }
                Err(error) => tracing::error!(backend, server, %error, "cannot end all sessions"),
            }
        });
        let end = End { at, task: task.abort_handle() };
        if let Some(before) = self.ends().insert((backend.to_owned(), server.to_owned()), end) {
            before.task.abort();
        }
    }

    /// The connections with a server may stay.
    pub fn spare(&self, backend: &str, server: &str) {
        if let Some(end) = self.ends().remove(&(backend.to_owned(), server.to_owned())) {
            end.task.abort();
        }
    }

    /// In how long the connections with a server are ended.
    pub fn ends_in(&self, backend: &str, server: &str) -> Option<Duration> {
        let now = Instant::now();
        let ends = self.ends();
        let end = ends.get(&(backend.to_owned(), server.to_owned()))?;
        (end.at > now).then(|| end.at - now)
    }

    fn ends(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), End>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with(backend: &str, server: &str) -> Whose {
    Whose::With { backend: backend.to_owned(), server: Some(server.to_owned()) }
}

async fn cut(workers: &[mpsc::Sender<Command>], whose: &Whose) -> Result<usize, String> {
    let answers = ask_all(workers, |done| Command::Cut { whose: whose.clone(), done }).await?;
    Ok(answers.into_iter().sum())
}

/// What each worker answers to a command. A hanging one holds up nobody but who asks.
async fn ask_all<T>(
    workers: &[mpsc::Sender<Command>],
    command: impl Fn(oneshot::Sender<T>) -> Command,
) -> Result<Vec<T>, String> {
    let mut waiting = Vec::with_capacity(workers.len());
    for worker in workers {
        let (done, answer) = oneshot::channel();
        worker.try_send(command(done)).map_err(|_| HANGS.to_owned())?;
        waiting.push(answer);
    }
    let answers = async {
        let mut answers = Vec::with_capacity(waiting.len());
        for answer in waiting {
            answers.push(answer.await.map_err(|_| "lbd is stopping".to_owned())?);
        }
        Ok(answers)
    };
    timeout(ANSWER, answers).await.unwrap_or_else(|_| Err(HANGS.to_owned()))
}

const HANGS: &str = "a worker hangs; see lbd's log";
