//! Checks against requests: what a check takes for good is what a client would get through lbd, whatever the answer looks like.

use std::fmt::Write;
use std::io;
use std::ops::Range;

use testkit::{Peer, Stack, wait_for, wait_until};

/// How long lbd waits for a server, and a check for its whole answer.
const PATIENCE: &str = "2s";

/// What a server does when it has sent an answer.
#[derive(Clone, Copy, Debug)]
enum Then {
    Close,
    Stall,
}

/// One form of answer.
#[derive(Debug)]
struct Form {
    name: String,
    method: &'static str,
    bytes: String,
    then: Then,
}

/// What came of a request or of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A whole answer.
    Good,
    /// No answer that could be passed on, or only a part of one.
    Bad,
    /// It did not come in time.
    Late,
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const LENGTH: &str = "Content-Length: 2\r\n\r\nok";

/// Heads whose answers end with the connection.
const HEADS: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 200 ",
    "HTTP/1.1 200",
    "HTTP/1.1 200 a \u{e4} b",
    "HTTP/1.1 200 a\tb",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\t200 OK",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 200OK",
    "HTTP/1.1 099 OK",
    "HTTP/1.1 2x0 OK",
    "HTTP/1.2 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/11 200 OK",
    "http/1.1 200 OK",
    "ICY 200 OK",
    " HTTP/1.1 200 OK",
    "\r\nHTTP/1.1 200 OK",
    "220 mail.example.org ESMTP",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x",
    "HTTP/1.1 103 Early Hints",
    "HTTP/1.1 200 OK\nX: a",
    "HTTP/1.1 200 OK\rX: a",
    "HTTP/1.1 200 O\0K",
    "HTTP/1.1 200 OK\r\nX: a\nY: b",
    "HTTP/1.1 200 OK\r\nX: a\rY: b",
    "HTTP/1.1 200 OK\r\nX: a\0b",
    "HTTP/1.1 200 OK\r\nX: a\u{7f}b",
    "HTTP/1.1 200 OK\r\nX: a\tb",
    "HTTP/1.1 200 OK\r\nX: \u{e4}",
    "HTTP/1.1 200 OK\r\nX:",
    "HTTP/1.1 200 OK\r\nX:a",
    "HTTP/1.1 200 OK\r\nX: a ",
    "HTTP/1.1 200 OK\r\nX : a",
    "HTTP/1.1 200 OK\r\nX\t: a",
    "HTTP/1.1 200 OK\r\n X: a",
    "HTTP/1.1 200 OK\r\nX: a\r\n b",
    "HTTP/1.1 200 OK\r\nX: a\r\n\tb",
    "HTTP/1.1 200 OK\r\nno colon",
    "HTTP/1.1 200 OK\r\n: no name",
    "HTTP/1.1 200 OK\r\nX(y): a",
    "HTTP/1.1 200 OK\r\nConnection: close",
    "HTTP/1.1 200 OK\r\nConnection: keep-alive, , x-y",
    "HTTP/1.1 200 OK\r\nConnection: a b",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip",
];

/// Fields about the length of a body that then has two bytes, and what follows.
const LENGTHS: &[&str] = &[
    "Content-Length: 2",
    "Content-Length:2",
    "Content-Length:\t2\t",
    "Content-Length: 02",
    "Content-Length: +2",
    "Content-Length: -2",
    "Content-Length: 0x2",
    "Content-Length: 2 2",
    "Content-Length: 2.0",
    "Content-Length:",
    "Content-Length: 2, 2",
    "Content-Length: 2, 3",
    "Content-Length: 2\r\nContent-Length: 2",
    "Content-Length: 2\r\nContent-Length: 3",
    "Content-Length: 0",
    "Content-Length: 1",
    "Content-Length: 3",
    "Content-Length: 65536",
    "Content-Length: 99999999999999999999",
    "Content-Length: 2\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 2",
];

/// Fields that tell of chunks, before a body of one.
const CODINGS: &[&str] = &[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding: chunked\t",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: chunked; a=b",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:",
];

