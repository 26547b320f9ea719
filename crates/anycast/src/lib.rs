//! Anycast: whether this node announces the addresses of a service that many nodes have. Pure, without sockets, clock,
//! randomness or logger.
//!
//! Nodes do not hear of one another: each announces its addresses while it is fit, and the routers in front, which a routing
//! daemon tells, spread connections over those that do. [`Service`] decides for one service of one node. Its driver sleeps until
//! [`Service::next_deadline`], and has the addresses on the interface, or takes them away, as [`Action`] says.

mod service;
mod types;

pub use service::Service;
pub use types::{Action, Cause, Input, Settings, State, Transition};
