//! Descriptors that can be spared: idle connections to servers hold them, in all workers, and give way to what is needed.
//!
//! A worker that lacks a descriptor asks the one whose idle connection is the oldest, which may be itself, for one. Nobody else
//! is disturbed, and no more are closed than are needed.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a worker is waited for that was asked for a descriptor, and how long to pause where there is none to spare.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// What no worker has.
const NOTHING: u64 = u64::MAX;

/// What the workers can spare.
#[derive(Debug)]
pub struct Spare {
    workers: Vec<Lender>,
    /// Told when an idle connection has been closed, or there was none.
    answered: Notify,
    /// Requests that wait for a descriptor. New clients would only be more of them.
    short: AtomicU64,
}

/// One worker, as the others see it.
#[derive(Debug)]
#[repr(align(128))]
struct Lender {
    /// Since when it has an idle connection, in milliseconds; it may have been used or closed meanwhile.
    oldest: AtomicU64,
    /// How many it is asked to close.
    asked: AtomicU64,
    called: Notify,
}

impl Spare {
    /// Nothing yet.
    pub fn new(workers: usize) -> Arc<Self> {
        let lender =
            || Lender { oldest: AtomicU64::new(NOTHING), asked: AtomicU64::new(0), called: Notify::new() };
        let workers = std::iter::repeat_with(lender).take(workers).collect();
        Arc::new(Self { workers, answered: Notify::new(), short: AtomicU64::new(0) })
    }

    /// A worker keeps an idle connection from now on, in milliseconds.
    pub fn kept(&self, worker: usize, now: impl FnOnce() -> u64) {
        let oldest = &self.workers[worker].oldest;
        // What it has is older.
        if oldest.load(Relaxed) == NOTHING {
            oldest.store(now(), SeqCst);
        }
    }

    /// What a worker has, after a look.
    pub fn has(&self, worker: usize, oldest: Option<u64>) {
        self.workers[worker].oldest.store(oldest.unwrap_or(NOTHING), SeqCst);
    }

    /// Who has the oldest idle connection, if anybody has one.
    pub fn owner_of_oldest(&self) -> Option<usize> {
        let oldest = |lender: &Lender| lender.oldest.load(SeqCst);
        let (worker, lender) = self.workers.iter().enumerate().min_by_key(|(_, lender)| oldest(lender))?;
        (oldest(lender) != NOTHING).then_some(worker)
    }

    /// Asks another worker to close its oldest idle connection, and waits for its answer, but not for long.
    pub async fn ask(&self, worker: usize) {
        let answered = self.answered.notified();
        self.workers[worker].asked.fetch_add(1, SeqCst);
        self.workers[worker].called.notify_one();
        let _ = timeout(PATIENCE, answered).await;
    }

    /// Waits until a worker is asked for descriptors, and how many.
    pub async fn asked(&self, worker: usize) -> u64 {
        loop {
            match self.workers[worker].asked.swap(0, SeqCst) {
                0 => self.workers[worker].called.notified().await,
                asked => return asked,
            }
        }
    }

    /// A worker has closed what it was asked for, or has nothing to close.
    pub fn answer(&self) {
        self.answered.notify_waiters();
    }

    /// Whether requests wait for descriptors.
    pub fn is_short(&self) -> bool {
        self.short.load(SeqCst) > 0
    }

    /// A request waits for a descriptor until what is returned is dropped.
    pub fn wait(&self) -> Short<'_> {
        self.short.fetch_add(1, SeqCst);
        Short(self)
    }
}

/// A request that waits for a descriptor.
#[derive(Debug)]
pub struct Short<'a>(&'a Spare);

impl Drop for Short<'_> {
    fn drop(&mut self) {
        self.0.short.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_the_oldest_is_asked_and_answers() {
        let spare = Spare::new(3);
        assert_eq!(spare.owner_of_oldest(), None);
        spare.kept(1, || 20);
        spare.kept(2, || 10);
        spare.kept(2, || 30);
        assert_eq!(spare.owner_of_oldest(), Some(2));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lend = async {
                assert_eq!(spare.asked(2).await, 2);
                spare.has(2, None);
                spare.answer();
            };
            tokio::join!(spare.ask(2), spare.ask(2), lend);
        });
        assert_eq!(spare.owner_of_oldest(), Some(1));
        let short = spare.wait();
        assert!(spare.is_short());
        drop(short);
        assert!(!spare.is_short());
    }
}
