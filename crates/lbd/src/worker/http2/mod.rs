//! HTTP/2 in front (RFC 9113).
//!
//! The crate `http2` has the protocol: frames, header compression, windows, the limits of what a client may make us do. One task
//! drives each connection (`driver.rs`). Each request is a stream, which looks like a connection of HTTP/1.1 with one request
//! (`stream.rs`), and is served by a task of its own as any other (`slot.rs`): routes, limits, edits, retries and the log know no
//! difference. What both kinds of tasks share is in `link.rs`.

mod chunks;
pub(super) mod driver;
mod incoming;
pub(super) mod intake;
mod link;
mod outgoing;
mod slot;
pub(super) mod stream;
mod web_socket;

/// The line that a client's preface begins with (RFC 9113 section 3.4), which in HTTP/1 would be a request of a version that
/// there is not.
pub(super) const PREFACE_LINE: &[u8] = http2::PREFACE.split_at(b"PRI * HTTP/2.0\r\n".len()).0;
