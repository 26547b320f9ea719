//! What RFC 9113 has a server do, case by case: frames in, and what becomes of the connection or the stream.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the failure message"
)]

use http2::{Code, Connection, Event, Limits, PREFACE, Room, StreamId};

const LIMITS: Limits =
    Limits { streams: 3, stream_window: 70_000, connection_window: 100_000, fields: 2_000, waiting: 10_000 };

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 0x20;
/// `:method: GET`, `:scheme: http`, `:path: /`, `:authority: a`.
const GET: &[u8] = b"\x82\x86\x84\x01\x01a";
const POST: &[u8] = b"\x83\x86\x84\x01\x01a";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A frame as it was sent.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Sent {
    /// The error code of a RST_STREAM, or of a GOAWAY.
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A connection and all that has happened on it.
struct Peer {
    connection: Connection<()>,
    events: Vec<Event>,
    text: Vec<String>,
    content: Vec<u8>,
}

impl Peer {
    fn silent() -> Self {
        Self { connection: Connection::new(LIMITS), events: vec![], text: vec![], content: vec![] }
    }

    /// One that has said what every client begins with.
    fn new() -> Self {
        let mut peer = Self::silent();
        peer.says(PREFACE);
        peer.says(&frame(SETTINGS, 0, 0, &[]));
        peer.sent();
        peer
    }

    fn says(&mut self, bytes: &[u8]) -> &mut Self {
        let mut rest = bytes;
        loop {
            let (used, event) = self.connection.receive(rest);
            match &event {
                Some(Event::Request(..) | Event::Trailers(_)) => {
                    self.text.push(String::from_utf8(self.connection.text().to_vec()).unwrap());
                }
                Some(Event::Content(_, range, _)) => self.content.extend_from_slice(&rest[range.clone()]),
                _ => {}
            }
            rest = &rest[used..];
            let goes_on = event.is_some() || used > 0;
            self.events.extend(event);
            if !goes_on {
                assert!(rest.is_empty(), "frames are whole here: {rest:?}");
                return self;
            }
        }
    }

    fn sent(&mut self) -> Vec<Sent> {
        let out = std::mem::take(self.connection.out());
        let (mut rest, mut frames) = (&out[..], Vec::new());
        while let [a, b, c, kind, flags, d, e, f, g, behind @ ..] = rest {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let stream = u32::from_be_bytes([*d, *e, *f, *g]);
            frames.push(Sent { kind: *kind, flags: *flags, stream, payload: behind[..length].to_vec() });
            rest = &behind[length..];
        }
        assert!(rest.is_empty(), "a frame is not whole");
        frames
    }

    fn stream(&self) -> StreamId {
        let mut begun = self.events.iter().filter_map(|event| match event {
            Event::Request(id, _) => Some(*id),
            _ => None,
        });
        begun.next_back().expect("a request has come")
    }
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, GET)
}

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, POST)
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// These frames end the connection with that code.
fn ends(code: Code, frames: &[Vec<u8>]) {
    let mut peer = Peer::new();
    peer.says(&frames.concat());
    let sent = peer.sent();
    let goaway = sent.last().unwrap_or_else(|| panic!("nothing came of {frames:?}"));
    assert_eq!((goaway.kind, goaway.code()), (GOAWAY, code as u32), "{frames:?}: {sent:?}");
    assert!(peer.connection.is_over());
    let many = peer.events.len();
    peer.says(&get(99));
    assert_eq!((peer.events.len(), peer.sent()), (many, vec![]), "it goes on after {frames:?}");
}

/// These frames reset a stream with that code, and nothing else.
fn resets(stream: u32, code: Code, frames: &[Vec<u8>]) {
    let mut peer = Peer::new();
    peer.says(&frames.concat());
    let sent = peer.sent();
    let reset: Vec<_> =
        sent.iter().filter(|it| it.kind == RST_STREAM).map(|it| (it.stream, it.code())).collect();
    assert_eq!(reset, [(stream, code as u32)], "{frames:?}: {sent:?}");
    let many = peer.events.len();
    peer.says(&get(97));
    assert_eq!(peer.events.len(), many + 1, "nothing more is served after {frames:?}");
}

