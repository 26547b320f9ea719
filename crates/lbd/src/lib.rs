//! lbd, the HTTP and TCP load balancer. A library, so that tests can run it inside their own process.

pub mod control;
pub mod shared;
pub mod view;
pub mod worker;
