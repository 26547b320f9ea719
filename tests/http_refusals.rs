//! Requests that are refused: each gets a complete response and a closed connection, is counted, and never reaches a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use testkit::{Client, Peer, RawServer, Response, Stack, wait_until};

/// Answers every request, so that one which should have been refused shows.
fn answer_all(peer: &mut Peer) -> std::io::Result<()> {
    loop {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

/// Sends bytes on a new connection, and returns the one response that comes before the end of the connection.
fn refusal(stack: &Stack, bytes: &[u8]) -> Response {
    let mut client = Client::connect(stack.web());
    client.send(bytes);
    let response = client.response();
    assert!(response.closes(), "{response:?} does not say that the connection closes");
    client.expect_closed();
    response
}

/// Checks a table of requests, each with the statuses that are right for it.
fn assert_refused(cases: &[(&str, &[u16])]) {
    let (stack, server) = Stack::builder().start_before(answer_all);
    for (request, statuses) in cases {
        let response = refusal(&stack, request.as_bytes());
        assert!(statuses.contains(&response.status), "{request:?} got {}, not {statuses:?}", response.status);
        assert!(!response.body.is_empty(), "{request:?}: a person would see an empty page");
    }
    assert_eq!(server.requests(), Vec::<String>::new(), "refused requests reached the server");
    let counted = u64::try_from(cases.len()).unwrap();
    wait_until("every refusal is counted", || stack.stat("web", "FRONTEND").number("ereq") == counted);
}

// RFC 9112 section 6.1: "the server MUST close the connection after responding to such a request"
#[test]
fn ambiguous_body_lengths() {
    assert_refused(&[
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nhello", &[400, 413]),
    ]);
}

// RFC 9112 section 6.3: "the server MUST respond with the 400 (Bad Request) status code and then close the connection"
#[test]
fn transfer_codings_that_are_not_plainly_chunked() {
    let with =
        |value: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n0\r\n\r\n");
    let cases: Vec<(String, &[u16])> = vec![
        (with("gzip"), &[400, 501]),
        (with("gzip, chunked"), &[501]),
        (with("chunked, gzip"), &[400, 501]),
        (with("chunked, chunked"), &[400]),
        (with("xchunked"), &[400, 501]),
        (with(""), &[400]),
        (with("\u{b}chunked"), &[400]),
        (with("chunked\r\nTransfer-Encoding: chunked"), &[400]),
        (with("identity"), &[400, 501]),
    ];
    assert_refused(
        &cases.iter().map(|(request, statuses)| (request.as_str(), *statuses)).collect::<Vec<_>>(),
    );
}

#[test]
fn broken_chunks() {
    let with = |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let whole = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&whole);
    let (stack, _server) = Stack::builder().start_before(move |peer| {
        peer.read_request()?;
        peer.read_until(b"0\r\n\r\n")?;
        count.fetch_add(1, SeqCst);
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let bodies = [
        "xyz\r\n",
        "-1\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "11111111111111111\r\n",
        "\r\n0\r\n\r\n",
    ];
    for body in bodies {
        let response = refusal(&stack, with(body).as_bytes());
        assert_eq!(response.status, 400, "{body:?}");
    }
    assert_eq!(whole.load(SeqCst), 0, "a broken body reached the server as a whole one");
}

#[test]
fn characters_that_do_not_belong_in_a_head() {
    assert_refused(&[
        ("GET / HTTP/1.1\nHost: a\n\n\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\u{0}2\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\u{7}2\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n", &[400]),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        ("GET / with spaces HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ]);
}

#[test]
fn requests_for_nowhere() {
    assert_refused(&[
        ("GET / HTTP/1.1\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", &[400]),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        ("GET /#fragment HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        ("GET relative HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", &[400, 405, 501]),
    ]);
}

#[test]
fn other_protocols() {
    assert_refused(&[
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", &[400, 505]),
        ("GET /\r\n\r\n", &[400]),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\r\n\r\n", &[400]),
        ("complete nonsense\r\n\r\n", &[400]),
    ]);
}

#[test]
fn heads_that_are_too_large() {
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9 << 10));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20 << 10));
    let many_fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(150));
    let endless_line = "x".repeat(40 << 10);
    assert_refused(&[
        (&long_line, &[414]),
        (&long_head, &[431]),
        (&many_fields, &[431]),
        (&endless_line, &[400, 414]),
    ]);
}

#[test]
fn a_body_that_is_too_large() {
    let (stack, server) = Stack::builder().frontend("limits: { body: 1KiB }").start_before(|peer| {
        peer.read_request()?;
        let body = peer.read_until(b"0\r\n\r\n")?;
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nX-Got: {}\r\n\r\n",
            body.len()
        ))
    });
    // Announced: it is refused before a server sees it.
    let announced = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n";
    assert_eq!(refusal(&stack, announced.as_bytes()).status, 413);
    assert_eq!(server.requests().len(), 0);
    // Chunked: it is found out on the way, and never passed on as whole.
    let chunks = format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(2);
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    assert_eq!(refusal(&stack, chunked.as_bytes()).status, 413);
    // Within the limit it passes.
    let mut client = stack.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn the_limit_of_a_body_counts_its_content_and_no_framing() {
    let (stack, _server) = Stack::builder().frontend("limits: { body: 1KiB }").start_before(|peer| {
        peer.read_request()?;
        let body = peer.read_until(b"0\r\n\r\n")?;
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nX-Got: {}\r\n\r\n",
            body.len()
        ))
    });
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = |count| "1;name=value\r\nx\r\n".repeat(count) + "0\r\n\r\n";
    // With the head, and behind it.
    for pause in [false, true] {
        let mut client = stack.client();
        client.send(head);
        if pause {
            std::thread::sleep(Duration::from_millis(100));
        }
        client.send(chunks(1024));
        let response = client.response();
        assert_eq!((response.status, response.field("x-got")), (200, Some("6149")));
    }
    assert_eq!(refusal(&stack, (head.to_owned() + &chunks(1025)).as_bytes()).status, 413);
}

