//! lbd, the HTTP load balancer. A library, so that tests can run it inside their own process.

pub mod access_log;
pub mod app;
pub mod attention;
pub mod control;
pub mod counters;
pub mod descriptors;
pub mod directory;
pub mod drain;
pub mod heritage;
pub mod keeper;
pub mod limits;
pub mod listen;
pub mod operator;
pub mod pulse;
pub mod queue;
pub mod registry;
pub mod routing;
pub mod sockets;
pub mod spare;
pub mod state;
pub mod stats;
pub mod verdicts;
pub mod view;
pub mod warmup;
pub mod worker;
