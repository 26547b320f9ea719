//! What lbd, HAProxy and nginx make of the same hostile bytes, as servers and clients see it.
//!
//! Every case of http1's corpus goes through all three. What lbd passes on, each strict reader reads as lbd did: http1, and
//! httparse with strict rules above it. lbd passes on nothing that both others refuse. Where it is stricter, or they differ,
//! stands in a table beside this file, with a reason for each group; `FRAMING_BLESS=1` writes it anew, for review.

mod lane;
mod origin;
mod table;

#[path = "../../crates/http1/tests/support/case.rs"]
#[expect(dead_code, reason = "shared with the corpus, which also writes cases")]
mod case;
#[path = "../fuzz/src/strict.rs"]
mod strict;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use case::Case;
use http1::{Body, BodyReader, Limits, RequestHead, RequestParser, ResponseLimits, ResponseParser};
use lane::{Lane, PROXIES, Seen};
use strict::{End, Request, Response};
use table::Row;

const CORPUS: &str = "../crates/http1/tests/corpus";
const LIMITS: Limits = Limits { request_line: 8192, head: 16384, fields: 100 };
const RESPONSE_LIMITS: ResponseLimits = ResponseLimits { head: 16384, fields: 100 };
/// What is sent on is longer than what was read.
const AGAIN: Limits = Limits { request_line: 16384, head: 65536, fields: 200 };
/// Cases run side by side, since some wait for a timeout.
const LANES: usize = 6;
/// Comes after each case: to be seen as a request of its own, or not at all.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n";

#[test]
fn requests() {
    testkit::needs!("haproxy", "nginx");
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for case in corpus("request") {
        let bytes = with_body(case.input());
        // No proxy waits for the end of such a body.
        if !matches!(first(LIMITS, &bytes), Some(Ok(RequestHead { body: Body::Length(1000..), .. }))) {
            cases.push((case.name, bytes));
        }
    }
    for case in corpus("body").into_iter().filter(|case| case.setting("body").is_none()) {
        let head = b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        cases.push((format!("body: {}", case.name), [head, &case.input()[..]].concat()));
    }
    assert!(cases.len() > 250, "only {} cases", cases.len());
    let rows = Mutex::new(Vec::new());
    run(&cases, true, |lane, (name, bytes)| {
        let bytes = [bytes, LAST].concat();
        let seen = lane.send(&bytes, &None);
        let own = own_reading(LIMITS, &bytes);
        // What the server got is what lbd read, for every strict reader.
        let got = &seen[0].origin;
        let strict = complete(got.iter().flat_map(|bytes| strict::requests(bytes).0));
        let ours = complete(got.iter().flat_map(|bytes| own_reading(AGAIN, bytes)));
        assert_eq!(strict, complete(own.iter().cloned()), "{name}: the strict reader reads what lbd did not");
        assert_eq!(ours, strict, "{name}: http1 reads something else");
        for bytes in got {
            assert!(
                !matches!(strict::requests(bytes).1, End::Refused(_)),
                "{name}: passed on, and no request"
            );
        }
        let outcomes = seen.each_ref().map(|seen| request_outcome(seen, name.starts_with("body: ")));
        let passed = outcomes.each_ref().map(|outcome| !outcome.starts_with("refused"));
        if passed[0] {
            assert!(passed[1] || passed[2], "{name}: lbd passes on what both others refuse: {outcomes:?}");
        }
        let fault = match first(LIMITS, &bytes) {
            Some(Err(fault)) => Some((fault.label(), fault.to_string())),
            _ => None,
        };
        push(&rows, name, outcomes, passed, fault);
    });
    table::check("requests.txt", rows.into_inner().expect("no thread panicked"));
}

