//! What an answer is worth: read by lbd's own rules, so that a check takes what clients would get, and nothing else.
//!
//! The head decides about the status. The body is read for its framing: one that is malformed, ends early or does not end
//! is no success. A length that is told and is longer than [`LENGTH_READ`] is believed, since a large page would only
//! take time; what tells no length is read to its end, of which there has to be one. Where the body's content matters, its start is
//! kept, and of a longer one that alone is read.

use config::{ExpectedBody, HttpProbe};
use http1::{
    Body, BodyFault, BodyReader, INTERIM_MAX, Method, ResponseFault, ResponseLimits, ResponseParser,
};
use thiserror::Error;

/// The longest body with a Content-Length that is read.
const LENGTH_READ: u64 = ExpectedBody::LOOKED_AT;
/// What is longer without telling its length is taken for endless.
const ENDLESS: u64 = 8 * 1024 * 1024;

/// Why bytes are no answer that could be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Head(#[from] ResponseFault),
    #[error("{0}")]
    Body(#[from] BodyFault),
    #[error("connection closed before message completed")]
    Closed,
    #[error("more than {INTERIM_MAX} interim responses")]
    Interim,
    #[error("it switches to a protocol that nobody asked for")]
    Switching,
    #[error("the body does not end within {} MiB", ENDLESS >> 20)]
    Endless,
}

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: u16,
    /// The body has what it has to have, as far as that was looked at.
    pub(super) body: bool,
}

/// Reads one answer from bytes that arrive in any pieces.
pub(super) struct Answer<'a> {
    probe: &'a HttpProbe,
    method: Method,
    parser: ResponseParser,
    interim: u32,
    content: Option<Content<'a>>,
}

/// The body of an expected answer.
struct Content<'a> {
    status: u16,
    expect: Option<&'a ExpectedBody>,
    body: BodyReader,
    /// Its start, where that matters.
    start: Vec<u8>,
    /// It is known to be long: its start is enough.
    believed: bool,
    /// More than that is endless.
    left: u64,
}

impl<'a> Answer<'a> {
    /// The answer to a request of that method.
    pub(super) fn new(method: Method, probe: &'a HttpProbe) -> Self {
        Self {
            probe,
            method,
            parser: ResponseParser::new(ResponseLimits::SERVERS),
            interim: 0,
            content: None,
        }
    }

    /// Whether the final head has been read.
    pub(super) fn in_body(&self) -> bool {
        self.content.is_some()
    }

    /// Takes what it can of the bytes after those taken before. The outcome, as soon as the answer is decided.
    pub(super) fn read(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Outcome>, Fault> {
        while self.content.is_none() {
            let Some(head) = self.parser.parse(bytes, self.method)? else { return Ok(None) };
            bytes.drain(..head.len);
            if head.is_switching() {
                return Err(Fault::Switching);
            }
            if head.is_interim() {
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err(Fault::Interim);
                }
                continue;
            }
            let believed = matches!(head.body, Body::Length(length) if length > LENGTH_READ);
            let expect = self.probe.body.as_ref();
            let status = head.status;
            if believed && expect.is_none() || !self.probe.expect.contains(status) {
                return Ok(Some(Outcome { status, body: true }));
            }
            let (body, start) = (BodyReader::decoded(head.body), Vec::new());
            self.content = Some(Content { status, expect, body, start, believed, left: ENDLESS });
        }
        self.content.as_mut().map_or(Ok(None), |content| content.read(bytes))
    }

    /// The server has closed: the end of some answers. The outcome, if this is one of them.
    pub(super) fn ended(&mut self) -> Result<Outcome, Fault> {
        let content = self.content.as_mut().ok_or(Fault::Closed)?;
        content.body.end_of_stream()?;
        Ok(content.outcome())
    }
}

impl Content<'_> {
    fn read(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Outcome>, Fault> {
        loop {
            let step = self.body.step(bytes)?;
            self.keep(bytes.get(..step.data).unwrap_or_default());
            bytes.drain(..step.consumed);
            self.left = self.left.checked_sub(step.consumed as u64).ok_or(Fault::Endless)?;
            if step.done || self.believed && self.wanted() == 0 {
                return Ok(Some(self.outcome()));
            }
            if step.consumed == 0 {
                return Ok(None);
            }
        }
    }

    /// How much more of the body is to be kept.
    fn wanted(&self) -> usize {
        let most = usize::try_from(ExpectedBody::LOOKED_AT).unwrap_or(usize::MAX);
        if self.expect.is_some() { most.saturating_sub(self.start.len()) } else { 0 }
    }

    fn keep(&mut self, data: &[u8]) {
        let taken = data.len().min(self.wanted());
        self.start.extend_from_slice(data.get(..taken).unwrap_or_default());
    }

    fn outcome(&self) -> Outcome {
        Outcome { status: self.status, body: self.expect.is_none_or(|expect| expect.is_in(&self.start)) }
    }
}

