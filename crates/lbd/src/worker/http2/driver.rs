//! A client's connection: accepts its streams, has each of them served, and ends it so that no request is lost.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::server::{self, Builder};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::time::Instant;

use super::budget::{Budget, Piece, Respond};
use super::outgoing::Ended;
use super::stream::{Carrier, Ground, Stream};
use crate::shared::counters::Http2Counters;
use crate::worker::Worker;
use crate::worker::deadline::Cut;
use crate::worker::frontend::{Frontend, Rules};
use crate::worker::http::connection::{After, Connection};
use crate::worker::http::linger::{LINGER, linger};
use crate::worker::leaving::Leaving;
use crate::worker::net::buffer::Buffer;
use crate::worker::net::io::Io;
use crate::worker::net::listener::Arrival;
use crate::worker::net::transport::Transport;
use crate::worker::presence::{Listed, Presence};

/// Streams at once: what browsers and proxies are used to (RFC 9113 section 6.5.2 asks for no less).
const STREAMS: u32 = 100;
/// What a stream may send before it is read: as much as of a request of HTTP/1.1 lies in the kernel.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same of all streams of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What h2 holds of a response: it is sent while more of it is read.
const SEND_BUFFER: usize = 64 * 1024;
/// What a field counts beside its name and its value, in the size of a list of fields (RFC 9113 section 6.5.2).
const FIELD: usize = 32;
/// How many streams a client may reset before their end, where it resets most of them: each costs a server a request.
const RESETS: u64 = 500;
/// Long after a connection has ended.
const EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A request, or why there are no more.
type Accepted = Result<(Request<RecvStream>, Respond), h2::Error>;

/// A connection's driver.
struct Driver {
    frontend: Rc<Frontend>,
    presence: Rc<Presence>,
    crowd: Rc<Crowd>,
    ground: Ground,
    /// The port that the client has connected to.
    port: u16,
    /// Since when there is no stream, if there is none.
    idle: Option<Instant>,
    /// It was said that no more streams are taken.
    leaves: bool,
    /// It was sent away, whatever is under way.
    expelled: bool,
}

/// The streams of a connection.
struct Crowd {
    presence: Rc<Presence>,
    frontend: Rc<Frontend>,
    now: Cell<usize>,
    all: Cell<u64>,
    reset: Cell<u64>,
}

impl Crowd {
    fn counters(&self) -> &Http2Counters {
        &self.frontend.counters().http2
    }

    fn enter(&self) {
        self.now.set(self.now.get() + 1);
    }

    /// Whether most of what a client asks for it does not want to have.
    fn is_abusive(&self) -> bool {
        let reset = self.reset.get();
        reset >= RESETS && reset > self.all.get() / 2
    }
}

impl Carrier for Crowd {
    fn ended(&self, how: Ended) {
        self.now.set(self.now.get().saturating_sub(1));
        match how {
            Ended::Whole => {}
            Ended::Refused => {
                self.reset.set(self.reset.get() + 1);
                self.counters().reset_by_client.inc();
            }
            Ended::Broken => self.counters().broken.inc(),
        }
        self.presence.wake();
    }
}

/// Serves a client whose connection begins with the preface of HTTP/2, or with what may become one.
///
/// `port` is the one that it has connected to, and `input` what was received.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    frontend: Rc<Frontend>,
    presence: Rc<Presence>,
    client: Io,
    port: u16,
    input: Option<Buffer>,
) {
    frontend.counters().http2.connections.inc();
    let (local, has_tls) = (client.local().ok(), client.is_tls());
    let client = Rc::new(RefCell::new(client));
    let transport = Transport::new(client.clone(), input, worker.clone());
    let rules = frontend.rules();
    presence.deadline().set(rules.timeouts.request_head);
    let handshake = builder(&rules).handshake::<_, Piece>(transport);
    if let Ok(Ok(connection)) = presence.deadline().guard(handshake).await {
        let crowd = Rc::new(Crowd {
            presence: presence.clone(),
            frontend: frontend.clone(),
            now: Cell::default(),
            all: Cell::default(),
            reset: Cell::default(),
        });
        let ground = Ground {
            worker: worker.clone(),
            carrier: crowd.clone(),
            budget: Rc::new(Budget::new()),
            local,
            has_tls,
        };
        let presence = presence.clone();
        let idle = Some(Instant::now());
        Driver { frontend, presence, crowd, ground, port, idle, leaves: false, expelled: false }
            .drive(connection)
            .await;
    }
    if let Some(client) = Rc::into_inner(client) {
        linger(&mut client.into_inner(), &worker, &presence, After::Farewell).await;
    }
}

