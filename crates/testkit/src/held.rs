//! A thread that does not come on, while its process lives.

use std::fs;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::unistd::Pid;

use crate::Daemon;
use crate::stack::text_command;
use crate::wait::wait_for;

/// A thread of another process that is held, by the kernel's means for debuggers, until this is dropped. Needs root.
#[derive(Debug)]
pub struct Held {
    since: Instant,
    release: Option<Sender<()>>,
    holder: Option<JoinHandle<()>>,
}

impl Held {
    /// Holds the thread of that name.
    ///
    /// # Panics
    /// When there is none, or the kernel refuses.
    pub fn hold(process: u32, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
        let is_meant = |path: &std::path::PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        let task = tasks.filter_map(|task| Some(task.ok()?.path())).find(is_meant);
        let id = task.and_then(|task| task.file_name()?.to_str()?.parse().ok());
        let id = Pid::from_raw(id.unwrap_or_else(|| panic!("process {process} has no thread {name}")));
        let (release, released) = channel::<()>();
        let (held, is_held) = channel();
        let since = Instant::now();
        // The kernel lets it go with the thread that holds it.
        let holder = std::thread::spawn(move || {
            let result = ptrace::seize(id, ptrace::Options::empty()).and_then(|()| ptrace::interrupt(id));
            held.send(result).expect("the other end waits");
            let _ = released.recv();
        });
        is_held.recv().expect("it tells").expect("root may hold a thread");
        Self { since, release: Some(release), holder: Some(holder) }
    }

    /// Holds a worker of lbd that requests keep busy, while it is at work: one that waits for events is well by its own word.
    ///
    /// # Panics
    /// When it is never at work.
    pub fn hold_at_work(lbd: &Daemon, worker: &str) -> Self {
        let age = || {
            let info = text_command(&lbd.socket(), "show info");
            let age = info.lines().find_map(|line| line.strip_prefix("tick_age_ms: ")?.parse::<u64>().ok());
            age.expect("lbd tells the age of its slowest worker's last sign")
        };
        wait_for(&format!("{worker} is held at work"), || {
            let held = Self::hold(lbd.pid(), worker);
            std::thread::sleep(Duration::from_millis(20));
            (age() >= 20).then_some(held)
        })
    }

    /// When it came to be held.
    pub const fn since(&self) -> Instant {
        self.since
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(holder) = self.holder.take() {
            // Whether it panicked was told before.
            let _ = holder.join();
        }
    }
}