/// These frames are no mistake.
fn is_fine(frames: &[Vec<u8>]) {
    let mut peer = Peer::new();
    peer.says(&frames.concat());
    let sent = peer.sent();
    assert!(!sent.iter().any(|it| [RST_STREAM, GOAWAY].contains(&it.kind)), "{frames:?}: {sent:?}");
    let many = peer.events.len();
    peer.says(&get(95));
    assert_eq!(peer.events.len(), many + 1, "nothing more is served after {frames:?}");
}

// RFC 9113 section 3.4: "This sequence MUST be followed by a SETTINGS frame"
#[test]
fn section_3_4_the_preface() {
    let mut peer = Peer::silent();
    let first = peer.sent();
    assert_eq!((first[0].kind, first[0].flags, first[0].stream), (SETTINGS, 0, 0));
    assert_eq!(
        first[0].payload,
        [
            &[0, 3][..],
            &3_u32.to_be_bytes(),
            &[0, 4],
            &70_000_u32.to_be_bytes(),
            &[0, 6],
            &2_000_u32.to_be_bytes(),
            &[0, 8, 0, 0, 0, 1]
        ]
        .concat()
    );
    assert_eq!(
        (first[1].kind, &first[1].payload[..]),
        (WINDOW_UPDATE, &(100_000_u32 - 65_535).to_be_bytes()[..])
    );
    let (begin, end) = PREFACE.split_at(7);
    assert_eq!(peer.connection.receive(begin), (0, None));
    peer.says(&[begin, end].concat()).says(&frame(SETTINGS, 0, 0, &[]));
    assert_eq!((peer.sent()[0].kind, peer.events.len()), (SETTINGS, 0));
    for wrong in [&b"GET / HTTP/1.1\r\n\r\n........"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let mut peer = Peer::silent();
        peer.says(wrong);
        assert_eq!(peer.sent().last().unwrap().code(), Code::ProtocolError as u32);
    }
    for first in [get(1), frame(SETTINGS, ACK, 0, &[]), frame(PING, 0, 0, &[0; 8])] {
        let mut peer = Peer::silent();
        peer.says(PREFACE).says(&first);
        assert_eq!(peer.sent().last().unwrap().code(), Code::ProtocolError as u32);
        assert_eq!(peer.events, []);
    }
}

// RFC 9113 section 4.1: "the bit MUST remain unset (0x00) when sending and MUST be ignored when receiving."
#[test]
fn section_4_1_frames_of_unknown_types_and_flags() {
    is_fine(&[frame(0x16, 0xff, 0, &[0; 8])]);
    is_fine(&[frame(0x16, 0, 5, &[])]);
    is_fine(&[frame(PING, 0x16, 0, &[0; 8])]);
    is_fine(&[frame(PING, 0, 1 << 31, &[0; 8])]);
    // Section 6.2: none comes in the middle of a field block.
    ends(Code::ProtocolError, &[frame(HEADERS, END_STREAM, 1, GET), frame(0x16, 0, 0, &[])]);
}

#[test]
fn section_4_2_the_size_of_frames() {
    is_fine(&[post(1), frame(DATA, 0, 1, &[0; 16_384])]);
    for kind in [DATA, HEADERS, SETTINGS, 0x16] {
        ends(Code::FrameSizeError, &[frame(kind, 0, 1, &[0; 16_385])]);
    }
}

