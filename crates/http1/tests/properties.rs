//! What holds for any bytes: no panic, the same outcome however they arrive, and nothing written that is not accepted
//! again, by us and by another parser.

mod support;

use http1::{
    Body, BodyReader, ClientSide, Forward, ForwardedFor, Method, RequestFault, RequestHead, RequestParser,
    ResponseHead, ResponseParser, Version,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{LIMITS, Passed, RESPONSE_LIMITS, body_word};

/// Any bytes, more often those that a head or a body is made of.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(&b"\r\n\0\t :;,/#0aAfF\x7f\xff"[..]).prop_map(|byte| vec![byte]),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r\n\r\n".to_vec()),
        2 => vec(any::<u8>(), 0..4),
        2 => prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const WORDS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST http://a/x HTTP/1.1\r\n",
    "HTTP/1.1 200 OK\r\n",
    "Host: a\r\n",
    "Connection: ",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Upgrade: websocket\r\n",
    "X-Forwarded-For: 198.51.100.7\r\n",
    "close",
    "keep-alive",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "5;a=b\r\n",
    "X: y\r\n",
];

/// Field lines that are mostly right.
fn field() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        3 => "[A-Za-z][A-Za-z0-9-]{0,11}",
        5 => prop::sample::select(&[
            "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "Trailer", "Expect", "Content-Length",
            "Transfer-Encoding", "X-Forwarded-For", "X-Forwarded-Proto", "X_Forwarded_For", "X-Real-IP", "Host", "Cookie",
        ][..]).prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        3 => "[ -~\u{e0}-\u{ff}]{0,20}",
        5 => prop::sample::select(&[
            "", "close", "keep-alive", "upgrade", "keep-alive, Upgrade, x", "x-a, x-b", "TE", "trailers", "websocket",
            "h2c", "100-continue", "5", "0", "chunked", "198.51.100.7", "gzip, chunked", "a",
        ][..]).prop_map(str::to_owned),
    ];
    let space = prop::sample::select(&["", " ", "  ", "\t"][..]);
    (name, space.clone(), value, space)
        .prop_map(|(name, before, value, after)| format!("{name}:{before}{value}{after}\r\n"))
}

/// Request heads that are mostly right.
fn request_head() -> impl Strategy<Value = Vec<u8>> {
    let line = (
        prop::sample::select(&["GET", "HEAD", "POST", "OPTIONS", "CONNECT", "PROPFIND"][..]),
        prop::sample::select(&["/", "/a?b=c", "*", "http://a", "http://a?q", "https://b:1/x", "x", "/#"][..]),
        prop::sample::select(&["1.1", "1.1", "1.1", "1.0", "1.2", "2.0"][..]),
        prop::sample::select(
            &["", "Host: a\r\n", "Host: a\r\n", "Host: [::1]:80\r\n", "Host:\ta,%C3%BC\t\r\n"][..],
        ),
        prop::sample::select(&["", "", "", "\r\n", "\r\n\r\n"][..]),
    );
    (line, vec(field(), 0..6)).prop_map(|((method, target, version, host, before), fields)| {
        format!("{before}{method} {target} HTTP/{version}\r\n{host}{}\r\n", fields.concat()).into_bytes()
    })
}

/// Response heads that are mostly right.
fn response_head() -> impl Strategy<Value = Vec<u8>> {
    let line = (
        prop::sample::select(&["1.1", "1.1", "1.0", "1.2"][..]),
        prop_oneof![Just(200_u16), Just(101), Just(100), Just(204), Just(304), 90_u16..1000],
        prop::sample::select(&["", " ", " OK", " Not Found"][..]),
    );
    (line, vec(field(), 0..6)).prop_map(|((version, status, reason), fields)| {
        format!("HTTP/{version} {status}{reason}\r\n{}\r\n", fields.concat()).into_bytes()
    })
}

