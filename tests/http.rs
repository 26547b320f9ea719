//! What a client and a server see of each other through lbd when both behave: everything, and nothing else.

use std::net::TcpStream;
use std::sync::Arc;

use testkit::{Client, EchoServer, Peer, SERVER_PORT, Stack, assert_echoes, pattern};

/// Answers every request with 200 and an empty body, on a connection that stays open.
fn answer_all(peer: &mut Peer) -> std::io::Result<()> {
    loop {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

#[test]
fn connections_are_kept_on_both_sides() {
    let (stack, server) = Stack::builder().start_before(answer_all);
    let mut client = stack.client();
    for _ in 0..50 {
        let response = client.get("/");
        assert_eq!(response.status, 200);
        assert!(!response.closes(), "{response:?}");
    }
    assert_eq!(server.requests().len(), 50);
    assert_eq!(server.connections(), 1, "the server's connection is reused");
}

// RFC 9112 section 9.3.2: "it MUST send the corresponding responses in the same order that the requests were received"
#[test]
fn pipelined_requests_are_answered_in_order() {
    let stack = Stack::builder().unchecked().start();
    let files: Vec<_> = (0..20).map(|n| pattern(1000 * (20 - n), n as u64)).collect();
    for nginx in &stack.nginx {
        for (n, bytes) in files.iter().enumerate() {
            std::fs::write(nginx.files().join(n.to_string()), bytes).unwrap();
        }
    }
    let mut client = stack.client();
    let requests: String =
        (0..20).map(|n| format!("GET /files/{n} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(requests);
    for (n, bytes) in files.iter().enumerate() {
        assert!(client.response().body == *bytes, "answer {n} is not the one to request {n}");
    }
}

#[test]
fn a_head_request_gets_the_head_alone() {
    let stack = Stack::builder().servers(1).unchecked().start();
    stack.nginx[0].file("some", 5000);
    let mut client = stack.client();
    client.send("HEAD /files/some HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = client.response_to("HEAD");
    assert_eq!((response.status, response.field("content-length")), (200, Some("5000")));
    assert_eq!(client.get("/").instance(), Some(1), "the connection goes on right after the head");
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let stack = Stack::builder().servers(1).unchecked().start();
    let mut client = stack.client();
    for status in [204, 304] {
        assert_eq!(client.get(&format!("/status/{status}")).status, status);
        assert_eq!(client.get("/").instance(), Some(1), "after {status}");
    }
}

#[test]
fn ten_mebibytes_arrive_whole_each_way_fixed_and_chunked() {
    const LENGTH: usize = 10 << 20;
    let stack = Stack::builder().servers(1).unchecked().start();
    let nginx = &stack.nginx[0];
    let file = nginx.file("big", LENGTH);
    let mut client = stack.client();

    let fixed = client.get("/files/big");
    assert_eq!(fixed.field("content-length"), Some("10485760"));
    assert!(fixed.body == file, "the fixed download is damaged");
    let chunked = client.get("/chunked/big");
    assert_eq!(chunked.field("transfer-encoding"), Some("chunked"));
    assert!(chunked.body == file, "the chunked download is damaged");

    client.send(format!("PUT /upload/fixed HTTP/1.1\r\nHost: test\r\nContent-Length: {LENGTH}\r\n\r\n"));
    client.send(&file);
    assert_eq!(client.response().status, 201);
    assert!(nginx.uploaded("fixed") == Some(file.clone()), "the fixed upload is damaged");

    client.send("PUT /upload/chunked HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Sizes that fit no buffer: one byte, primes, and more than any buffer holds.
    let mut rest = file.as_slice();
    for size in [1, 7919, 65_537, 1_000_003].into_iter().cycle() {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        client.send(format!("{:x}\r\n", chunk.len()));
        client.send(chunk);
        client.send("\r\n");
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().status, 201);
    assert!(nginx.uploaded("chunked") == Some(file), "the chunked upload is damaged");
}

#[test]
fn tiny_chunks_arrive_whole_each_way_without_their_extensions() {
    const CHUNKS: usize = 100_000;
    fn tiny() -> String {
        (0..CHUNKS).map(|at| format!("1;at={at}\r\n{}\r\n", at % 10)).collect::<String>()
            + "0 ;last\r\nX-Sum: 1\r\n\r\n"
    }
    let expected: String = (0..CHUNKS).map(|at| format!("1\r\n{}\r\n", at % 10)).collect();
    let expected = expected + "0\r\nX-Sum: 1\r\n\r\n";
    let wanted = expected.clone();
    let (stack, _server) = Stack::builder().start_before(move |peer| {
        peer.read_request()?;
        let body = peer.read_until(b"\r\n\r\n")?;
        let same = body == wanted.as_bytes();
        peer.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Same: {same}\r\n\r\n"))?;
        peer.send(tiny())
    });
    let mut client = stack.client();
    let mut sender = client.sender();
    let sending = std::thread::spawn(move || {
        sender.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        sender.send(tiny());
    });
    let head = client.try_head().unwrap();
    sending.join().unwrap();
    assert_eq!(head.field("x-same"), Some("true"));
    assert!(client.take(expected.len()).unwrap() == expected.as_bytes(), "the response has changed");
}

#[test]
fn an_upload_is_carried_on_behind_an_early_response() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        loop {
            peer.read_request()?;
            peer.send("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok")?;
            peer.read_body(1_000_000)?;
        }
    });
    let mut client = stack.client();
    for _ in 0..3 {
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome");
        let response = client.response();
        assert_eq!((response.status, response.closes()), (202, false));
        client.send(vec![b'x'; 999_996]);
    }
    assert_eq!(server.connections(), 1, "both sides' connections are kept");
}

// RFC 9112 section 9.3: "A server MUST read the entire request message body or close the connection after sending its response"
#[test]
fn a_server_that_closes_behind_an_early_response_ends_the_upload() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok")
    });
    let mut client = stack.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome");
    assert_eq!(client.response().status, 202);
    client.expect_closed();
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_client_that_expects_100_continue_gets_it_before_it_sends() {
    let stack = Stack::builder().servers(1).unchecked().start();
    let mut client = stack.client();
    client
        .send("PUT /upload/some HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.response().status, 100);
    client.send("hello");
    assert_eq!(client.response().status, 201);
    assert_eq!(stack.nginx[0].uploaded("some").as_deref(), Some(b"hello".as_slice()));
    assert_eq!(client.get("/").instance(), Some(1), "the connection goes on");
}

// RFC 9110 section 15.2: "A proxy MUST forward 1xx responses"
#[test]
fn interim_responses_come_before_the_final_one() {
    let (stack, _server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let hints = client.response();
    assert_eq!((hints.status, hints.field("link")), (103, Some("</style.css>")));
    assert_eq!(client.response().text(), "ok");
}

// RFC 9110 section 15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client"
#[test]
fn a_client_of_http_1_0_gets_no_interim_response() {
    let (stack, _server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 103 Early Hints\r\n\r\n")?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let mut client = stack.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
}

#[test]
fn a_websocket_runs_through_a_tunnel() {
    let stack = Stack::builder()
        .servers(0)
        .unchecked()
        .config(|config, addresses| config.server("ws", addresses.socket(100, SERVER_PORT)))
        .start();
    let _server = EchoServer::start(stack.addresses.socket(100, SERVER_PORT));
    let stream = TcpStream::connect(stack.web()).unwrap();
    assert_echoes(&format!("ws://{}/echo", stack.web()), stream, &[1, 100, 100_000, 1_000_000]);
}

#[test]
fn an_upgrade_that_the_server_does_not_take_is_an_ordinary_exchange() {
    let stack = Stack::builder().servers(1).unchecked().start();
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.response().instance(), Some(1));
    assert_eq!(client.get("/").instance(), Some(1), "the connection goes on as HTTP");
}

#[test]
fn servers_are_told_the_clients_address() {
    let stack = Stack::builder().servers(1).unchecked().start();
    let mut client = stack.client();
    let own = client.local_address().ip();
    let told = client.get("/headers").text();
    assert!(told.contains(&format!("\nx-forwarded-for={own}\n")), "{told}");
    assert!(told.contains("\nx-forwarded-proto=http\n"), "{told}");

    client.send("GET /headers HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    let told = client.response().text();
    assert!(told.contains(&format!("\nx-forwarded-for=192.0.2.1, {own}\n")), "appended: {told}");
}

#[test]
fn what_clients_say_of_their_address_can_be_replaced_or_left_alone() {
    for (mode, expected) in [("replace", "127.0.0.1"), ("off", "192.0.2.1")] {
        let stack =
            Stack::builder().servers(1).unchecked().frontend(&format!("forwarded_for: {mode}")).start();
        let mut client = stack.client();
        client.send("GET /headers HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
        let told = client.response().text();
        assert!(told.contains(&format!("\nx-forwarded-for={expected}\n")), "{mode}: {told}");
    }
}

#[test]
fn fields_about_one_connection_stay_on_it() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send(
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n",
        )?;
        peer.send("Proxy-Connection: keep-alive\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n")?;
        peer.stall()
    });
    let mut client = stack.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 300\r\n",
    );
    client.send("Proxy-Connection: keep-alive\r\nTE: trailers, gzip\r\nX-End: 2\r\n\r\n");
    let response = client.response();
    let request = server.requests()[0].to_ascii_lowercase();
    for gone in ["x-hop", "keep-alive:", "proxy-connection", "gzip"] {
        assert!(!request.contains(gone), "{gone} reached the server: {request}");
    }
    assert!(request.contains("\r\nx-end: 2\r\n"), "{request}");
    for gone in ["x-secret", "keep-alive", "proxy-connection"] {
        assert_eq!(response.field(gone), None, "reached the client");
    }
    assert_eq!(response.field("x-end"), Some("2"));
}

#[test]
fn a_client_cannot_nominate_essential_fields_away() {
    let (stack, server) = Stack::builder().start_before(answer_all);
    let mut client = stack.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nConnection: Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto\r\n");
    client.send("Content-Length: 0\r\n\r\n");
    let status = client.response().status;
    if status == 400 {
        assert!(server.requests().is_empty(), "refused, and yet it reached the server");
        return;
    }
    assert_eq!(status, 200);
    let request = server.requests()[0].to_ascii_lowercase();
    for kept in [
        "\r\nhost: test\r\n",
        "\r\ncontent-length: 0\r\n",
        "\r\nx-forwarded-for: ",
        "\r\nx-forwarded-proto: ",
    ] {
        assert!(request.contains(kept), "{kept:?} was nominated away: {request}");
    }
}

#[test]
fn an_upgrade_to_cleartext_http2_is_dropped() {
    let (stack, server) = Stack::builder().start_before(answer_all);
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let request = server.requests()[0].to_ascii_lowercase();
    assert!(!request.contains("h2c") && !request.contains("http2-settings"), "{request}");
}

#[test]
fn an_absolute_target_decides_the_host() {
    let (stack, server) = Stack::builder().start_before(answer_all);
    let mut client = stack.client();
    client.send("GET http://real.example/some?query HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let request = server.requests()[0].to_ascii_lowercase();
    assert!(request.contains("\r\nhost: real.example\r\n"), "{request}");
    assert!(!request.contains("other.example"), "{request}");
}

#[test]
fn an_early_response_reaches_a_client_that_is_still_sending() {
    let (stack, _server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
        // Reads what still comes, slowly, as a server that discards a body does.
        peer.stall()
    });
    let mut client = stack.client();
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nonly the first bytes");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
}

#[test]
fn an_early_response_survives_a_client_that_goes_on_sending() {
    const LENGTH: usize = 1_500_000;
    let answer = Arc::new(vec![b'n'; LENGTH]);
    let body = Arc::clone(&answer);
    let (stack, _server) = Stack::builder().start_before(move |peer| {
        peer.read_request()?;
        peer.send(format!(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n"
        ))?;
        peer.send(body.as_slice())?;
        peer.stall()
    });
    let mut client = stack.client();
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n");
    // As much as fits on the way; a closed connection would answer it with a reset.
    client.send(vec![b'x'; 60_000]);
    let head = client.try_head().unwrap();
    assert_eq!(head.status, 413);
    client.send(vec![b'x'; 20_000]);
    assert!(client.take(LENGTH).unwrap() == *answer);
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_answer() {
    let stack = Stack::builder().servers(1).unchecked().start();
    let file = stack.nginx[0].file("big", 3 << 20);
    let mut client = stack.client();
    client.send("GET /files/big HTTP/1.1\r\nHost: test\r\n\r\n");
    client.finish_sending();
    assert!(client.response().body == file);
    client.expect_closed();
}

#[test]
fn an_http_1_0_client_is_served_in_its_own_version() {
    let stack = Stack::builder().servers(1).unchecked().start();
    let file = stack.nginx[0].file("some", 300_000);
    for path in ["/files/some", "/chunked/some"] {
        let mut client = Client::connect(stack.web());
        client.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status, response.field("transfer-encoding")), (200, None), "{path}");
        assert!(response.body == file, "{path}");
        client.expect_closed();
    }
}