// RFC 9113 section 4.3: "A decoding error in a field block MUST be treated as a connection error of type COMPRESSION_ERROR."
// RFC 9113 section 6.2: "A receiver MUST treat the receipt of any other type of frame or a frame on a different stream as a connection error (Section 5.4.1) of type PROTOCOL_ERROR."
#[test]
fn section_4_3_field_blocks() {
    ends(Code::CompressionError, &[frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x80])]);
    // One of a stream that is refused counts as well.
    let refused: Vec<_> = (0..3).map(|n| post(2 * n + 1)).collect();
    ends(Code::CompressionError, &[&refused[..], &[frame(HEADERS, END_HEADERS, 7, &[0xff])]].concat());
    let between =
        |other| [frame(HEADERS, END_STREAM, 1, GET), other, frame(CONTINUATION, END_HEADERS, 1, &[])];
    for other in [
        frame(PING, 0, 0, &[0; 8]),
        frame(DATA, 0, 1, b"x"),
        get(3),
        frame(PRIORITY, 0, 1, &[0; 5]),
        frame(CONTINUATION, 0, 3, &[]),
    ] {
        ends(Code::ProtocolError, &between(other));
    }
    let (begin, end) = GET.split_at(3);
    is_fine(&[
        frame(HEADERS, END_STREAM, 1, begin),
        frame(CONTINUATION, 0, 1, &[]),
        frame(CONTINUATION, END_HEADERS, 1, end),
    ]);
}

// RFC 9113 section 5.1: "Receiving any frame other than HEADERS or PRIORITY on a stream in this state [idle] MUST be treated as a connection error of type PROTOCOL_ERROR."
#[test]
fn section_5_1_states_of_a_stream() {
    // Idle.
    ends(Code::ProtocolError, &[frame(DATA, END_STREAM, 1, b"x")]);
    ends(Code::ProtocolError, &[frame(RST_STREAM, 0, 1, &[0; 4])]);
    ends(Code::ProtocolError, &[frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])]);
    ends(Code::ProtocolError, &[frame(CONTINUATION, END_HEADERS, 1, GET)]);
    // Ended by the client.
    resets(1, Code::StreamClosed, &[get(1), frame(DATA, END_STREAM, 1, b"x")]);
    resets(1, Code::StreamClosed, &[get(1), get(1)]);
    is_fine(&[get(1), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), frame(PRIORITY, 0, 1, &[0; 5])]);
    // Reset by the client.
    let reset = frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    is_fine(&[get(1), reset.clone(), reset.clone(), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])]);
    resets(1, Code::StreamClosed, &[post(1), reset.clone(), frame(DATA, 0, 1, b"x")]);
    resets(1, Code::StreamClosed, &[post(1), reset, get(1)]);
    // Reset by us: what is on its way is no mistake.
    let wrong = frame(WINDOW_UPDATE, 0, 1, &[0; 4]);
    resets(
        1,
        Code::ProtocolError,
        &[
            post(1),
            wrong,
            frame(DATA, 0, 1, b"x"),
            frame(HEADERS, END_STREAM | END_HEADERS, 1, GET),
            frame(RST_STREAM, 0, 1, &[0; 4]),
        ],
    );
}

