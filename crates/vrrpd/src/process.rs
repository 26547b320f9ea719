//! What vrrpd needs of the system, and what it does without.
//!
//! Capabilities belong to threads. The election's thread is therefore started first, while vrrpd still has all that it was
//! given, and waits for its task: it may need more to become real-time. Every other thread comes later, with two capabilities.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use anyhow::{Context as _, anyhow, bail};
use config::Vrrpd;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use thread_priority::{Error, ThreadPriority, ThreadPriorityValue};

/// To change addresses, and to send and receive raw packets.
const NEEDED: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

type Task = Box<dyn FnOnce() + Send>;

/// The election's thread, before it has its task. Dropped, it ends.
#[derive(Debug)]
pub struct ElectionThread {
    task: SyncSender<Task>,
}

impl ElectionThread {
    /// Starts the thread, and gives up what no other one needs. Has to come before any other thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start() -> anyhow::Result<Self> {
        let (task, tasks) = sync_channel::<Task>(1);
        thread::Builder::new()
            .name("election".to_owned())
            .spawn(move || {
                if let Ok(task) = tasks.recv() {
                    task();
                }
            })
            .context("cannot start the election's thread")?;
        keep_needed_capabilities()?;
        Ok(Self { task })
    }

    /// Gives the thread its task: to prepare itself as configured, and then `task`, which is told how that went.
    pub fn run(self, settings: Vrrpd, task: impl FnOnce(anyhow::Result<()>) + Send + 'static) {
        let prepared = move || task(prepare(&settings));
        // It waits, so there is room, and it has not ended.
        let _ = self.task.send(Box::new(prepared));
    }
}

/// Prepares the current thread for elections.
fn prepare(settings: &Vrrpd) -> anyhow::Result<()> {
    let has = capabilities(None).context("cannot read capabilities")?.permitted;
    if !has.contains(NEEDED) {
        let missing = [(CapabilitySet::NET_ADMIN, "NET_ADMIN"), (CapabilitySet::NET_RAW, "NET_RAW")];
        let missing = missing.iter().filter(|(one, _)| !has.contains(*one)).map(|(_, name)| *name);
        bail!(
            "vrrpd lacks the capabilities to change addresses and send raw packets: {}; run it as root, or give them to \
             it (systemd: AmbientCapabilities, containers: cap_add)",
            missing.collect::<Vec<_>>().join(", ")
        );
    }
    if settings.lock_memory {
        lock_memory()?;
    }
    if let Some(priority) = settings.realtime {
        become_realtime(priority)?;
    }
    keep_needed_capabilities()
}

/// Memory that is added later has to be within the limit too, so nothing less than no limit will do.
fn lock_memory() -> anyhow::Result<()> {
    let limit = Resource::RLIMIT_MEMLOCK;
    let unlimited = getrlimit(limit).is_ok_and(|(soft, _)| soft == RLIM_INFINITY)
        || setrlimit(limit, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    if !unlimited {
        bail!(
            "vrrpd.lock_memory needs an unlimited RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=infinity, containers: \
             ulimit memlock=-1)"
        );
    }
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).context("cannot lock memory")
}

/// Ahead of all threads that are not real-time.
fn become_realtime(priority: u8) -> anyhow::Result<()> {
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let result =
        ThreadPriorityValue::try_from(priority).map_err(|error| anyhow!("{error}")).and_then(|value| {
            let priority = ThreadPriority::Crossplatform(value);
            set_thread_priority_and_policy(thread_native_id(), priority, fifo).map_err(|error| match error {
                Error::OS(number) => io::Error::from_raw_os_error(number).into(),
                other => other.into(),
            })
        });
    result.with_context(|| {
        format!(
            "vrrpd.realtime: {priority} needs a limit RLIMIT_RTPRIO of {priority} or more (systemd: LimitRTPRIO=99, \
             containers: ulimit rtprio=99), or the capability SYS_NICE"
        )
    })
}

/// Gives up every capability of this thread that vrrpd does not need, and with it of all threads and programs that it
/// starts from now on.
fn keep_needed_capabilities() -> anyhow::Result<()> {
    let has = capabilities(None).context("cannot read capabilities")?;
    for capability in CapabilitySet::all().difference(NEEDED).iter() {
        // Without SETPCAP the bounding set stays as it is: it gives nothing to whom is not root.
        if capability_is_in_bounding_set(capability).unwrap_or(false)
            && has.effective.contains(CapabilitySet::SETPCAP)
        {
            remove_capability_from_bounding_set(capability)
                .with_context(|| format!("cannot give up {capability:?}"))?;
        }
    }
    let kept = CapabilitySets {
        effective: has.permitted & NEEDED,
        permitted: has.permitted & NEEDED,
        inheritable: has.inheritable & NEEDED,
    };
    // What is neither permitted nor inheritable leaves the ambient set by itself.
    set_capabilities(None, kept).context("cannot give up capabilities")
}
