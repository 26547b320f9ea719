//! What a connection and its user tell one another.

use std::ops::Range;

use crate::stream::StreamId;

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams at once.
    pub streams: u32,
    /// Bytes of content that a stream may send before they are read.
    pub stream_window: u32,
    /// The same of all streams.
    pub connection_window: u32,
    /// What the fields of a request may count together (RFC 9113 section 6.5.2).
    pub fields: usize,
    /// Bytes that may wait to be sent before the streams wait.
    pub waiting: usize,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request has come, whose head [`Connection::text`](crate::Connection::text) is.
    Request(StreamId, Follows),
    /// Content has come: this part of the bytes that were received. Whether that was the last of it.
    Content(StreamId, Range<usize>, bool),
    /// The lines of a trailer section have come, which [`Connection::text`](crate::Connection::text) has.
    Trailers(StreamId),
    /// A stream has been reset, by the client or for what the client did wrong.
    Reset(StreamId),
    /// The client has made room on a stream.
    RoomOfStream(StreamId),
    /// The client has made room on the connection.
    RoomOfConnection,
    /// The client has made room on every stream.
    RoomOfStreams,
    /// A request was no HTTP/2, and its stream has been reset.
    Malformed,
}

/// What follows a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Nothing.
    Nothing,
    /// Content, of the length that the head has, or in chunks.
    Content,
    /// A WebSocket, if its server agrees (RFC 8441): the head is that of an upgrade, without a key.
    WebSocket,
}

/// How much may be sent on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// So many bytes.
    For(usize),
    /// Nothing before the client has made room on the stream.
    OfStream,
    /// Nothing before there is room on the connection.
    OfConnection,
    /// Nothing any more.
    Gone,
}
