//! Any bytes as a response's head. However they arrive the outcome is the same; and what is written of it means the same to
//! us and to the strict reader.
//!
//! The first byte chooses the request's method and the client, the second one how the bytes arrive.

use http1::{Body, ClientSide, Method, ResponseFault, ResponseHead, ResponseLimits, ResponseParser, Version};

use super::pieces::Pieces;
use super::strict::{self, End};

/// Limits as a daemon has them.
pub(crate) const LIMITS: ResponseLimits = ResponseLimits { head: 16384, fields: 100 };
/// Limits that short inputs reach.
const SMALL: ResponseLimits = ResponseLimits { head: 128, fields: 4 };
/// What is written is longer than what was read.
const AGAIN: ResponseLimits = ResponseLimits { head: 65536, fields: 200 };

pub(crate) fn run(bytes: &[u8]) {
    let [choice, pieces, bytes @ ..] = bytes else { return };
    let is = |bit: u8| choice & bit != 0;
    let limits = if is(1) { SMALL } else { LIMITS };
    let (method, name) = if is(2) { (Method::Head, "HEAD") } else { (Method::Get, "GET") };
    let whole = parse(limits, bytes, method, Pieces::WHOLE);
    for pieces in Pieces::others(*pieces) {
        assert_eq!(format!("{:?}", parse(limits, bytes, method, pieces)), format!("{whole:?}"), "{pieces:?}");
    }
    let Ok(Some(head)) = whole else { return };
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Response::new(&mut headers);
    assert_eq!(parsed.parse(&bytes[..head.len]), Ok(httparse::Status::Complete(head.len)));
    assert_eq!(parsed.code, Some(head.status));

    let version = if is(4) { Version::Http10 } else { Version::Http11 };
    let stripped = version == Version::Http10 && head.body == Body::Chunked;
    let persistent = is(8) && !stripped && head.body != Body::UntilClose;
    let mut out = Vec::new();
    head.write(bytes, &ClientSide { version, persistent, chunked: false, upgrade: is(16) }, &mut out);

    let again =
        parse(AGAIN, &out, method, Pieces::WHOLE).expect("what is written is accepted").expect("as a whole");
    assert_eq!((again.len, again.status, again.version), (out.len(), head.status, Version::Http11));
    assert_eq!(again.body, if stripped { Body::UntilClose } else { head.body });
    if head.status >= 200 {
        assert_eq!(again.persistent, persistent);
    }
    let (responses, end) = strict::responses(&out, &[name]);
    let [response] = &responses[..] else { panic!("read as {responses:?}, {end:?}") };
    assert_eq!(response.status, head.status);
    let whole = matches!(again.body, Body::Empty | Body::UntilClose);
    let expected = match head.status {
        101 => End::Switched,
        _ if whole => End::Clean,
        _ => End::Incomplete,
    };
    assert_eq!(end, expected);
    let count = |name| strict::values(&response.fields, name).len();
    assert_eq!(count("keep-alive") + count("proxy-connection") + count("te"), 0);
    assert!(count("upgrade") == 0 || (head.status == 101 && is(16)));
    assert!(count("connection") <= 1 && count("content-length") + count("transfer-encoding") <= 1);
}

pub(crate) fn parse(
    limits: ResponseLimits,
    bytes: &[u8],
    method: Method,
    pieces: Pieces,
) -> Result<Option<ResponseHead>, ResponseFault> {
    let mut parser = ResponseParser::new(limits);
    for end in pieces.ends(bytes.len()) {
        if let Some(head) = parser.parse(&bytes[..end], method)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}
