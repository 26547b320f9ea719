//! What a service tells systemd, and what systemd keeps for it: the protocol of sd_notify(3).

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use anyhow::Context as _;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};

/// Descriptors in one message. The kernel takes 253 (unix(7)).
const BATCH: usize = 128;
/// The least time between two signs of life, whatever systemd asks for.
const OFTEN: Duration = Duration::from_millis(10);
/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether systemd, or somebody who speaks as it does, started this process.
pub fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Tells systemd a state, if it is there.
///
/// # Errors
/// When it cannot be told.
pub fn notify(state: &str) -> anyhow::Result<()> {
    if is_there() { send(state, &[], SendFlags::empty()) } else { Ok(()) }
}

/// Tells systemd that the stop which has begun may take so long, whatever the unit's `TimeoutStopSec` says.
///
/// # Errors
/// When it cannot be told.
pub fn stop_may_take(time: Duration) -> anyhow::Result<()> {
    notify(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()))
}

/// Tells systemd which process is the service's main one from now on, and returns when it knows: it believes nobody else.
///
/// # Errors
/// When it cannot be told, or takes too long.
pub fn main_process(pid: u32) -> anyhow::Result<()> {
    send(&format!("MAINPID={pid}"), &[], SendFlags::empty())?;
    barrier()
}

/// How often systemd is to hear that this process lives, if it listens for that: twice in the time after which it takes the
/// process for hung (sd_watchdog_enabled(3)).
pub fn watchdog() -> Option<Duration> {
    let [time, pid] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(|name| std::env::var(name).ok());
    interval(time.as_deref(), pid.as_deref(), std::process::id()).filter(|_| is_there())
}

fn interval(time: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let micros: u64 = time?.parse().ok().filter(|micros| *micros > 0)?;
    let is_meant = pid.is_none_or(|pid| pid.parse() == Ok(own));
    is_meant.then(|| (Duration::from_micros(micros) / 2).max(OFTEN))
}

/// Tells systemd that this process lives. It waits for nobody: if there is no room for this sign, there will be for another.
pub fn alive() {
    if let Err(error) = send("WATCHDOG=1", &[], SendFlags::DONTWAIT) {
        tracing::debug!("{error:#}");
    }
}

/// Has systemd keep descriptors until the service starts again, and returns when it has them. It drops those that are
/// beyond `FileDescriptorStoreMax=`, and tells nobody but its own log.
///
/// # Errors
/// When it cannot be told, or takes too long.
pub fn store(name: &str, descriptors: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
    for batch in descriptors.chunks(BATCH) {
        send(&format!("FDSTORE=1\nFDNAME={name}"), batch, SendFlags::empty())?;
    }
    barrier()
}

/// Has systemd close what it keeps under that name, and returns when it has.
///
/// # Errors
/// When it cannot be told, or takes too long.
pub fn forget(name: &str) -> anyhow::Result<()> {
    send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[], SendFlags::empty())?;
    barrier()
}

/// Returns when systemd has taken every message before this one: it closes the descriptor that comes with it.
fn barrier() -> anyhow::Result<()> {
    let (mut ours, theirs) = UnixStream::pair().context("cannot wait for systemd")?;
    ours.set_read_timeout(Some(PATIENCE))?;
    send("BARRIER=1", &[theirs.as_fd()], SendFlags::empty())?;
    drop(theirs);
    // Nobody writes to it.
    ours.read(&mut [0]).context("systemd does not answer")?;
    Ok(())
}

fn send(state: &str, descriptors: &[BorrowedFd<'_>], flags: SendFlags) -> anyhow::Result<()> {
    let say = || -> io::Result<()> {
        let path = std::env::var_os("NOTIFY_SOCKET").ok_or(io::ErrorKind::NotFound)?;
        let address = match path.as_encoded_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddrUnix::new_abstract_name(name)?,
            None => SocketAddrUnix::new(path)?,
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            beside.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let state = [IoSlice::new(state.as_bytes())];
        sendmsg_addr(&socket, &address, &state, &mut beside, SendFlags::NOSIGNAL | flags)?;
        Ok(())
    };
    say().context("NOTIFY_SOCKET is set, but cannot be written to")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_are_for_the_process_that_is_meant_and_at_a_bounded_rate() {
        let millis = |millis| Some(Duration::from_millis(millis));
        for (time, pid, every) in [
            (None, None, None),
            (Some("10000000"), None, millis(5000)),
            (Some("10000000"), Some("7"), millis(5000)),
            (Some("10000000"), Some("8"), None),
            (Some("10000000"), Some("me"), None),
            (Some("1"), Some("7"), millis(10)),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (Some("-1"), None, None),
        ] {
            assert_eq!(interval(time, pid, 7), every, "{time:?} {pid:?}");
        }
    }
}
