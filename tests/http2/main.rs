//! HTTP/2 in front: real clients (curl, nghttp2's load generator, Python's h2, which is strict), and what each request is to servers.

mod fields;
mod flow;
mod leave;
mod sockets;
mod wrong;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use testkit::{
    Authority, CertificateKey, LogLine, Stack, curl_http2, curl_secured, needs, pattern, stdout, text,
    wait_until,
};

/// Runs a script of a client's (`peer.py`), and returns what it prints.
fn python(address: SocketAddr, script: &str) -> String {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-", &address.to_string()]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let text = [include_str!("peer.py"), script].concat();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

/// Whether Debian's Python has a module.
fn has_python(module: &str) -> bool {
    Command::new("/usr/bin/python3")
        .args(["-c", &format!("import {module}")])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|it| it.success())
}

/// Skips the test without a module of Python.
macro_rules! needs_python {
    ($module:literal) => {
        if !crate::has_python($module) {
            testkit::skip!("Debian's Python has no module {}", $module);
        }
    };
}
use needs_python;

// RFC 9113 section 8.2.3: "If there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet string using the two-octet delimiter of 0x3b, 0x20"
#[test]
fn curl_speaks_it_from_the_first_byte_on() {
    let stack = Stack::builder().servers(1).unchecked().start();
    let mut command = curl_http2(stack.web(), "/headers");
    // curl 7.88 fails with a second request on such a connection, to nginx, too.
    command.args(["-H", "Cookie: a=b; c=d", "-w", "%{http_version}\n"]);
    let answer = text(command);
    let host =
        format!("method=GET\nhost={}\nx-forwarded-for=127.0.0.1\nx-forwarded-proto=http\n", stack.web());
    assert!(
        answer.contains(&host) && answer.contains("\ncookie=a=b; c=d\n") && answer.ends_with("\n2\n"),
        "{answer}"
    );
    stack
        .log_lines(1, |line| line.target == "/headers" && (line.server.as_str(), line.status) == ("s1", 200));
    assert!(stack.lbd.stdout().contains("\"GET /headers HTTP/2.0\""), "{}", stack.lbd.stdout());
    let counted = |name: &str| stack.metric(&format!("tandem_frontend_{name}{{proxy=\"web\"}}"));
    wait_until("all is counted", || {
        counted("http2_connections_total") == Some(1.0)
            && counted("http2_streams_total") == Some(1.0)
            && counted("connections_total") == Some(1.0)
            && counted("http_requests_total") == Some(1.0)
    });
}

#[test]
fn bodies_of_every_size_arrive_whole_each_way() {
    let stack = Stack::builder().servers(1).unchecked().start();
    let nginx = &stack.nginx[0];
    for size in [0, 1, 4096, 16_384, 65_535, 65_536, 65_537, 1 << 20, 10 << 20] {
        let name = format!("size{size}");
        let file = nginx.file(&name, size);
        for way in ["files", "chunked"] {
            let body = stdout(curl_http2(stack.web(), &format!("/{way}/{name}")));
            assert!(body == file, "{way} of {size} bytes is damaged");
        }
        let source = nginx.files().join(&name);
        let mut fixed = curl_http2(stack.web(), &format!("/upload/fixed{size}"));
        fixed.arg("-T").arg(&source);
        stdout(fixed);
        // Of unknown length.
        let mut streamed = curl_http2(stack.web(), &format!("/upload/streamed{size}"));
        streamed.args(["-T", "-"]).stdin(std::fs::File::open(&source).unwrap());
        stdout(streamed);
        for way in ["fixed", "streamed"] {
            assert!(nginx.uploaded(&format!("{way}{size}")) == Some(file.clone()), "{way} upload of {size}");
        }
    }
}

/// nghttp2's load generator, on one connection.
fn h2load(address: SocketAddr, streams: u32, requests: u32, path: &str) -> String {
    h2load_of(1, address, streams, requests, path)
}