#[test]
fn responses() {
    testkit::needs!("haproxy", "nginx");
    let mut cases: Vec<(String, Vec<u8>, String)> = Vec::new();
    for case in corpus("response") {
        let method = case.setting("method").unwrap_or("GET").to_owned();
        cases.push((case.name.clone(), case.input(), method));
    }
    for case in corpus("body").into_iter().filter(|case| case.setting("body").is_none()) {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        cases.push((format!("body: {}", case.name), [head, &case.input()[..]].concat(), "GET".to_owned()));
    }
    assert!(cases.len() > 100, "only {} cases", cases.len());
    let rows = Mutex::new(Vec::new());
    run(&cases, false, |lane, (name, bytes, method)| {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let seen = lane.send(request.as_bytes(), &Some(bytes.clone()));
        let (responses, end) = strict::responses(&seen[0].client, &[method]);
        assert!(
            matches!(end, End::Clean | End::Incomplete),
            "{name}: the client reads {responses:?}, {end:?}"
        );
        assert_eq!(responses.iter().filter(|one| one.status >= 200).count(), 1, "{name}: {responses:?}");
        let outcomes = seen.each_ref().map(|seen| response_outcome(seen, method, name.starts_with("body: ")));
        let passed = outcomes.each_ref().map(|outcome| !outcome.starts_with("refused"));
        if passed[0] {
            assert!(passed[1] || passed[2], "{name}: lbd passes on what both others refuse: {outcomes:?}");
        }
        let mut parser = ResponseParser::new(RESPONSE_LIMITS);
        let fault = parser.parse(bytes, http1::Method::from_bytes(method.as_bytes())).err();
        push(&rows, name, outcomes, passed, fault.map(|fault| (fault.label(), fault.to_string())));
    });
    table::check("responses.txt", rows.into_inner().expect("no thread panicked"));
}

/// Cases with the limits that daemons have, which are not about what is left to come.
fn corpus(prefix: &str) -> Vec<Case> {
    let cases = case::files(CORPUS, prefix).into_iter().flat_map(|(path, cases)| {
        let file = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        cases.into_iter().map(move |case| Case { name: format!("{file}: {}", case.name), ..case })
    });
    let usual = |case: &Case| {
        ["request_line", "head", "fields", "forwarded_for"].iter().all(|key| case.setting(key).is_none())
    };
    cases.filter(|case| usual(case) && !case.expected.starts_with("incomplete")).collect()
}

/// Runs every case on one of the lanes, whose proxies use connections to their origins again or not.
fn run<C: Sync>(cases: &[C], reuse: bool, check: impl Fn(&Lane, &C) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let lane = Lane::start(reuse);
                while let Some(case) = cases.get(next.fetch_add(1, SeqCst)) {
                    check(&lane, case);
                }
            });
        }
    });
}

/// Notes a case on which they differ.
fn push(
    rows: &Mutex<Vec<Row>>,
    case: &str,
    outcomes: [String; 3],
    passed: [bool; 3],
    fault: Option<(&str, String)>,
) {
    if outcomes.iter().all(|outcome| *outcome == outcomes[0]) || passed == [false; 3] {
        return;
    }
    let (group, reason) = match (passed[0], fault) {
        (false, Some((label, sentence))) => {
            (format!("lbd refuses: {label}"), Some(format!("It has {sentence}.")))
        }
        (false, None) => ("lbd refuses, later than by its head".to_owned(), None),
        (true, _) => {
            let refusing = PROXIES.iter().zip(passed).filter(|(_, passed)| !passed).map(|(name, _)| *name);
            let refusing: Vec<_> = refusing.collect();
            match refusing[..] {
                [] => ("all pass it on, in their ways".to_owned(), None),
                _ => (format!("{} refuses", refusing.join(", ")), None),
            }
        }
    };
    rows.lock().expect("no thread panicked").push(Row { group, reason, case: case.to_owned(), outcomes });
}