#[test]
fn section_5_1_frames_of_streams_long_over() {
    let over = |peer: &mut Peer| {
        peer.says(&get(1));
        let stream = peer.stream();
        peer.connection.send_head(stream, 204, std::iter::empty(), true);
        assert!(peer.connection.let_go(stream));
        peer.sent();
    };
    let mut peer = Peer::new();
    over(&mut peer);
    peer.says(&frame(RST_STREAM, 0, 1, &[0; 4])).says(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
    assert_eq!(peer.sent(), []);
    peer.says(&frame(DATA, 0, 1, b"x"));
    assert_eq!(peer.sent()[0].code(), Code::StreamClosed as u32);
    let mut peer = Peer::new();
    over(&mut peer);
    peer.says(&get(1));
    assert_eq!((peer.sent()[0].code(), peer.connection.is_over()), (Code::StreamClosed as u32, true));
}

// RFC 9113 section 5.1.1: "Streams initiated by a client MUST use odd-numbered stream identifiers"
#[test]
fn section_5_1_1_numbers_of_streams() {
    ends(Code::ProtocolError, &[get(2)]);
    ends(Code::ProtocolError, &[get(0)]);
    ends(Code::StreamClosed, &[get(5), get(3)]);
    is_fine(&[get(5), get(7)]);
}

// RFC 9113 section 5.1.2: "An endpoint that receives a HEADERS frame that causes its advertised concurrent stream limit to be exceeded MUST treat this as a stream error of type PROTOCOL_ERROR or REFUSED_STREAM."
#[test]
fn section_5_1_2_streams_at_once() {
    let four: Vec<_> = (0..4).map(|n| get(2 * n + 1)).collect();
    let mut peer = Peer::new();
    peer.says(&four.concat());
    let sent = peer.sent();
    assert_eq!((sent.len(), sent[0].stream, sent[0].code()), (1, 7, Code::RefusedStream as u32));
    let first = peer
        .events
        .iter()
        .find_map(|event| if let Event::Request(id, _) = event { Some(*id) } else { None })
        .unwrap();
    peer.connection.send_head(first, 204, std::iter::empty(), true);
    peer.says(&get(9));
    assert_eq!(peer.events.len(), 4, "one that is over counts no more");
}

#[test]
fn section_5_4_1_errors_of_the_connection_name_the_last_stream() {
    let mut peer = Peer::new();
    peer.says(&[get(1), get(5), frame(PING, 0, 0, &[0; 7])].concat());
    assert_eq!(peer.sent().last().unwrap().payload, [0, 0, 0, 5, 0, 0, 0, 6]);
}

// RFC 9113 section 6.1: "If the length of the padding is the length of the frame payload or greater, the recipient MUST treat this as a connection error of type PROTOCOL_ERROR."
#[test]
fn section_6_1_data() {
    ends(Code::ProtocolError, &[frame(DATA, 0, 0, b"x")]);
    ends(Code::ProtocolError, &[post(1), frame(DATA, PADDED, 1, &[5, 0, 0, 0, 0])]);
    ends(Code::FrameSizeError, &[post(1), frame(DATA, PADDED, 1, &[])]);
    let mut peer = Peer::new();
    peer.says(
        &[
            post(1),
            frame(DATA, PADDED, 1, b"\x03one\0\0\0"),
            frame(DATA, 0, 1, b""),
            frame(DATA, PADDED, 1, b"\x01\0"),
            frame(DATA, END_STREAM, 1, b"two"),
        ]
        .concat(),
    );
    assert_eq!(peer.content, b"onetwo");
    assert!(matches!(peer.events.last(), Some(Event::Content(_, _, true))));
}

#[test]
fn section_6_2_headers() {
    let padded = [b"\x02", GET, b"\0\0"].concat();
    let all = frame(
        HEADERS,
        END_STREAM | END_HEADERS | PADDED | PRIORITIZED,
        1,
        &[b"\x02\x80\0\0\x07\xff", GET, b"\0\0"].concat(),
    );
    is_fine(&[frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &padded)]);
    is_fine(&[all]);
    ends(Code::ProtocolError, &[frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x05\x82\x86")]);
    ends(Code::FrameSizeError, &[frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &[])]);
    ends(Code::ProtocolError, &[frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, b"\0\0\0")]);
}

#[test]
fn section_6_3_priority() {
    ends(Code::ProtocolError, &[frame(PRIORITY, 0, 0, &[0; 5])]);
    resets(1, Code::FrameSizeError, &[get(1), frame(PRIORITY, 0, 1, &[0; 4])]);
    is_fine(&[frame(PRIORITY, 0, 1, &[0; 5]), frame(PRIORITY, 0, 9, &[0, 0, 0, 9, 1])]);
}

