//! Responses: how much may be sent, and the frames that it is sent in.

use super::Connection;
use crate::event::Room;
use crate::frame::{self, HEAD, Head, flag, kind};
use crate::hpack;
use crate::stream::StreamId;

impl<T: Default> Connection<T> {
    /// How much content may be sent on a stream in one frame.
    pub fn room(&self, StreamId(id): StreamId) -> Room {
        let Some(stream) = self.streams.get(id).filter(|stream| stream.sends) else { return Room::Gone };
        if self.out.len() >= self.limits.waiting {
            return Room::OfConnection;
        }
        let of = |window: i64| usize::try_from(window).unwrap_or(0);
        match (of(stream.send_window), of(self.send_window)) {
            (0, _) => Room::OfStream,
            (_, 0) => Room::OfConnection,
            (stream, connection) => Room::For(stream.min(connection).min(self.client.payload)),
        }
    }

    /// Whether a head may be sent on a stream, which counts in no window.
    pub fn room_for_head(&self, StreamId(id): StreamId) -> Room {
        match self.streams.get(id).is_some_and(|stream| stream.sends) {
            false => Room::Gone,
            true if self.out.len() >= self.limits.waiting => Room::OfConnection,
            true => Room::For(self.client.payload),
        }
    }

    /// Sends the head of a response. Fields that are about a connection of HTTP/1 are left out.
    pub fn send_head<'a>(
        &mut self,
        StreamId(id): StreamId,
        status: u16,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        ends: bool,
    ) {
        self.send_fields(id, Some(status), fields, ends);
    }

    /// Sends a trailer section, which ends the stream.
    pub fn send_trailers<'a>(
        &mut self,
        StreamId(id): StreamId,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        self.send_fields(id, None, fields, true);
    }

    /// Sends a piece of content, as long as there is room for. `write` puts it behind what is there, and says whether it was the last.
    pub fn send_content(&mut self, StreamId(id): StreamId, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let Self { streams, out, send_window, .. } = self;
        let Some(stream) = streams.get_mut(id).filter(|stream| stream.sends) else { return };
        let begin = out.len();
        out.extend_from_slice(&[0; HEAD]);
        let ends = write(out);
        let length = out.len() - begin - HEAD;
        if length == 0 && !ends {
            out.truncate(begin);
            return;
        }
        let flags = if ends { flag::END_STREAM } else { 0 };
        patch(&mut out[begin..], Head { length, kind: kind::DATA, flags, stream: id });
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        debug_assert!(
            length <= stream.send_window && length <= *send_window || length == 0,
            "more is sent than there is room for"
        );
        stream.send_window -= length;
        *send_window -= length;
        stream.sends = !ends;
        self.idle_frames = 0;
    }

    pub(super) fn send_fields<'a>(
        &mut self,
        id: u32,
        status: Option<u16>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        ends: bool,
    ) {
        let Self { streams, encoder, out, client, .. } = self;
        let Some(stream) = streams.get_mut(id).filter(|stream| stream.sends) else { return };
        let begin = out.len();
        out.extend_from_slice(&[0; HEAD]);
        encoder.begin(out);
        if let Some(status) = status {
            hpack::status(status, out);
        }
        for (name, value) in fields {
            if !is_of_connection(name) {
                hpack::field(name, value, out);
            }
        }
        let flags = if ends { flag::END_STREAM } else { 0 };
        write_block(out, begin, client.payload, Head { length: 0, kind: kind::HEADERS, flags, stream: id });
        stream.sends = !ends;
        self.idle_frames = 0;
    }
}

/// Writes the head of a frame that begins here, where there is room for it.
fn patch(bytes: &mut [u8], head: Head) {
    bytes[..HEAD].copy_from_slice(&head.bytes());
}

/// Has the field block that begins behind room for a frame's head be a frame, or as many as it takes.
fn write_block(out: &mut Vec<u8>, begin: usize, most: usize, head: Head) {
    let length = out.len() - begin - HEAD;
    if length <= most {
        patch(&mut out[begin..], Head { length, flags: head.flags | flag::END_HEADERS, ..head });
        return;
    }
    let block = out.split_off(begin + HEAD);
    out.truncate(begin);
    let mut pieces = block.chunks(most).peekable();
    let mut head = head;
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        frame::write(head.kind, head.flags | last, head.stream, piece, out);
        head = Head { kind: kind::CONTINUATION, flags: 0, ..head };
    }
}

// RFC 9113 section 8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields."
fn is_of_connection(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] =
        [b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"proxy-connection", b"te"];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}
