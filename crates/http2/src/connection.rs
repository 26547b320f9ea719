//! The server's end of a connection: bytes in, events and bytes out.

mod control;
mod sending;

use std::ops::Range;

use crate::code::Code;
use crate::event::{Event, Follows, Limits};
use crate::frame::{self, HEAD, Head, PAYLOAD, flag, kind};
use crate::hpack::{Decoder, Encoder};
use crate::request::{Read, Reader};
use crate::settings::{self, Client};
use crate::stream::{Stream, StreamId, Streams};

/// What every client begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest window (RFC 9113 section 6.9.1).
const WINDOW_MAX: i64 = (1 << 31) - 1;
/// The window of a connection before anybody has said anything (RFC 9113 section 6.9.2).
const FIRST_WINDOW: u32 = 65_535;
/// How many frames a field block may come in.
const PIECES: u32 = 32;
/// How many frames may come in a row that bring nothing on: no request, no content, no room for ours.
const IDLE_FRAMES: u32 = 10_000;
/// What the ping says that finds out when the client knows that we leave.
const LEAVING_PING: [u8; 8] = *b"leaving!";

/// The server's end of a connection. `T` is what its user keeps with each stream.
#[derive(Debug)]
pub struct Connection<T> {
    limits: Limits,
    stage: Stage,
    /// A field block whose end is still to come.
    block: Option<Block>,
    decoder: Decoder,
    encoder: Encoder,
    reader: Reader,
    streams: Streams<T>,
    client: Client,
    send_window: i64,
    receive_window: u32,
    released: u32,
    /// The highest stream that the client has begun.
    last: u32,
    idle_frames: u32,
    departure: Departure,
    /// What is to be sent.
    out: Vec<u8>,
}

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Preface,
    /// The first frame, which says what the client takes.
    Settings,
    Frame,
    /// Content, and then padding.
    Content {
        stream: u32,
        left: usize,
        padding: usize,
        ends: bool,
    },
    /// What nobody needs.
    Skip(usize),
    /// Nothing: the connection has failed.
    Over,
}

#[derive(Debug)]
struct Block {
    stream: u32,
    ends: bool,
    bytes: Vec<u8>,
    pieces: u32,
}

/// How far the end of the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Departure {
    No,
    /// The client was told, and what it had sent before it knew is served.
    Told,
    /// It knows which requests are served.
    Known {
        last: u32,
    },
}

/// Why no more is read.
enum Stop {
    /// More bytes are needed.
    Short,
    /// The client does not keep to the protocol.
    Fault(Code),
}

impl From<Code> for Stop {
    fn from(code: Code) -> Self {
        Self::Fault(code)
    }
}

impl<T: Default> Connection<T> {
    /// A connection whose client has said nothing yet. What we say first is to be sent.
    pub fn new(limits: Limits) -> Self {
        let mut out = Vec::new();
        let list = u32::try_from(limits.fields).unwrap_or(u32::MAX);
        settings::write_own(limits.streams, limits.stream_window, list, &mut out);
        let more = limits.connection_window.saturating_sub(FIRST_WINDOW);
        if more > 0 {
            frame::window_update(0, more, &mut out);
        }
        Self {
            limits,
            stage: Stage::Preface,
            block: None,
            decoder: Decoder::new(),
            encoder: Encoder::default(),
            reader: Reader::new(limits.fields),
            streams: Streams::new(),
            client: Client::UNSAID,
            send_window: i64::from(Client::UNSAID.window),
            receive_window: limits.connection_window.max(FIRST_WINDOW),
            released: 0,
            last: 0,
            idle_frames: 0,
            departure: Departure::No,
            out,
        }
    }

    /// Reads on. How many bytes are done with, and what has happened: nothing if more bytes are needed.
    ///
    /// A frame other than of content is read when all of it is there: up to 16 KiB and nine bytes.
    pub fn receive(&mut self, bytes: &[u8]) -> (usize, Option<Event>) {
        let mut used = 0;
        while used < bytes.len() {
            match self.step(&bytes[used..], used) {
                Ok((n, event)) => {
                    used += n;
                    if event.is_some() {
                        return (used, event);
                    }
                }
                Err(Stop::Short) => break,
                Err(Stop::Fault(code)) => {
                    self.fail(code);
                    return (bytes.len(), None);
                }
            }
        }
        (used, None)
    }

