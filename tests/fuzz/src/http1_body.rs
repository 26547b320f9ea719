//! Any bytes as a body. However they arrive the same is passed on, up to the same fault; what is passed on of a whole one
//! passes again unchanged; and the strict reader finds the same content in it.
//!
//! The first byte chooses how the body is framed, the second one how the bytes arrive.

use http1::{Body, BodyFault, BodyReader};

use super::pieces::Pieces;
use super::strict::{self, End};

/// What became of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The bytes passed on.
    pub(crate) forwarded: Vec<u8>,
    /// How many of them are content.
    pub(crate) data: usize,
    /// How many bytes were taken.
    pub(crate) consumed: usize,
    /// Whether the body ended, was cut, or is no body.
    pub(crate) done: Result<bool, BodyFault>,
}

pub(crate) fn run(bytes: &[u8]) {
    let [choice, pieces, bytes @ ..] = bytes else { return };
    let body = match choice >> 1 & 3 {
        0 | 1 => Body::Chunked,
        2 => Body::Length(u64::from(choice >> 3)),
        _ => Body::UntilClose,
    };
    let reader = if choice & 1 == 0 { BodyReader::new(body) } else { BodyReader::decoded(body) };
    let whole = pass(reader.clone(), bytes, Pieces::WHOLE);
    for pieces in Pieces::others(*pieces) {
        let other = pass(reader.clone(), bytes, pieces);
        if whole.done.is_ok() {
            assert_eq!(other, whole, "{pieces:?}");
        } else {
            // What came before the fault may have gone by then.
            assert_eq!(other.done, whole.done, "{pieces:?}");
        }
    }
    if body != Body::Chunked || whole.done != Ok(true) {
        return;
    }
    let plain = pass(BodyReader::new(body), bytes, Pieces::WHOLE);
    let content = pass(BodyReader::decoded(body), bytes, Pieces::WHOLE);
    assert_eq!((content.consumed, content.done), (plain.consumed, Ok(true)));
    assert_eq!((content.data, plain.data), (content.forwarded.len(), content.forwarded.len()));
    let again = pass(BodyReader::new(body), &plain.forwarded, Pieces::WHOLE);
    assert_eq!(
        (&again.forwarded, again.consumed, again.done),
        (&plain.forwarded, plain.forwarded.len(), Ok(true))
    );
    let message =
        [b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", &plain.forwarded[..]].concat();
    let (requests, end) = strict::requests(&message);
    assert_eq!(end, End::Clean);
    assert_eq!(requests.iter().map(|request| &request.body).collect::<Vec<_>>(), [&content.forwarded]);
}

/// Passes a body on as its bytes arrive.
pub(crate) fn pass(mut reader: BodyReader, bytes: &[u8], pieces: Pieces) -> Passed {
    let mut passed = Passed { forwarded: Vec::new(), data: 0, consumed: 0, done: Ok(reader.is_done()) };
    for end in pieces.ends(bytes.len()) {
        while passed.done == Ok(false) {
            let mut rest = bytes[passed.consumed..end].to_vec();
            match reader.step(&mut rest) {
                Err(fault) => passed.done = Err(fault),
                Ok(step) => {
                    assert!(step.data <= step.forward && step.forward <= step.consumed, "{step:?}");
                    assert_eq!(rest[step.consumed..], bytes[passed.consumed + step.consumed..end]);
                    passed.data += step.data;
                    passed.forwarded.extend_from_slice(&rest[..step.forward]);
                    passed.consumed += step.consumed;
                    passed.done = Ok(step.done);
                    if step.consumed == 0 {
                        break;
                    }
                }
            }
        }
    }
    passed
}
