//! Hooks: a command for each transition, with keepalived's arguments.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};
use vrrp::State;

use crate::board::Board;
use crate::child;
use crate::order::Notice;

/// Transitions of one virtual router that may wait for a slow command.
const WAITING: usize = 16;

/// Runs commands: one at a time for each virtual router, in the order of its transitions. Ends when no more notices can
/// come and the last command has ended.
pub async fn run(mut notices: mpsc::Receiver<Notice>, board: Arc<Board>) {
    let mut queues: BTreeMap<String, mpsc::Sender<Notice>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while let Some(notice) = notices.recv().await {
        let queue = queues.entry(notice.instance.clone()).or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(WAITING);
            tasks.spawn(serve(waiting, board.clone()));
            queue
        });
        if let Err(error) = queue.try_send(notice) {
            let notice = error.into_inner();
            failed(&board, &notice, "too many transitions wait for the command");
        }
    }
    drop(queues);
    tasks.join_all().await;
}

async fn serve(mut notices: mpsc::Receiver<Notice>, board: Arc<Board>) {
    while let Some(notice) = notices.recv().await {
        let ended = child::run(&notice.notify.argv, &arguments(&notice), notice.notify.timeout).await;
        for line in &ended.lines {
            info!(instance = notice.instance, to = %notice.to, "notify: {line}");
        }
        if ended.good {
            info!(instance = notice.instance, to = %notice.to, "notified: {}", ended.text);
        } else {
            failed(&board, &notice, &ended.text);
        }
    }
}

fn failed(board: &Board, notice: &Notice, why: &str) {
    board.write(&notice.instance, |record| record.status.counters.notify_failures += 1);
    warn!(instance = notice.instance, to = %notice.to, "notification failed: {why}");
}

/// As keepalived's: `INSTANCE`, the name, the state, the priority.
fn arguments(notice: &Notice) -> [String; 4] {
    let state = match notice.to {
        State::Master => "MASTER",
        State::Backup => "BACKUP",
        State::Fault => "FAULT",
        State::Init => "STOP",
    };
    ["INSTANCE".to_owned(), notice.instance.clone(), state.to_owned(), notice.priority.to_string()]
}