#[test]
fn section_6_4_rst_stream() {
    ends(Code::ProtocolError, &[frame(RST_STREAM, 0, 0, &[0; 4])]);
    ends(Code::FrameSizeError, &[get(1), frame(RST_STREAM, 0, 1, &[0; 3])]);
    let mut peer = Peer::new();
    peer.says(&[post(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat());
    let stream = peer.stream();
    assert_eq!((peer.events.last(), peer.connection.room(stream)), (Some(&Event::Reset(stream)), Room::Gone));
    peer.connection.send_head(stream, 200, std::iter::empty(), false);
    peer.connection.send_content(stream, |_| true);
    assert!(peer.connection.let_go(stream), "there is nothing to send any more");
    assert_eq!(peer.sent(), [], "what was reset is answered");
}

// RFC 9113 section 6.5.2: "An endpoint that receives a SETTINGS frame with any unknown or unsupported identifier MUST ignore that setting."
#[test]
fn section_6_5_settings() {
    ends(Code::FrameSizeError, &[frame(SETTINGS, ACK, 0, &[0; 6])]);
    ends(Code::FrameSizeError, &[frame(SETTINGS, 0, 0, &[0; 7])]);
    ends(Code::ProtocolError, &[frame(SETTINGS, 0, 1, &[])]);
    ends(Code::ProtocolError, &[setting(2, 2)]);
    ends(Code::FlowControlError, &[setting(4, 1 << 31)]);
    ends(Code::ProtocolError, &[setting(5, 16_383)]);
    ends(Code::ProtocolError, &[setting(5, 1 << 24)]);
    is_fine(&[setting(5, (1 << 24) - 1), setting(0xff, 1), frame(SETTINGS, ACK, 0, &[])]);
    let mut peer = Peer::new();
    peer.says(&setting(4, 10));
    assert_eq!(peer.sent(), [Sent { kind: SETTINGS, flags: ACK, stream: 0, payload: vec![] }]);
}

#[test]
fn section_6_6_nobody_pushes_to_a_server() {
    ends(Code::ProtocolError, &[get(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], GET].concat())]);
}

#[test]
fn section_6_7_ping() {
    ends(Code::FrameSizeError, &[frame(PING, 0, 0, &[0; 6])]);
    ends(Code::ProtocolError, &[frame(PING, 0, 1, &[0; 8])]);
    is_fine(&[frame(PING, ACK, 0, b"whatever")]);
    let mut peer = Peer::new();
    peer.says(&frame(PING, 0, 0, b"12345678"));
    assert_eq!(peer.sent(), [Sent { kind: PING, flags: ACK, stream: 0, payload: b"12345678".to_vec() }]);
}

