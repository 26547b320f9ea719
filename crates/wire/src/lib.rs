//! The Unix-socket protocol that Tandem's daemons speak with each other and with their operators.

mod message;

pub use message::*;
