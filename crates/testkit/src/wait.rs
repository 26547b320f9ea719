//! Bounded waits for conditions.

use std::time::{Duration, Instant};

/// How long a wait may take before the test fails. Generous: a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within [`PATIENCE`], naming `what`.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `attempt` gives something, and returns it.
///
/// # Panics
/// When it does not within [`PATIENCE`], naming `what`.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