#[cfg(test)]
mod tests {
    use config::{ExpectedStatus, Pattern};

    use super::*;

    /// A check that takes any 2xx, with that body.
    fn probe(body: Option<ExpectedBody>) -> HttpProbe {
        let (method, path) = ("GET".to_owned(), "/".to_owned());
        let expect = ExpectedStatus(vec![200..=299]);
        HttpProbe { method, path, host: None, headers: Vec::new(), expect, body }
    }

    /// What is made of these bytes, which arrive one by one, and of the end of the connection, if it comes to that.
    fn outcome(method: Method, body: Option<ExpectedBody>, bytes: &[u8]) -> Result<Outcome, Fault> {
        let probe = probe(body);
        let mut answer = Answer::new(method, &probe);
        let mut buffer = Vec::new();
        for byte in bytes {
            buffer.push(*byte);
            if let Some(outcome) = answer.read(&mut buffer)? {
                return Ok(outcome);
            }
        }
        answer.ended()
    }

    fn read(method: Method, bytes: &[u8]) -> Result<u16, Fault> {
        outcome(method, None, bytes).map(|outcome| outcome.status)
    }

    fn get(bytes: &str) -> Result<u16, Fault> {
        read(Method::Get, bytes.as_bytes())
    }

    #[test]
    fn the_end_of_an_answer_is_its_framings() {
        for bytes in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert_eq!(get(bytes), Ok(200), "{bytes}");
        }
        assert_eq!(read(Method::Head, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), Ok(200));
    }

    #[test]
    fn what_could_not_be_passed_on_is_no_answer() {
        for (bytes, fault) in [
            ("", Fault::Closed),
            ("HTTP/1.1 200 OK\r\nContent-", Fault::Closed),
            ("HTTP/1.1 200 OK\n\n", Fault::Head(ResponseFault::BareLf)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Fault::Body(BodyFault::Truncated)),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
                Fault::Body(BodyFault::Truncated),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                Fault::Body(BodyFault::ChunkSize),
            ),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Fault::Switching),
        ] {
            assert_eq!(get(bytes), Err(fault), "{bytes}");
        }
        assert_eq!(get(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(33)), Err(Fault::Interim));
        assert_eq!(get(&format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(9 << 20))), Err(Fault::Endless));
    }

    #[test]
    fn a_status_that_is_not_expected_and_a_long_length_need_no_body() {
        assert_eq!(get("HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n"), Ok(503));
        assert_eq!(get("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"), Ok(200));
    }

    #[test]
    fn the_content_of_a_body_is_looked_at_without_its_framing() {
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall right";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nall r\r\n4\r\night\r\n0\r\nX: wrong\r\n\r\n";
        let contains = |text: &str| Some(ExpectedBody::Contains(text.to_owned()));
        let matches = |text| Some(ExpectedBody::Matches(Pattern::new(text).unwrap()));
        for answer in [length, chunked, "HTTP/1.1 200 OK\r\n\r\nall right"] {
            for (body, good) in [
                (contains("l r"), true),
                (contains("all right"), true),
                (contains("all right!"), false),
                (contains("wrong"), false),
                (matches("^all\\s+right$"), true),
                (matches("(?i)RIGHT"), true),
                (matches("^right"), false),
            ] {
                let found = outcome(Method::Get, body.clone(), answer.as_bytes());
                assert_eq!(found, Ok(Outcome { status: 200, body: good }), "{answer} {body:?}");
            }
        }
    }

    #[test]
    fn only_the_start_of_a_long_body_is_looked_at() {
        let wanted = Some(ExpectedBody::Contains("here".to_owned()));
        let pad = |bytes: usize| "x".repeat(bytes);
        for (before, good) in [(0, true), (65_532, true), (65_533, false)] {
            let body = format!("{}here{}", pad(before), pad(100_000));
            for head in ["Content-Length: 200000\r\n", ""] {
                let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}");
                let found = outcome(Method::Get, wanted.clone(), answer.as_bytes());
                assert_eq!(found, Ok(Outcome { status: 200, body: good }), "{before} {head}");
            }
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\nhere{}", pad(50_000));
        assert_eq!(outcome(Method::Get, wanted, answer.as_bytes()), Err(Fault::Body(BodyFault::Truncated)));
    }
}