/// The same, on so many.
fn h2load_of(connections: u32, address: SocketAddr, streams: u32, requests: u32, path: &str) -> String {
    let mut command = Command::new("h2load");
    let [connections, streams, requests] = [connections, streams, requests].map(|number| number.to_string());
    command.args(["-c", &connections, "-m", &streams, "-n", &requests]);
    command.arg(format!("http://{address}{path}"));
    text(command)
}

#[test]
fn a_hundred_streams_of_one_connection_reach_every_server() {
    needs!("h2load");
    let stack = Stack::builder().unchecked().start();
    for nginx in &stack.nginx {
        std::fs::write(nginx.files().join("some"), pattern(30_000, 1)).unwrap();
    }
    let report = h2load(stack.web(), 100, 3000, "/files/some");
    assert!(report.contains("3000 succeeded, 0 failed"), "{report}");
    for nginx in &stack.nginx {
        assert!(nginx.requests().len() > 500, "of 3000 requests one server had {}", nginx.requests().len());
    }
    assert_eq!(stack.metric("tandem_frontend_connections_total{proxy=\"web\"}"), Some(1.0));
}

#[test]
fn more_streams_than_allowed_wait_at_the_client() {
    needs!("h2load");
    let stack = Stack::builder().unchecked().start();
    let report = h2load(stack.web(), 400, 2000, "/");
    assert!(report.contains("2000 succeeded, 0 failed"), "{report}");
}

// Each brings more than a worker takes in at a time.
#[test]
fn many_connections_with_many_streams_take_turns() {
    needs!("h2load");
    let stack = Stack::builder().unchecked().config(|config, _| config.lbd = "workers: 1".to_owned()).start();
    let report = h2load_of(40, stack.web(), 50, 8000, "/");
    assert!(report.contains("8000 succeeded, 0 failed"), "{report}");
    assert_eq!(stack.metric("tandem_frontend_connections_total{proxy=\"web\"}"), Some(40.0));
    assert_eq!(stack.metric("tandem_frontend_http2_streams_total{proxy=\"web\"}"), Some(8000.0));
}

#[test]
fn where_it_is_off_its_preface_is_refused_as_a_version() {
    let stack = Stack::builder().servers(1).unchecked().frontend("http2: false").start();
    let mut client = stack.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status, 505);
    assert_eq!(stack.metric("tandem_frontend_http2_connections_total{proxy=\"web\"}"), Some(0.0));
}

#[test]
fn a_connection_that_has_begun_with_http_1_goes_on_with_it() {
    let stack = Stack::builder().servers(1).unchecked().start();
    let mut client = stack.client();
    assert_eq!(client.get("/").status, 200);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status, 505);
}

#[test]
fn a_preface_in_pieces_is_one() {
    needs_python!("h2");
    let stack = Stack::builder().servers(1).unchecked().start();
    python(
        stack.web(),
        r#"
import time
client = Client(ADDRESS, preface=False)
client.h2.initiate_connection()
for byte in client.h2.data_to_send():
    client.raw(bytes([byte]))
is_equal(client.get("/").status, "200")
"#,
    );
}

#[test]
fn streams_have_routes_edits_limits_and_sticky_servers_as_requests_of_http_1() {
    let stack = Stack::builder()
        .servers(3)
        .unchecked()
        .frontend(
            "limits: { body: 1KiB }\nrequest: { set: { X-Hop: \"{client.ip}\" } }\n\
             routes:\n  - { path: /own, respond: { status: 200, body: mine } }\n  - { path: /no, deny: 403 }",
        )
        .backend("sticky: { cookie: server }")
        .start();
    let jar = tempfile::NamedTempFile::new().unwrap();
    let with = |path: &str, args: &[&str]| {
        let mut command = curl_http2(stack.web(), path);
        command.args(["-w", "\n%{http_code}", "-b"]).arg(jar.path()).arg("-c").arg(jar.path()).args(args);
        text(command)
    };
    assert_eq!(with("/own", &[]).trim_end(), "mine\n200");
    assert!(with("/no", &[]).ends_with("\n403"));
    assert!(with("/headers", &[]).contains("x-hop=127.0.0.1\n"));
    // curl takes it for a failure when its stream ends before it has sent everything.
    assert!(with("/", &["--data", &"x".repeat(2000)]).ends_with("\n413"));
    let refused: Vec<LogLine> = stack.log_lines(1, |line| line.status == 413);
    assert_eq!(refused[0].termination, "PR");
    let first = with("/", &[]);
    assert!((0..10).all(|_| with("/", &[]) == first), "a client does not stay with its server");
    let lines: Vec<LogLine> = stack.log_lines(1, |line| line.target == "/no");
    assert_eq!((lines[0].status, lines[0].termination.as_str()), (403, "PR"));
}

