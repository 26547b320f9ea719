//! What lbd holds on to: compared before and after, it shows what leaked.

use std::time::{Duration, Instant};

use crate::client::get;
use crate::stack::Stack;
use crate::stats::Row;
use crate::wait::{PATIENCE, wait_until};

/// Descriptors of pipes that two workers keep: 64 pipes each.
const PIPES_MAX: usize = 2 * 64 * 2;

/// What lbd held at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Open descriptors, but for pipes.
    pub descriptors: usize,
    /// Descriptors of pipes, which lbd keeps once it has them.
    pub pipes: usize,
    /// Resident memory.
    pub memory_kib: u64,
}

impl Stack {
    /// What lbd holds now.
    pub fn footprint(&self) -> Footprint {
        let (pipes, descriptors) = self.lbd.descriptors();
        Footprint { descriptors, pipes, memory_kib: self.lbd.memory_kib() }
    }

    /// What lbd holds when it has come to rest: no descriptor has been opened or closed for a moment.
    ///
    /// # Panics
    /// When it does not.
    pub fn footprint_at_rest(&self) -> Footprint {
        let (mut last, mut still) = ((0, 0), 0);
        wait_until("lbd opens and closes nothing", || {
            let now = self.lbd.descriptors();
            still = if now == last { still + 1 } else { 0 };
            last = now;
            still == 20
        });
        self.footprint()
    }

    /// By how much lbd's memory has grown since then.
    pub fn growth_kib(&self, since: Footprint) -> u64 {
        self.lbd.memory_kib().saturating_sub(since.memory_kib)
    }

    /// Waits until nothing is left of what clients and servers did since then: no connection, no request in flight or
    /// queued, in the statistics and in the metrics, and no descriptor but those of idle connections to servers.
    ///
    /// # Panics
    /// When something stays.
    pub fn wait_until_calm(&self, before: Footprint) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.left_over(before);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "lbd does not come to rest: {left}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What is still there, in words; nothing when nothing is.
    fn left_over(&self, before: Footprint) -> String {
        let mut left: Vec<_> = self.stats().iter().filter_map(busy).collect();
        let metrics = get(self.config.admin, "/metrics").text();
        let idle = sum(&metrics, "tandem_server_idle_connections_current");
        let current = sum(&metrics, "tandem_frontend_current_sessions")
            + sum(&metrics, "tandem_backend_current_sessions")
            + sum(&metrics, "tandem_server_current_sessions");
        if current > 0 {
            left.push(format!("{current} sessions in the metrics"));
        }
        let (pipes, descriptors) = self.lbd.descriptors();
        if pipes > before.pipes + PIPES_MAX {
            left.push(format!("{pipes} descriptors of pipes, before {}", before.pipes));
        }
        if descriptors > before.descriptors + idle {
            left.push(format!(
                "{descriptors} descriptors, of which {idle} idle; before {}",
                before.descriptors
            ));
        }
        left.join("; ")
    }
}

/// What a row of statistics shows to be under way.
fn busy(row: &Row) -> Option<String> {
    let number = |column| row.text(column).parse().unwrap_or(0);
    let (current, queued): (u64, u64) = (number("scur"), number("qcur"));
    let name = || format!("{}/{}", row.text("pxname"), row.text("svname"));
    (current + queued > 0).then(|| format!("{}: {current} current, {queued} queued", name()))
}

/// The sum of all series of a metric.
fn sum(metrics: &str, name: &str) -> usize {
    let of_name = metrics.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    of_name.filter_map(|(_, value)| value.parse::<usize>().ok()).sum()
}