/// So many lines that a proxy looks at that no head may have many more.
fn proxy_fields() -> impl Strategy<Value = String> {
    let line = prop::sample::select(
        &[
            "Connection: upgrade\r\n",
            "Connection: x-a\r\nX-A: b\r\n",
            "Upgrade: websocket\r\n",
            "Keep-Alive: 5\r\n",
            "TE: trailers\r\n",
            "X-Forwarded-For: 198.51.100.7\r\n",
            "X-Forwarded-Proto: https\r\n",
            "X-Real-IP: 198.51.100.7\r\n",
            "Accept: */*\r\n",
        ][..],
    );
    // In runs, as a table is filled by many lines of one kind; and fewer in all than the limit, to which proxies add.
    let run = (line, 1..25_usize).prop_map(|(line, times)| vec![line; times]);
    vec(run, 1..12).prop_map(|runs| runs.concat().into_iter().take(40).collect())
}

/// A chunked body of these chunks, and what it is passed on as: without extensions.
#[derive(Clone, Debug)]
struct Chunked {
    wire: Vec<u8>,
    plain: Vec<u8>,
    content: Vec<u8>,
}

fn chunked() -> impl Strategy<Value = Chunked> {
    let chunk = (
        vec(any::<u8>(), 1..40),
        prop::sample::select(&["", "", ";a", ";a=\"b c\"", " \t;a"][..]),
        0..3_usize,
    );
    let trailers = prop::sample::select(
        &["", "", "X-Sum: 1\r\n", "TE: x\r\n", "Host: x\r\nX-Sum: 1\r\nAge: 1\r\nX: y\r\n"][..],
    );
    (vec(chunk, 0..8), trailers).prop_map(|(chunks, trailers)| {
        let mut body = Chunked { wire: Vec::new(), plain: Vec::new(), content: Vec::new() };
        for (data, extension, zeros) in chunks {
            let size = format!("{}{:x}", "0".repeat(zeros), data.len());
            for (out, extension) in [(&mut body.wire, extension), (&mut body.plain, "")] {
                out.extend(format!("{size}{extension}\r\n").bytes());
                out.extend(&data);
                out.extend(b"\r\n");
            }
            body.content.extend(data);
        }
        body.wire.extend(format!("0\r\n{trailers}\r\n").bytes());
        let kept: String = trailers.split_inclusive("\r\n").filter(|line| line.starts_with('X')).collect();
        body.plain.extend(format!("0\r\n{kept}\r\n").bytes());
        body
    })
}

/// Where the pieces of an input end: up to eight random positions, and the end.
fn cuts(len: usize, cuts: &[prop::sample::Index]) -> Vec<usize> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    ends.sort_unstable();
    ends.push(len);
    ends
}

const FORWARDS: [ForwardedFor; 3] = [ForwardedFor::Append, ForwardedFor::Replace, ForwardedFor::Off];

fn written_request(head: &RequestHead, buf: &[u8], forwarded_for: ForwardedFor) -> Vec<u8> {
    let forward = Forward { client: "192.0.2.1", forwarded_for, ..Forward::new("server") };
    let mut out = Vec::new();
    head.write(buf, &forward, &mut out);
    out
}

fn written_response(head: &ResponseHead, buf: &[u8], version: Version, persistent: bool) -> Vec<u8> {
    let mut out = Vec::new();
    head.write(buf, &ClientSide { version, persistent, chunked: false, upgrade: true }, &mut out);
    out
}

/// What a driver reads from a head.
fn facts(head: &RequestHead) -> impl PartialEq + std::fmt::Debug + use<> {
    let flags = (head.persistent, head.expects_continue, head.upgrade);
    (head.len, head.method, head.method_span, head.target, head.version, head.host, head.body, flags)
}

/// Whether the fields of these names have one blank before their value, and none behind it.
fn is_canonical(head: &[u8], names: &[&str]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((line[..colon].to_ascii_lowercase(), line[colon + 1..].strip_suffix(b"\r")?))
    });
    lines.all(|(name, value)| {
        !names.iter().any(|known| known.as_bytes() == name)
            || value.strip_prefix(b" ") == Some(value.trim_ascii())
    })
}

