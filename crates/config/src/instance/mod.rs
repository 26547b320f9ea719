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
pub use model::*;
pub use nodes::compare;
pub(crate) use read::read;
