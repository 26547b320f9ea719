//! Which server gets the next request: pure, without sockets, clock or randomness of its own.

mod types;

pub use types::{AdminState, Algorithm, UnknownWord, Weight};
