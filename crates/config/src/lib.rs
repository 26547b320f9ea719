//! `lb.yaml`: its model, defaults, validation and lints.

mod model;

pub use model::*;
