//! Edits of any kind and heads of any kind: whatever the edits are, what is sent is one message, framed as it was without them, to us
//! and to the strict reader; and edits that are none change nothing.
//!
//! Lines are edits, by their first byte, see `Reader::line`; behind an empty one is a head, of a request or a response.

use edit::{
    Context, FieldEdits, FieldName, FieldNames, Place, Replacement, RequestEditor, RequestEdits,
    ResponseEditor, Template, Tls, TlsClient,
};
use http1::{
    ClientSide, Limits, Method, RequestFault, RequestHead, RequestParser, ResponseFault, ResponseLimits,
    ResponseParser, Version,
};

use super::http1_request::{self, written};
use super::{http1_response, strict};

/// Edits make heads longer.
const EDITED: Limits = Limits { request_line: 70_000, head: 200_000, fields: 256 };
const EDITED_RESPONSE: ResponseLimits = ResponseLimits { head: 200_000, fields: 256 };
/// What edits have to leave as it is.
const FRAMING: [&str; 8] =
    ["connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

pub(crate) fn run(bytes: &[u8]) {
    let mut reader = Reader::default();
    let mut rest = bytes;
    for _ in 0..100 {
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return };
        let (line, more) = rest.split_at(end);
        rest = &more[1..];
        let Some((kind, text)) = line.split_first() else { break };
        reader.line(*kind, std::str::from_utf8(text).unwrap_or_default());
    }
    let layers = reader.layers;
    match RequestParser::new(http1_request::LIMITS).parse(rest) {
        Ok(Some(head)) => request(&layers, &head, rest),
        _ => response(&layers, rest),
    }
}

fn context(request: &[u8]) -> Context<'_> {
    Context {
        client_ip: "2001:db8::1",
        client_port: "1234",
        port: "80",
        request_id: b"a-1",
        frontend: "web",
        backend: "app",
        server: "s1",
        tls: Tls {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            client: Some(TlsClient { subject: "CN=a\\, b,O=c?#", issuer: "CN=d", fingerprint: "00ff" }),
        },
        ..Context::of(request)
    }
}

fn request(layers: &[RequestEdits], head: &RequestHead, bytes: &[u8]) {
    let plain = written(head, bytes, &http1_request::forward());
    let context = context(&plain);
    let mut same = Vec::new();
    assert_eq!(RequestEditor::new([&RequestEdits::default()]).apply(&context, &mut same), Ok(()));
    assert_eq!(same, plain);

    let mut out = Vec::new();
    if RequestEditor::new(layers).apply(&context, &mut out).is_err() {
        return;
    }
    assert!(out.len() <= edit::HEAD_MAX);
    let parse = |bytes: &[u8]| RequestParser::new(EDITED).parse(bytes);
    let (before, after) = (parse(&plain).expect("it was written").expect("as a whole"), parse(&out));
    let after = match after {
        // Edits may add as many of these as they like.
        Err(RequestFault::TooManyHopFields | RequestFault::TooManyFields) => return,
        after => after.expect("what is sent is accepted").expect("as a whole"),
    };
    assert_eq!(after.len, out.len());
    assert_eq!((after.body, after.upgrade), (before.body, before.upgrade));
    assert_eq!((after.expects_continue, after.persistent), (before.expects_continue, before.persistent));
    let (asked, now) = (before.target.of(&plain), after.target.of(&out));
    assert!(now == b"*" || now.starts_with(b"/"));
    assert_eq!(query(asked), query(now));
    if layers.iter().all(|edits| edits.path.is_empty()) {
        assert_eq!(asked, now);
    }

    let (requests, end) = strict::requests(&out);
    let (expected, expected_end) = strict::requests(&plain);
    let ([request], [unedited]) = (&requests[..], &expected[..]) else { panic!("{requests:?} {end:?}") };
    assert_eq!((end, &request.method), (expected_end, &unedited.method));
    let host = layers.iter().rev().find_map(|edits| edits.host.as_deref());
    assert_eq!(request.host, host.unwrap_or(&unedited.host));
    for name in FRAMING {
        assert_eq!(strict::values(&request.fields, name), strict::values(&unedited.fields, name), "{name}");
    }
}

