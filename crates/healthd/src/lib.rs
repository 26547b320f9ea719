//! healthd: checks every server of lb.yaml, resolves their names, and decides who is up.

pub mod probe;
pub mod resolve;
