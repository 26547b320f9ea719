//! Limits that the system sets.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the number of descriptors this process may have open as far as it may, and returns it.
pub fn raise_descriptors() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        // Every Linux has this limit; the smallest default stands for one that does not tell.
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "cannot raise the limit of open descriptors");
            soft
        }
    }
}
