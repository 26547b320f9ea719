//! Whose turn it is in each direction of an exchange, and since when: so that each has its own deadline, and who lets one
//! pass is blamed.
//!
//! | direction | state | whose turn |
//! |---|---|---|
//! | request | it is being sent | the server's, to read |
//! | | more of its body is to come | the client's, to send |
//! | | the client waits to be told to send it (`100-continue`) | nobody's here |
//! | | it has been sent, or the server no longer reads it | nobody's |
//! | response | no head yet, and the request is still on its way | nobody's here |
//! | | no head yet, and the server has the request, or is to ask for its body | the server's, to send |
//! | | an interim response, or a part of the final one, is being sent | the client's, to read |
//! | | more of its body is to come | the server's, to send |

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// One end of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// What one direction waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The client is to send more of the request's body.
    ClientSends,
    /// The server is to read more of the request.
    ServerReads,
    /// The server is to send more of the response.
    ServerSends,
    /// The client is to read more of the response.
    ClientReads,
}

impl Turn {
    fn side(self) -> Side {
        match self {
            Self::ClientSends | Self::ClientReads => Side::Client,
            Self::ServerReads | Self::ServerSends => Side::Server,
        }
    }
}

/// How far the request has come on its way to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Not all of it has come from the client yet.
    #[default]
    Partly,
    /// The client waits for the server to ask for the body.
    Withheld,
    /// All of it.
    Wholly,
    /// As much as the server would read.
    Broken,
}

/// How far the response has come on its way to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The server has sent nothing: it may never have seen the request.
    #[default]
    Silent,
    /// The server has sent something, and the client may have whole interim responses.
    Heard,
    /// An interim response is being sent. Nothing else may follow a part of it.
    Interim,
    /// The final response's head is here, and nothing of it has been sent.
    Answered,
    /// The client may have some of the final response.
    Started {
        /// Only the end of the connection tells where its body ends.
        unframed: bool,
    },
}

impl Progress {
    /// Whether the client can still be given another answer.
    pub(crate) fn allows_answer(self) -> bool {
        matches!(self, Self::Silent | Self::Heard | Self::Answered)
    }

    /// Whether the client may have some of the final response.
    pub(crate) fn has_started(self) -> bool {
        matches!(self, Self::Started { .. })
    }

    fn awaits_head(self) -> bool {
        matches!(self, Self::Silent | Self::Heard)
    }
}

/// Whose turn it is in both directions.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How long each side may take.
    client: Duration,
    server: Duration,
    request: Cell<Option<(Turn, Instant)>>,
    response: Cell<Option<(Turn, Instant)>>,
    sent: Cell<Sent>,
}

impl Turns {
    pub(crate) fn new(client: Duration, server: Duration) -> Self {
        Self { client, server, request: Cell::new(None), response: Cell::new(None), sent: Cell::default() }
    }

    pub(crate) fn sent(&self) -> Sent {
        self.sent.get()
    }

    /// From now on it is this one's turn.
    pub(crate) fn take(&self, turn: Turn, now: Instant) {
        let direction = match turn {
            Turn::ClientSends | Turn::ServerReads => &self.request,
            Turn::ServerSends | Turn::ClientReads => &self.response,
        };
        direction.set(Some((turn, now)));
    }

    /// The request has come so far.
    pub(crate) fn request_is(&self, sent: Sent, progress: Progress, now: Instant) {
        self.sent.set(sent);
        self.request.set((sent == Sent::Partly).then_some((Turn::ClientSends, now)));
        if progress.awaits_head() {
            self.await_head(now);
        }
    }

    /// The response's head is waited for.
    pub(crate) fn await_head(&self, now: Instant) {
        self.response.set((self.sent.get() != Sent::Partly).then_some((Turn::ServerSends, now)));
    }

    /// Nothing more is to come of the response.
    pub(crate) fn response_is_over(&self) {
        self.response.set(None);
    }

    /// When the first turn is over.
    pub(crate) fn due(&self) -> Option<Instant> {
        let [request, response] =
            [&self.request, &self.response].map(|direction| self.end_of(direction.get()));
        match (request, response) {
            (Some(request), Some(response)) => Some(request.min(response)),
            (one, other) => one.or(other),
        }
    }

