//! healthd: checks every server of lb.yaml, resolves their names, and decides who is up.
//!
//! | module | for |
//! |---|---|
//! | [`app`] | starting, reloading and stopping: what the other modules are put together to |
//! | [`fleet`] | the servers of the configuration, each with a monitor |
//! | `monitor` | the task of one server, which drives [`health::Checker`] |
//! | `pace` | when checks begin together |
//! | `candidates` | one check of a server with several addresses |
//! | [`probe`] | one check of one server |
//! | [`resolve`] | names and their addresses, one task a name |
//! | [`record`], [`board`] | what is held of each server, and the topic that lbd follows |
//! | [`control`] | the socket: requests and text commands |
//! | [`view`], [`metrics`] | the admin page, text and Prometheus |
//!
//! Everything runs on one thread: healthd waits for others nearly all of its time.

pub mod app;
pub mod board;
mod candidates;
pub mod control;
pub mod fleet;
pub mod metrics;
mod monitor;
mod pace;
pub mod probe;
pub mod record;
pub mod resolve;
pub mod view;
