//! What clients get that do not keep to the protocol.

use testkit::{LogLine, Stack, wait_until};

use crate::{needs_python, python};

// RFC 9113 section 8.1.1: "Malformed requests or responses that are detected MUST be treated as a stream error of type PROTOCOL_ERROR."
// RFC 9113 section 8.2.2: "Any message containing connection-specific header fields MUST be treated as malformed."
// RFC 9113 section 8.3.1: "All HTTP/2 requests MUST include exactly one valid value for the ":method", ":scheme", and ":path" pseudo-header fields, unless they are CONNECT requests"
// RFC 9113 section 8.3: "All pseudo-header fields MUST appear in a field block before all regular field lines." […] "The same pseudo-header field name MUST NOT appear more than once in a field block."
#[test]
fn malformed_requests_are_reset_and_reach_no_server() {
    needs_python!("h2");
    let stack = Stack::builder().servers(1).unchecked().start();
    python(
        stack.web(),
        r#"
PROTOCOL_ERROR = h2.errors.ErrorCodes.PROTOCOL_ERROR
client = Client(ADDRESS)
GET, HTTP, ROOT, TEST = (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test")
cases = [
    # RFC 9113 section 8.2.2: connection-specific fields.
    dict(fields=[("connection", "close")]),
    dict(fields=[("transfer-encoding", "chunked")]),
    dict(fields=[("keep-alive", "5")]),
    dict(fields=[("proxy-connection", "close")]),
    dict(fields=[("upgrade", "h2c")]),
    dict(fields=[("te", "gzip")]),
    # Section 8.2.1: white space around a value.
    dict(fields=[("x", " a")]),
    dict(fields=[("x", "a\t")]),
    # Section 8.3.1: pseudo-header fields.
    dict(fields=[("host", "other")]),
    dict(scheme="ftp"),
    dict(pseudo=[GET, HTTP, TEST]),
    dict(pseudo=[GET, ROOT, TEST]),
    dict(pseudo=[HTTP, ROOT, TEST]),
    dict(pseudo=[GET, HTTP, ROOT, TEST, ROOT]),
    dict(pseudo=[GET, HTTP, (":path", ""), TEST]),
    dict(pseudo=[GET, HTTP, ROOT, TEST, (":status", "200")]),
    dict(pseudo=[GET, HTTP, ROOT, TEST, (":unknown", "x")]),
    dict(pseudo=[GET, HTTP, ROOT, TEST, ("x", "y"), (":authority", "late")]),
    # Section 8.1.1: a length that is not that of the body.
    dict(method="POST", fields=[("content-length", "5")]),
    dict(method="POST", fields=[("content-length", "5"), ("content-length", "6")], end=False),
    # RFC 8441 section 4: a protocol has a path, and is asked for by CONNECT.
    dict(pseudo=[(":method", "CONNECT"), (":protocol", "websocket"), HTTP, TEST]),
    dict(pseudo=[GET, (":protocol", "websocket"), HTTP, ROOT, TEST]),
]
for case in cases:
    answer = client.get(**case)
    if client.ended:
        # A connection error is as good.
        is_equal([code for code, _ in client.goaway], [PROTOCOL_ERROR], case)
        client = Client(ADDRESS)
        continue
    is_equal((answer.status, answer.reset), (None, PROTOCOL_ERROR), case)
is_equal(client.get("/").status, "200")
"#,
    );
    let reached: Vec<_> = stack.nginx[0]
        .requests()
        .into_iter()
        .filter(|line| !line.ends_with(" 400") && !line.ends_with(" 499"))
        .collect();
    assert_eq!(reached, ["GET / 200"], "a malformed request has reached a server");
}

// RFC 9113 section 8.1.1: "A request or response is also malformed if the value of a content-length header field does not equal the sum of the DATA frame payload lengths that form the content"
#[test]
fn a_body_of_another_length_than_told_is_reset() {
    needs_python!("h2");
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.stall()
    });
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
for sent in [b"four", b"six666"]:
    stream = client.request(method="POST", fields=[("content-length", "5")], end=False)
    try:
        client.data(stream, sent, end=True)
    except h2.exceptions.ProtocolError:
        pass
    answer, = client.wait(stream)
    is_equal((answer.status, answer.reset), (None, h2.errors.ErrorCodes.PROTOCOL_ERROR), sent)
"#,
    );
    wait_until("the server is left", || server.ended() == server.connections());
}

