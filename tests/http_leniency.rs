//! What the RFCs ask a recipient to take, lbd takes, and passes on in the one form that everybody reads alike.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::{Peer, Stack};

/// Answers every request with 200 and an empty body, on a connection that stays open. Only chunked bodies are looked for.
fn answer_all(peer: &mut Peer) -> std::io::Result<()> {
    loop {
        if peer.read_request()?.contains("Transfer-Encoding") {
            peer.read_until(b"0\r\n\r\n")?;
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

#[test]
fn white_space_hosts_and_minor_versions_leave_in_canonical_form() {
    let (stack, server) = Stack::builder().frontend("forwarded_for: off").start_before(answer_all);
    let mut client = stack.client();
    let cases = [
        ("GET / HTTP/1.1\r\nHost:\ta\t\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost:a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: a;b,(c)=!\r\n\r\n", "GET / HTTP/1.1\r\nHost: a;b,(c)=!\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: b%C3%BCcher:80\r\n\r\n", "GET / HTTP/1.1\r\nHost: b%C3%BCcher:80\r\n\r\n"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t0\t\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked \t\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
    ];
    for (sent, _) in cases {
        client.send(sent);
        assert_eq!(client.response().status, 200, "{sent:?}");
    }
    let forwarded = cases.map(|(_, forwarded)| forwarded);
    assert_eq!(server.requests(), forwarded, "what servers get has one reading");
}

#[test]
fn responses_leave_in_canonical_form() {
    let (stack, _server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.2 200 OK\r\nTransfer-Encoding:\tchunked\t\r\n\r\n5\r\nhello\r\n0\r\n\r\n")?;
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length:\t5\t\r\n\r\nhello")
    });
    let expected = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ];
    let mut client = stack.client();
    for expected in expected {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let received = client.take(expected.len()).unwrap();
        assert_eq!(String::from_utf8_lossy(&received), expected);
    }
}

#[test]
fn what_has_no_canonical_form_stays_refused() {
    let (stack, server) = Stack::builder().start_before(answer_all);
    for head in [
        "GET / HTTP/1.1\r\nHost: a%2Fb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a%00\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a%4\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\t0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun\tked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked,\tchunked\r\n\r\n",
        "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = stack.client();
        client.send(head);
        assert_eq!(client.response().status, 400, "{head:?}");
        client.expect_closed();
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn empty_lines_do_not_begin_a_head() {
    let timeouts = "timeouts: { request_head: 300ms, keep_alive: 600ms }";
    let (stack, server) = Stack::builder().frontend(timeouts).start_before(answer_all);
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for lines in ["\r\n", "\r\n\r\n\r\n", "\r", "\r\n\r"] {
        // A new connection with nothing else is closed without a word.
        let mut client = stack.client();
        client.send(lines);
        client.expect_closed();
        // As is one that was used, whether they come with the request or by themselves.
        let mut client = stack.client();
        client.send(format!("{request}{lines}"));
        assert_eq!(client.response().status, 200);
        client.expect_closed();
        let mut client = stack.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{lines}"));
        assert_eq!(client.response().status, 200);
        client.send(&lines[..0]);
        client.expect_closed();
    }
    // A request behind them is one like any other.
    let mut client = stack.client();
    for lines in ["\r\n", "\r\n\r\n"] {
        client.send(lines);
        client.send(request);
        assert_eq!(client.response().status, 200);
        client.send(format!("{lines}{request}{lines}{request}"));
        assert_eq!([client.response().status, client.response().status], [200, 200]);
    }
    client.send("\r");
    client.send(format!("\n{request}"));
    assert_eq!(client.response().status, 200);
    drop(client);
    assert!(server.requests().iter().all(|head| head.starts_with("GET / ") || head.starts_with("POST / ")));
    assert_eq!(stack.stat("web", "FRONTEND").number("ereq"), 0, "no empty line is a request");
    // Half a head behind an empty line is half a head.
    let mut client = stack.client();
    client.send("\r\nGET /");
    assert_eq!(client.response().status, 408);
}

#[test]
fn a_refused_head_request_gets_no_body() {
    let (stack, _server) = Stack::builder().start_before(answer_all);
    for head in [
        "HEAD / HTTP/1.1\r\n\r\n",
        "\r\nHEAD / HTTP/2.0\r\nHost: a\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: /\r\n\r\n",
    ] {
        let mut client = stack.client();
        client.send(head);
        let response = client.response_to("HEAD");
        assert!(response.status >= 400, "{response:?}");
        assert_ne!(response.field("content-length"), Some("0"), "{response:?}");
        client.expect_closed();
    }
}

/// The fastest of many requests is what the kernel's timer for delayed acknowledgements (40 ms at least) would show in,
/// whatever else the machine does.
fn fastest(stack: &Stack, request: impl Fn(&mut TcpStream)) -> Duration {
    let mut stream = stack.client().into_stream();
    stream.set_nodelay(false).unwrap();
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let mut ask = || {
        let start = Instant::now();
        request(&mut stream);
        let mut received = [0; 43];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(received, *response);
        start.elapsed()
    };
    // A connection's first bytes are acknowledged at once.
    (0..20).for_each(|_| _ = ask());
    (0..30).map(|_| ask()).min().unwrap()
}

#[test]
fn a_head_and_a_body_written_one_by_one_wait_for_no_timer() {
    let (stack, _server) = Stack::builder().start_before(|peer| {
        loop {
            peer.read_request()?;
            peer.read_body(5)?;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
        }
    });
    let time = fastest(&stack, |stream| {
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").unwrap();
        stream.write_all(b"hello").unwrap();
    });
    assert!(time < Duration::from_millis(40), "{time:?}");
}

#[test]
fn a_response_written_in_two_steps_waits_for_no_timer() {
    let (stack, _server) = Stack::builder().start_before(|peer| {
        loop {
            peer.read_request()?;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")?;
            peer.send("hello")?;
        }
    });
    let time = fastest(&stack, |stream| stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap());
    assert!(time < Duration::from_millis(40), "{time:?}");
}