/// The fields of a head as another parser sees them.
fn fields_of(head: &[u8], request: bool) -> Vec<(String, Vec<u8>)> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    if request {
        let mut parsed = httparse::Request::new(&mut fields);
        assert_eq!(parsed.parse(head), Ok(httparse::Status::Complete(head.len())));
    } else {
        let mut parsed = httparse::Response::new(&mut fields);
        assert_eq!(parsed.parse(head), Ok(httparse::Status::Complete(head.len())));
    }
    let fields = fields.iter().filter(|field| !field.name.is_empty());
    fields.map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect()
}

fn count(fields: &[(String, Vec<u8>)], name: &str) -> usize {
    fields.iter().filter(|(other, _)| other == name).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_as_a_request_have_one_outcome(bytes in prop_oneof![noise(), request_head()], at: [prop::sample::Index; 8]) {
        let outcome = |ends: &[usize]| {
            let head = support::request(LIMITS, &bytes, ends)?;
            Ok::<_, RequestFault>(head.map(|head| (facts(&head), written_request(&head, &bytes, ForwardedFor::Append))))
        };
        prop_assert_eq!(outcome(&[bytes.len()]), outcome(&cuts(bytes.len(), &at)));
    }

    #[test]
    fn any_bytes_as_a_response_have_one_outcome(bytes in prop_oneof![noise(), response_head()], at: [prop::sample::Index; 8]) {
        let whole = support::response(RESPONSE_LIMITS, Method::Get, &bytes, &[bytes.len()]);
        let pieces = support::response(RESPONSE_LIMITS, Method::Get, &bytes, &cuts(bytes.len(), &at));
        prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    }

    #[test]
    fn any_bytes_as_a_body_have_one_outcome(bytes in noise(), at: [prop::sample::Index; 8], length in 0..100_u64, decoded: bool) {
        for body in [Body::Empty, Body::Length(length), Body::Chunked, Body::UntilClose] {
            let reader = if decoded { BodyReader::decoded(body) } else { BodyReader::new(body) };
            let whole = support::body(reader.clone(), &bytes, &[bytes.len()], false);
            let pieces = support::body(reader, &bytes, &cuts(bytes.len(), &at), false);
            prop_assert_eq!(whole, pieces);
        }
    }

    #[test]
    fn a_parser_keeps_nothing_of_the_request_before(heads in vec(request_head(), 2..4)) {
        let mut parser = RequestParser::new(LIMITS);
        for bytes in heads {
            let alone = support::request(LIMITS, &bytes, &[bytes.len()]);
            let after = parser.parse(&bytes);
            prop_assert_eq!(alone.is_ok(), after.is_ok());
            match (alone, after) {
                (Ok(Some(alone)), Ok(Some(after))) => {
                    prop_assert_eq!(facts(&alone), facts(&after));
                    for mode in FORWARDS {
                        prop_assert_eq!(written_request(&alone, &bytes, mode), written_request(&after, &bytes, mode));
                    }
                }
                (alone, after) => {
                    prop_assert_eq!(alone.err(), after.err());
                    parser.reset();
                }
            }
        }
    }

    #[test]
    fn a_parser_keeps_nothing_of_the_response_before(heads in vec(response_head(), 2..4)) {
        let mut parser = ResponseParser::new(RESPONSE_LIMITS);
        for bytes in heads {
            let alone = support::response(RESPONSE_LIMITS, Method::Get, &bytes, &[bytes.len()]);
            match (alone, parser.parse(&bytes, Method::Get)) {
                (Ok(Some(alone)), Ok(Some(after))) => {
                    prop_assert_eq!((alone.status, alone.body, alone.persistent), (after.status, after.body, after.persistent));
                    let [alone, after] = [&alone, &after].map(|head| written_response(head, &bytes, Version::Http11, true));
                    prop_assert_eq!(alone, after);
                }
                (alone, after) => {
                    prop_assert_eq!(alone.map(|head| head.is_some()), after.map(|head| head.is_some()));
                    parser.reset();
                }
            }
        }
    }

    #[test]
    fn a_written_request_is_accepted_again_and_means_the_same(bytes in request_head()) {
        let Ok(Some(head)) = support::request(LIMITS, &bytes, &[bytes.len()]) else { return Ok(()) };
        for forwarded_for in FORWARDS {
            let out = written_request(&head, &bytes, forwarded_for);
            let again = support::request(LIMITS, &out, &[out.len()]).unwrap().unwrap();
            prop_assert_eq!(again.len, out.len());
            prop_assert_eq!(again.version, Version::Http11);
            prop_assert_eq!(again.method, head.method);
            prop_assert_eq!(again.body, head.body);
            prop_assert_eq!(again.upgrade, head.upgrade);
            prop_assert_eq!(again.expects_continue, head.expects_continue);
            prop_assert!(again.persistent);
            prop_assert!(again.target.of(&out).ends_with(head.target.of(&bytes)));
            let host = head.host.map_or(&b"server"[..], |host| host.of(&bytes));
            prop_assert_eq!(again.host.unwrap().of(&out), host);
            // Writing it once more changes nothing.
            prop_assert_eq!(written_request(&again, &out, ForwardedFor::Off), out);
        }
    }

    #[test]
    fn a_written_request_has_no_field_that_must_not_pass(bytes in request_head()) {
        let Ok(Some(head)) = support::request(LIMITS, &bytes, &[bytes.len()]) else { return Ok(()) };
        for forwarded_for in FORWARDS {
            let out = written_request(&head, &bytes, forwarded_for);
            prop_assert!(is_canonical(&out, &["host", "content-length", "transfer-encoding", "upgrade"]), "{}", out.escape_ascii());
            let fields = fields_of(&out, true);
            prop_assert_eq!(count(&fields, "host"), 1);
            prop_assert_eq!(count(&fields, "keep-alive") + count(&fields, "proxy-connection"), 0);
            prop_assert!(count(&fields, "content-length") + count(&fields, "transfer-encoding") <= 1);
            prop_assert!(count(&fields, "connection") <= 1);
            prop_assert_eq!(count(&fields, "upgrade") > 0, head.upgrade);
            let framed = matches!(head.body, Body::Length(_));
            prop_assert!(!framed || count(&fields, "content-length") == 1);
            prop_assert_eq!(head.body == Body::Chunked, count(&fields, "transfer-encoding") == 1);
            let ours = fields.iter().filter(|(name, _)| name == "x-forwarded-for").collect::<Vec<_>>();
            match forwarded_for {
                ForwardedFor::Append => prop_assert!(ours.len() == 1 && ours[0].1.ends_with(b"192.0.2.1")),
                ForwardedFor::Replace => {
                    prop_assert!(ours.len() == 1 && ours[0].1 == b"192.0.2.1");
                    prop_assert_eq!(count(&fields, "x_forwarded_for") + count(&fields, "x-real-ip"), 0);
                }
                ForwardedFor::Off => {}
            }
        }
    }

    #[test]
    fn a_written_response_is_accepted_again_and_means_the_same(bytes in response_head(), old: bool, persistent: bool) {
        let Ok(Some(head)) = support::response(RESPONSE_LIMITS, Method::Get, &bytes, &[bytes.len()]) else { return Ok(()) };
        let version = if old { Version::Http10 } else { Version::Http11 };
        let out = written_response(&head, &bytes, version, persistent);
        let again = support::response(RESPONSE_LIMITS, Method::Get, &out, &[out.len()]).unwrap().unwrap();
        prop_assert_eq!(again.len, out.len());
        prop_assert_eq!(again.version, Version::Http11);
        prop_assert_eq!(again.status, head.status);
        if head.body == Body::Chunked && old {
            prop_assert_eq!(again.body, Body::UntilClose);
        } else {
            prop_assert_eq!(body_word(again.body), body_word(head.body));
        }
        prop_assert!(is_canonical(&out, &["content-length", "transfer-encoding", "upgrade"]), "{}", out.escape_ascii());
        let fields = fields_of(&out, false);
        prop_assert_eq!(count(&fields, "keep-alive") + count(&fields, "proxy-connection"), 0);
        prop_assert!(count(&fields, "content-length") + count(&fields, "transfer-encoding") <= 1);
        prop_assert!(count(&fields, "connection") <= 1);
        if head.status >= 200 {
            prop_assert_eq!(again.persistent, persistent && again.body != Body::UntilClose);
            prop_assert_eq!(count(&fields, "upgrade"), 0);
        }
    }

    #[test]
    fn what_the_first_of_several_proxies_accepts_is_refused_by_none(fields in proxy_fields(), modes in vec(prop::sample::select(&FORWARDS[..]), 4)) {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        if let Ok(Some(mut head)) = support::request(LIMITS, &request, &[request.len()]) {
            let mut bytes = request;
            for mode in modes {
                bytes = written_request(&head, &bytes, mode);
                head = support::request(LIMITS, &bytes, &[bytes.len()]).unwrap().unwrap();
            }
        }
        let response = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n").into_bytes();
        if let Ok(Some(mut head)) = support::response(RESPONSE_LIMITS, Method::Get, &response, &[response.len()]) {
            let mut bytes = response;
            for _ in 0..3 {
                bytes = written_response(&head, &bytes, Version::Http11, true);
                head = support::response(RESPONSE_LIMITS, Method::Get, &bytes, &[bytes.len()]).unwrap().unwrap();
            }
        }
    }

    #[test]
    fn what_is_accepted_is_what_another_parser_sees(bytes in prop_oneof![request_head(), noise()]) {
        let Ok(Some(head)) = support::request(LIMITS, &bytes, &[bytes.len()]) else { return Ok(()) };
        let mut seen = bytes[..head.len].to_vec();
        let start = seen.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        // httparse knows no later minor version than 1.
        let line_end = start + seen[start..].iter().position(|byte| *byte == b'\r').unwrap();
        seen[line_end - 1] = seen[line_end - 1].min(b'1');
        let fields = fields_of(&seen[start..], true);
        if let (Some(host), false) = (head.host, bytes.windows(3).any(|three| three == b"://")) {
            let seen = &fields.iter().find(|(name, _)| name == "host").unwrap().1;
            prop_assert_eq!(host.of(&bytes), seen.trim_ascii());
        }
    }

    #[test]
    fn a_chunked_body_passes_without_what_must_not(body in chunked(), at: [prop::sample::Index; 8], rest in vec(any::<u8>(), 0..8)) {
        let mut input = body.wire.clone();
        input.extend(rest);
        let ends = cuts(input.len(), &at);
        let passed = support::body(BodyReader::new(Body::Chunked), &input, &ends, false).unwrap();
        prop_assert_eq!(passed, Passed { forwarded: body.plain.clone(), consumed: body.wire.len(), done: true });
        let passed = support::body(BodyReader::decoded(Body::Chunked), &input, &ends, false).unwrap();
        prop_assert_eq!(passed, Passed { forwarded: body.content.clone(), consumed: body.wire.len(), done: true });
        // What is there is one step, and passes again unchanged.
        for mut bytes in [body.wire.clone(), body.plain.clone()] {
            let len = bytes.len();
            let step = BodyReader::new(Body::Chunked).step(&mut bytes).unwrap();
            prop_assert_eq!((step.consumed, step.data, step.done), (len, body.content.len(), true));
            prop_assert_eq!(&bytes[..step.forward], &body.plain);
        }
    }

    #[test]
    fn spliced_data_counts_as_if_it_had_been_seen(body in chunked(), lengths in vec(1..60_u64, 40)) {
        let mut reader = BodyReader::new(Body::Chunked);
        let (mut forwarded, mut at) = (Vec::<u8>::new(), 0);
        let mut lengths = lengths.into_iter().cycle();
        while !reader.is_done() {
            if let Some(data) = reader.next_data_len() {
                let taken = data.min(lengths.next().unwrap());
                reader.advance(taken);
                let taken = usize::try_from(taken).unwrap();
                forwarded.extend(&body.wire[at..at + taken]);
                at += taken;
            } else {
                let line = body.wire[at..].windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
                let mut bytes = body.wire[at..at + line].to_vec();
                let step = reader.step(&mut bytes).unwrap();
                prop_assert_eq!(step.data, 0);
                forwarded.extend(&bytes[..step.forward]);
                at += step.consumed;
            }
        }
        prop_assert_eq!(forwarded, body.plain);
    }
}
