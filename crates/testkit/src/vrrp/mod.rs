//! Routers that share a virtual address: the vrrpd that ships, and the real ones of others.

mod frr;
mod keepalived;
mod node;
mod owners;
mod tshark;

pub use frr::Frr;
pub use keepalived::Keepalived;
pub use node::VrrpNode;
pub use owners::{Owners, Ownership, RunningOwners, has_address};
pub use tshark::Tshark;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A directory for a router's files.
fn directory(label: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("tandem-{label}-")).tempdir().expect("a temporary directory")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("an own file");
}
