//! Whatever the edits and the head are, what comes out is one head, framed as it was.
#![expect(clippy::unwrap_used, reason = "a panic is a test's failure message")]

use edit::{
    Context, FieldEdits, FieldName, FieldNames, PathEdits, Place, Replacement, RequestEditor, RequestEdits,
    ResponseEditor, Template,
};
use http1::{
    ClientSide, Forward, Limits, Method, RequestHead, RequestParser, ResponseLimits, ResponseParser, Version,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;
use route::PathPrefix;

const LIMITS: Limits = Limits { request_line: 70_000, head: 200_000, fields: 256 };

/// Names of every kind: such as may be edited, such as frame messages, and such as are near to those.
const NAMES: [&str; 14] = [
    "X-A",
    "x_a",
    "X-B",
    "Cookie",
    "Content-Type",
    "Content-Length",
    "Transfer-Encoding",
    "Transfer_Encoding",
    "Connection",
    "TE",
    "Host",
    "Expect",
    "Upgrade",
    "X-Forwarded-For",
];
const VALUES: [&str; 12] = [
    "",
    "a",
    "close",
    "chunked",
    "2",
    "100-continue",
    "{client.ip}",
    "{host}{path}",
    "{query}",
    "{request.id} {{x}} $1",
    "{server}, {method}",
    "a: b",
];
const PATTERNS: [&str; 6] = ["(.*)", "^(a)(b)?", "[^,]*", "x?", "^/([^/]*)(/.*)?$", "\\S+"];
const TEXTS: [&str; 6] = ["$0", "/$1", "$1$1", "/{host}/x", "b", "/"];

fn field_edits() -> impl Strategy<Value = FieldEdits> {
    let value =
        || select(VALUES.to_vec()).prop_map(|text| Template::parse(text, Place::Field, None).unwrap());
    let name =
        || select(NAMES.to_vec()).prop_filter_map("it may be edited", |name| FieldName::parse(name).ok());
    let remove = select(vec!["X-A", "X-*", "Content-T*", "x-forwarded-*", "Cookie"]);
    (
        vec(remove.prop_map(|names| FieldNames::parse(names).unwrap()), 0..3),
        vec((name(), replacement(Place::Field)), 0..3),
        vec((name(), value()), 0..3),
        vec((name(), vec(value(), 1..3)), 0..3),
    )
        .prop_map(|(remove, replace, set, add)| FieldEdits { remove, replace, set, add })
}

fn replacement(place: Place) -> impl Strategy<Value = Replacement> {
    (select(PATTERNS.to_vec()), select(TEXTS.to_vec()))
        .prop_filter_map("the pattern has the group", move |(pattern, with)| {
            Replacement::parse(pattern, with, place).ok()
        })
}

fn request_edits() -> impl Strategy<Value = RequestEdits> {
    let prefix = || {
        option::of(select(vec!["/v1", "/a/b", "/%2f", "/x"]).prop_map(|text| PathPrefix::parse(text).ok()))
            .prop_map(Option::flatten)
    };
    let path = (prefix(), option::of(replacement(Place::Path)), prefix())
        .prop_map(|(strip_prefix, replace, add_prefix)| PathEdits { strip_prefix, replace, add_prefix });
    let host = option::of(select(vec!["a.example:80", "[::1]"]).prop_map(str::to_owned));
    (field_edits(), host, path).prop_map(|(fields, host, path)| RequestEdits { fields, host, path })
}

fn fields() -> impl Strategy<Value = String> {
    let line = (
        select(NAMES.to_vec()),
        select(vec!["", "a", "a, b ", "close", "2", "chunked", "trailers", "\u{e4}"]),
    )
        .prop_map(|(name, value)| format!("{name}: {value}\r\n"));
    vec(line, 0..8).prop_map(|lines| lines.concat())
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let target = select(vec![
        "/",
        "/v1",
        "/v1//a?b=/v1",
        "/a/b/%2e",
        "/%2Fx",
        "/a/b?",
        "*",
        "http://c/v1/x",
        "http://c?q",
    ]);
    (select(vec!["GET", "POST", "OPTIONS"]), target, select(vec!["1.1", "1.0", "1.2"]), fields()).prop_map(
        |(method, target, version, fields)| {
            format!("{method} {target} HTTP/{version}\r\nHost: a.example\r\n{fields}\r\n").into_bytes()
        },
    )
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    (select(vec![200, 204, 304, 101, 500]), fields())
        .prop_map(|(status, fields)| format!("HTTP/1.1 {status} x\r\n{fields}\r\n").into_bytes())
}

fn context(request: &[u8]) -> Context<'_> {
    Context { client_ip: "2001:db8::1", request_id: b"a-1", server: "s1", ..Context::of(request) }
}

