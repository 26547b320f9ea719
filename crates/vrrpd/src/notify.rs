//! Hooks: a command that is told where an instance stands, with keepalived's arguments.
//!
//! What counts is the present: a state that has passed while the command was at work is not told any more, and one that could
//! not be told is told again, with growing pauses, for as long as it holds.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::board::Board;
use crate::child;
use crate::order::Notice;
use crate::track::{Reporter, TrackerId};

/// The tracker of an instance that is not to be master where nobody can be told of it. No name in a file has a blank.
pub(crate) const TRACKER: &str = "own notify";
/// Between two attempts: from the first to the last, each time twice as long.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long an instance takes no part that could not tell of its mastership. Then it may be master, and try, again.
const REST: Duration = Duration::from_secs(60);

/// Where an instance stands, as its hook is to be told. None: nobody is to be told.
pub type Told = watch::Receiver<Option<Notice>>;

/// Runs commands: one at a time for each instance. Ends when no more instances can come, and the last state of each has
/// been told.
pub async fn run(mut instances: mpsc::Receiver<Told>, board: Arc<Board>, reporter: Reporter) {
    let mut tasks = JoinSet::new();
    while let Some(told) = instances.recv().await {
        tasks.spawn(Hook::new(board.clone(), reporter.clone()).serve(told));
    }
    tasks.join_all().await;
}

/// One instance's.
struct Hook {
    board: Arc<Board>,
    reporter: Reporter,
    failing: Option<Failing>,
    /// Which instance may try again to be master, and when.
    resting: Option<(TrackerId, Instant)>,
}

/// Since when a state could not be told, and when to try again.
struct Failing {
    since: Instant,
    pause: Duration,
    retry: Instant,
}

impl Hook {
    const fn new(board: Arc<Board>, reporter: Reporter) -> Self {
        Self { board, reporter, failing: None, resting: None }
    }

    async fn serve(mut self, mut told: Told) {
        loop {
            let retry = self.failing.as_ref().map(|failing| failing.retry);
            let rested = self.resting.as_ref().map(|(_, until)| *until);
            tokio::select! {
                changed = told.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.failing = None;
                }
                () = at(retry) => {}
                () = at(rested) => {
                    if let Some((id, _)) = self.resting.take() {
                        self.reporter.report(&id, true, "it may be tried again".to_owned()).await;
                    }
                    continue;
                }
            }
            let notice = told.borrow_and_update().clone();
            match notice {
                Some(notice) => self.tell(&notice).await,
                None => self.failing = None,
            }
        }
    }

    async fn tell(&mut self, notice: &Notice) {
        let ended = child::run(&notice.notify.command, &arguments(notice), notice.notify.timeout).await;
        for line in &ended.lines {
            info!(instance = notice.owner, to = notice.state, "notify: {line}");
        }
        self.board.amend(&notice.owner, |entry| {
            entry.notify_failing.store(!ended.good, Relaxed);
            entry.notify_failures.fetch_add(u64::from(!ended.good), Relaxed);
        });
        if ended.good {
            info!(instance = notice.owner, to = notice.state, "notified: {}", ended.text);
            self.failing = None;
        } else {
            warn!(instance = notice.owner, to = notice.state, "notification failed: {}", ended.text);
            self.fail(notice).await;
        }
    }

    /// Tries again later, or has another router be master where this one cannot tell of it.
    async fn fail(&mut self, notice: &Notice) {
        let now = Instant::now();
        let (since, pause) = match &self.failing {
            Some(before) => (before.since, (before.pause * 2).min(PAUSES.1)),
            None => (now, PAUSES.0),
        };
        let mut retry = now + pause;
        if let (true, Some(patience)) = (notice.serves, notice.notify.fault_after) {
            let end = since + patience;
            if end <= now {
                let id = TrackerId { owner: notice.owner.clone(), tracker: TRACKER.to_owned() };
                let text = format!("nobody could be told for {patience:?} that this node serves");
                self.reporter.report(&id, false, text).await;
                self.resting = Some((id, now + REST));
            } else {
                retry = retry.min(end);
            }
        }
        self.failing = Some(Failing { since, pause, retry });
    }
}

/// As keepalived's: `INSTANCE`, the name, the state, the priority.
fn arguments(notice: &Notice) -> [String; 4] {
    [notice.kind.to_owned(), notice.owner.clone(), notice.state.to_owned(), notice.priority.to_string()]
}

/// Waits until then: for ever, without a moment.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
