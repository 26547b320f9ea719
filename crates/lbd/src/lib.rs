//! lbd, the HTTP load balancer. A library, so that tests can run it inside their own process.

pub mod view;
