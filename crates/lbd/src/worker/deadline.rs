//! A connection's one deadline: moved on every step, and armed only when it is due.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Why a connection is ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// An operator asked for it.
    Operator,
    /// Its server is down.
    ServerDown,
    /// Its backup server is needed no more.
    BackupRelieved,
}

/// The deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// When the current wait of a connection ends.
///
/// Moving the deadline later costs a store: the timer stays where it is, and when it fires too early it is set to the
/// true deadline. So a busy connection touches the timer wheel about once a timeout, not once a request.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Cell<Instant>,
    /// Why it has been brought forward to stay, if it has.
    cut: Cell<Option<Cut>>,
    timer: RefCell<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        let at = Instant::now() + time;
        Self { at: Cell::new(at), cut: Cell::default(), timer: RefCell::new(Box::pin(sleep_until(at))) }
    }

    /// Moves the deadline to `time` from now.
    pub(crate) fn set(&self, time: Duration) {
        self.set_at(Instant::now() + time);
    }

    /// Moves the deadline, unless the wait was cut short.
    pub(crate) fn set_at(&self, at: Instant) {
        if !self.is_cut() {
            self.at.set(at);
        }
    }

    /// Ends the wait at once, and each one after it, from outside the connection's task.
    pub(crate) fn cut(&self, why: Cut) {
        let now = Instant::now();
        self.at.set(now);
        self.cut.set(Some(why));
        // Whoever waits is woken by its timer, which fires at once.
        self.timer.borrow_mut().as_mut().reset(now);
    }

    /// Whether the wait was cut short.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get().is_some()
    }

    /// Why the wait was cut short, if it was. From now on it can be moved again.
    pub(crate) fn take_cut(&self) -> Option<Cut> {
        self.cut.take()
    }

    /// Waits for `work`, at most until the deadline, which `work` itself may move meanwhile.
    pub(crate) async fn guard<F: Future>(&self, work: F) -> Result<F::Output, Elapsed> {
        let mut work = pin!(work);
        poll_fn(|cx| self.poll_guard(cx, |cx| work.as_mut().poll(cx))).await
    }

    /// The same, for what is no future.
    pub(crate) fn poll_guard<T>(
        &self,
        cx: &mut Context<'_>,
        work: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Elapsed>> {
        // What comes after the end is not done, even if the timer has not fired yet.
        if self.is_cut() {
            return Poll::Ready(Err(Elapsed));
        }
        match work(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if self.poll_elapsed(cx) => Poll::Ready(Err(Elapsed)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_elapsed(&self, cx: &mut Context<'_>) -> bool {
        let mut timer = self.timer.borrow_mut();
        let at = self.at.get();
        if at < timer.deadline() {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return true;
            }
            timer.as_mut().reset(at);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_deadline_moves_both_ways() {
        let start = Instant::now();
        let deadline = Deadline::after(Duration::from_secs(10));
        deadline.set(Duration::from_secs(50));
        assert_eq!(deadline.guard(std::future::pending::<()>()).await, Err(Elapsed));
        assert_eq!(start.elapsed().as_secs(), 50);

        deadline.set(Duration::from_secs(100));
        deadline.set(Duration::from_secs(5));
        assert_eq!(deadline.guard(std::future::pending::<()>()).await, Err(Elapsed));
        assert_eq!(start.elapsed().as_secs(), 55);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_wait_that_is_cut_ends_at_once_and_so_does_the_next() {
        let start = Instant::now();
        let deadline = Deadline::after(Duration::from_secs(100));
        // It is waited for before it is cut, and its owner knows nothing of that.
        let wait = deadline.guard(std::future::pending::<()>());
        let cut = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            deadline.cut(Cut::Operator);
        };
        assert_eq!(tokio::join!(wait, cut).0, Err(Elapsed));
        deadline.set(Duration::from_secs(100));
        assert_eq!(deadline.guard(std::future::pending::<()>()).await, Err(Elapsed));
        assert_eq!(
            deadline.guard(std::future::ready(())).await,
            Err(Elapsed),
            "whatever could be done at once"
        );
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert_eq!([deadline.take_cut(), deadline.take_cut()], [Some(Cut::Operator), None]);
        deadline.set(Duration::from_secs(5));
        assert_eq!(deadline.guard(std::future::pending::<()>()).await, Err(Elapsed));
        assert_eq!(start.elapsed(), Duration::from_secs(6));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn work_that_moves_the_deadline_goes_on() {
        let deadline = Deadline::after(Duration::from_secs(1));
        let work = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(900)).await;
                deadline.set(Duration::from_secs(1));
            }
            7
        };
        assert_eq!(deadline.guard(work).await, Ok(7));
    }
}
