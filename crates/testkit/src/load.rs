//! A small load generator: enough to keep a system busy while something is done to it.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Client, Response};
use crate::wait::wait_until;

/// No load outlives this, whatever becomes of its test.
const LONGEST: Duration = Duration::from_secs(180);

/// Failures whose text is kept; all are counted.
const FAILURES_KEPT: usize = 20;

/// What to send, and how hard.
#[derive(Clone, Debug)]
pub struct Load {
    /// Clients at work at the same time, one thread each.
    pub clients: usize,
    /// Whether a client keeps its connection for its next request.
    pub keep_alive: bool,
    /// What a client does between two requests: nothing, for this long.
    pub pause: Duration,
    /// The path of every request.
    pub path: String,
    /// Whether a request is sent again, once, on a new connection when the kept one ends without an answer, as RFC 9112 section
    /// 9.3.1 lets every client do. Without, only a connection that had ended before is left for a new one.
    pub repeats: bool,
    /// Stop by itself after this many requests in all.
    pub limit: Option<u64>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            clients: 4,
            keep_alive: true,
            pause: Duration::from_millis(2),
            path: "/".to_owned(),
            repeats: true,
            limit: None,
        }
    }
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Complete responses with status 200.
    pub successes: u64,
    /// Everything else.
    pub failures: u64,
    /// The first failures: `503 Service Unavailable`, or what was wrong with the connection.
    pub failure_texts: Vec<String>,
    /// Successes by the instance that answered.
    pub by_instance: BTreeMap<usize, u64>,
}

impl Report {
    /// Checks that every request succeeded, and that there were some.
    ///
    /// # Panics
    /// Otherwise, with the first failures.
    pub fn assert_nothing_lost(&self) {
        assert!(self.failures == 0, "{} of {} lost: {:#?}", self.failures, self.total(), self.failure_texts);
        assert!(self.successes > 0, "no request was sent");
    }

    /// An instance's part of the successes, 0 to 1.
    pub fn share(&self, instance: usize) -> f64 {
        let count = self.by_instance.get(&instance).copied().unwrap_or_default();
        approximate(count) / approximate(self.successes.max(1))
    }

    /// Requests in all.
    pub fn total(&self) -> u64 {
        self.successes + self.failures
    }

    fn add(&mut self, outcome: io::Result<Response>) {
        match outcome {
            Ok(response) if response.status == 200 => {
                self.successes += 1;
                if let Some(instance) = response.instance() {
                    *self.by_instance.entry(instance).or_default() += 1;
                }
            }
            Ok(response) => self.fail(format!("{} {}", response.status, response.text().trim())),
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn fail(&mut self, text: String) {
        self.failures += 1;
        if self.failure_texts.len() < FAILURES_KEPT {
            self.failure_texts.push(text);
        }
    }

    fn merge(&mut self, other: Self) {
        self.successes += other.successes;
        self.failures += other.failures;
        self.failure_texts.extend(other.failure_texts);
        self.failure_texts.truncate(FAILURES_KEPT);
        for (instance, count) in other.by_instance {
            *self.by_instance.entry(instance).or_default() += count;
        }
    }
}

/// Exact for every count that a test reaches.
fn approximate(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Load under way.
#[derive(Debug)]
pub struct RunningLoad {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Report>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    started: AtomicU64,
    ended: AtomicU64,
}

impl Load {
    /// Sends this many requests, and reports.
    pub fn run(mut self, address: SocketAddr, requests: u64) -> Report {
        self.limit = Some(requests);
        self.start(address).join()
    }

    /// Starts to send.
    pub fn start(self, address: SocketAddr) -> RunningLoad {
        let shared = Arc::new(Shared::default());
        let clients = (0..self.clients)
            .map(|_| {
                let (load, shared) = (self.clone(), Arc::clone(&shared));
                std::thread::spawn(move || load.client(address, &shared))
            })
            .collect();
        RunningLoad { shared, clients }
    }

    fn client(&self, address: SocketAddr, shared: &Shared) -> Report {
        let deadline = Instant::now() + LONGEST;
        let mut report = Report::default();
        let mut connection = None;
        while !shared.stop.load(SeqCst) && Instant::now() < deadline {
            if self.limit.is_some_and(|limit| shared.started.fetch_add(1, SeqCst) >= limit) {
                break;
            }
            report.add(self.request(address, &mut connection));
            shared.ended.fetch_add(1, SeqCst);
            std::thread::sleep(self.pause);
        }
        report
    }

    /// One request.
    fn request(&self, address: SocketAddr, connection: &mut Option<Client>) -> io::Result<Response> {
        if let Some(mut client) = connection.take()
            && (self.repeats || !client.has_ended())
        {
            match client.try_get(&self.path) {
                Ok(response) => {
                    self.keep(connection, client, &response);
                    return Ok(response);
                }
                Err(error)
                    if self.repeats
                        && matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
                Err(error) => return Err(error),
            }
        }
        let mut client = Client::try_connect(address, None)?;
        let response = client.try_get(&self.path)?;
        self.keep(connection, client, &response);
        Ok(response)
    }

    fn keep(&self, connection: &mut Option<Client>, client: Client, response: &Response) {
        if self.keep_alive && !response.closes() {
            *connection = Some(client);
        }
    }
}

impl RunningLoad {
    /// Waits until this many more requests have ended, well or badly.
    ///
    /// # Panics
    /// When they do not.
    pub fn wait_for_requests(&self, count: u64) {
        let goal = self.shared.ended.load(SeqCst) + count;
        wait_until(&format!("{count} more requests end"), || self.shared.ended.load(SeqCst) >= goal);
    }

    /// Ends the load, and reports.
    pub fn stop(self) -> Report {
        self.shared.stop.store(true, SeqCst);
        self.join()
    }

    fn join(mut self) -> Report {
        let mut report = Report::default();
        for client in self.clients.drain(..) {
            report.merge(client.join().expect("a load client does not panic"));
        }
        report
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
    }
}
