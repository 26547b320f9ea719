//! Who may change something, by what the kernel says of the process at the other end.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{SO_PEERGROUPS, SOL_SOCKET, getsockopt, gid_t, socklen_t, uid_t};
use nix::unistd::{Gid, Group, Uid};
use tokio::net::UnixStream;

/// The group whose members may change what any daemon does.
pub const CONTROL_GROUP: &str = "tandem";

/// Room for the groups of most processes.
const GROUPS: usize = 32;

/// Who may change something, beside root: a user, and the members of some groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted {
    user: uid_t,
    groups: Vec<gid_t>,
}

impl Permitted {
    /// This process's user and group, and members of [`CONTROL_GROUP`] if the machine has it.
    pub fn here() -> Self {
        match Group::from_name(CONTROL_GROUP) {
            Ok(group) => Self::with(group.map(|group| group.gid.as_raw())),
            Err(error) => {
                tracing::warn!(
                    "cannot look up the group {CONTROL_GROUP}, whose members may change nothing: {error}"
                );
                Self::with(None)
            }
        }
    }

    /// This process's user and group, and members of that group.
    pub fn with(control: Option<gid_t>) -> Self {
        let own = Gid::effective().as_raw();
        Self { user: Uid::effective().as_raw(), groups: control.into_iter().chain([own]).collect() }
    }

    /// Whether the process that made this connection may, as it was when it did.
    pub(super) fn includes(&self, peer: &UnixStream) -> bool {
        // Without knowing who it is there is no permission.
        let Ok(credentials) = peer.peer_cred() else { return false };
        credentials.uid() == 0
            || credentials.uid() == self.user
            || self.groups.contains(&credentials.gid())
            // A kernel before 4.13 does not tell: there the primary group decides.
            || supplementary_groups(peer).is_ok_and(|groups| groups.iter().any(|group| self.groups.contains(group)))
    }
}

/// The supplementary groups of the process at the other end.
fn supplementary_groups(peer: &UnixStream) -> Result<Vec<gid_t>, Errno> {
    let mut groups = vec![0; GROUPS];
    loop {
        let (count, result) = peer_groups(peer.as_fd(), &mut groups);
        match result {
            Ok(()) => {
                groups.truncate(count);
                return Ok(groups);
            }
            // There are more, and the kernel has told how many. They never change: the next round is the last.
            Err(Errno::ERANGE) if count > groups.len() => groups.resize(count, 0),
            Err(error) => return Err(error),
        }
    }
}

/// SO_PEERGROUPS: how many groups there are, and whether they are all in `groups`.
#[expect(unsafe_code, reason = "no library has this option, whose value has no length of its own")]
fn peer_groups(peer: BorrowedFd<'_>, groups: &mut [gid_t]) -> (usize, Result<(), Errno>) {
    let mut bytes = socklen_t::try_from(size_of_val(groups)).unwrap_or(0);
    // SAFETY: the kernel writes at most `bytes` bytes to `groups`, which has them, and the length to `bytes`; every pattern
    // of bits is a group.
    let result = unsafe {
        getsockopt(peer.as_raw_fd(), SOL_SOCKET, SO_PEERGROUPS, groups.as_mut_ptr().cast(), &raw mut bytes)
    };
    (bytes as usize / size_of::<gid_t>(), Errno::result(result).map(drop))
}
