//! The Unix-socket protocol that Tandem's daemons speak with each other and with their operators.
//!
//! | module | for |
//! |---|---|
//! | [`Request`], [`Answer`] and the other messages | what is said |
//! | [`server`], [`topic`], [`text`] | daemons: answering, publishing, HAProxy's dialect |
//! | [`client`] | whoever asks, or follows a topic |
//! | [`readiness`] | waiting for a descriptor |

mod anycast;
pub mod client;
pub mod codec;
mod condition;
mod discovery;
mod document;
pub mod human;
mod instance;
mod message;
mod place;
pub mod readiness;
pub mod server;
mod summary;
pub mod text;
mod threads;
pub mod topic;

pub use anycast::*;
pub use condition::{Condition, Tone, latest};
pub use discovery::{Discovery, Left, Member};
pub use document::Document;
pub use instance::*;
pub use message::*;
pub use place::{own_dir, socket};
pub use summary::{Tally, backup, doubt, headline};
pub use threads::{SOCKET_THREAD, WORKER_THREADS};
