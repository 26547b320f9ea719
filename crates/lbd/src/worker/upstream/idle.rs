//! Connections to servers, and those of them that wait for another request.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::shared::attention::{Approach, Attention, Seen};
use crate::shared::spare::Spare;
use crate::shared::tls::Connector;
use crate::worker::clock::Clock;
use crate::worker::net::acknowledged::HANDSHAKE;
use crate::worker::net::io::Io;
use crate::worker::net::tls::Buffers;

/// Idle connections kept for each server.
const IDLE_MAX: usize = 1024;
/// What was used so shortly ago is not about to be closed for having been idle.
const FRESH: Duration = Duration::from_secs(1);
/// How long a connection lives to a server that may attend to one at a time: others wait for it to end, which need not be ours.
const ALONE: Duration = Duration::from_secs(1);
/// How often such a server's idle connections are looked at: who waits for them is seen twice.
const LOOK: Duration = Duration::from_millis(25);
/// The least time between two looks at all idle connections.
const STEP: Duration = Duration::from_millis(5);

/// A connection to a server, and where it leads.
#[derive(Debug)]
pub(crate) struct ServerConnection {
    pub(crate) stream: Io,
    pub(crate) address: SocketAddr,
    opened: Instant,
    /// Whether it has begun with a client's address, and so is for that client alone.
    pub(crate) is_introduced: bool,
    /// What it was secured with, if it is.
    pub(crate) connector: Option<Arc<Connector>>,
    /// While it waits for its first answer.
    pub(crate) first_answer: FirstAnswer,
    /// What the other host had acknowledged before the request that is under way: all of those before it.
    acknowledged: u64,
    /// The same before there was TLS on it.
    before_tls: u64,
    /// What had been seen of the server when the request that is under way began.
    begun: Seen,
}

impl ServerConnection {
    /// One that has just been made.
    pub(crate) fn new(stream: Io, address: SocketAddr, attention: &Arc<Attention>) -> Self {
        let seen = attention.look();
        Self {
            stream,
            address,
            opened: Instant::now(),
            is_introduced: false,
            connector: None,
            first_answer: FirstAnswer {
                awaited: RefCell::new(Some(attention.approach())),
                seen: Cell::new(None),
            },
            acknowledged: HANDSHAKE,
            before_tls: HANDSHAKE,
            begun: seen,
        }
    }

    /// Whether no byte of the request reached the server before it closed, as far as the kernel can know.
    pub(crate) fn ignored_all(&self) -> bool {
        self.stream.acknowledged().is_ok_and(|now| now == self.acknowledged)
    }

    /// It has begun with a header of so many bytes, which belong to no request.
    pub(crate) fn was_introduced(&mut self, sent: u64) {
        self.is_introduced = true;
        self.acknowledged += sent;
    }

    /// A request of so many bytes was answered, and so had been received.
    pub(crate) fn was_answered(&mut self, sent: u64) {
        match self.stream.tls() {
            // What it came to in records.
            Some(tls) => self.acknowledged = self.before_tls + tls.sent(),
            None => self.acknowledged += sent,
        }
    }

    /// The same with TLS on it, whose handshake is still to come.
    pub(crate) fn secured(self, connector: Arc<Connector>, buffers: Rc<Buffers>) -> io::Result<Self> {
        let stream = self.stream.begin_tls_to(connector.client(), connector.name(), buffers)?;
        Ok(Self { stream, connector: Some(connector), before_tls: self.acknowledged, ..self })
    }

    /// The handshake is complete, which belongs to no request.
    pub(crate) fn was_secured(&mut self) {
        self.was_answered(0);
    }
}

/// What a new connection waits for.
#[derive(Debug)]
pub(crate) struct FirstAnswer {
    awaited: RefCell<Option<Approach>>,
    /// What had been seen of the server when it came, or when a later request was over.
    seen: Cell<Option<Seen>>,
}

impl FirstAnswer {
    /// The server has answered, for the first time or again.
    pub(crate) fn came(&self) {
        if let Some(approach) = self.awaited.take() {
            self.seen.set(Some(approach.answered()));
        }
    }
}

/// Which idle connections will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Any: the request may be repeated if it meets the connection's end.
    Any,
    /// Only one that was at work a moment ago, and lives by the kernel's word: the request cannot be repeated.
    Fresh,
    /// None.
    Never,
}

impl Reuse {
    /// How long a connection may have been idle.
    fn longest(self, keep: Duration) -> Duration {
        match self {
            Self::Any => keep,
            Self::Fresh => keep.min(FRESH),
            Self::Never => Duration::ZERO,
        }
    }

