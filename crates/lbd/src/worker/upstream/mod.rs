//! The way to servers: whom to choose, and the connections to them.

pub(super) mod connect;
pub(super) mod idle;
pub(super) mod patience;
mod secure;
pub(super) mod service;
pub(super) mod settle;