#[test]
fn a_head_that_comes_too_slowly() {
    let (stack, server) =
        Stack::builder().frontend("timeouts: { request_head: 500ms }").start_before(answer_all);
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    // The deadline is absolute: a byte now and then does not move it.
    let mut trickle = Client::into_stream(stack.client());
    let sender = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut answer = String::new();
        let _ = trickle.write_all(b"GET / HTTP/1.1\r\nX-Slow: ");
        while trickle.write_all(b"x").is_ok() && answer.is_empty() {
            trickle.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let mut bytes = [0; 512];
            if let Ok(received) = trickle.read(&mut bytes) {
                answer = String::from_utf8_lossy(&bytes[..received]).into_owned();
            }
        }
        answer
    });
    let response = client.response();
    assert_eq!(response.status, 408);
    client.expect_closed();
    let answer = sender.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let (stack, _server) =
        Stack::builder().frontend("timeouts: { keep_alive: 300ms }").start_before(answer_all);
    let mut client = stack.client();
    assert_eq!(client.get("/").status, 200);
    client.expect_closed();
}

#[test]
fn a_body_that_stops_coming() {
    let (stack, server) = Stack::builder().frontend("timeouts: { client: 500ms }").start_before(|peer| {
        peer.read_request()?;
        peer.stall()
    });
    let mut client = stack.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nnot all of it");
    assert_eq!(client.response().status, 408);
    client.expect_closed();
    assert_eq!(server.requests().len(), 1);
}

// RFC 9112 section 9.6: "The server MUST NOT process any further requests received on that connection"
#[test]
fn a_refusal_ends_a_pipeline() {
    let (stack, server): (Stack, RawServer) = Stack::builder().start_before(answer_all);
    let mut client = stack.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nBAD\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 400);
    client.expect_closed();
    assert_eq!(server.requests().len(), 1, "what follows a refused request is not looked at");
}