    /// Who has stalled when that time has come.
    pub(crate) fn stalled(&self) -> Side {
        let (request, response) = (self.request.get(), self.response.get());
        match (request, response) {
            // Who cannot send does not read, and the other way round: the first to stop reading began it.
            (Some((Turn::ServerReads, server)), Some((Turn::ClientReads, client))) => {
                if server < client {
                    Side::Server
                } else {
                    Side::Client
                }
            }
            (Some((turn, _)), None) | (None, Some((turn, _))) => turn.side(),
            (Some((turn, _)), Some(_)) if self.end_of(request) <= self.end_of(response) => turn.side(),
            (_, Some((turn, _))) => turn.side(),
            (None, None) => Side::Server,
        }
    }

    fn end_of(&self, direction: Option<(Turn, Instant)>) -> Option<Instant> {
        direction.map(|(turn, since)| {
            since
                + match turn.side() {
                    Side::Client => self.client,
                    Side::Server => self.server,
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Duration = Duration::from_secs(30);
    const SERVER: Duration = Duration::from_secs(20);

    fn turns() -> (Turns, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (Turns::new(CLIENT, SERVER), move |seconds| start + Duration::from_secs(seconds))
    }

    #[test]
    fn each_direction_has_its_own_deadline() {
        use Turn::*;
        let cases = [
            // The request's turn and since when, the response's, and who is blamed at what time.
            (Some((ClientSends, 0)), None, Side::Client, 30),
            (Some((ServerReads, 0)), None, Side::Server, 20),
            (None, Some((ServerSends, 0)), Side::Server, 20),
            (None, Some((ClientReads, 0)), Side::Client, 30),
            (Some((ClientSends, 0)), Some((ServerSends, 29)), Side::Client, 30),
            (Some((ClientSends, 0)), Some((ServerSends, 5)), Side::Server, 25),
            (Some((ClientSends, 0)), Some((ClientReads, 29)), Side::Client, 30),
            (Some((ServerReads, 19)), Some((ServerSends, 0)), Side::Server, 20),
            // The server's time is shorter, and yet the client began to hold up both.
            (Some((ServerReads, 1)), Some((ClientReads, 0)), Side::Client, 21),
            (Some((ServerReads, 0)), Some((ClientReads, 19)), Side::Server, 20),
        ];
        for (request, response, blamed, due) in cases {
            let (turns, at) = turns();
            for (turn, since) in request.iter().chain(&response) {
                turns.take(*turn, at(*since));
            }
            assert_eq!((turns.stalled(), turns.due()), (blamed, Some(at(due))), "{request:?} {response:?}");
        }
    }

    #[test]
    fn a_head_is_waited_for_when_the_server_has_the_request_or_is_to_ask_for_it() {
        for (sent, side, due) in [
            (Sent::Partly, Side::Client, 35),
            (Sent::Withheld, Side::Server, 25),
            (Sent::Wholly, Side::Server, 25),
            (Sent::Broken, Side::Server, 25),
        ] {
            for progress in [Progress::Silent, Progress::Heard] {
                let (turns, at) = turns();
                turns.take(Turn::ServerReads, at(0));
                turns.request_is(sent, progress, at(5));
                assert_eq!((turns.stalled(), turns.due()), (side, Some(at(due))), "{sent:?}");
            }
        }
    }

    #[test]
    fn the_end_of_a_request_gives_a_response_no_more_time() {
        let (turns, at) = turns();
        turns.take(Turn::ClientSends, at(0));
        turns.take(Turn::ServerSends, at(1));
        turns.request_is(Sent::Wholly, Progress::Started { unframed: false }, at(9));
        assert_eq!((turns.stalled(), turns.due()), (Side::Server, Some(at(21))));
        turns.take(Turn::ClientReads, at(10));
        assert_eq!((turns.stalled(), turns.due()), (Side::Client, Some(at(40))));
        turns.response_is_over();
        assert_eq!(turns.due(), None);
    }

    #[test]
    fn nothing_follows_a_part_of_a_response() {
        let started = [false, true].map(|unframed| Progress::Started { unframed });
        for progress in [Progress::Interim].into_iter().chain(started) {
            assert!(!progress.allows_answer(), "{progress:?}");
        }
        for progress in [Progress::Silent, Progress::Heard, Progress::Answered] {
            assert!(progress.allows_answer(), "{progress:?}");
        }
    }
}