fn builder(rules: &Rules) -> Builder {
    let most = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        // What is too long is answered, and logged, as everywhere; what is far too long h2 refuses.
        .max_header_list_size(most(rules.limits.head + FIELD * rules.limits.fields));
    builder
}

impl Driver {
    /// Until there is nothing left to do for this connection.
    async fn drive(&mut self, mut connection: server::Connection<Transport, Piece>) {
        let presence = self.presence.clone();
        loop {
            let accepted = presence.deadline().guard(poll_fn(|cx| self.poll(cx, &mut connection))).await;
            match accepted {
                Ok(Some(Ok((request, respond)))) => self.begin(request, respond),
                Ok(Some(Err(_)) | None) => break,
                Err(_) if presence.deadline().is_cut() => {
                    self.ground.worker.cut_streams(&presence, Cut::Operator);
                    break;
                }
                Err(_) if self.leaves => break,
                Err(_) => self.leave(&mut connection),
            }
        }
        drop(connection);
        // Those that are left find that out at once.
        let left = poll_fn(|cx| {
            presence.wake_with(cx.waker());
            if self.crowd.now.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = tokio::time::timeout(LINGER, left).await;
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut server::Connection<Transport, Piece>,
    ) -> Poll<Option<Accepted>> {
        if !self.leaves && self.is_unwanted() {
            self.leave(connection);
        }
        if !self.expelled && self.crowd.is_abusive() {
            self.expelled = true;
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
        let accepted = connection.poll_accept(cx);
        if accepted.is_pending() {
            self.rest();
            self.presence.wake_with(cx.waker());
        }
        accepted
    }

    /// Whether requests are to go elsewhere from now on.
    fn is_unwanted(&self) -> bool {
        self.ground.worker.leaving() != Leaving::No || !self.frontend.takes_requests()
    }

    // RFC 9113 section 6.8: "A server that is attempting to gracefully shut down a connection SHOULD send an initial GOAWAY frame with the last stream identifier set to 2^31-1 and a NO_ERROR code."
    /// Has the client go elsewhere with its next request. What it has sent before it knows is served.
    fn leave(&mut self, connection: &mut server::Connection<Transport, Piece>) {
        self.leaves = true;
        self.idle = None;
        connection.graceful_shutdown();
    }

    /// Moves the deadline while there is nothing to accept: requests have their own.
    fn rest(&mut self) {
        let deadline = self.presence.deadline();
        if self.crowd.now.get() > 0 {
            self.idle = None;
            deadline.set(EVER);
        } else if self.idle.is_none() {
            self.idle = Some(Instant::now());
            deadline.set(if self.leaves { LINGER } else { self.frontend.rules().timeouts.keep_alive });
        }
    }

    /// Has a request served.
    fn begin(&mut self, request: Request<RecvStream>, respond: Respond) {
        let Self { frontend, presence, crowd, ground, port, .. } = self;
        let counters = crowd.counters();
        counters.streams.inc();
        crowd.all.set(crowd.all.get() + 1);
        let Some(stream) = Stream::new(ground, request, respond) else {
            counters.malformed.inc();
            return;
        };
        crowd.enter();
        let listed = Listed::new(&ground.worker, presence);
        let client = Io::Stream(Box::new(stream));
        let peer = presence.client();
        let port = *port;
        let arrival = Arrival { client, peer, port, input: None, server_name: None, owes_request: true };
        let connection = Connection::new(ground.worker.clone(), frontend.clone(), listed.presence(), arrival);
        tokio::task::spawn_local(async move {
            connection.serve_one().await;
            drop(listed);
        });
    }
}
