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
//! | [`kept`] | since when servers are as they are, for the next healthd |
//! | `server_files` | the files by which checks are secured, when they change |
//! | `admin_states` | what operators have taken out, as lbd tells it |
//! | [`control`] | the socket: requests and text commands |
//! | [`view`], [`metrics`] | the admin page, text and Prometheus |
//!
//! Everything runs on one thread: healthd waits for others nearly all of its time.

mod admin_states;
pub mod app;
pub mod board;
mod candidates;
pub mod control;
mod discover;
pub mod fleet;
pub mod kept;
pub mod metrics;
mod monitor;
mod pace;
pub mod probe;
pub mod record;
pub mod resolve;
mod server_files;
pub mod view;
