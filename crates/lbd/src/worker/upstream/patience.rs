//! How long a request waits for a server: in the queue, and for a connection.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::worker::Worker;
use crate::worker::deadline::Elapsed;
use crate::worker::presence::Presence;

/// What a wait has at least: who answers a SYN at all, has answered by then.
const LEAST: Duration = Duration::from_millis(100);

/// The patience of one request. It has less of it when lbd leaves: nothing of the request has been sent, so another server can
/// still answer it in time, and whoever waits too long is told so while the way to the client is still there.
pub(crate) struct Patience<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) presence: &'a Presence,
}

impl Patience<'_> {
    /// Whether an operator has ended the connection that the request came by.
    pub(crate) fn is_cut(&self) -> bool {
        self.presence.deadline().is_cut()
    }

    /// Waits for `work`, for that time at most, and for less if requests have to be over soon, which may turn out meanwhile.
    pub(crate) async fn wait<F: Future>(&self, time: Duration, work: F) -> Result<F::Output, Elapsed> {
        let end = Instant::now() + time;
        let deadline = self.presence.deadline();
        deadline.set_at(end);
        let mut due = None;
        let mut work = pin!(work);
        let work = poll_fn(|cx| {
            let result = work.as_mut().poll(cx);
            if result.is_ready() {
                return result;
            }
            let now_due = self.worker.due.get();
            if now_due != due {
                due = now_due;
                let now = Instant::now();
                deadline.set_at(due.and_then(|due| share(due, now)).map_or(end, |time| end.min(now + time)));
            }
            self.presence.wake_with(cx.waker());
            Poll::Pending
        });
        deadline.guard(work).await
    }
}

/// What a wait may take of the time that is left: half of it, so that enough is left for another attempt and for the response.
/// None when it is over, and nobody waits for the request any more.
fn share(due: Instant, now: Instant) -> Option<Duration> {
    let left = due.saturating_duration_since(now);
    (!left.is_zero()).then(|| (left / 2).max(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_one_after_the_other_leave_time_for_the_response() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        for (now, wait) in
            [(0, Some(500)), (500, Some(250)), (750, Some(125)), (875, Some(100)), (1000, None), (2000, None)]
        {
            assert_eq!(share(at(1000), at(now)), wait.map(Duration::from_millis), "{now}");
        }
    }
}
