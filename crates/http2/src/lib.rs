//! The server's end of an HTTP/2 connection (RFC 9113), strict, and pure: bytes in, events and bytes out.
//!
//! A [`Connection`] reads frames, and has each request be the head of a request of HTTP/1.1, so that whatever is known of requests
//! is known in one place. It keeps both sides' windows, and everything in bounds; it sends what its user gives it on a stream, as
//! far as there is [`Room`].
//!
//! ```
//! use http2::{Connection, Event, Follows, Limits, PREFACE, Room};
//!
//! let limits = Limits { streams: 100, stream_window: 65_536, connection_window: 1 << 20, fields: 20_000, waiting: 65_536 };
//! let mut connection: Connection<()> = Connection::new(limits);
//! let request = b"\x82\x86\x84\x41\x01a";
//! let mut received = PREFACE.to_vec();
//! received.extend_from_slice(b"\0\0\0\x04\0\0\0\0\0");
//! received.extend_from_slice(b"\0\0\x06\x01\x05\0\0\0\x01");
//! received.extend_from_slice(request);
//!
//! let (used, event) = connection.receive(&received);
//! assert_eq!(used, received.len());
//! let Some(Event::Request(stream, Follows::Nothing)) = event else { panic!("this is a request") };
//! assert_eq!(connection.text(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
//!
//! connection.send_head(stream, 200, [(&b"Content-Length"[..], &b"2"[..])].into_iter(), false);
//! assert!(matches!(connection.room(stream), Room::For(2..)));
//! connection.send_content(stream, |out| {
//!     out.extend_from_slice(b"hi");
//!     true
//! });
//! assert!(connection.let_go(stream));
//! assert!(connection.out().ends_with(b"\0\0\x02\0\x01\0\0\0\x01hi"));
//! ```

mod code;
mod connection;
mod event;
mod frame;
mod hpack;
mod request;
mod settings;
mod stream;

pub use code::Code;
pub use connection::{Connection, PREFACE};
pub use event::{Event, Follows, Limits, Room};
pub use hpack::FIELD_OVERHEAD;
pub use stream::StreamId;
