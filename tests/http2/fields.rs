//! What becomes of fields, statuses and trailers.

use testkit::{Stack, wait_until};

use crate::{needs_python, python};

#[test]
fn head_and_statuses_without_a_body_end_with_their_head() {
    needs_python!("h2");
    let stack = Stack::builder().servers(1).unchecked().start();
    stack.nginx[0].file("some", 5000);
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
answer = client.get("/files/some", method="HEAD")
is_equal((answer.status, answer.field("content-length"), answer.body, answer.reset), ("200", "5000", b"", None))
for status in ["204", "304"]:
    answer = client.get(f"/status/{status}")
    is_equal((answer.status, answer.body, answer.reset), (status, b"", None))
answer = client.get("/files/some")
is_equal((answer.status, len(answer.body)), ("200", 5000))
forbidden = {"connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"}
is_equal(forbidden & set(dict(answer.fields)), set())
"#,
    );
}

#[test]
fn trailers_and_interim_responses_are_passed_on_each_way() {
    needs_python!("h2");
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        let body = peer.read_until(b"0\r\n")?;
        let trailers = peer.read_until(b"\r\n\r\n")?;
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        peer.send(format!("{:x}\r\n", body.len() + trailers.len()))?;
        peer.send([body, trailers].concat())?;
        peer.send("\r\n0\r\nGrpc-Status: 0\r\nGrpc-Message: fine\r\n\r\n")?;
        peer.stall()
    });
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
stream = client.request(method="POST", fields=[("te", "trailers")], end=False)
client.data(stream, b"hello")
client.data(stream, b"again")
client.h2.send_headers(stream, [("x-sum", "7")], end_stream=True)
client.flush()
answer, = client.wait(stream)
is_equal((answer.interim, answer.status, answer.reset), (["103"], "200", None))
is_equal(answer.body.startswith(b"5\r\nhello\r\n5\r\nagain\r\n0\r\n") or answer.body.startswith(b"a\r\nhelloagain\r\n0\r\n"), True, answer.body)
is_equal(answer.body.endswith(b"x-sum: 7\r\n\r\n"), True, answer.body)
is_equal(answer.trailers, [("grpc-status", "0"), ("grpc-message", "fine")])
"#,
    );
    let head = &server.requests()[0];
    assert!(head.starts_with("POST / HTTP/1.1\r\nHost: test\r\n"), "{head}");
    assert!(head.to_lowercase().contains("\r\nte: trailers\r\n"), "{head}");
}

#[test]
fn a_client_that_waits_to_be_asked_for_the_body_is_asked() {
    needs_python!("h2");
    let (stack, _server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        let body = peer.read_body(5)?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")?;
        peer.send(body)?;
        peer.stall()
    });
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
fields = [("expect", "100-continue"), ("content-length", "5")]
stream = client.request(method="POST", fields=fields, end=False)
client.until(lambda: client.answers[stream].interim)
client.data(stream, b"hello", end=True)
answer, = client.wait(stream)
is_equal((answer.interim, answer.status, answer.body), (["100"], "200", b"hello"))
"#,
    );
}

#[test]
fn an_early_answer_ends_the_stream_and_nothing_else() {
    needs_python!("h2");
    let (stack, _server) = Stack::builder().frontend("limits: { body: 1KiB }").start_before(|peer| {
        let head = peer.read_request()?;
        if head.starts_with("POST") {
            return peer.stall();
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        peer.stall()
    });
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
stream = client.request(method="POST", end=False)
client.data(stream, b"x" * 5000)
answer, = client.wait(stream)
is_equal(answer.status, "413")
is_equal(client.get("/").status, "200")
"#,
    );
}

#[test]
fn a_response_that_breaks_off_is_never_taken_for_whole() {
    needs_python!("h2");
    let (stack, _server) = Stack::builder().start_before(|peer| {
        let head = peer.read_request()?;
        match () {
            () if head.contains("/length") => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"),
            () if head.contains("/chunked") => {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n")
            }
            () if head.contains("/close") => peer.send("HTTP/1.1 200 OK\r\n\r\nall of it"),
            () => peer.send("HTTP/1.1 broken\r\n\r\n"),
        }
    });
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
for path in ["/length", "/chunked"]:
    # The reset may overtake what was on its way.
    answer = client.get(path)
    is_equal((answer.status in ("200", None), answer.body in (b"some", b"")), (True, True), path)
    is_equal(answer.reset, h2.errors.ErrorCodes.INTERNAL_ERROR, path)
answer = client.get("/close")
is_equal((answer.status, answer.body, answer.reset), ("200", b"all of it", None))
answer = client.get("/malformed")
is_equal((answer.status, answer.reset), ("502", None))
"#,
    );
    wait_until("what broke off is counted", || {
        stack.metric("tandem_frontend_http2_resets_total{proxy=\"web\",reason=\"response_broken\"}")
            == Some(2.0)
    });
}

// RFC 8441
#[test]
fn a_web_socket_is_a_stream() {
    needs_python!("h2");
    let (stack, server) = Stack::builder().start_before(|peer| {
        let head = peer.read_request()?;
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        match () {
            () if head.starts_with("GET /chat ") => {
                peer.send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello"
                ))?;
                let said = peer.read_until(b"bye")?;
                peer.send(said)
            }
            // It has not read the key.
            () if head.starts_with("GET /wrong ") => peer.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            ),
            () if head.starts_with("GET /page ") => {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")
            }
            () => peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
        }
    });
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
def open_socket(path, protocol="websocket"):
    pseudo = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path), (":authority", "test")]
    return client.request(pseudo=pseudo, fields=[("sec-websocket-version", "13"), ("origin", "http://test")], end=False)
stream = open_socket("/chat")
other = client.request("/no")
client.until(lambda: client.answers[stream].status)
answer = client.answers[stream]
is_equal((answer.status, answer.field("sec-websocket-protocol"), answer.field("sec-websocket-accept")), ("200", "chat", None))
client.until(lambda: answer.body == b"hello")
is_equal(client.wait(other)[0].status, "403")
client.data(stream, b"x" * 200_000)
client.data(stream, b"bye", end=True)
client.wait(stream)
is_equal((len(answer.body), answer.body[-3:], answer.reset), (200_008, b"bye", None))
for path, status in [("/wrong", "502"), ("/page", "502"), ("/no", "403")]:
    answer, = client.wait(open_socket(path))
    is_equal((answer.status, answer.body), (status, b"no" if status == "403" else b""), path)
answer, = client.wait(open_socket("/chat", "connect-udp"))
is_equal(answer.status, "501")
is_equal(client.get("/no").status, "403")
"#,
    );
    let heads = server.requests();
    let head = heads.iter().find(|head| head.starts_with("GET /chat ")).unwrap();
    assert!(
        head.contains("\r\nUpgrade: websocket\r\n") && head.contains("\r\norigin: http://test\r\n"),
        "{head}"
    );
    stack.log_lines(1, |line| line.target == "/chat" && line.status == 101 && line.termination == "--");
}
