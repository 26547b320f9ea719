//! Any bytes as what a client or a daemon says. Lines are where the newlines are; a message that is understood is written
//! again as one line, and understood as the same; a daemon reads a request out of a line, or refuses it with what fits into
//! one; and what a text command is answered with can be shown to anybody.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::codec::{LineError, LineReader, MAX_LINE, encode};
use wire::server::request;
use wire::text::{self, Command};
use wire::{ClientLine, DaemonLine, Document, PROTOCOL, Refusal};

const COMMANDS: [Command; 3] = [
    Command { usage: "show info", help: "The daemon." },
    Command { usage: "show stat [json]", help: "Statistics." },
    Command { usage: "set server BACKEND/SERVER state STATE", help: "Changes a server." },
];

pub(crate) fn run(bytes: &[u8]) {
    let (lines, cut) = lines(bytes);
    let (ended, rest) = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => (&bytes[..last], &bytes[last + 1..]),
        None => (&b""[..], bytes),
    };
    let expected = ended.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let expected: Vec<_> = expected.take_while(|line| line.len() < MAX_LINE).collect();
    if bytes.contains(&b'\n') {
        assert!(lines.iter().eq(expected), "lines differ");
    } else {
        assert!(lines.is_empty());
    }
    assert_eq!(cut, !rest.is_empty());
    for line in &lines {
        comes_again::<ClientLine>(line);
        comes_again::<DaemonLine>(line);
        comes_again::<Document>(line);
        is_read_or_refused(line);
        if let Ok(line) = std::str::from_utf8(line) {
            for command in text::commands(line) {
                let answer = text::unknown(command, &COMMANDS);
                assert!(answer.len() < 2000 && answer.ends_with('\n'));
                assert!(!answer.chars().any(|c| c.is_control() && c != '\n'), "{answer:?}");
            }
        }
    }
}

/// The lines of a stream that holds these bytes, and whether its end cut one off.
fn lines(bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut reader = LineReader::new(bytes);
    let mut lines = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let Poll::Ready(next) = pin!(reader.next()).poll(&mut context) else {
            panic!("reading memory waits for nothing");
        };
        match next {
            Ok(Some(line)) => lines.push(line.to_vec()),
            Ok(None) => return (lines, false),
            Err(LineError::Cut) => return (lines, true),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a daemon makes of a line, as the first of a connection and as a later one.
fn is_read_or_refused(line: &[u8]) {
    match request::hello(line) {
        Ok(hello) => assert_eq!(hello.protocol, PROTOCOL),
        Err(refusal) => can_be_sent(None, refusal),
    }
    match request::request(line) {
        Ok((id, request)) => {
            let again = encode(&ClientLine::Request { id, request: request.clone() }).expect("it was JSON");
            assert_eq!(request::request(&again), Ok((id, request)));
        }
        Err((id, refusal)) => can_be_sent(id, refusal),
    }
}

fn can_be_sent(id: Option<u64>, error: Refusal) {
    assert!(!error.message.is_empty());
    let line = encode(&DaemonLine::Error { id, error }).expect("a refusal can be JSON");
    assert!(line.len() <= MAX_LINE, "a refusal of {} bytes", line.len());
}

fn comes_again<M: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(line: &[u8]) {
    let Ok(message) = serde_json::from_slice::<M>(line) else { return };
    let again = encode(&message).expect("what was JSON can be JSON");
    assert_eq!(again.iter().position(|byte| *byte == b'\n'), Some(again.len() - 1), "not one line");
    let read = serde_json::from_slice::<M>(&again).unwrap_or_else(|error| {
        panic!("{message:?} cannot be read again: {error}: {}", String::from_utf8_lossy(&again))
    });
    assert_eq!(read, message);
}