/// Chunked bodies.
const BODIES: &[&str] = &[
    "2\r\nok\r\n0\r\n\r\n",
    "02\r\nok\r\n00\r\n\r\n",
    "2;a=b\r\nok\r\n0;c\r\n\r\n",
    "2 ;a\r\nok\r\n0\r\n\r\n",
    "2 \r\nok\r\n0\r\n\r\n",
    " 2\r\nok\r\n0\r\n\r\n",
    "+2\r\nok\r\n0\r\n\r\n",
    "0x2\r\nok\r\n0\r\n\r\n",
    "g\r\nok\r\n0\r\n\r\n",
    "\r\nok\r\n0\r\n\r\n",
    "2\nok\r\n0\r\n\r\n",
    "2\r\nok\n0\r\n\r\n",
    "2\r\nokay\r\n0\r\n\r\n",
    "3\r\nok\r\n0\r\n\r\n",
    "2\r\nok\r\n0\r\n",
    "2\r\nok\r\n",
    "2\r\no",
    "",
    "2\r\nok\r\n0\r\nX: a\r\n\r\n",
    "2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n",
    "2\r\nok\r\n0\r\nX : a\r\n\r\n",
    "2\r\nok\r\n0\r\nno colon\r\n\r\n",
    "2\r\nok\r\n0\r\nX: a\n\r\n",
    "2\r\nok\r\n0\r\n\r\nmore",
    "fffffffffffffffff\r\nok\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nok\r\n0\r\n\r\n",
];

fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    let mut add = |method, name: String, bytes: String, then| forms.push(Form { name, method, bytes, then });
    for head in HEADS {
        add("GET", format!("{head:?}"), format!("{head}\r\n\r\nok"), Then::Close);
    }
    for fields in LENGTHS {
        let bytes = format!("{OK}{fields}\r\n\r\nok");
        add("GET", format!("{fields:?}"), bytes.clone(), Then::Close);
        add("HEAD", format!("{fields:?} to HEAD"), bytes, Then::Close);
        add(
            "GET",
            format!("{fields:?} in HTTP/1.0"),
            format!("HTTP/1.0 200 OK\r\n{fields}\r\n\r\nok"),
            Then::Close,
        );
    }
    for fields in CODINGS {
        let bytes = format!("{OK}{fields}\r\n\r\n{}", BODIES[0]);
        add("GET", format!("{fields:?}"), bytes, Then::Close);
    }
    add("GET", "chunked in HTTP/1.0".into(), CHUNKED.replacen("1.1", "1.0", 1) + BODIES[0], Then::Close);
    for body in BODIES {
        add("GET", format!("chunks {body:?}"), format!("{CHUNKED}{body}"), Then::Close);
    }
    for size in [1000, 1100, 100_000] {
        let body = format!("2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(size));
        add("GET", format!("a chunk extension of {size} bytes"), format!("{CHUNKED}{body}"), Then::Close);
        let body = format!("2\r\nok\r\n0\r\n{}\r\n", "X: y\r\n".repeat(size));
        add("GET", format!("{size} trailer fields"), format!("{CHUNKED}{body}"), Then::Close);
    }
    for fields in [1, 100, 128, 129, 140, 255, 256, 300] {
        let head = format!("{OK}{}{LENGTH}", "X: y\r\n".repeat(fields - 1));
        add("GET", format!("{fields} fields"), head, Then::Close);
    }
    for len in [8 << 10, 31 << 10, 33 << 10, 100 << 10] {
        add(
            "GET",
            format!("a field of {len} bytes"),
            format!("{OK}X: {}\r\n{LENGTH}", "x".repeat(len)),
            Then::Close,
        );
        let line = format!("HTTP/1.1 200 {}\r\n{LENGTH}", "x".repeat(len));
        add("GET", format!("a reason of {len} bytes"), line, Then::Close);
    }
    for count in [1, 32, 33] {
        let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(count);
        add("GET", format!("{count} interim responses"), format!("{interim}{OK}{LENGTH}"), Then::Close);
    }
    for len in [64 << 10, (64 << 10) + 1, 1 << 20] {
        let body = "x".repeat(len);
        add(
            "GET",
            format!("a length of {len}"),
            format!("{OK}Content-Length: {len}\r\n\r\n{body}"),
            Then::Close,
        );
        add("GET", format!("{len} bytes until the end"), format!("{OK}\r\n{body}"), Then::Close);
        add(
            "GET",
            format!("a chunk of {len} bytes"),
            format!("{CHUNKED}{len:x}\r\n{body}\r\n0\r\n\r\n"),
            Then::Close,
        );
    }
    for bytes in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n",
        "\0\u{1}\u{2}garbage\r\n\r\n",
    ] {
        add("GET", format!("{bytes:?} alone"), bytes.into(), Then::Close);
        add("GET", format!("{bytes:?} and nothing more"), bytes.into(), Then::Stall);
    }
    for bytes in [
        format!("{OK}{LENGTH}"),
        format!("{OK}Content-Length: 9\r\n\r\nok"),
        format!("{CHUNKED}{}", BODIES[0]),
        format!("{CHUNKED}2\r\nok\r\n"),
        format!("{OK}\r\nok"),
    ] {
        add("GET", format!("{bytes:?} on a connection that stays"), bytes, Then::Stall);
    }
    forms
}