fn query(target: &[u8]) -> Option<&[u8]> {
    target.iter().position(|&byte| byte == b'?').map(|mark| &target[mark..])
}

fn response(layers: &[RequestEdits], bytes: &[u8]) {
    let mut parser = ResponseParser::new(http1_response::LIMITS);
    let Ok(Some(head)) = parser.parse(bytes, Method::Get) else { return };
    let mut plain = Vec::new();
    let side = ClientSide { version: Version::Http11, persistent: false, chunked: false, upgrade: true };
    head.write(bytes, &side, &mut plain);
    let context = context(b"GET /a?b HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut out = Vec::new();
    let edits = layers.iter().map(|edits| &edits.fields);
    if ResponseEditor::new(edits).apply(&plain, &context, &mut out).is_err() {
        return;
    }
    assert!(out.len() <= edit::HEAD_MAX);
    let parse = |bytes: &[u8]| ResponseParser::new(EDITED_RESPONSE).parse(bytes, Method::Get);
    let before = parse(&plain).expect("it was written").expect("as a whole");
    let after = match parse(&out) {
        Err(ResponseFault::TooManyFields) => return,
        after => after.expect("what is sent is accepted").expect("as a whole"),
    };
    assert_eq!((after.len, after.status), (out.len(), before.status));
    assert_eq!((after.body, after.persistent), (before.body, before.persistent));
    let (responses, end) = strict::responses(&out, &["GET"]);
    let (expected, expected_end) = strict::responses(&plain, &["GET"]);
    let ([response], [unedited]) = (&responses[..], &expected[..]) else { panic!("{responses:?} {end:?}") };
    assert_eq!(end, expected_end);
    for name in FRAMING {
        assert_eq!(strict::values(&response.fields, name), strict::values(&unedited.fields, name), "{name}");
    }
}

struct Reader {
    layers: Vec<RequestEdits>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { layers: vec![RequestEdits::default()] }
    }
}

impl Reader {
    /// `n` begins the edits of the next place; `r` removes a field, `p` replaces its values (`NAME=PATTERN=TEXT`), `s` sets one
    /// (`NAME=VALUE`), `a` adds one, `h` sets the host, `x` strips a prefix, `y` replaces the path, `z` adds a prefix.
    fn line(&mut self, kind: u8, text: &str) {
        if kind == b'n' && self.layers.len() < 3 {
            self.layers.push(RequestEdits::default());
        }
        let Some(RequestEdits { fields, host, path }) = self.layers.last_mut() else { return };
        let FieldEdits { remove, replace, set, add } = fields;
        let named = || {
            let (name, value) = text.split_once('=')?;
            Some((FieldName::parse(name).ok()?, value))
        };
        let valued = || {
            named().and_then(|(name, value)| Some((name, Template::parse(value, Place::Field, None).ok()?)))
        };
        let replaced = |text: &str, place| {
            let (pattern, with) = text.split_once('=')?;
            Replacement::parse(pattern, with, place).ok()
        };
        match kind {
            b'r' => remove.extend(FieldNames::parse(text)),
            b'p' => {
                replace.extend(named().and_then(|(name, rest)| Some((name, replaced(rest, Place::Field)?))));
            }
            b's' => set.extend(valued()),
            b'a' => add.extend(valued().map(|(name, value)| (name, vec![value]))),
            b'h' if http1::is_host(text.as_bytes()) => *host = Some(text.to_owned()),
            b'x' => path.strip_prefix = route::PathPrefix::parse(text).ok(),
            b'y' => path.replace = replaced(text, Place::Path),
            b'z' => path.add_prefix = route::PathPrefix::parse(text).ok(),
            _ => {}
        }
    }
}