#[test]
fn section_6_8_goaway() {
    ends(Code::ProtocolError, &[frame(GOAWAY, 0, 1, &[0; 8])]);
    ends(Code::FrameSizeError, &[frame(GOAWAY, 0, 0, &[0; 7])]);
    is_fine(&[get(1), frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0bye")]);
}

// RFC 9113 section 6.8: "A server that is attempting to gracefully shut down a connection SHOULD send an initial GOAWAY frame with the last stream identifier set to 2^31-1 and a NO_ERROR code."
#[test]
fn section_6_8_a_connection_that_is_left_serves_what_was_on_its_way() {
    let mut peer = Peer::new();
    peer.says(&get(1));
    peer.connection.leave();
    peer.connection.leave();
    let told = peer.sent();
    assert_eq!(
        (told.len(), told[0].kind, &told[0].payload[..]),
        (2, GOAWAY, &b"\x7f\xff\xff\xff\0\0\0\0"[..])
    );
    assert_eq!((told[1].kind, told[1].flags), (PING, 0));
    peer.says(&get(3)).says(&frame(PING, ACK, 0, b"whatever"));
    assert_eq!((peer.events.len(), peer.sent()), (2, vec![]));
    peer.says(&frame(PING, ACK, 0, &told[1].payload)).says(&get(5));
    let known = peer.sent();
    assert_eq!((known.len(), &known[0].payload[..]), (1, &b"\0\0\0\x03\0\0\0\0"[..]));
    assert_eq!(peer.events.len(), 2, "what comes after that is served elsewhere");
    peer.says(&frame(DATA, 0, 5, b"x"));
    for id in peer.events.clone() {
        let Event::Request(id, _) = id else { panic!("{id:?}") };
        assert!(!peer.connection.is_over(), "{id:?} is not answered");
        peer.connection.send_head(id, 204, std::iter::empty(), true);
        peer.connection.let_go(id);
    }
    assert!(peer.connection.is_over());
    assert!(peer.sent().iter().all(|it| it.kind == HEADERS));
}

// RFC 9113 section 6.9.2: "a receiver MUST adjust the size of all stream flow-control windows that it maintains by the difference"
// RFC 9113 section 6.9: "errors on the connection flow-control window MUST be treated as a connection error."
#[test]
fn section_6_9_windows_of_the_client() {
    ends(Code::FrameSizeError, &[frame(WINDOW_UPDATE, 0, 0, &[0; 3])]);
    ends(Code::ProtocolError, &[frame(WINDOW_UPDATE, 0, 0, &[0; 4])]);
    ends(Code::FlowControlError, &[frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]);
    resets(1, Code::ProtocolError, &[post(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])]);
    resets(1, Code::FlowControlError, &[post(1), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])]);
    ends(
        Code::FlowControlError,
        &[get(1), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0, 0, 0]), setting(4, 0x7fff_ffff)],
    );
    let mut peer = Peer::new();
    peer.says(&setting(4, 10)).says(&get(1));
    let stream = peer.stream();
    assert_eq!(peer.connection.room(stream), Room::For(10));
    peer.connection.send_content(stream, |out| {
        out.extend_from_slice(b"0123456789");
        false
    });
    assert_eq!(peer.connection.room(stream), Room::OfStream);
    // A window can be less than nothing (section 6.9.2).
    peer.says(&setting(4, 5)).says(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 5]));
    assert_eq!(peer.connection.room(stream), Room::OfStream);
    peer.says(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
    assert_eq!(peer.connection.room(stream), Room::For(1));
    assert_eq!(peer.events[1..], [Event::RoomOfStream(stream), Event::RoomOfStream(stream)]);
    peer.says(&setting(4, 50)).says(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    assert_eq!(peer.events[3..], [Event::RoomOfStreams, Event::RoomOfConnection]);
}

#[test]
fn section_6_9_windows_of_ours() {
    let piece = |stream, bytes: usize| frame(DATA, 0, stream, &vec![b'x'; bytes]);
    let most: Vec<_> = std::iter::once(post(1)).chain((0..4).map(|_| piece(1, 16_384))).collect();
    is_fine(&[&most[..], &[piece(1, 70_000 - 65_536)]].concat());
    resets(1, Code::FlowControlError, &[&most[..], &[piece(1, 70_001 - 65_536)]].concat());
    let both = [&most[..], &[piece(1, 4_464), post(3), piece(3, 16_384), piece(3, 13_616)]].concat();
    is_fine(&both);
    ends(Code::FlowControlError, &[&both[..], &[piece(3, 1)]].concat());
    // What was read makes room, half a window at a time; what nobody reads does so at once.
    let mut peer = Peer::new();
    peer.says(&most.concat());
    let stream = peer.stream();
    peer.connection.release(stream, 34_999);
    assert_eq!(peer.sent(), []);
    peer.connection.release(stream, 16_000);
    let updates: Vec<_> = peer.sent().into_iter().map(|it| (it.stream, it.payload)).collect();
    assert_eq!(updates, [(0, 50_999_u32.to_be_bytes().to_vec()), (1, 50_999_u32.to_be_bytes().to_vec())]);
    peer.connection.let_go(stream);
    assert_eq!(peer.sent()[0].code(), Code::InternalError as u32);
    for _ in 0..10 {
        peer.says(&piece(1, 16_384));
    }
    assert!(
        peer.sent().iter().all(|it| (it.kind, it.stream) == (WINDOW_UPDATE, 0)),
        "a stream that is over takes no room"
    );
    // Padding counts, too.
    let mut peer = Peer::new();
    peer.says(&post(1));
    for _ in 0..300 {
        peer.says(&frame(DATA, PADDED, 1, &[&[254_u8][..], b"x", &[0; 254]].concat()));
    }
    assert!(
        peer.events.len() == 301 && !peer.sent().iter().any(|it| it.kind == RST_STREAM),
        "padding is never given back"
    );
}

#[test]
fn section_6_10_continuation() {
    ends(Code::ProtocolError, &[get(1), frame(CONTINUATION, END_HEADERS, 1, &[])]);
    ends(Code::ProtocolError, &[frame(CONTINUATION, END_HEADERS, 0, &[])]);
    ends(
        Code::EnhanceYourCalm,
        &[&[frame(HEADERS, 0, 1, GET)][..], &vec![frame(CONTINUATION, 0, 1, &[]); 40]].concat(),
    );
    ends(
        Code::EnhanceYourCalm,
        &[&[frame(HEADERS, 0, 1, GET)][..], &vec![frame(CONTINUATION, 0, 1, &[0x82; 9_000]); 3]].concat(),
    );
}

// RFC 9113 section 8.1: "An endpoint that receives a HEADERS frame without the END_STREAM flag set after receiving the HEADERS frame that opens a request […] MUST treat the corresponding request or response as malformed"
// RFC 9113 section 8.1: "Trailers MUST NOT include pseudo-header fields"
#[test]
fn section_8_1_messages() {
    let length = |text: &[u8]| frame(HEADERS, END_HEADERS, 1, &[POST, b"\x0f\x0d\x01", text].concat());
    is_fine(&[length(b"5"), frame(DATA, 0, 1, b"fi"), frame(DATA, END_STREAM, 1, b"ve.")]);
    resets(1, Code::ProtocolError, &[length(b"5"), frame(DATA, END_STREAM, 1, b"four")]);
    resets(1, Code::ProtocolError, &[length(b"5"), frame(DATA, 0, 1, b"six...")]);
    resets(1, Code::ProtocolError, &[length(b"5"), frame(DATA, END_STREAM, 1, b"")]);
    let trailers = |flags: u8| frame(HEADERS, END_HEADERS | flags, 1, b"\0\x01x\x01y");
    resets(1, Code::ProtocolError, &[length(b"5"), trailers(END_STREAM)]);
    resets(1, Code::ProtocolError, &[post(1), trailers(0)]);
    resets(1, Code::ProtocolError, &[post(1), frame(HEADERS, END_STREAM | END_HEADERS, 1, GET)]);
    let mut peer = Peer::new();
    peer.says(&[post(1), frame(DATA, 0, 1, b"some"), trailers(END_STREAM)].concat());
    assert_eq!(peer.text, ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "x: y\r\n"]);
}

