//! HTTP/2: whatever a client sends, and however it is cut, what comes of it is the same, everything stays in its bounds, and what is
//! sent are whole frames.

use http2::{Connection, Event, Limits, PREFACE, Room, StreamId};

const LIMITS: Limits =
    Limits { streams: 8, stream_window: 4_000, connection_window: 70_000, fields: 4_000, waiting: 4_000 };

/// Bytes behind a preface, a frame of settings being the first.
pub(crate) fn run(bytes: &[u8]) {
    let all = [PREFACE, b"\0\0\0\x04\0\0\0\0\0", bytes].concat();
    let whole = converse(&all, all.len());
    for piece in [1, 13] {
        assert_eq!(converse(&all, piece), whole, "in pieces of {piece} bytes it is another conversation");
    }
}

/// All requests, all content and all trailers, in the order of their streams.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    requests: Vec<String>,
    content: Vec<(StreamId, Vec<u8>)>,
    trailers: Vec<(StreamId, String)>,
    resets: usize,
    over: bool,
}

fn converse(bytes: &[u8], piece: usize) -> Heard {
    let mut connection: Connection<usize> = Connection::new(LIMITS);
    let (mut heard, mut held, mut at) = (Heard::default(), Vec::new(), 0);
    while at < bytes.len() {
        let end = bytes.len().min(at + piece);
        held.extend_from_slice(&bytes[at..end]);
        at = end;
        loop {
            let (used, event) = connection.receive(&held);
            assert!(used <= held.len());
            let goes_on = used > 0 || event.is_some();
            if let Some(event) = event {
                happened(&mut connection, event, &held, &mut heard);
            }
            held.drain(..used);
            if !goes_on {
                break;
            }
        }
        assert!(held.len() < 16_384 + 9, "a frame that is there is not read");
    }
    are_frames(connection.out());
    heard.over = connection.is_over();
    heard
}

fn happened(connection: &mut Connection<usize>, event: Event, held: &[u8], heard: &mut Heard) {
    match event {
        Event::Request(id, _) => {
            let text = String::from_utf8_lossy(connection.text()).into_owned();
            assert!(
                text.ends_with("\r\n\r\n") && text.matches("\r\n\r\n").count() == 1,
                "{text:?} is not one head"
            );
            let line = text.lines().next().unwrap_or_default();
            assert!(
                line.ends_with(" HTTP/1.1") && line.split(' ').count() == 3,
                "{line:?} is no request line"
            );
            heard.requests.push(text);
            answer(connection, id);
        }
        Event::Content(id, range, _) => {
            let content = &held[range];
            match heard.content.iter_mut().find(|(known, _)| *known == id) {
                Some((_, known)) => known.extend_from_slice(content),
                None => heard.content.push((id, content.to_vec())),
            }
            let unread = connection.user(id).expect("its stream is there");
            *unread += content.len();
            // Nobody reads it: when that would make room depends on how it comes.
            assert!(*unread <= LIMITS.stream_window as usize, "more has come than there was room for");
        }
        Event::Trailers(id) => {
            let text = String::from_utf8_lossy(connection.text()).into_owned();
            assert!(text.split_inclusive("\r\n").all(|line| line.contains(':') && line.ends_with("\r\n")));
            heard.trailers.push((id, text));
        }
        Event::Reset(id) => {
            heard.resets += 1;
            assert_eq!(connection.room(id), Room::Gone);
            connection.let_go(id);
        }
        Event::Malformed | Event::RoomOfStream(_) | Event::RoomOfStreams | Event::RoomOfConnection => {}
    }
}

/// Answers with as much as there is room for.
fn answer(connection: &mut Connection<usize>, id: StreamId) {
    connection.send_head(id, 200, [(&b"Server"[..], &b"x"[..])].into_iter(), false);
    if let Room::For(room) = connection.room(id) {
        connection.send_content(id, |out| {
            out.resize(out.len() + room.min(300), b'y');
            room >= 300
        });
    }
}

fn are_frames(mut out: &[u8]) {
    while let [a, b, c, _, _, _, _, _, _, behind @ ..] = out {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        assert!(length <= 16_384, "a frame of {length} bytes is sent");
        out = behind.get(length..).expect("a frame is whole");
    }
    assert!(out.is_empty(), "a frame's head is whole");
}
