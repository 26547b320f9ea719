//! `vrrp.yaml`.

mod authentication;
mod effective;
mod lints;
mod model;
mod nodes;
mod programs;
mod read;
mod track;

pub use effective::effective_vrrp_yaml;
pub(crate) use effective::{notify as notify_written, tracker as tracker_written};
pub(crate) use lints::stray_results;
pub use model::*;
pub use nodes::compare;
pub(crate) use nodes::{joined, unknown_backend, unserved};
pub(crate) use read::{HUNG_AFTER, TIME, addresses, interface, notify, read};
pub(crate) use track::{Manner, read as read_trackers};