    /// A connection that was closed, or that received bytes nobody asked for, is readable, and of no use.
    fn finds_alive(self, stream: &Io) -> bool {
        match self {
            Self::Any => stream.seems_quiet(),
            Self::Fresh => stream.is_quiet(),
            Self::Never => false,
        }
    }
}

/// The idle connections to one server. The oldest are in front.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<VecDeque<Idle>>,
    next_ticket: Cell<u64>,
    attention: Arc<Attention>,
    reaper: Rc<Reaper>,
}

#[derive(Debug)]
struct Idle {
    connection: ServerConnection,
    /// Its number, by which it can be found: later ones have larger ones.
    ticket: u64,
    since: Instant,
    /// What was seen of the server when it was last looked at.
    seen: Seen,
}

impl Pool {
    pub(crate) fn new(attention: Arc<Attention>, reaper: Rc<Reaper>) -> Self {
        Self { idle: RefCell::default(), next_ticket: Cell::new(0), attention, reaper }
    }

    pub(crate) fn attention(&self) -> &Arc<Attention> {
        &self.attention
    }

    pub(crate) fn len(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Since when the oldest is idle.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.idle.borrow().front().map(|idle| idle.since)
    }

    /// One that still lives, the most recently used first.
    pub(crate) fn take(&self, reuse: Reuse, now: Instant, keep: Duration) -> Option<ServerConnection> {
        let mut idle = self.idle.borrow_mut();
        let will_do = |idle: &Idle| now.duration_since(idle.since) < reuse.longest(keep);
        while idle.back().is_some_and(will_do)
            && let Some(Idle { mut connection, .. }) = idle.pop_back()
        {
            if reuse.finds_alive(&connection.stream) {
                if !self.attention.is_divided() {
                    connection.begun = self.attention.look();
                }
                return Some(connection);
            }
        }
        None
    }

    /// The one of a ticket, if it is still there and will do.
    pub(crate) fn redeem(
        &self,
        ticket: u64,
        reuse: Reuse,
        now: Instant,
        keep: Duration,
    ) -> Option<ServerConnection> {
        let Idle { mut connection, since, .. } = self.remove(ticket)?;
        let will_do =
            now.duration_since(since) < reuse.longest(keep) && reuse.finds_alive(&connection.stream);
        if will_do && !self.attention.is_divided() {
            connection.begun = self.attention.look();
        }
        will_do.then_some(connection)
    }

    /// Closes the one of a ticket, if it is still there.
    pub(crate) fn cancel(&self, ticket: u64) {
        self.remove(ticket);
    }

    fn remove(&self, ticket: u64) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        let at = idle.binary_search_by_key(&ticket, |idle| idle.ticket).ok()?;
        idle.remove(at)
    }

    /// Keeps a connection that has been answered, unless it keeps others waiting. Its ticket, if it is kept.
    pub(crate) fn put(&self, connection: ServerConnection, now: Instant, keep: Duration) -> Option<u64> {
        let mut life = keep;
        let seen = self.attention.look();
        if !self.attention.is_divided() {
            self.observe(&connection, seen);
            let is_old = now.duration_since(connection.opened) >= ALONE;
            if is_old || self.attention.is_withheld(connection.begun) {
                return None;
            }
            life = life.min(LOOK);
        }
        let mut idle = self.idle.borrow_mut();
        let ticket = (idle.len() < IDLE_MAX).then(|| {
            let ticket = self.next_ticket.get();
            self.next_ticket.set(ticket + 1);
            idle.push_back(Idle { connection, ticket, since: now, seen });
            self.reaper.expect(now, now + life);
            ticket
        });
        check_invariants(&idle);
        ticket
    }

    /// Looks whether others were answered while this connection was open, or this one while another was.
    fn observe(&self, connection: &ServerConnection, now: Seen) {
        let lives = |connection: &ServerConnection| Reuse::Fresh.finds_alive(&connection.stream);
        let first = connection.first_answer.seen.replace(Some(now));
        match first.filter(|then| self.attention.has_met_others(*then)) {
            Some(then) if lives(connection) => self.attention.is_still_open(then),
            Some(_) => {}
            None if self.idle.borrow().back().is_some_and(|last| lives(&last.connection)) => {
                self.attention.answered_beside();
            }
            None => {}
        }
    }

    /// Closes the oldest.
    pub(crate) fn drop_oldest(&self) {
        self.idle.borrow_mut().pop_front();
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Closes those that have been idle for so long, or that keep others waiting. When to look again, if any are left.
    pub(crate) fn expire(&self, now: Instant, keep: Duration) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        let expired = idle.iter().take_while(|idle| now.duration_since(idle.since) >= keep).count();
        idle.drain(..expired);
        check_invariants(&idle);
        if self.attention.is_divided() {
            return idle.front().map(|oldest| oldest.since + keep);
        }
        idle.retain_mut(|idle| {
            let then = std::mem::replace(&mut idle.seen, self.attention.look());
            now.duration_since(idle.connection.opened) < ALONE && !self.attention.is_withheld(then)
        });
        idle.front().map(|oldest| (oldest.since + keep).min(now + LOOK))
    }
}

