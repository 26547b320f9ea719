//! HTTP/1.1 heads and body framing: strict, and pure: bytes in, decisions out.
//!
//! A proxy reads a head with [`RequestParser`] or [`ResponseParser`], appends the edited head to an output buffer with
//! [`RequestHead::write`] or [`ResponseHead::write`], and passes the body through a [`BodyReader`], which verifies its
//! framing and moves together what is passed on. Nothing that was not verified is ever written. Heads refer to the received bytes by [`Span`]s, and
//! untouched bytes are copied in contiguous runs.
//!
//! ```
//! use http1::{Body, BodyReader, Forward, Limits, RequestParser};
//!
//! let mut received = *b"POST /a HTTP/1.1\r\nHost: b\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
//! let mut parser = RequestParser::new(Limits { request_line: 8192, head: 16384, fields: 100 });
//! let head = parser.parse(&received)?.expect("the head is complete");
//! assert_eq!(head.target.of(&received), b"/a");
//! assert!(!head.persistent);
//!
//! let forward = Forward { client: "192.0.2.1", ..Forward::new("server:80") };
//! let mut sent = Vec::new();
//! head.write(&received, &forward, &mut sent);
//!
//! let mut body = BodyReader::new(head.body);
//! let step = body.step(&mut received[head.len..])?;
//! sent.extend_from_slice(&received[head.len..][..step.forward]);
//! assert!(step.done);
//! assert!(sent.starts_with(b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\nX-Forwarded-For: 192.0.2.1\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod bytes;
mod chunk;
mod cookies;
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
pub use chunk::{CHUNK_END, LAST_CHUNK, begin_chunk};
pub use cookies::{cookies, remove_cookies, remove_set_cookies};
pub use fault::{BodyFault, RequestFault, ResponseFault};
pub use host::is_host;
pub use message::{Body, Method, Version};
pub use name::{FRAMING_FIELDS, field_starts_with, is_same_field};
pub use request::{
    Forward, ForwardedField, ForwardedFields, ForwardedFor, Limits, RequestHead, RequestParser, empty_lines,
    has_plain_target,
};
pub use response::{ClientSide, INTERIM_MAX, ResponseHead, ResponseLimits, ResponseParser};
pub use span::Span;
