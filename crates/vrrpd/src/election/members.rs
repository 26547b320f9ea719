//! The tasks of the election's thread, one for each instance or service, and what they are told.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use crate::order::Report;

/// Commands that may wait for a task.
const COMMANDS: usize = 64;

/// What an instance or service is told. `O` is what only one of the two understands. Commands are carried out one after the other.
pub(crate) enum Command<O> {
    /// A tracker reports.
    Tracker { tracker: String, report: Report, text: String },
    /// Answered when everything before is done.
    Settle { done: oneshot::Sender<()> },
    /// Answered when nothing is held any more; then the task ends.
    Stop { done: oneshot::Sender<()> },
    /// Of its own kind.
    Own(O),
}

/// All tasks of one kind, by name.
pub(super) struct Members<O>(BTreeMap<String, mpsc::Sender<Command<O>>>);

impl<O> Members<O> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A new one. What it will be told.
    pub(super) fn add(&mut self, name: &str) -> mpsc::Receiver<Command<O>> {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        self.0.insert(name.to_owned(), commands);
        receiver
    }

    /// Tells one, if there is one of that name. A task that has ended hears nothing.
    pub(super) async fn tell(&self, name: &str, command: Command<O>) {
        if let Some(commands) = self.0.get(name) {
            let _ = commands.send(command).await;
        }
    }

    /// Tells one, and hands over what it will answer: nothing, where there is none.
    pub(super) async fn ask<T>(
        &self,
        name: &str,
        order: impl FnOnce(oneshot::Sender<T>) -> O,
    ) -> oneshot::Receiver<T> {
        let (done, answer) = oneshot::channel();
        self.tell(name, Command::Own(order(done))).await;
        answer
    }

    /// Waits until each has done what it was told.
    pub(super) async fn settle(&self) {
        for commands in self.0.values() {
            let (done, settled) = oneshot::channel();
            if commands.send(Command::Settle { done }).await.is_ok() {
                // One that has ended has settled.
                let _ = settled.await;
            }
        }
    }

    /// Has some end in good order.
    pub(super) async fn stop(&mut self, which: impl Fn(&str) -> bool) {
        let mut ends = Vec::new();
        for (_, commands) in self.0.iter().filter(|(name, _)| which(name)) {
            let (done, end) = oneshot::channel();
            // One that has ended holds nothing.
            let _ = commands.send(Command::Stop { done }).await;
            ends.push(end);
        }
        for end in ends {
            let _ = end.await;
        }
        self.0.retain(|name, _| !which(name));
    }
}