/// The oldest are in front, and there are no more than there may be.
fn check_invariants(idle: &VecDeque<Idle>) {
    debug_assert!(idle.iter().is_sorted_by_key(|idle| idle.since));
    debug_assert!(idle.iter().is_sorted_by_key(|idle| idle.ticket));
    debug_assert!(idle.len() <= IDLE_MAX);
}

/// Knows when the next idle connection of a worker is to be closed, and tells the others that there are any.
#[derive(Debug)]
pub(crate) struct Reaper {
    due: Cell<Option<Instant>>,
    sooner: Notify,
    spare: Arc<Spare>,
    worker: usize,
    clock: Clock,
}

impl Reaper {
    pub(crate) fn new(spare: Arc<Spare>, worker: usize, clock: Clock) -> Self {
        Self { due: Cell::new(None), sooner: Notify::new(), spare, worker, clock }
    }

    /// What is idle now is to be closed then, or earlier.
    fn expect(&self, now: Instant, due: Instant) {
        self.spare.kept(self.worker, || self.clock.millis_at(now));
        if self.due.get().is_none_or(|held| due < held) {
            self.due.set(Some(due));
            self.sooner.notify_one();
        }
    }

    /// Closes what is due by calling `expire`, which says when something is due again. Rests while nothing is.
    pub(crate) async fn run(&self, expire: impl Fn(Instant) -> Option<Instant>) {
        loop {
            match self.due.get() {
                None => self.sooner.notified().await,
                Some(due) => {
                    tokio::select! {
                        () = self.sooner.notified() => {}
                        () = sleep_until(due) => {
                            let now = Instant::now();
                            self.due.set(None);
                            self.due.set(expire(now).map(|due| due.max(now + STEP)));
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn reaper() -> Reaper {
        Reaper::new(Spare::new(1), 0, Clock::new(std::time::Instant::now()))
    }

    /// A pool, and as many connections as are wanted, each to a server that says nothing.
    struct Bench {
        pool: Pool,
        listener: TcpListener,
        peers: Vec<TcpStream>,
    }

    impl Bench {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let pool = Pool::new(Arc::default(), Rc::new(reaper()));
            Self { pool, listener, peers: Vec::new() }
        }

        async fn connect(&mut self) -> ServerConnection {
            let address = self.listener.local_addr().unwrap();
            let stream = Io::Tcp(TcpStream::connect(address).await.unwrap());
            self.peers.push(self.listener.accept().await.unwrap().0);
            ServerConnection::new(stream, address, self.pool.attention())
        }

        async fn keep(&mut self, now: Instant, keep: Duration) {
            let connection = self.connect().await;
            connection.first_answer.came();
            self.pool.put(connection, now, keep);
        }

        /// Has the server be known to attend to several connections.
        fn divide(&self) {
            while !self.pool.attention().is_divided() {
                let then = self.pool.attention().look();
                self.pool.attention().approach().answered();
                self.pool.attention().is_still_open(then);
            }
        }
    }

    const KEEP: Duration = Duration::from_secs(10);

    #[tokio::test(flavor = "current_thread")]
    async fn the_age_counts_when_a_connection_is_used_again() {
        let mut bench = Bench::new().await;
        bench.divide();
        let now = Instant::now();
        bench.keep(now - Duration::from_millis(11), KEEP).await;
        assert!(bench.pool.take(Reuse::Any, now, Duration::from_millis(10)).is_none());
        assert!(bench.pool.take(Reuse::Any, now, KEEP).is_some());
        bench.keep(now - FRESH, KEEP).await;
        assert!(bench.pool.take(Reuse::Never, now, KEEP).is_none());
        assert!(bench.pool.take(Reuse::Fresh, now, KEEP).is_none());
        assert!(bench.pool.take(Reuse::Any, now, KEEP).is_some());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_that_met_the_end_of_its_connection_was_ignored_and_one_that_came_before_was_not() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for came_before in [true, false] {
            let mut bench = Bench::new().await;
            let now = Instant::now();
            let mut connection = bench.connect().await;
            let mut server = bench.peers.pop().unwrap();
            connection.stream.writer().write_all(b"GET").await.unwrap();
            server.read_exact(&mut [0; 3]).await.unwrap();
            server.write_all(b"ok").await.unwrap();
            connection.stream.reader().read_exact(&mut [0; 2]).await.unwrap();
            connection.was_answered(3);
            bench.pool.put(connection, now, KEEP);
            let mut connection = bench.pool.take(Reuse::Fresh, now, KEEP).unwrap();
            if came_before {
                connection.stream.writer().write_all(b"POST").await.unwrap();
                server.read_exact(&mut [0; 4]).await.unwrap();
            }
            drop(server);
            if !came_before {
                connection.stream.writer().write_all(b"POST").await.unwrap();
            }
            assert_eq!(connection.stream.reader().read(&mut [0]).await.unwrap(), 0);
            assert_eq!(connection.ignored_all(), !came_before);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_oldest_go_first() {
        let mut bench = Bench::new().await;
        bench.divide();
        let now = Instant::now();
        for seconds in [9, 8, 2, 1] {
            bench.keep(now - Duration::from_secs(seconds), KEEP).await;
        }
        assert_eq!(bench.pool.oldest(), Some(now - Duration::from_secs(9)));
        bench.pool.drop_oldest();
        assert_eq!(bench.pool.expire(now, Duration::from_secs(5)), Some(now + Duration::from_secs(3)));
        assert_eq!(bench.pool.len(), 2);
        bench.pool.clear();
        assert_eq!(bench.pool.expire(now, KEEP), None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_server_that_may_attend_to_one_at_a_time_is_not_withheld_from_others() {
        let mut bench = Bench::new().await;
        let now = Instant::now();
        bench.keep(now, KEEP).await;
        assert_eq!(bench.pool.expire(now, KEEP), Some(now + LOOK), "nobody waits");
        let other = bench.connect().await;
        bench.pool.expire(now, KEEP);
        assert_eq!(bench.pool.len(), 1, "it may get its answer in a moment");
        assert_eq!(bench.pool.expire(now, KEEP), None, "it has waited all the time");
        drop(other);
        // Those of others are not seen: it ends in time.
        bench.keep(now, KEEP).await;
        bench.pool.expire(now + ALONE * 2, KEEP);
        assert_eq!(bench.pool.len(), 0);
        // It is used again and again while another waits.
        bench.keep(now, KEEP).await;
        let _other = bench.connect().await;
        let connection = bench.pool.take(Reuse::Any, now, KEEP).unwrap();
        bench.pool.put(connection, now, KEEP);
        assert_eq!(bench.pool.len(), 0);
        // Where it is certain that the server attends to several, nothing of this matters.
        bench.divide();
        bench.keep(now, KEEP).await;
        assert_eq!(bench.pool.expire(now + ALONE, KEEP), Some(now + KEEP));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn answers_that_take_long_show_that_a_server_attends_to_several() {
        for closes in [true, false] {
            let mut bench = Bench::new().await;
            let now = Instant::now();
            for _ in 0..20 {
                let (slow, other) = (bench.connect().await, bench.connect().await);
                slow.first_answer.came();
                if closes {
                    // It was done with the first one, which only had not been told yet.
                    bench.peers.clear();
                    slow.stream.readable().await.unwrap();
                }
                other.first_answer.came();
                bench.pool.put(slow, now, KEEP);
                bench.pool.clear();
            }
            assert_eq!(bench.pool.attention().is_divided(), !closes);
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn what_is_due_sooner_is_looked_at_sooner() {
        let start = Instant::now();
        let reaper = reaper();
        let looks = RefCell::new(Vec::new());
        let look = |now: Instant| {
            looks.borrow_mut().push((now - start).as_secs());
            None
        };
        reaper.expect(start, start + Duration::from_secs(10));
        let sooner = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            reaper.expect(start, start + Duration::from_secs(3));
            tokio::time::sleep(Duration::from_secs(19)).await;
            reaper.expect(start, start + Duration::from_secs(25));
            tokio::time::sleep(Duration::from_secs(10)).await;
        };
        tokio::select! {
            () = reaper.run(look) => {}
            () = sooner => {}
        }
        assert_eq!(*looks.borrow(), [3, 25]);
    }
}
