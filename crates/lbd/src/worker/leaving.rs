//! How clients leave a worker that wants them to go elsewhere with their next request: told in a response, or by the end of an
//! idle connection.

use std::task::Context;
use std::time::Duration;

use super::Worker;
use super::presence::Presence;

/// How long a kept connection that is idle, or a new one, may take for one more request when lbd stops. Its response says that it
/// is the last, which cannot cross a request on its way, as the end of an idle connection can.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// How long a new connection is given where somebody waits for the last of them: its first request comes on the heels of the
/// handshake.
const FIRST_REQUEST: Duration = Duration::from_millis(200);

/// Whether clients are to go elsewhere with their next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Leaving {
    /// They are welcome.
    #[default]
    No,
    /// The virtual addresses are about to leave this node.
    Handover,
    /// lbd stops, and still serves.
    Stop,
    /// lbd takes nobody any more, and ends as soon as everybody is served.
    End,
}

impl Leaving {
    /// How long a connection that is idle, or in its `first` wait since it came so long ago, may still take for a request.
    pub(super) fn grace(self, first: Option<Duration>) -> Duration {
        match (self, first) {
            (Self::Stop, _) => LAST_REQUEST,
            (_, Some(age)) => FIRST_REQUEST.saturating_sub(age),
            (_, None) => Duration::ZERO,
        }
    }
}

/// What a connection that has not begun knows of the worker's patience.
#[derive(Debug, Default)]
pub(super) struct Impatience(Leaving);

impl Impatience {
    /// Looks at it while the connection waits, and has it looked at again when it changes.
    pub(super) fn look(&mut self, worker: &Worker, presence: &Presence, cx: &Context<'_>) {
        let now = worker.leaving();
        if now != self.0 && now != Leaving::No {
            self.0 = now;
            presence.deadline().set(now.grace(Some(presence.accepted().elapsed())));
        }
        presence.wake_with(cx.waker());
    }
}
