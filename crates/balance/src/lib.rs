//! Which server gets the next request: pure, without sockets, clock or randomness of its own.
//!
//! A [`BackendView`] is an immutable picture of a backend, made whenever something changes and shared by all workers. Each
//! worker has a [`Balancer`] of its own that picks from it; the two-way traffic is `pick`, `begin`, `end`, and what
//! connecting told: `succeeded`, `failed`. A [`RetryBudget`] says whether a failed attempt may be repeated.

mod balancer;
mod budget;
mod random;
mod ring;
mod tree;
mod types;
mod view;

pub use balancer::{Balancer, ServerId, Tried};
pub use budget::RetryBudget;
pub use types::{AdminState, Algorithm, Tick, UnknownWord, Weight};
pub use view::{BackendView, Health, ServerView};
