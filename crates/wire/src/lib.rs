//! The Unix-socket protocol that Tandem's daemons speak with each other and with their operators.

mod condition;
pub mod human;
mod message;
mod summary;

pub use condition::{Condition, Tone};
pub use message::*;
pub use summary::{Tally, headline};