#[test]
fn connections_are_counted_and_streams_are_not() {
    needs_python!("h2");
    let stack = Stack::builder().servers(1).unchecked().frontend("maxconn: 1").start();
    stack.nginx[0].file("some", 1 << 20);
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
for answer in client.wait(*[client.request("/files/some") for _ in range(20)]):
    is_equal((answer.status, len(answer.body)), ("200", 1 << 20))
"#,
    );
    let row = stack.stat("web", "FRONTEND");
    assert_eq!((row.text("smax"), row.text("stot")), ("1", "1"));
}

// RFC 9113 section 3.3: "Implementations that support HTTP/2 over TLS MUST use protocol negotiation in TLS"
#[test]
fn inside_of_tls_it_is_negotiated() {
    needs_python!("h2");
    let authority = Authority::new();
    let file = authority.issue("app.pem", &["app.example"], CertificateKey::Ecdsa);
    let tls = format!("{{ certificates: [\"{}\"] }}", file.display());
    let mut stack = Stack::builder().servers(1).unchecked().config(|config, _| config.tls = tls).start();
    let address = stack.web();
    let ask = |how: &str| {
        let mut command = curl_secured(&authority, address, "/headers");
        command.args([how, "-w", "%{http_version}"]);
        text(command)
    };
    let answer = ask("--http2");
    assert!(answer.contains("\nx-forwarded-proto=https\n") && answer.ends_with("\n2"), "{answer}");
    assert!(ask("--http1.1").ends_with("\n1.1"));
    // Who has not negotiated it does not speak it.
    let script = format!(
        r#"
context = ssl.create_default_context(cafile={:?})
try:
    client = Client(ADDRESS, tls=context)
    client.rest()
except h2.exceptions.ProtocolError:
    client = None
is_equal(client is None or not client.answers, True)
context.set_alpn_protocols(["h2"])
is_equal(Client(ADDRESS, tls=context).get("/", scheme="https").status, "200")
"#,
        authority.ca_file().display().to_string()
    );
    python(stack.web(), &script);
    stack.config.frontend = "http2: false".to_owned();
    stack.write_config();
    stack.lbd.reload();
    stack.lbd.wait_to_tell("configuration reloaded");
    assert!(ask("--http2").ends_with("\n1.1"));
}

#[test]
fn a_grpc_client_is_told_clearly_that_its_server_speaks_http_1_1() {
    needs_python!("grpc");
    let (stack, _server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 415 Unsupported Media Type\r\nContent-Length: 0\r\n\r\n")?;
        peer.stall()
    });
    let script = r#"
import sys
import grpc
try:
    grpc.insecure_channel(sys.argv[1]).unary_unary("/test.Service/Method")(b"x", timeout=50)
except grpc.RpcError as error:
    print(error.code().name, error.details())
"#;
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script, &stack.web().to_string()]);
    assert_eq!(text(command).trim(), "UNKNOWN Received http2 header with status: 415");
    let lines: Vec<LogLine> = stack.log_lines(1, |line| line.target == "/test.Service/Method");
    assert_eq!(lines[0].status, 415);
}
