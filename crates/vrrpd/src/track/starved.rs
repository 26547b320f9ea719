//! Whether a process that says nothing waits for a processor: asked of the kernel, which knows a hang from a busy machine.

use std::fs;
use std::time::{Duration, Instant};

/// How long a thread that could run is watched to see whether it does.
const GLANCE: Duration = Duration::from_millis(3);

/// A thread as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    id: u32,
    /// It runs, or waits for a processor.
    is_runnable: bool,
    /// For how long it has run so far, in nanoseconds.
    ran: u64,
}

/// Whether a thread of that process, whose name begins so, could run and lacks a processor. Where the kernel does not say, none.
pub(super) async fn waits_for_processor(pid: i32, name: &str) -> bool {
    let (start, before) = (Instant::now(), threads(pid, name));
    if !before.iter().any(|thread| thread.is_runnable) {
        return false;
    }
    tokio::time::sleep(GLANCE).await;
    is_starved(&before, &threads(pid, name), start.elapsed())
}

/// One that spins runs all the time; one that waits for something else is not runnable.
fn is_starved(before: &[Thread], after: &[Thread], elapsed: Duration) -> bool {
    let ran = |thread: &Thread| {
        let after = after.iter().find(|after| after.id == thread.id)?;
        Some(Duration::from_nanos(after.ran.saturating_sub(thread.ran)))
    };
    let waited = |ran: Duration| ran < elapsed * 3 / 4;
    before.iter().any(|thread| thread.is_runnable && ran(thread).is_some_and(waited))
}

fn threads(pid: i32, name: &str) -> Vec<Thread> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let thread = |task: fs::DirEntry| {
        let text = |file| fs::read_to_string(task.path().join(file)).ok();
        text("comm")?.starts_with(name).then_some(())?;
        Some(Thread {
            id: task.file_name().to_str()?.parse().ok()?,
            is_runnable: is_runnable(&text("stat")?)?,
            ran: text("schedstat")?.split(' ').next()?.parse().ok()?,
        })
    };
    tasks.filter_map(|task| thread(task.ok()?)).collect()
}

/// From proc_pid_stat(5): the state follows the name in parentheses, which may have some of its own.
fn is_runnable(stat: &str) -> Option<bool> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.trim_start().starts_with('R'))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn who_could_run_and_does_not_is_starved() {
        let thread = |is_runnable, ran| Thread { id: 7, is_runnable, ran };
        let elapsed = Duration::from_nanos(1000);
        for (before, after, starved) in [
            (thread(true, 5), thread(true, 5), true),
            // It has got one at last.
            (thread(true, 5), thread(false, 700), true),
            // It spins.
            (thread(true, 5), thread(true, 1000), false),
            (thread(false, 5), thread(false, 5), false),
            (thread(false, 5), thread(true, 5), false),
        ] {
            assert_eq!(is_starved(&[before], &[after], elapsed), starved, "{before:?} {after:?}");
        }
        assert!(!is_starved(&[thread(true, 5)], &[], elapsed), "it has ended");
    }

    #[test]
    fn states_are_read_whatever_a_program_is_called() {
        for (stat, expected) in [
            ("1 (lbd) S 0 1", Some(false)),
            ("1 (a) R (b) R 0 1", Some(true)),
            ("1 (a) R) T 0 1", Some(false)),
            ("1 (lbd", None),
        ] {
            assert_eq!(is_runnable(stat), expected, "{stat}");
        }
    }

    #[test]
    fn the_kernel_tells_of_the_threads_of_this_process() {
        let ends = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let spinner = std::thread::Builder::new().name("spinner-1".to_owned());
            spinner
                .spawn_scoped(scope, || {
                    while !ends.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
                .unwrap();
            let pid = i32::try_from(std::process::id()).unwrap();
            let found = (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                matches!(threads(pid, "spinner-").as_slice(), [Thread { is_runnable: true, .. }])
            });
            ends.store(true, Ordering::Relaxed);
            assert!(found);
            assert_eq!(threads(pid, "nobody"), []);
        });
        assert_eq!(threads(i32::MAX, ""), []);
    }
}
