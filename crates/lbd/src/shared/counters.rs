//! What workers count: one writer each, summed by whoever reads.
//!
//! A counter is written by one worker thread alone, so adding is a plain load and store, and each worker's counters lie
//! on cache lines of their own: counting costs the request path neither a lock nor a shared line.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A number that only its own thread adds to.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Sets the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down, and the most it has been.
#[derive(Debug, Default)]
pub struct Gauge {
    now: Counter,
    max: Counter,
}

impl Gauge {
    /// One more.
    pub fn up(&self) {
        let now = self.now.get() + 1;
        self.now.set(now);
        if now > self.max.get() {
            self.max.set(now);
        }
    }

    /// One less.
    pub fn down(&self) {
        self.now.set(self.now.get().saturating_sub(1));
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.now.get()
    }

    /// The largest value so far.
    pub fn max(&self) -> u64 {
        self.max.get()
    }
}

/// A sliding average over about the last 1,024 values, as HAProxy keeps its times.
#[derive(Debug, Default)]
pub struct Average(Counter);

impl Average {
    const WINDOW: u64 = 1024;

    /// Takes another value into the average.
    pub fn record(&self, value: u64) {
        let sum = self.0.get();
        self.0.set(sum - sum.div_ceil(Self::WINDOW) + value);
    }

    /// The average so far; it starts from zero, as HAProxy's does.
    pub fn get(&self) -> u64 {
        self.0.get().div_ceil(Self::WINDOW)
    }
}

/// The upper bounds of latency buckets.
const LATENCY_BOUNDS: [Duration; 14] = [
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
];

/// One more is for what is beyond every bound.
const BUCKETS: usize = LATENCY_BOUNDS.len() + 1;

/// How long responses took, by bucket.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
}

impl Latency {
    /// Takes one response into account.
    pub fn record(&self, time: Duration) {
        let bucket = LATENCY_BOUNDS.iter().position(|bound| time <= *bound).unwrap_or(LATENCY_BOUNDS.len());
        self.buckets[bucket].inc();
        self.sum_us.add(micros(time));
    }