#[test]
fn what_http_itself_forbids_is_refused_and_logged_as_everywhere() {
    needs_python!("h2");
    let stack = Stack::builder().servers(1).unchecked().start();
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
cases = [
    ("400", dict(authority=None)),
    ("400", dict(authority=None, fields=[("host", "a"), ("host", "b")])),
    ("400", dict(authority="user@test")),
    ("400", dict(fields=[("transfer_encoding", "chunked")])),
    ("417", dict(fields=[("expect", "else")])),
    ("414", dict(path="/" + "x" * 9000)),
    ("431", dict(fields=[(f"x-{n}", "y" * 1000) for n in range(17)])),
    ("431", dict(fields=[(f"x-{n}", "") for n in range(120)])),
    ("501", dict(pseudo=[(":method", "CONNECT"), (":authority", "test:443")])),
]
for status, case in cases:
    answer = client.get(**case)
    is_equal((answer.status, answer.reset in (None, 0)), (status, True), case)
is_equal(client.get("/").status, "200")
"#,
    );
    assert_eq!(stack.nginx[0].requests(), ["GET / 200"]);
    stack.log_lines(9, |line| line.termination == "PR");
}

#[test]
fn whoever_resets_most_streams_is_sent_away() {
    needs_python!("h2");
    let stack = Stack::builder().servers(1).unchecked().start();
    stack.nginx[0].file("some", 1 << 20);
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
client.reads = False
try:
    for n in range(2000):
        stream = client.request("/files/some")
        client.h2.reset_stream(stream, error_code=h2.errors.ErrorCodes.CANCEL)
        client.flush()
        if n % 10 == 0:
            # Whether it was reset before anybody looked at it, or later.
            client.raw(frames.PingFrame(0, b"12345678"))
            client.step()
        if client.goaway or client.ended:
            break
except (OSError, h2.exceptions.ProtocolError):
    pass
client.rest()
is_equal([code for code, _ in client.goaway], [h2.errors.ErrorCodes.ENHANCE_YOUR_CALM])
is_equal(n < 1500, True)
is_equal(Client(ADDRESS).get("/").status, "200")
"#,
    );
}

#[test]
fn floods_of_frames_end_the_connection() {
    needs_python!("h2");
    let stack = Stack::builder().servers(1).unchecked().start();
    python(
        stack.web(),
        r#"
def flood(name, first, many):
    client = Client(ADDRESS)
    try:
        client.raw(*first)
        for n in range(1, 1_000_000):
            client.raw(many(n))
            if n % 1000 == 0:
                client.socket.setblocking(False)
                try:
                    client.step()
                except BlockingIOError:
                    pass
                client.socket.setblocking(True)
                if client.ended:
                    break
    except OSError:
        pass
    is_equal(n < 1_000_000, True, name)

flood("continuation", [frames.HeadersFrame(1, b"\x82")], lambda n: frames.ContinuationFrame(1, b""))
flood("continuation of fields", [frames.HeadersFrame(1, b"\x82")], lambda n: frames.ContinuationFrame(1, b"\x40\x01a\x01b" * 100))
flood("frames of no stream", [], lambda n: frames.DataFrame(2 * n + 1, b"x"))
is_equal(Client(ADDRESS).get("/").status, "200")
"#,
    );
}

#[test]
fn a_connection_that_says_nothing_more_ends() {
    needs_python!("h2");
    let stack = Stack::builder()
        .servers(1)
        .unchecked()
        .frontend("timeouts: { request_head: 300ms, keep_alive: 300ms }")
        .start();
    python(
        stack.web(),
        r#"
# A preface that never ends.
client = Client(ADDRESS, preface=False)
client.raw(b"PRI * HTTP/2.0\r\n\r\n")
client.rest()
# A connection without a request.
client = Client(ADDRESS)
client.rest()
is_equal(client.goaway[-1:], [(0, 0)])
# One that is idle behind a request.
client = Client(ADDRESS)
is_equal(client.get("/").status, "200")
client.rest()
is_equal(client.goaway[-1:], [(0, 1)])
# A head that never ends.
client = Client(ADDRESS)
client.raw(frames.HeadersFrame(1, b"\x82"))
client.rest()
"#,
    );
}

#[test]
fn a_head_that_is_too_large_is_logged_and_counted_as_http_1s() {
    needs_python!("h2");
    let stack = Stack::builder().servers(1).unchecked().start();
    let refused = || stack.metric("tandem_lbd_refused_requests_total{reason=\"head_too_large\"}");
    let mut client = stack.client();
    let fields: String = (0..17).map(|n| format!("X-{n}: {}\r\n", "y".repeat(1000))).collect();
    client.send(format!("GET /large HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    assert_eq!(client.response().status, 431);
    wait_until("it is counted", || refused() == Some(1.0));
    python(
        stack.web(),
        "client = Client(ADDRESS)\n\
         fields = [(f'x-{n}', 'y' * 1000) for n in range(17)]\n\
         is_equal(client.get('/large', fields=fields).status, '431')\n\
         is_equal(client.get('/larger', fields=fields * 2).status, '431')\n",
    );
    wait_until("both are counted", || refused() == Some(2.0));
    let lines = stack.log_lines(2, |line| line.status == 431);
    let told =
        |line: &LogLine| (line.server.clone(), line.status, line.termination.clone(), line.target.clone());
    assert_eq!(told(&lines[0]), told(&lines[1]));
    assert_eq!(lines[0].termination, "PR");
}
