//! The control thread and those beside it: what there is to route by, and when lbd starts, reloads, hands over and stops.

pub mod app;
pub mod connectors;
pub mod control_socket;
pub mod directory;
pub mod drain;
pub mod heritage;
pub mod intents;
pub mod members;
pub mod operator;
pub mod paused;
pub mod picture;
pub mod registry;
pub mod relatives;
pub mod server_files;
pub mod sessions;
pub mod sockets;
pub mod state;
pub mod stats;
pub mod tls;
pub mod verdicts;
pub mod warmup;
