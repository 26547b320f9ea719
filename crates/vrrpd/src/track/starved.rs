//! Whether a process that says nothing waits for a processor: asked of the kernel, which knows a hang from a busy machine.

use std::fs;
use std::time::Duration;

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

/// Whether a thread of that process could run, and gets no processor. Where the kernel does not say, none.
pub(super) async fn waits_for_processor(pid: i32) -> bool {
    let before = threads(pid);
    if !before.iter().any(|thread| thread.is_runnable) {
        return false;
    }
    tokio::time::sleep(GLANCE).await;
    is_starved(&before, &threads(pid))
}

/// One that spins runs; one that waits for something else is not runnable.
fn is_starved(before: &[Thread], after: &[Thread]) -> bool {
    before.iter().any(|thread| thread.is_runnable && after.contains(thread))
}

fn threads(pid: i32) -> Vec<Thread> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let thread = |task: fs::DirEntry| {
        let text = |name| fs::read_to_string(task.path().join(name)).ok();
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
        for (before, after, starved) in [
            (thread(true, 5), thread(true, 5), true),
            (thread(true, 5), thread(true, 6), false),
            (thread(true, 5), thread(false, 5), false),
            (thread(false, 5), thread(false, 5), false),
            (thread(false, 5), thread(true, 5), false),
        ] {
            assert_eq!(is_starved(&[before], &[after]), starved, "{before:?} {after:?}");
        }
        assert!(!is_starved(&[thread(true, 5)], &[]), "it has ended");
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
            scope.spawn(|| while !ends.load(Ordering::Relaxed) {});
            let pid = i32::try_from(std::process::id()).unwrap();
            let spins = |threads: &[Thread]| threads.iter().filter(|thread| thread.is_runnable).count() >= 2;
            let found = (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                spins(&threads(pid))
            });
            ends.store(true, Ordering::Relaxed);
            assert!(found, "this thread and the one that spins");
        });
        assert_eq!(threads(i32::MAX), []);
    }
}
