//! Gathering events under load, as network cards do: a worker that would be woken again at once naps for a moment first, and
//! then serves all that has arrived in one turn. Each wake-up costs both the worker and whoever causes it.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

use crate::counters::{PerWorker, WorkerCounters};

/// How long a worker naps, and so the latency that it can add.
const NAP: Duration = Duration::from_micros(50);
/// Events are dense when the worker's last wait was shorter than this.
const DENSE: Duration = Duration::from_micros(10);
/// How much later than asked the kernel may end a nap, in nanoseconds. Its own default would double the nap.
const SLACK: NonZeroU64 = NonZeroU64::MIN.saturating_add(999);
/// Requests under way without which a worker never naps: few clients wait for each other's naps more than they gain.
const CROWD: usize = 8;

thread_local! {
    /// When the worker began to wait.
    static WAITS_SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    static DENSELY: Cell<bool> = const { Cell::new(false) };
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
}

/// A request of this thread's worker that is under way, until it is dropped. A tunnel is none.
#[derive(Debug)]
pub(super) struct UnderWay(());

impl UnderWay {
    pub(super) fn begin() -> Self {
        UNDER_WAY.set(UNDER_WAY.get() + 1);
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get().saturating_sub(1));
    }
}

/// Has worker `id`, which is this thread and whose runtime is being built, gather events.
pub(super) fn coalesce(builder: &mut Builder, counters: Arc<PerWorker<WorkerCounters>>, id: usize) {
    // Where that is refused, naps are longer, and do no harm.
    let _ = rustix::thread::set_current_timer_slack(Some(SLACK));
    builder.on_thread_park(move || {
        if DENSELY.get() && UNDER_WAY.get() >= CROWD {
            counters.of(id).naps.inc();
            thread::sleep(NAP);
        }
        WAITS_SINCE.set(Some(Instant::now()));
    });
    builder.on_thread_unpark(|| DENSELY.set(WAITS_SINCE.get().is_some_and(|since| since.elapsed() < DENSE)));
}
