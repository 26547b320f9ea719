//! Processors, and what processes have used of them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Which processor is whose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processors {
    /// The proxies'.
    pub(crate) proxy: usize,
    /// The load's and the origin's.
    pub(crate) load: usize,
}

impl Processors {
    /// The first two.
    pub(crate) fn choose() -> anyhow::Result<Self> {
        let available = std::thread::available_parallelism()?.get();
        if available < 2 {
            bail!("two processors are needed: one for the proxies, one for the load");
        }
        Ok(Self { proxy: 0, load: 1 })
    }
}

/// A command that runs on one processor only.
pub(crate) fn pinned(processor: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &processor.to_string(), program]);
    command
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Used {
    /// What processes have used since they started, all their threads together.
    pub(crate) fn by(pids: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a proxy has ended")?;
            // The name, in parentheses, may have spaces; utime and stime are the 14th and 15th word.
            let (_, rest) = stat.rsplit_once(") ").context("the kernel's format")?;
            let mut words = rest.split(' ').skip(11);
            let mut ticks = || anyhow::Ok(words.next().context("the kernel's format")?.parse::<u64>()?);
            // USER_HZ is 100 on every architecture that Linux still has.
            sum.user += Duration::from_millis(ticks()? * 10);
            sum.system += Duration::from_millis(ticks()? * 10);
        }
        Ok(sum)
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// Resident memory of processes, in KiB.
pub(crate) fn resident_kib(pids: &[u32]) -> anyhow::Result<u64> {
    pids.iter().try_fold(0, |sum, pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("a proxy has ended")?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel's format")?;
        Ok(sum + line.trim().trim_end_matches(" kB").parse::<u64>()?)
    })
}