// RFC 9113 section 8.2.1: "A field name MUST NOT contain characters in the ranges 0x00-0x20, 0x41-0x5a, or 0x7f-0xff (all ranges inclusive)."
// RFC 9113 section 8.2.1: "A field value MUST NOT contain the zero value (ASCII NUL, 0x00), line feed (ASCII LF, 0x0a), or carriage return (ASCII CR, 0x0d) at any position. A field value MUST NOT start or end with an ASCII whitespace character"
#[test]
fn section_8_3_malformed_requests_are_counted_and_reset() {
    for block in [
        &b"\x82\x86"[..],
        b"\x82\x86\x84\0\x01X\x01y",
        b"\x82\x86\x84\0\x01x\x03a\nb",
        b"\x82\x86\x84\0\x01x\x02\0a",
        b"\x82\x86\x84\0\x01x\x02 a",
        b"\x82\x86\x84\x84",
    ] {
        let mut peer = Peer::new();
        peer.says(&frame(HEADERS, END_STREAM | END_HEADERS, 1, block));
        assert_eq!(
            (peer.events.clone(), peer.sent()[0].code()),
            (vec![Event::Malformed], Code::ProtocolError as u32)
        );
        assert_eq!(peer.says(&get(3)).text, ["GET / HTTP/1.1\r\nHost: a\r\n\r\n"]);
    }
}

