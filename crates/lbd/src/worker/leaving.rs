//! How clients leave a worker that wants them to go elsewhere with their next request: told in a response, or by the end of an
//! idle connection.

use std::io;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::Worker;
use super::presence::Presence;

/// How long a kept connection that is idle, or a new one, may take for one more request when lbd stops. Its response says that it
/// is the last, which cannot cross a request on its way, as the end of an idle connection can.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// How long a new connection is given where somebody waits for the last of them, beside two round trips: its first request comes on
/// the heels of the handshake, that of TLS, too. What we take ourselves for that one is not counted.
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
    /// How long a connection that is idle, or waits for its `first` request, may still take for one.
    pub(super) fn grace(self, first: Option<First>) -> Duration {
        match (self, first) {
            (Self::Stop, _) => LAST_REQUEST,
            (_, Some(First { silence, round_trip })) => {
                (FIRST_REQUEST + 2 * round_trip).min(LAST_REQUEST).saturating_sub(silence)
            }
            (_, None) => Duration::ZERO,
        }
    }
}

/// A connection before its first request.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    /// How long its client has had the word.
    silence: Duration,
    round_trip: Duration,
}

impl First {
    pub(super) fn of(presence: &Presence, round_trip: impl FnOnce() -> io::Result<Duration>) -> Self {
        // None to be known is none at all.
        Self { silence: presence.silence(), round_trip: round_trip().unwrap_or_default() }
    }
}

/// What a connection that has not begun knows of the worker's patience.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Impatience(Leaving);

impl Impatience {
    /// Looks at it while the connection waits, and has it looked at again when it changes.
    pub(super) fn look(
        &mut self,
        worker: &Worker,
        presence: &Presence,
        round_trip: impl FnOnce() -> io::Result<Duration>,
        cx: &Context<'_>,
    ) {
        let now = worker.leaving();
        if now != self.0 && now != Leaving::No {
            self.0 = now;
            presence.deadline().set(now.grace(Some(First::of(presence, round_trip))));
        }
        presence.wake_with(cx.waker());
    }

    /// Is patient with ourselves, until the client has the word again.
    pub(super) fn pause(&mut self, presence: &Presence, due: Instant) {
        if std::mem::take(self) != Self::default() {
            presence.deadline().set_at(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_far_away_has_longer_for_a_first_request_and_nobody_has_for_ever() {
        let ms = Duration::from_millis;
        let grace = |silence, round_trip| {
            let first = First { silence: ms(silence), round_trip: ms(round_trip) };
            Leaving::End.grace(Some(first)).as_millis()
        };
        assert_eq!([grace(0, 0), grace(50, 0), grace(300, 0)], [200, 150, 0]);
        assert_eq!([grace(0, 150), grace(450, 150), grace(600, 150)], [500, 50, 0]);
        assert_eq!([grace(0, 2_000), grace(1_000, 2_000)], [1_000, 0]);
        assert_eq!(Leaving::End.grace(None), Duration::ZERO, "an idle one has had its request");
    }
}
