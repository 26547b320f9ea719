//! Runs the cases under `corpus/`: each whole, byte by byte, and split at every position, with identical results.
//!
//! `HTTP1_BLESS=1 cargo test -p http1 --test corpus` writes the outcomes into the files, for review.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is a test's failure message")]

#[path = "support/case.rs"]
mod case;
mod support;

use std::fs;

use case::Case;
use http1::{
    Body, BodyReader, ClientSide, Forward, ForwardedField, ForwardedFields, ForwardedFor, Limits, Method,
    RequestHead, ResponseHead, ResponseLimits, Version,
};
use support::{LIMITS, RESPONSE_LIMITS, body_word};

/// Where the pieces of an input end: after all of it, after each byte, or once in the middle and at the end.
fn arrivals(len: usize) -> Vec<Vec<usize>> {
    let mut arrivals = vec![vec![len], (0..=len).collect()];
    // A long input is split at a sample of positions.
    let stride = len / 2000 + 1;
    arrivals.extend((0..len).step_by(stride).map(|middle| vec![middle, len]));
    arrivals
}

/// Runs every case of the files whose name begins with `prefix`.
fn run(prefix: &str, least: usize, outcome: impl Fn(&Case, &[u8], &[usize]) -> String) {
    let bless = std::env::var_os("HTTP1_BLESS").is_some();
    let mut count = 0;
    let mut wrong = Vec::new();
    for (path, mut cases) in case::files("tests/corpus", prefix) {
        for case in &mut cases {
            count += 1;
            let input = case.input();
            let whole = outcome(case, &input, &[input.len()]);
            for ends in arrivals(input.len()) {
                assert_eq!(
                    outcome(case, &input, &ends),
                    whole,
                    "{}: in pieces that end at {ends:?}",
                    case.name
                );
            }
            if whole != case.expected {
                wrong.push(format!("{}: {}\n--- {whole}\n", path.display(), case.name));
                case.expected = whole;
            }
        }
        if bless {
            fs::write(&path, case::render(&cases)).unwrap();
        }
    }
    assert!(bless || wrong.is_empty(), "{} of {count} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= least, "only {count} cases were found");
}

fn number(case: &Case, key: &str, default: usize) -> usize {
    case.setting(key).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn requests() {
    run("request", 120, |case, input, ends| {
        let limits = Limits {
            request_line: number(case, "request_line", LIMITS.request_line),
            head: number(case, "head", LIMITS.head),
            fields: number(case, "fields", LIMITS.fields),
        };
        match support::request(limits, input, ends) {
            Ok(Some(head)) => describe_request(case, input, &head),
            Ok(None) => "incomplete".to_owned(),
            Err(fault) => format!("{} {}", fault.status(), fault.label()),
        }
    });
}

fn describe_request(case: &Case, input: &[u8], head: &RequestHead) -> String {
    let text = |span: http1::Span| case::escape(span.of(input));
    let mut words = vec![
        "ok".to_owned(),
        format!("method={:?}:{}", head.method, text(head.method_span)),
        format!("target={}", text(head.target)),
        head.host.map_or("no-host".to_owned(), |host| format!("host={}", text(host))),
        format!("body={}", body_word(head.body)),
        if head.persistent { "keep" } else { "close" }.to_owned(),
    ];
    let flags = [
        (head.version == Version::Http10, "1.0".to_owned()),
        (head.expects_continue, "continue".to_owned()),
        (head.upgrade, "upgrade".to_owned()),
        (head.len < input.len(), format!("rest={}", input.len() - head.len)),
    ];
    words.extend(flags.into_iter().filter(|(shown, _)| *shown).map(|(_, word)| word));
    let forwarded_for = match case.setting("forwarded_for").unwrap_or("append") {
        "append" => ForwardedFor::Append,
        "replace" => ForwardedFor::Replace,
        "off" => ForwardedFor::Off,
        other => panic!("forwarded_for={other}"),
    };
    let forward = Forward {
        client: case.setting("client").unwrap_or("192.0.2.1"),
        port: 8080,
        forwarded_for,
        forwarded: match case.setting("forwarded") {
            Some("all") => ForwardedField::ALL.into_iter().collect(),
            Some(other) => panic!("forwarded={other}"),
            None => ForwardedFields::USUAL,
        },
        close: case.setting("close") == Some("on"),
        ..Forward::new("server:80")
    };
    let mut out = Vec::new();
    head.write(input, &forward, &mut out);
    format!("{}\n{}", words.join(" "), case::text(&out))
}

#[test]
fn responses() {
    run("response", 60, |case, input, ends| {
        let limits = ResponseLimits {
            head: number(case, "head", RESPONSE_LIMITS.head),
            fields: number(case, "fields", RESPONSE_LIMITS.fields),
        };
        let method = Method::from_bytes(case.setting("method").unwrap_or("GET").as_bytes());
        match support::response(limits, method, input, ends) {
            Ok(Some(head)) => describe_response(case, input, &head),
            Ok(None) => "incomplete".to_owned(),
            Err(fault) => format!("{} {}", fault.status(), fault.label()),
        }
    });
}

fn describe_response(case: &Case, input: &[u8], head: &ResponseHead) -> String {
    let mut words = vec![
        "ok".to_owned(),
        head.status.to_string(),
        format!("body={}", body_word(head.body)),
        if head.persistent { "keep" } else { "close" }.to_owned(),
    ];
    let flags = [
        (head.version == Version::Http10, "1.0".to_owned()),
        (head.is_interim(), "interim".to_owned()),
        (head.is_switching(), "switching".to_owned()),
        (head.len < input.len(), format!("rest={}", input.len() - head.len)),
    ];
    words.extend(flags.into_iter().filter(|(shown, _)| *shown).map(|(_, word)| word));
    let to = ClientSide {
        version: if case.setting("client") == Some("1.0") { Version::Http10 } else { Version::Http11 },
        persistent: case.setting("connection") != Some("close"),
        chunked: case.setting("chunked") == Some("yes"),
        upgrade: case.setting("upgrade") == Some("yes"),
    };
    let mut out = Vec::new();
    head.write(input, &to, &mut out);
    format!("{}\n{}", words.join(" "), case::text(&out))
}

#[test]
fn bodies() {
    run("body", 50, |case, input, ends| {
        let body = match case.setting("body").unwrap_or("chunked") {
            "empty" => Body::Empty,
            "chunked" => Body::Chunked,
            "close" => Body::UntilClose,
            length => Body::Length(length.parse().unwrap()),
        };
        let reader = if case.setting("mode") == Some("decoded") {
            BodyReader::decoded(body)
        } else {
            BodyReader::new(body)
        };
        match support::body(reader, input, ends, case.setting("closed") == Some("yes")) {
            Ok(passed) => {
                let word = if passed.done { "done" } else { "incomplete" };
                let rest = input.len() - passed.consumed;
                let rest = if rest > 0 { format!(" rest={rest}") } else { String::new() };
                format!("{word}{rest}\n{}", case::text(&passed.forwarded))
            }
            Err(fault) => format!("{} {}", fault.status(), fault.label()),
        }
    });
}
