//! HTTP/1.1 heads and body framing: strict, and pure: bytes in, decisions out.
//!
//! A proxy reads a head with [`RequestParser`] or [`ResponseParser`], appends the edited head to an output buffer with
//! [`RequestHead::write`] or [`ResponseHead::write`], and passes the body through a [`BodyReader`], which verifies its
//! framing. Nothing that was not verified is ever written. Heads refer to the received bytes by [`Span`]s, and
//! untouched bytes are copied in contiguous runs.

mod body;
mod bytes;
mod edits;
mod fault;
mod fields;
mod framing;
mod host;
mod message;
mod name;
mod request;
mod response;
mod span;

pub use body::{BodyReader, Step};
pub use fault::{BodyFault, RequestFault, ResponseFault};
pub use message::{Body, Method, Version};
pub use request::{Forward, ForwardedFor, Limits, RequestHead, RequestParser};
pub use response::{ClientSide, ResponseHead, ResponseLimits, ResponseParser};
pub use span::Span;