/// Answers with the form that the path names.
fn answer(forms: &[Form], peer: &mut Peer) -> io::Result<()> {
    let request = peer.read_request()?;
    let number = request.split(' ').nth(1).and_then(|path| path.trim_start_matches('/').parse().ok());
    let form: &Form = number.and_then(|number: usize| forms.get(number)).expect("a path that names a form");
    peer.send(&form.bytes)?;
    match form.then {
        Then::Close => Ok(()),
        Then::Stall => peer.stall(),
    }
}

/// What a client gets through lbd.
fn requested(stack: &Stack, number: usize, form: &Form) -> Outcome {
    let mut client = stack.client();
    client.send(format!("{} /{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", form.method));
    loop {
        match client.try_response(form.method) {
            Ok(response) if response.status < 200 => {}
            Ok(response) => match response.status {
                502 => return Outcome::Bad,
                504 => return Outcome::Late,
                _ => return Outcome::Good,
            },
            Err(_) => return Outcome::Bad,
        }
    }
}

/// What a check says.
fn checked(stack: &Stack, number: usize) -> (Outcome, String) {
    let row = stack.stat(&format!("f{number}"), "raw");
    let outcome = match row.text("check_status") {
        "L7OK" => Outcome::Good,
        "L7RSP" => Outcome::Bad,
        "L7TOUT" => Outcome::Late,
        other => panic!("{other}: {row:?}"),
    };
    (outcome, row.text("last_chk").to_owned())
}

#[test]
fn checks_and_requests_take_the_same_answers() {
    let numbers: Range<usize> = 0..forms().len();
    let mut backends = String::new();
    for (number, form) in forms().iter().enumerate() {
        let _ = writeln!(
            backends,
            "f{number}:\n  check: {{ http: {{ path: /{number}, method: {}, expect: 100-599 }}, interval: 1h, timeout: {PATIENCE} }}\n  servers: {{ raw: \"SERVER\" }}",
            form.method
        );
    }
    let served = forms();
    let (mut stack, server) = Stack::builder()
        .backend(&format!("timeouts: {{ server: {PATIENCE} }}\nretries: 0"))
        .start_before(move |peer| answer(&served, peer));
    stack.config.more_backends = backends.replace("SERVER", &server.address().to_string());
    stack.write_config();
    stack.healthd.start();
    stack.lbd.stop();
    stack.lbd.start();
    wait_until("every form has been checked", || {
        let rows = stack.stats();
        let ended = |row: &&testkit::Row| {
            row.text("svname") == "raw" && !matches!(row.text("check_status"), "" | "INI")
        };
        rows.iter().filter(ended).count() == numbers.len()
    });

    let mut seen = [0; 3];
    let mut differences = Vec::new();
    for (number, form) in forms().iter().enumerate() {
        let (checked, requested) = (checked(&stack, number), requested(&stack, number, form));
        seen[requested as usize] += 1;
        // Of a body that stops coming a client gets a part.
        let same = checked.0 == requested || (checked.0, requested) == (Outcome::Late, Outcome::Bad);
        if !same {
            differences.push(format!("{}: a check says {checked:?}, a client {requested:?}", form.name));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        numbers.len(),
        differences.join("\n")
    );
    assert!(seen.iter().all(|count| *count > 3), "a table of one outcome shows nothing: {seen:?}");
}

/// Sends the same again until the other side has had enough.
fn endlessly(peer: &mut Peer, start: &str, again: &str) -> io::Result<()> {
    peer.read_request()?;
    peer.send(start)?;
    let again = again.repeat(1 + 4096 / again.len());
    loop {
        peer.send(&again)?;
    }
}

#[test]
fn an_endless_body_is_no_success() {
    for (start, again) in [
        (CHUNKED.to_owned(), "5\r\nhello\r\n"),
        (format!("{OK}\r\n"), "hello"),
        (format!("{CHUNKED}5;"), "x"),
        (format!("{CHUNKED}0\r\n"), "X: y\r\n"),
    ] {
        let (mut stack, server) = Stack::builder().start_before(move |peer| endlessly(peer, &start, again));
        stack.config.check = "{ http: { path: / }, interval: 1h, timeout: 1m }".into();
        stack.config.server("raw", server.address());
        stack.write_config();
        stack.healthd.start();
        stack.lbd.stop();
        stack.lbd.start();
        let status = wait_for("the check has ended", || {
            let status = stack.stat("app", "raw").text("check_status").to_owned();
            (status != "INI").then_some(status)
        });
        assert_eq!(status, "L7RSP");
    }
}
