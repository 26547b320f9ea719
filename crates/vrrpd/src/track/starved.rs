//! Whether a process that says nothing lacks a processor: asked of the kernel, which knows a hang from a busy machine.
//!
//! A thread that could run and does not, waits for one. And a thread that sleeps may be one whose alarm does not ring: where the
//! hypervisor takes a virtual processor away for a while, its timers stand still, and only work that is given to that processor
//! tells so.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

/// How long a thread that could run is watched to see whether it does, and a processor whether it does what it is given.
const GLANCE: Duration = Duration::from_millis(3);
/// The stack of a thread that does next to nothing: all of it is locked into memory, where vrrpd locks its own.
const STACK: usize = 64 * 1024;

/// A thread as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    id: u32,
    state: State,
    /// Where it ran last.
    processor: usize,
    /// For how long it has run so far, in nanoseconds.
    ran: u64,
}

/// What a thread is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It runs, or waits for a processor.
    Runnable,
    /// It waits for something else.
    Asleep,
    /// It was stopped, or has ended: no processor would help.
    Stopped,
}

/// What a process lacks that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// A thread could run, and others do.
    Turn,
    /// The processor where a thread ran last does nothing, or is late.
    Processor,
}

/// What a thread of that process, whose name begins so, lacks. Where the kernel does not say, nothing.
pub(super) async fn lack(pid: i32, name: &str) -> Option<Lack> {
    let (start, before) = (Instant::now(), threads(pid, name));
    let processors = before.iter().filter(|thread| thread.state != State::Stopped);
    let processors: BTreeSet<usize> = processors.map(|thread| thread.processor).collect();
    if processors.is_empty() {
        return None;
    }
    let all_work = work(&processors).await;
    tokio::time::sleep(GLANCE.saturating_sub(start.elapsed())).await;
    if is_starved(&before, &threads(pid, name), start.elapsed()) {
        return Some(Lack::Turn);
    }
    (!all_work).then_some(Lack::Processor)
}

/// Whether each of these processors does within a glance what it is given. One that this process may not use is not asked.
async fn work(processors: &BTreeSet<usize>) -> bool {
    let end = tokio::time::Instant::now() + GLANCE;
    let (done, mut ends) = mpsc::channel(processors.len().max(1));
    let asked = processors.iter().filter(|processor| ask(**processor, done.clone())).count();
    drop(done);
    for _ in 0..asked {
        if timeout_at(end, ends.recv()).await.is_err() {
            return false;
        }
    }
    true
}

/// Gives a processor something to do, the end of which is told.
fn ask(processor: usize, done: mpsc::Sender<()>) -> bool {
    let go = move || {
        let mut here = CpuSet::new();
        if here.set(processor).is_ok() {
            // Returns there, or at once where this process may not go.
            let _ = sched_setaffinity(Pid::from_raw(0), &here);
        }
        // Whoever asked may have lost patience.
        let _ = done.try_send(());
    };
    std::thread::Builder::new().name("glance".to_owned()).stack_size(STACK).spawn(go).is_ok()
}

/// One that spins runs all the time; one that waits for something else is not runnable.
fn is_starved(before: &[Thread], after: &[Thread], elapsed: Duration) -> bool {
    let ran = |thread: &Thread| {
        let after = after.iter().find(|after| after.id == thread.id)?;
        Some(Duration::from_nanos(after.ran.saturating_sub(thread.ran)))
    };
    let waited = |ran: Duration| ran < elapsed * 3 / 4;
    before.iter().any(|thread| thread.state == State::Runnable && ran(thread).is_some_and(waited))
}

fn threads(pid: i32, name: &str) -> Vec<Thread> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let thread = |task: fs::DirEntry| {
        let text = |file| fs::read_to_string(task.path().join(file)).ok();
        text("comm")?.starts_with(name).then_some(())?;
        let (state, processor) = state_and_processor(&text("stat")?)?;
        Some(Thread {
            id: task.file_name().to_str()?.parse().ok()?,
            state,
            processor,
            ran: text("schedstat")?.split(' ').next()?.parse().ok()?,
        })
    };
    tasks.filter_map(|task| thread(task.ok()?)).collect()
}

/// From proc_pid_stat(5): the state, its third field, follows the name in parentheses, which may have some of its own; the
/// processor is the 39th field.
fn state_and_processor(stat: &str) -> Option<(State, usize)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = match fields.next()? {
        "R" => State::Runnable,
        "S" | "D" | "I" => State::Asleep,
        _ => State::Stopped,
    };
    Some((state, fields.nth(39 - 3 - 1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn who_could_run_and_does_not_is_starved() {
        use State::{Asleep, Runnable};
        let thread = |state, ran| Thread { id: 7, state, processor: 0, ran };
        let elapsed = Duration::from_nanos(1000);
        for (before, after, starved) in [
            (thread(Runnable, 5), thread(Runnable, 5), true),
            // It has got one at last.
            (thread(Runnable, 5), thread(Asleep, 700), true),
            // It spins.
            (thread(Runnable, 5), thread(Runnable, 1000), false),
            (thread(Asleep, 5), thread(Asleep, 5), false),
            (thread(Asleep, 5), thread(Runnable, 5), false),
        ] {
            assert_eq!(is_starved(&[before], &[after], elapsed), starved, "{before:?} {after:?}");
        }
        assert!(!is_starved(&[thread(Runnable, 5)], &[], elapsed), "it has ended");
    }

    #[test]
    fn states_are_read_whatever_a_program_is_called() {
        let zeros = |count: usize| " 0".repeat(count);
        for (stat, expected) in [
            (format!("1 (lbd) S{} 3 9", zeros(35)), Some((State::Asleep, 3))),
            (format!("1 (a) R (b) R{} 1", zeros(35)), Some((State::Runnable, 1))),
            (format!("1 (a) R) T{} 0", zeros(35)), Some((State::Stopped, 0))),
            (format!("1 (a) t{} 0", zeros(35)), Some((State::Stopped, 0))),
            (format!("1 (a) S{}", zeros(35)), None),
            ("1 (lbd".to_owned(), None),
        ] {
            assert_eq!(state_and_processor(&stat), expected, "{stat}");
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
            let processors = fs::read_to_string("/proc/cpuinfo").unwrap().matches("processor\t").count();
            let is_known = |thread: &Thread| thread.state == State::Runnable && thread.processor < processors;
            let found = (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                matches!(threads(pid, "spinner-").as_slice(), [thread] if is_known(thread))
            });
            ends.store(true, Ordering::Relaxed);
            assert!(found);
            assert_eq!(threads(pid, "nobody"), []);
        });
        assert_eq!(threads(i32::MAX, ""), []);
    }

    #[tokio::test]
    async fn processors_that_are_there_do_what_they_are_given_and_others_are_not_blamed() {
        let all: BTreeSet<usize> = threads(i32::try_from(std::process::id()).unwrap(), "")
            .iter()
            .map(|thread| thread.processor)
            .collect();
        let mut works = false;
        // Not at the first glance, on a busy machine.
        for _ in 0..1000 {
            works = works || work(&all).await;
        }
        assert!(works && !all.is_empty());
        let (done, mut end) = mpsc::channel(1);
        assert!(ask(1_000_000, done));
        assert_eq!(end.recv().await, Some(()), "no processor of this number");
    }
}