    /// All workers' responses together.
    pub fn sum<'a>(workers: impl Iterator<Item = &'a Self> + Clone) -> wire::Histogram {
        let counts =
            std::array::from_fn::<_, BUCKETS, _>(|at| workers.clone().map(|one| one.buckets[at].get()).sum());
        let mut count = 0;
        let bucket = |(bound, in_bucket): (&Duration, u64)| {
            count += in_bucket;
            (micros(*bound), count)
        };
        wire::Histogram {
            buckets: LATENCY_BOUNDS.iter().zip(counts).map(bucket).collect(),
            sum_us: workers.map(|one| one.sum_us.get()).sum(),
            count: counts.iter().sum(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Responses by class: 1xx to 5xx, and other.
#[derive(Debug, Default)]
pub struct Responses([Counter; 6]);

impl Responses {
    /// Counts a response.
    pub fn record(&self, status: u16) {
        let class = match status {
            100..=599 => usize::from(status / 100 - 1),
            _ => 5,
        };
        self.0[class].inc();
    }

    /// Adds the counts to `total`.
    pub fn add_to(&self, total: &mut [u64; 6]) {
        for (sum, counter) in total.iter_mut().zip(&self.0) {
            *sum += counter.get();
        }
    }
}

/// A frontend, as one worker sees it.
#[derive(Debug, Default)]
pub struct FrontendCounters {
    /// Client connections.
    pub connections: Gauge,
    /// Client connections accepted.
    pub accepted: Counter,
    /// Requests whose head arrived, refused ones included.
    pub requests: Counter,
    /// Requests refused as malformed, too large or too slow.
    pub refused: Counter,
    /// Bytes from clients.
    pub bytes_in: Counter,
    /// Bytes to clients.
    pub bytes_out: Counter,
    /// Responses, lbd's own included.
    pub responses: Responses,
    /// TLS handshakes.
    pub tls: HandshakeCounters,
    /// What is done in HTTP/2.
    pub http2: Http2Counters,
}

/// Connections that speak HTTP/2, as one worker sees them.
#[derive(Debug, Default)]
pub struct Http2Counters {
    /// Connections that began with its preface.
    pub connections: Counter,
    /// Streams, malformed requests among them.
    pub streams: Counter,
    /// Streams that were reset because their request was malformed.
    pub malformed: Counter,
    /// Streams that clients reset before their end.
    pub reset_by_client: Counter,
    /// Streams that were reset because their response broke off.
    pub broken: Counter,
}

/// TLS handshakes that have ended, as one worker sees them.
#[derive(Debug, Default)]
pub struct HandshakeCounters {
    /// With everything that belongs to it.
    pub full: Counter,
    /// Of a session that went on.
    pub resumed: Counter,
    /// Those of either that agreed on TLS 1.2; all others did on TLS 1.3.
    pub tls12: Counter,
    /// Without success, whatever the cause.
    pub failed: Counter,
}

/// How often each route of a frontend was taken, as one worker sees it. The last one stands for what no route fitted.
#[derive(Debug, Default)]
pub struct RouteCounters(Box<[Counter]>);

impl RouteCounters {
    /// Counters of that many routes.
    pub fn new(routes: usize) -> Self {
        Self((0..=routes).map(|_| Counter::default()).collect())
    }

    /// Counts a request that took a route, or none.
    pub fn count(&self, route: Option<usize>) {
        let place = route.unwrap_or(self.0.len().saturating_sub(1));
        if let Some(counter) = self.0.get(place) {
            counter.inc();
        }
    }

    /// How often a route was taken, or none.
    pub fn taken(&self, route: Option<usize>) -> u64 {
        let place = route.unwrap_or(self.0.len().saturating_sub(1));
        self.0.get(place).map_or(0, Counter::get)
    }
}

/// A backend or one of its servers, as one worker sees it.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    /// Requests in flight.
    pub in_flight: Gauge,
    /// Requests that reached it.
    pub requests: Counter,
    /// Times chosen by balancing, retries included.
    pub chosen: Counter,
    /// Bytes from clients.
    pub bytes_in: Counter,
    /// Bytes to clients.
    pub bytes_out: Counter,
    /// Connections that failed.
    pub connect_errors: Counter,
    /// Responses that were malformed, late or broken off.
    pub response_errors: Counter,
    /// Attempts repeated.
    pub retries: Counter,
    /// Attempts not repeated because the budget of retries was used up; kept for backends.
    pub retries_refused: Counter,
    /// Responses that the server itself gave a 5xx status; kept for servers.
    pub server_errors: Counter,
    /// Requests that went to another server than the first chosen.
    pub redispatches: Counter,
    /// Transfers that the client broke off.
    pub client_aborts: Counter,
    /// Transfers that the server broke off.
    pub server_aborts: Counter,
    /// Responses by class.
    pub responses: Responses,
    /// Milliseconds from lbd's start to the last request, plus one; zero before the first.
    pub last_request: Counter,
    /// Idle pooled connections.
    pub idle: Counter,
    /// Time waited for a place at a server, in ms.
    pub queue_time: Average,
    /// Time to connect, in ms.
    pub connect_time: Average,
    /// Time from being connected to the response's head, in ms.
    pub response_time: Average,
    /// Whole time of a request, in ms.
    pub total_time: Average,
    /// From the request's head to the response's head; kept for backends.
    pub latency: Latency,
    /// What sticky cookies said; kept for backends.
    pub sticky: StickyCounters,
    /// TLS handshakes; kept for servers.
    pub tls: HandshakeCounters,
}

/// Requests by what their sticky cookie said, and the cookies that were set, as one worker sees them.
#[derive(Debug, Default)]
pub struct StickyCounters {
    /// It led to the server that took the request.
    pub followed: Counter,
    /// Its server could take no request.
    pub dead: Counter,
    /// Its session was idle or had lasted for too long.
    pub expired: Counter,
    /// It was none that is known.
    pub unknown: Counter,
    /// There was none.
    pub absent: Counter,
    /// Responses that set a new one.
    pub new: Counter,
    /// Responses that renewed one.
    pub renewed: Counter,
}

/// A worker in general.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Access log lines dropped because the reader was too slow.
    pub log_dropped: Counter,
    /// Client connections.
    pub connections: Counter,
    /// Client connections that a handover waits for: all but tunnels, and those that have been sent their last response.
    pub awaited: Gauge,
    /// Refused requests by reason. Locked only when a request is refused and when the sums are read.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl WorkerCounters {
    /// Counts a refused request.
    pub fn refuse(&self, reason: &'static str) {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    /// Adds the refusals to `total`.
    pub fn add_refusals(&self, total: &mut BTreeMap<&'static str, u64>) {
        for (reason, count) in self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *total.entry(reason).or_default() += count;
        }
    }
}

/// One `T` for each worker, each on cache lines of its own.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[Padded<T>]>);

/// Two lines of 64 bytes: processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> PerWorker<T> {
    /// One for each of `workers`.
    pub fn new(workers: usize) -> Self {
        Self::with(workers, T::default)
    }
}

impl<T> PerWorker<T> {
    /// One for each of `workers`, made in the same way.
    pub fn with(workers: usize, new: impl Fn() -> T) -> Self {
        Self((0..workers).map(|_| Padded(new())).collect())
    }

    /// The one of a worker.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker].0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().map(|padded| &padded.0)
    }

    /// The sum of one counter over all workers.
    pub fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_remember_their_peak() {
        let gauge = Gauge::default();
        gauge.up();
        gauge.up();
        gauge.down();
        assert_eq!((gauge.get(), gauge.max()), (1, 2));
    }

    #[test]
    fn averages_approach_a_constant() {
        let average = Average::default();
        for _ in 0..20_000 {
            average.record(40);
        }
        assert_eq!(average.get(), 40);
        for _ in 0..20_000 {
            average.record(0);
        }
        assert_eq!(average.get(), 0);
    }

    #[test]
    fn responses_and_latencies_fall_into_their_buckets() {
        let responses = Responses::default();
        for status in [101, 200, 204, 404, 503, 999] {
            responses.record(status);
        }
        let mut total = [0; 6];
        responses.add_to(&mut total);
        assert_eq!(total, [1, 2, 0, 1, 1, 1]);

        let workers = [Latency::default(), Latency::default()];
        workers[0].record(Duration::from_millis(1));
        workers[1].record(Duration::from_secs(60));
        let times = Latency::sum(workers.iter());
        assert_eq!((times.sum_us, times.count), (60_001_000, 2));
        assert_eq!(times.buckets[1..3], [(500, 0), (1_000, 1)]);
        assert_eq!(times.buckets[13], (10_000_000, 1), "the longest is beyond every bound");
    }
}
