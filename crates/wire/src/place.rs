//! Where the daemons of a node are found.

use std::path::{Path, PathBuf};

/// The directory in which a daemon, and no other, writes.
pub fn own_dir(run_dir: &Path, daemon: &str) -> PathBuf {
    run_dir.join(daemon)
}

/// A daemon's socket.
pub fn socket(run_dir: &Path, daemon: &str) -> PathBuf {
    own_dir(run_dir, daemon).join(format!("{daemon}.sock"))
}
