//! Any bytes as a request's head. However they arrive the outcome is the same; what is accepted is what httparse sees; and
//! what is written of it means the same to us, to the strict reader, and when it is written again.
//!
//! The first byte chooses the limits, the second one how the bytes arrive.

use http1::{
    Body, Forward, ForwardedField, ForwardedFields, ForwardedFor, Limits, RequestFault, RequestHead,
    RequestParser, Version,
};

use super::pieces::Pieces;
use super::strict::{self, End};

/// Limits as a daemon has them.
pub(crate) const LIMITS: Limits = Limits { request_line: 8192, head: 16384, fields: 100 };
/// Limits that short inputs reach.
const SMALL: Limits = Limits { request_line: 32, head: 128, fields: 4 };
/// What is written is longer than what was read.
const AGAIN: Limits = Limits { request_line: 16384, head: 65536, fields: 200 };

pub(crate) fn run(bytes: &[u8]) {
    let [choice, pieces, bytes @ ..] = bytes else { return };
    let limits = if choice & 1 == 0 { LIMITS } else { SMALL };
    let whole = parse(limits, bytes, Pieces::WHOLE);
    for pieces in Pieces::others(*pieces) {
        // All that a driver sees, and all that the writer knows.
        assert_eq!(format!("{:?}", parse(limits, bytes, pieces)), format!("{whole:?}"), "{pieces:?}");
    }
    let Ok(Some(head)) = whole else { return };
    agrees_with_httparse(&head, bytes);
    for forwarded in [ForwardedFields::USUAL, ForwardedField::ALL.into_iter().collect()] {
        for forwarded_for in [ForwardedFor::Append, ForwardedFor::Replace, ForwardedFor::Off] {
            means_the_same(&head, bytes, Forward { forwarded_for, forwarded, ..forward() });
        }
    }
}

fn parse(limits: Limits, bytes: &[u8], pieces: Pieces) -> Result<Option<RequestHead>, RequestFault> {
    let mut parser = RequestParser::new(limits);
    for end in pieces.ends(bytes.len()) {
        if let Some(head) = parser.parse(&bytes[..end])? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn agrees_with_httparse(head: &RequestHead, bytes: &[u8]) {
    let mut bytes = bytes[..head.len].to_vec();
    let start = bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    // It knows no later minor version than 1.
    let line_end = start + bytes[start..].iter().position(|byte| *byte == b'\r').expect("a line has an end");
    bytes[line_end - 1] = bytes[line_end - 1].min(b'1');
    let bytes = &bytes[..];
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut headers);
    assert_eq!(parsed.parse(&bytes[start..]), Ok(httparse::Status::Complete(head.len - start)));
    assert_eq!(parsed.method.unwrap_or_default().as_bytes(), head.method_span.of(bytes));
    assert!(parsed.path.unwrap_or_default().as_bytes().ends_with(head.target.of(bytes)));
    assert_eq!(parsed.version == Some(0), head.version == Version::Http10);
}

pub(crate) fn forward() -> Forward<'static> {
    Forward { client: "192.0.2.1", ..Forward::new("server") }
}

/// The head that a server gets.
pub(crate) fn written(head: &RequestHead, bytes: &[u8], forward: &Forward<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    head.write(bytes, forward, &mut out);
    out
}

fn means_the_same(head: &RequestHead, bytes: &[u8], forward: Forward<'_>) {
    let out = written(head, bytes, &forward);
    let again = parse(AGAIN, &out, Pieces::WHOLE).expect("what is written is accepted").expect("as a whole");
    let host = head.host.map_or(&b"server"[..], |host| host.of(bytes));
    assert_eq!(again.len, out.len());
    assert_eq!(again.method_span.of(&out), head.method_span.of(bytes));
    assert!(again.target.of(&out).ends_with(head.target.of(bytes)));
    assert_eq!(again.host.map(|host| host.of(&out)), Some(host));
    assert_eq!((again.body, again.upgrade), (head.body, head.upgrade));
    assert_eq!(again.expects_continue, head.expects_continue);
    assert_eq!((again.version, again.persistent), (Version::Http11, true));
    let as_it_is = Forward { forwarded_for: ForwardedFor::Off, ..forward };
    assert_eq!(written(&again, &out, &as_it_is), out, "writing is not stable");

    let (requests, end) = strict::requests(&out);
    let [request] = &requests[..] else { panic!("read as {requests:?}, {end:?}") };
    assert_eq!(request.method.as_bytes(), head.method_span.of(bytes));
    assert_eq!(request.target.as_bytes(), again.target.of(&out));
    assert_eq!(request.host.as_bytes(), host);
    let expected = if head.body == Body::Empty { End::Clean } else { End::Incomplete };
    assert_eq!(end, expected);
    let count = |name| strict::values(&request.fields, name).len();
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    assert!(match head.body {
        Body::Chunked => (lengths, codings) == (0, 1),
        Body::Length(_) => (lengths, codings) == (1, 0),
        Body::Empty | Body::UntilClose => lengths <= 1 && codings == 0,
    });
    assert_eq!(count("keep-alive") + count("proxy-connection") + count("http2-settings"), 0);
    assert_eq!(count("upgrade") > 0, head.upgrade);
    if forward.forwarded_for != ForwardedFor::Off {
        let [addresses] = strict::values(&request.fields, "x-forwarded-for")[..] else {
            panic!("not one X-Forwarded-For")
        };
        assert!(addresses.ends_with(b"192.0.2.1"));
    }
}