/// What became of a request: what the origin saw of it, or the refusal.
fn request_outcome(seen: &Seen, streamed: bool) -> String {
    let mut words = Vec::new();
    for bytes in &seen.origin {
        let (requests, end) = strict::requests(bytes);
        words.extend(requests.iter().filter(|one| one.complete).map(|request| {
            let Request { method, target, host, body, .. } = request;
            let body = if body.is_empty() { String::new() } else { format!(" with {} bytes", body.len()) };
            shown(&format!("{method} {target} to {host}{body}"))
        }));
        if let (End::Refused(why), false) =
            (end, streamed && !matches!(requests[..], [] | [.., Request { complete: true, .. }]))
        {
            words.push(format!("what a strict server refuses ({why})"));
        }
    }
    // On which of several connections a request goes is of no account.
    words.sort_by_key(|word| (word == "GET /last to last", word.clone()));
    if words.iter().all(|word| word == "GET /last to last") {
        if streamed {
            // How far a broken body came before it was found out, and who said 400 to it, is a matter of time.
            return "refused".to_owned();
        }
        let status = seen.client.get(9..12).map_or("no answer".into(), String::from_utf8_lossy);
        let last = if words.is_empty() { "" } else { ", but not what follows" };
        return format!("refused, {status}{last}");
    }
    words.join("; ")
}

/// What became of a response: what the client saw of it, or that it was refused.
fn response_outcome(seen: &Seen, method: &str, streamed: bool) -> String {
    let (responses, end) = strict::responses(&seen.client, &[method]);
    if streamed && !matches!(responses[..], [Response { status: 200, complete: true, .. }]) {
        // How far a broken body came before it was found out is a matter of time.
        return "refused, or cut".to_owned();
    }
    let mut words: Vec<_> = responses
        .iter()
        .map(|response| match (response.complete, response.body.len()) {
            (true, 0) => response.status.to_string(),
            (true, length) => format!("{} with {length} bytes", response.status),
            (false, _) => format!("{}, cut", response.status),
        })
        .collect();
    if let [only] = &responses[..]
        && only.status == 502
    {
        return "refused, 502".to_owned();
    }
    match end {
        End::Refused(why) => words.push(format!("what a strict client refuses ({why})")),
        End::Switched => words.push("a tunnel".to_owned()),
        End::Clean | End::Incomplete if words.is_empty() => words.push("refused, nothing".to_owned()),
        End::Clean | End::Incomplete => {}
    }
    words.join("; ")
}

/// Printable, and not too long.
fn shown(text: &str) -> String {
    let text: String = text.escape_debug().collect();
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn complete(requests: impl Iterator<Item = Request>) -> Vec<Request> {
    let cleared = requests.map(|request| Request { fields: Vec::new(), ..request });
    cleared.filter(|request| request.complete).collect()
}

/// What http1 says of the first request's head.
fn first(limits: Limits, bytes: &[u8]) -> Option<Result<RequestHead, http1::RequestFault>> {
    RequestParser::new(limits).parse(bytes).transpose()
}

/// Gives a request the body that it announces, where the corpus has none.
fn with_body(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(Ok(head)) = first(LIMITS, &bytes)
        && head.len == bytes.len()
    {
        match head.body {
            Body::Length(length @ 0..1000) => bytes.extend((0..length).map(|_| b'x')),
            Body::Chunked => bytes.extend(b"5\r\nhello\r\n0\r\n\r\n"),
            _ => {}
        }
    }
    bytes
}

/// The requests that http1 reads, until the client's connection ends; as they are sent on.
fn own_reading(limits: Limits, mut bytes: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    while let Some(Ok(head)) = first(limits, bytes) {
        let forward =
            http1::Forward { forwarded_for: http1::ForwardedFor::Off, ..http1::Forward::new("app") };
        let mut written = Vec::new();
        head.write(bytes, &forward, &mut written);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut request = Request {
            method: text(head.method_span.of(bytes)),
            target: text(&written).split(' ').nth(1).unwrap_or_default().to_owned(),
            host: head.host.map_or_else(|| "app".to_owned(), |host| text(host.of(bytes))),
            fields: Vec::new(),
            body: Vec::new(),
            complete: false,
        };
        bytes = &bytes[head.len..];
        let mut body = BodyReader::decoded(head.body);
        loop {
            let mut buffer = bytes.to_vec();
            let Ok(step) = body.step(&mut buffer) else { break };
            request.body.extend_from_slice(&buffer[..step.forward]);
            bytes = &bytes[step.consumed..];
            if step.done || step.consumed == 0 {
                break;
            }
        }
        request.complete = body.is_done();
        let last = !request.complete || !head.persistent;
        requests.push(request);
        if last {
            break;
        }
    }
    requests
}