    /// The head of the request, or the lines of the trailer section, that came last.
    pub fn text(&self) -> &[u8] {
        self.reader.text()
    }

    /// What the user keeps with a stream, until it has let go of it.
    pub fn user(&mut self, StreamId(id): StreamId) -> Option<&mut T> {
        self.streams.get_mut(id).map(|stream| &mut stream.user)
    }

    /// The same of all streams, in the order in which they began.
    pub fn users(&mut self) -> impl Iterator<Item = &mut T> {
        self.streams.iter_mut().map(|stream| &mut stream.user)
    }

    /// What is to be sent. Whoever has sent some takes it out.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The highest stream that the client has begun, if there is one.
    pub fn last(&self) -> Option<StreamId> {
        (self.last > 0).then_some(StreamId(self.last))
    }

    /// Whether so much waits to be sent that nothing more should be received.
    pub fn is_stuffed(&self) -> bool {
        self.out.len() > 2 * self.limits.waiting
    }

    /// Whether nothing more will be done, when everything has been sent.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
            || matches!(self.departure, Departure::Known { .. }) && self.streams.is_empty()
    }

    // RFC 9113 section 6.8: "A server that is attempting to gracefully shut down a connection SHOULD send an initial GOAWAY frame with the last stream identifier set to 2^31-1 and a NO_ERROR code." […] "After allowing time for any in-flight stream creation (at least one round-trip time), the server can send another GOAWAY frame with an updated last stream identifier."
    /// Has the client go elsewhere with its next request. What it has sent before it knows is served.
    pub fn leave(&mut self) {
        if self.departure == Departure::No && self.stage != Stage::Over {
            self.departure = Departure::Told;
            frame::goaway((1 << 31) - 1, Code::NoError, &mut self.out);
            frame::write(kind::PING, 0, 0, &LEAVING_PING, &mut self.out);
        }
    }

    /// Ends the connection at once.
    pub fn fail(&mut self, code: Code) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            frame::goaway(self.last, code, &mut self.out);
            self.streams.iter_mut().for_each(Stream::close);
        }
    }

    /// The user has read so much content: the client may send as much again.
    pub fn release(&mut self, StreamId(id): StreamId, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.release_connection(bytes);
        let most = self.limits.stream_window / 2;
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.receives) else { return };
        stream.released += bytes;
        // Half a window at a time: a client that still has the other half does not wait.
        if stream.released >= most {
            frame::window_update(id, stream.released, &mut self.out);
            stream.receive_window += std::mem::take(&mut stream.released);
        }
        debug_assert!(
            stream.receive_window + stream.released <= self.limits.stream_window.max(FIRST_WINDOW),
            "more is given back than was received"
        );
    }

    fn release_connection(&mut self, bytes: u32) {
        self.released += bytes;
        if self.released >= self.limits.connection_window / 2 && self.stage != Stage::Over {
            frame::window_update(0, self.released, &mut self.out);
            self.receive_window += std::mem::take(&mut self.released);
        }
    }

    /// Ends a stream before its time.
    pub fn reset(&mut self, StreamId(id): StreamId, code: Code) {
        if self.streams.get(id).is_some_and(Stream::is_open) {
            self.reset_stream(id, code);
        }
    }

    /// The user is done with a stream: where it is not over, it is reset. Whether its response was complete.
    pub fn let_go(&mut self, id: StreamId) -> bool {
        let sends = self.streams.get(id.0).is_some_and(|stream| stream.sends);
        // RFC 9113 section 8.1: "A server MAY request that the client abort transmission of a request without error by sending a RST_STREAM with an error code of NO_ERROR after sending a complete response"
        self.reset(id, if sends { Code::InternalError } else { Code::NoError });
        self.streams.remove(id.0);
        !sends
    }

    fn step(&mut self, bytes: &[u8], offset: usize) -> Result<(usize, Option<Event>), Stop> {
        match self.stage {
            Stage::Preface => self.preface(bytes).map(|n| (n, None)),
            Stage::Settings | Stage::Frame => self.frame(bytes),
            Stage::Content { stream, left, padding, ends } => {
                let n = left.min(bytes.len());
                let left = left - n;
                self.stage = match left {
                    0 => skip(padding),
                    _ => Stage::Content { stream, left, padding, ends },
                };
                Ok((n, self.content(stream, offset..offset + n, ends && left == 0)))
            }
            Stage::Skip(left) => {
                let n = left.min(bytes.len());
                self.stage = skip(left - n);
                Ok((n, None))
            }
            Stage::Over => Ok((bytes.len(), None)),
        }
    }

    fn preface(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let n = PREFACE.len().min(bytes.len());
        match bytes[..n] == PREFACE[..n] {
            false => Err(Code::ProtocolError.into()),
            true if n < PREFACE.len() => Err(Stop::Short),
            true => {
                self.stage = Stage::Settings;
                Ok(n)
            }
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(usize, Option<Event>), Stop> {
        let head = Head::read(bytes).ok_or(Stop::Short)?;
        if head.length > PAYLOAD {
            return Err(Code::FrameSizeError.into());
        }
        // RFC 9113 section 3.4: "This sequence MUST be followed by a SETTINGS frame"
        if self.stage == Stage::Settings && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Code::ProtocolError.into());
        }
        // RFC 9113 section 6.2: "A receiver MUST treat the receipt of any other type of frame or a frame on a different stream as a connection error (Section 5.4.1) of type PROTOCOL_ERROR."
        if self
            .block
            .as_ref()
            .is_some_and(|block| head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return Err(Code::ProtocolError.into());
        }
        if head.kind == kind::DATA {
            let (n, event) = self.data(head, bytes)?;
            return Ok((n, event));
        }
        if head.kind > kind::CONTINUATION {
            self.idle_frame()?;
            self.stage = skip(head.length);
            return Ok((HEAD, None));
        }
        let payload = bytes.get(HEAD..HEAD + head.length).ok_or(Stop::Short)?;
        self.stage = Stage::Frame;
        let event = match head.kind {
            kind::HEADERS => self.headers(head, payload)?,
            kind::CONTINUATION => self.continuation(head, payload)?,
            kind::RST_STREAM => self.rst_stream(head)?,
            kind::SETTINGS => self.settings(head, payload)?,
            kind::PING => self.ping(head, payload)?,
            kind::GOAWAY => self.goaway(head)?,
            kind::WINDOW_UPDATE => self.window_update(head, payload)?,
            // RFC 9113 section 5.3.2: priorities are ignored; section 6.3 has what remains.
            kind::PRIORITY if head.stream == 0 => return Err(Code::ProtocolError.into()),
            kind::PRIORITY if head.length != 5 => self.fault(head.stream, Code::FrameSizeError)?,
            kind::PRIORITY => self.idle_frame().map(|()| None)?,
            // PUSH_PROMISE (RFC 9113 section 8.4: "A client cannot push.")
            _ => return Err(Code::ProtocolError.into()),
        };
        Ok((HEAD + head.length, event))
    }

    /// A frame that brings nothing on. Everybody sends some; whoever sends nothing else only keeps us busy.
    fn idle_frame(&mut self) -> Result<(), Code> {
        self.idle_frames += 1;
        if self.idle_frames > IDLE_FRAMES { Err(Code::EnhanceYourCalm) } else { Ok(()) }
    }

    fn data(&mut self, head: Head, bytes: &[u8]) -> Result<(usize, Option<Event>), Stop> {
        let mut head_length = HEAD;
        let (mut begin, mut end) = (0, head.length);
        if head.has(flag::PADDED) {
            if head.length == 0 {
                return Err(Code::FrameSizeError.into());
            }
            let &padding = bytes.get(HEAD).ok_or(Stop::Short)?;
            (begin, end) = frame::unpadded(head.length, padding)?;
            head_length += 1;
        }
        self.stage = Stage::Frame;
        let id = self.known(head.stream)?;
        let whole = u32::try_from(head.length).unwrap_or(u32::MAX);
        // Frames count whole, padding and all, in the connection's window, whatever has become of their stream.
        self.receive_window = self.receive_window.checked_sub(whole).ok_or(Code::FlowControlError)?;
        let content = end - begin;
        let ends = head.has(flag::END_STREAM);
        if content == 0 && !ends {
            self.idle_frame()?;
        } else {
            self.idle_frames = 0;
        }
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.receives) else {
            self.release_connection(whole);
            self.stage = skip(head.length - begin);
            let event = match self.streams.was_reset(id) {
                true => None,
                false => self.fault(id, Code::StreamClosed)?,
            };
            return Ok((head_length, event));
        };
        let Some(window) = stream.receive_window.checked_sub(whole) else {
            self.release_connection(whole);
            self.stage = skip(head.length - begin);
            return Ok((head_length, self.fault(id, Code::FlowControlError)?));
        };
        stream.receive_window = window;
        // RFC 9113 section 8.1.1: "A request or response that is defined as having content when it contains a Content-Length header field is malformed if the value of the Content-Length header field does not equal the sum of the DATA frame payload lengths that form the content"
        let left = stream.length.map(|length| length.checked_sub(content as u64));
        if matches!(left, Some(None)) || ends && matches!(left, Some(Some(1..))) {
            self.release_connection(whole);
            self.stage = skip(head.length - begin);
            return Ok((head_length, self.fault(id, Code::ProtocolError)?));
        }
        stream.length = left.flatten();
        self.release(StreamId(id), head.length - content);
        if content == 0 {
            self.stage = skip(head.length - end);
            return Ok((head_length, ends.then(|| self.content(id, 0..0, true)).flatten()));
        }
        self.stage = Stage::Content { stream: id, left: content, padding: head.length - end, ends };
        Ok((head_length, None))
    }

    fn content(&mut self, id: u32, range: Range<usize>, ends: bool) -> Option<Event> {
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.receives) else {
            // The user has let go of it meanwhile.
            self.release_connection(u32::try_from(range.len()).unwrap_or(u32::MAX));
            return None;
        };
        stream.receives = !ends;
        Some(Event::Content(StreamId(id), range, ends))
    }

    /// The number of a stream that a frame is about, which has to have begun.
    fn known(&self, stream: u32) -> Result<u32, Code> {
        // RFC 9113 section 5.1: "Receiving any frame other than HEADERS or PRIORITY on a stream in this state [idle] MUST be treated as a connection error of type PROTOCOL_ERROR."
        match stream {
            0 => Err(Code::ProtocolError),
            id if id > self.last || id.is_multiple_of(2) => Err(Code::ProtocolError),
            id => Ok(id),
        }
    }

    fn headers(&mut self, head: Head, payload: &[u8]) -> Result<Option<Event>, Code> {
        // RFC 9113 section 5.1.1: "Streams initiated by a client MUST use odd-numbered stream identifiers"
        if head.stream.is_multiple_of(2) {
            return Err(Code::ProtocolError);
        }
        let (mut begin, mut end) = (0, payload.len());
        if head.has(flag::PADDED) {
            let &padding = payload.first().ok_or(Code::FrameSizeError)?;
            (begin, end) = frame::unpadded(payload.len(), padding)?;
        }
        if head.has(flag::PRIORITY) {
            begin += 5;
        }
        let fragment = payload.get(begin..end).ok_or(Code::ProtocolError)?;
        let ends = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.fields(head.stream, ends, fragment);
        }
        self.block = Some(Block { stream: head.stream, ends, bytes: fragment.to_vec(), pieces: 1 });
        Ok(None)
    }

    fn continuation(&mut self, head: Head, payload: &[u8]) -> Result<Option<Event>, Code> {
        let Some(block) = &mut self.block else { return Err(Code::ProtocolError) };
        block.pieces += 1;
        block.bytes.extend_from_slice(payload);
        // Fields that nobody can decompress leave nothing that could be read after them.
        if block.pieces > PIECES || block.bytes.len() > self.limits.fields + PAYLOAD {
            return Err(Code::EnhanceYourCalm);
        }
        if !head.has(flag::END_HEADERS) {
            return Ok(None);
        }
        match self.block.take() {
            Some(block) => self.fields(block.stream, block.ends, &block.bytes),
            None => Ok(None),
        }
    }

    /// Takes a whole field block.
    fn fields(&mut self, id: u32, ends: bool, block: &[u8]) -> Result<Option<Event>, Code> {
        if id > self.last {
            return self.request(id, ends, block);
        }
        let Some(stream) = self.streams.get(id).filter(|stream| stream.receives) else {
            if self.streams.was_reset(id) || self.streams.get(id).is_some() {
                self.decode(block, |_, _, _| {})?;
                return if self.streams.was_reset(id) {
                    Ok(None)
                } else {
                    self.fault(id, Code::StreamClosed)
                };
            }
            // RFC 9113 section 5.1 lets us do so with all that comes for closed streams.
            return Err(Code::StreamClosed);
        };
        let is_short = matches!(stream.length, Some(1..));
        self.decode(block, Reader::take_trailer)?;
        // RFC 9113 section 8.1: "An endpoint that receives a HEADERS frame without the END_STREAM flag set after receiving the HEADERS frame that opens a request […] MUST treat the corresponding request or response as malformed"
        if !ends || is_short {
            return self.fault(id, Code::ProtocolError);
        }
        match self.reader.finish_trailers() {
            Read::Head(_) | Read::WebSocket => {}
            Read::Malformed => return self.fault(id, Code::ProtocolError),
            Read::TooLarge => return self.fault(id, Code::EnhanceYourCalm),
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.receives = false;
        }
        self.idle_frames = 0;
        Ok(Some(Event::Trailers(StreamId(id))))
    }

    fn request(&mut self, id: u32, ends: bool, block: &[u8]) -> Result<Option<Event>, Code> {
        self.last = id;
        self.decode(block, Reader::take)?;
        if let Departure::Known { last } = self.departure
            && id > last
        {
            // The client knows, or will, that nobody has seen it, and asks elsewhere.
            self.streams.remember_reset(id);
            return Ok(None);
        }
        // RFC 9113 section 5.1.2: "An endpoint that receives a HEADERS frame that causes its advertised concurrent stream limit to be exceeded MUST treat this as a stream error of type PROTOCOL_ERROR or REFUSED_STREAM."
        if self.streams.open() >= self.limits.streams as usize {
            return self.fault(id, Code::RefusedStream);
        }
        let (length, follows) = match self.reader.finish(ends) {
            Read::Head(length) if ends => (length, Some(Follows::Nothing)),
            Read::Head(length) => (length, Some(Follows::Content)),
            Read::WebSocket => (None, Some(Follows::WebSocket)),
            Read::TooLarge => (None, None),
            // RFC 9113 section 8.1.1: "Malformed requests or responses that are detected MUST be treated as a stream error of type PROTOCOL_ERROR."
            Read::Malformed => {
                self.fault(id, Code::ProtocolError)?;
                return Ok(Some(Event::Malformed));
            }
        };
        self.idle_frames = 0;
        self.streams.push(Stream {
            id,
            receives: !ends,
            sends: true,
            send_window: i64::from(self.client.window),
            receive_window: self.limits.stream_window,
            released: 0,
            length,
            user: T::default(),
        });
        let Some(follows) = follows else {
            // RFC 6585 section 5: "the server is unwilling to process the request because its header fields are too large."
            self.send_fields(id, Some(431), std::iter::empty(), true);
            self.let_go(StreamId(id));
            return Ok(Some(Event::Malformed));
        };
        Ok(Some(Event::Request(StreamId(id), follows)))
    }

    // RFC 9113 section 4.3: "A decoding error in a field block MUST be treated as a connection error of type COMPRESSION_ERROR."
    fn decode(&mut self, block: &[u8], take: impl Fn(&mut Reader, &[u8], &[u8])) -> Result<(), Code> {
        let Self { decoder, reader, .. } = self;
        reader.clear();
        decoder.decode(block, |name, value| take(reader, name, value)).map_err(|_| Code::CompressionError)
    }

    /// A stream fails by what its client did.
    fn fault(&mut self, id: u32, code: Code) -> Result<Option<Event>, Code> {
        self.idle_frame()?;
        let is_open = self.streams.get(id).is_some_and(Stream::is_open);
        self.reset_stream(id, code);
        Ok(is_open.then_some(Event::Reset(StreamId(id))))
    }

    fn reset_stream(&mut self, id: u32, code: Code) {
        if self.stage != Stage::Over {
            frame::rst_stream(id, code, &mut self.out);
        }
        self.streams.remember_reset(id);
        if let Some(stream) = self.streams.get_mut(id) {
            stream.close();
        }
    }
}

fn skip(left: usize) -> Stage {
    if left > 0 { Stage::Skip(left) } else { Stage::Frame }
}
