//! Driving the engine over bytes that arrive in pieces.

use http1::{
    Body, BodyFault, BodyReader, Limits, Method, RequestFault, RequestHead, RequestParser, ResponseFault,
    ResponseHead, ResponseLimits, ResponseParser,
};

/// Limits as a daemon has them.
pub(crate) const LIMITS: Limits = Limits { request_line: 8192, head: 16384, fields: 100 };
/// Limits as a daemon has them.
pub(crate) const RESPONSE_LIMITS: ResponseLimits = ResponseLimits { head: 16384, fields: 100 };

/// Parses a request head whose bytes arrive up to each of `ends` in turn.
pub(crate) fn request(
    limits: Limits,
    input: &[u8],
    ends: &[usize],
) -> Result<Option<RequestHead>, RequestFault> {
    let mut parser = RequestParser::new(limits);
    for end in ends {
        if let Some(head) = parser.parse(&input[..*end])? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Parses a response head whose bytes arrive up to each of `ends` in turn.
pub(crate) fn response(
    limits: ResponseLimits,
    method: Method,
    input: &[u8],
    ends: &[usize],
) -> Result<Option<ResponseHead>, ResponseFault> {
    let mut parser = ResponseParser::new(limits);
    for end in ends {
        if let Some(head) = parser.parse(&input[..*end], method)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// What became of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The bytes passed on.
    pub(crate) forwarded: Vec<u8>,
    /// How many bytes were taken from the input.
    pub(crate) consumed: usize,
    /// Whether the body ended.
    pub(crate) done: bool,
}

/// Passes a body on whose bytes arrive up to each of `ends` in turn, then the end of the stream if `closed`.
pub(crate) fn body(
    mut reader: BodyReader,
    input: &[u8],
    ends: &[usize],
    closed: bool,
) -> Result<Passed, BodyFault> {
    let mut passed = Passed { forwarded: Vec::new(), consumed: 0, done: reader.is_done() };
    for end in ends {
        while !passed.done {
            let mut rest = input[passed.consumed..*end].to_vec();
            let step = reader.step(&mut rest)?;
            assert!(step.data <= step.forward && step.forward <= step.consumed, "{step:?}");
            assert_eq!(rest[step.consumed..], input[passed.consumed + step.consumed..*end], "what is left");
            assert_eq!(step.done, reader.is_done());
            passed.forwarded.extend_from_slice(&rest[..step.forward]);
            passed.consumed += step.consumed;
            passed.done = step.done;
            if step.consumed == 0 {
                break;
            }
        }
    }
    if closed {
        reader.end_of_stream()?;
        passed.done = true;
    }
    Ok(passed)
}

/// How a body ends, in a word.
pub(crate) fn body_word(body: Body) -> String {
    match body {
        Body::Empty => "empty".to_owned(),
        Body::Length(length) => format!("length:{length}"),
        Body::Chunked => "chunked".to_owned(),
        Body::UntilClose => "close".to_owned(),
    }
}