#[test]
fn section_10_5_1_fields_that_are_too_many_are_answered() {
    let mut peer = Peer::new();
    let many = [GET, &b"\x40\x01x\x0212"[..], &b"\xbe".repeat(100)].concat();
    peer.says(&frame(HEADERS, END_HEADERS, 1, &many));
    let sent = peer.sent();
    assert_eq!(
        (sent[0].kind, sent[0].flags, &sent[0].payload[..]),
        (HEADERS, END_STREAM | END_HEADERS, &b"\x08\x03431"[..])
    );
    assert_eq!((sent[1].kind, sent[1].code()), (RST_STREAM, Code::NoError as u32));
    assert_eq!(peer.events, [Event::Malformed]);
}

#[test]
fn section_10_5_whoever_only_keeps_us_busy_is_sent_away() {
    let floods = [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PRIORITY, 0, 1, &[0; 5]),
        frame(DATA, 0, 1, &[]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(0x16, 0, 0, &[]),
        frame(RST_STREAM, 0, 1, &[0; 4]),
    ];
    for frames in floods {
        let mut peer = Peer::new();
        peer.says(&post(1));
        let mut count = 0;
        while !peer.connection.is_over() {
            assert!(count < 20_000, "{frames:?} goes on for ever");
            peer.says(&frames);
            count += 1;
        }
        assert_eq!(peer.sent().last().unwrap().code(), Code::EnhanceYourCalm as u32);
    }
}

// RFC 9113 section 8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields."
#[test]
fn responses_are_sent_as_far_as_there_is_room() {
    let mut peer = Peer::new();
    peer.says(&get(1));
    let stream = peer.stream();
    let fields: [(&[u8], &[u8]); 4] =
        [(b"Connection", b"close"), (b"Transfer-Encoding", b"chunked"), (b"TE", b"x"), (b"Server", b"a")];
    peer.connection.send_head(stream, 103, std::iter::empty(), false);
    peer.connection.send_head(stream, 200, fields.into_iter(), false);
    peer.connection.send_content(stream, |_| false);
    peer.connection.send_content(stream, |out| {
        out.extend_from_slice(b"ab");
        false
    });
    peer.connection.send_trailers(stream, [(&b"X-Sum"[..], &b"1"[..])].into_iter());
    let sent: Vec<_> = peer.sent().into_iter().map(|it| (it.kind, it.flags, it.payload)).collect();
    let expected: [(u8, u8, &[u8]); 4] = [
        (HEADERS, END_HEADERS, b"\x08\x03103"),
        (HEADERS, END_HEADERS, b"\x88\x0f\x27\x01a"),
        (DATA, 0, b"ab"),
        (HEADERS, END_HEADERS | END_STREAM, b"\0\x05x-sum\x011"),
    ];
    assert_eq!(sent, expected.map(|(kind, flags, payload)| (kind, flags, payload.to_vec())));
    assert_eq!(peer.connection.room(stream), Room::Gone);
    assert!(peer.connection.let_go(stream));
    // What waits for the socket is bounded, and a head that is long comes in pieces.
    peer.says(&get(3));
    let stream = peer.stream();
    peer.connection.send_head(stream, 200, [(&b"x"[..], &[b'y'; 40_000][..])].into_iter(), false);
    assert_eq!(
        [peer.connection.room(stream), peer.connection.room_for_head(stream)],
        [Room::OfConnection; 2]
    );
    let sent = peer.sent();
    assert_eq!(
        sent.iter().map(|it| (it.kind, it.flags)).collect::<Vec<_>>(),
        [(HEADERS, 0), (CONTINUATION, 0), (CONTINUATION, END_HEADERS)]
    );
    assert_eq!(peer.connection.room(stream), Room::For(16_384));
}
