//! What an answer is worth: read by lbd's own rules, so that a check takes what clients would get, and nothing else.
//!
//! The head decides about the status. The body is read for its framing: one that is malformed, ends early or does not end
//! is no success. A length that is told and is longer than [`LENGTH_READ`] is believed, since a large page would only
//! take time; what tells no length is read to its end, of which there has to be one.

use config::ExpectedStatus;
use http1::{
    Body, BodyFault, BodyReader, INTERIM_MAX, Method, ResponseFault, ResponseLimits, ResponseParser,
};
use thiserror::Error;

/// The longest body with a Content-Length that is read.
const LENGTH_READ: u64 = 64 * 1024;
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

/// Reads one answer from bytes that arrive in any pieces.
pub(super) struct Answer<'a> {
    expect: &'a ExpectedStatus,
    method: Method,
    parser: ResponseParser,
    interim: u32,
    content: Option<Content>,
}

/// The body of an expected answer.
struct Content {
    status: u16,
    body: BodyReader,
    /// More than that is endless.
    left: u64,
}

impl<'a> Answer<'a> {
    /// The answer to a request of that method.
    pub(super) fn new(method: Method, expect: &'a ExpectedStatus) -> Self {
        Self {
            expect,
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

    /// Takes what it can of the bytes after those taken before. The status, as soon as the answer is decided.
    pub(super) fn read(&mut self, bytes: &mut Vec<u8>) -> Result<Option<u16>, Fault> {
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
            if believed || !self.expect.contains(head.status) {
                return Ok(Some(head.status));
            }
            self.content =
                Some(Content { status: head.status, body: BodyReader::new(head.body), left: ENDLESS });
        }
        self.content.as_mut().map_or(Ok(None), |content| content.read(bytes))
    }

    /// The server has closed: the end of some answers. The status, if this is one of them.
    pub(super) fn ended(&mut self) -> Result<u16, Fault> {
        let content = self.content.as_mut().ok_or(Fault::Closed)?;
        content.body.end_of_stream()?;
        Ok(content.status)
    }
}

impl Content {
    fn read(&mut self, bytes: &mut Vec<u8>) -> Result<Option<u16>, Fault> {
        loop {
            let step = self.body.step(bytes)?;
            bytes.drain(..step.consumed);
            self.left = self.left.checked_sub(step.consumed as u64).ok_or(Fault::Endless)?;
            if step.done {
                return Ok(Some(self.status));
            }
            if step.consumed == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of these bytes, which arrive one by one, and of the end of the connection, if it comes to that.
    fn read(method: Method, bytes: &[u8]) -> Result<u16, Fault> {
        let expect = ExpectedStatus(vec![200..=299]);
        let mut answer = Answer::new(method, &expect);
        let mut buffer = Vec::new();
        for byte in bytes {
            buffer.push(*byte);
            if let Some(status) = answer.read(&mut buffer)? {
                return Ok(status);
            }
        }
        answer.ended()
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
}