/// What neighbours go by, in order.
fn framing(head: &[u8]) -> Vec<Vec<u8>> {
    let frames = |line: &&[u8]| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        http1::FRAMING_FIELDS.iter().any(|field| http1::is_same_field(field.as_bytes(), name))
    };
    head.split(|&byte| byte == b'\n').filter(frames).map(<[u8]>::to_vec).collect()
}

fn parsed(bytes: &[u8]) -> RequestHead {
    RequestParser::new(LIMITS).parse(bytes).unwrap().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_stays_one_request(bytes in request(), layers in vec(request_edits(), 0..4)) {
        let Ok(Some(head)) = RequestParser::new(LIMITS).parse(&bytes) else { return Ok(()) };
        let mut plain = Vec::new();
        head.write(&bytes, &Forward { client: "192.0.2.1", ..Forward::new("server") }, &mut plain);
        let mut out = Vec::new();
        if RequestEditor::new(&layers).apply(&context(&plain), &mut out).is_err() {
            return Ok(());
        }
        let (before, after) = (parsed(&plain), parsed(&out));
        prop_assert_eq!(after.len, out.len());
        prop_assert_eq!((after.body, after.upgrade, after.persistent), (before.body, before.upgrade, before.persistent));
        prop_assert_eq!(after.expects_continue, before.expects_continue);
        prop_assert_eq!(after.query(&out), before.query(&plain));
        prop_assert_eq!(framing(&plain), framing(&out));
        if layers.iter().any(|edits| !edits.path.is_empty()) && after.path(&out) != b"*" {
            prop_assert!(route::Path::check(after.path(&out)).is_ok());
        } else {
            prop_assert_eq!(after.target.of(&out), before.target.of(&plain));
        }
    }

    #[test]
    fn a_response_stays_one_response(bytes in response(), layers in vec(field_edits(), 0..4), upgrade: bool) {
        let limits = ResponseLimits { head: 200_000, fields: 256 };
        let parse = |bytes: &[u8]| ResponseParser::new(limits).parse(bytes, Method::Get);
        let Ok(Some(head)) = parse(&bytes) else { return Ok(()) };
        let mut plain = Vec::new();
        let side = ClientSide { version: Version::Http11, persistent: false, chunked: false, upgrade };
        head.write(&bytes, &side, &mut plain);
        let mut out = Vec::new();
        let context = context(b"GET /a?b HTTP/1.1\r\nHost: a.example\r\n\r\n");
        prop_assert_eq!(ResponseEditor::new(&layers).apply(&plain, &context, &mut out), Ok(()));
        let (before, after) = (parse(&plain).unwrap().unwrap(), parse(&out).unwrap().unwrap());
        prop_assert_eq!((after.len, after.status), (out.len(), before.status));
        prop_assert_eq!((after.body, after.persistent), (before.body, before.persistent));
        prop_assert_eq!(framing(&plain), framing(&out));
    }

    #[test]
    fn nothing_is_changed_by_nothing(bytes in request()) {
        let Ok(Some(head)) = RequestParser::new(LIMITS).parse(&bytes) else { return Ok(()) };
        let mut plain = Vec::new();
        head.write(&bytes, &Forward::new("server"), &mut plain);
        let mut out = Vec::new();
        prop_assert_eq!(RequestEditor::new([]).apply(&context(&plain), &mut out), Ok(()));
        prop_assert_eq!(out, plain);
    }

    #[test]
    fn any_text_is_a_template_or_a_mistake(text in ".{0,60}", groups in option::of(0..3_usize), path: bool) {
        let place = if path { Place::Path } else { Place::Field };
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        if let Ok(value) = Template::parse(&text, place, groups) {
            prop_assert_eq!(value.as_str(), text.as_str());
            let mut edits = RequestEdits::default();
            edits.fields.set.push((FieldName::parse("X-A").unwrap(), value));
            let mut out = Vec::new();
            prop_assert_eq!(RequestEditor::new([&edits]).apply(&context(head), &mut out), Ok(()));
            prop_assert_eq!(parsed(&out).len, out.len());
        }
    }

    #[test]
    fn any_bits_make_a_name(random in any::<u128>()) {
        let field = FieldName::parse("X-Request-ID").unwrap();
        let mut line = b"X-Request-ID: ".to_vec();
        edit::push_id(random, &mut line);
        let id = line[14..].to_vec();
        prop_assert_eq!(edit::accepted_id(&line, &field), Some(&id[..]));
    }
}
