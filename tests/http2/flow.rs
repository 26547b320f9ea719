//! Bodies whose reader, or writer, does not keep up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use testkit::{Stack, wait_until};

use crate::{needs_python, python};

#[test]
fn a_client_that_takes_nothing_stops_its_server_and_no_other_stream() {
    needs_python!("h2");
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let (stack, _server) = Stack::builder().start_before(move |peer| {
        loop {
            let head = peer.read_request()?;
            if head.starts_with("GET /endless") {
                peer.send("HTTP/1.1 200 OK\r\n\r\n")?;
                loop {
                    peer.send([b'x'; 65_536])?;
                    count.fetch_add(65_536, SeqCst);
                }
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    });
    // What the kernel has room for beside what lbd holds is not known; that nothing moves any more is.
    let bound = 32 << 20;
    for settings in [
        "",
        "client.h2.increment_flow_control_window(2**30, stream)\nclient.h2.increment_flow_control_window(2**30)",
    ] {
        sent.store(0, SeqCst);
        python(
            stack.web(),
            &format!(
                r#"
client = Client(ADDRESS)
client.reads = False
stream = client.request("/endless")
client.until(lambda: client.answers[stream].status)
{settings}
client.flush()
import time
time.sleep(1)
if not {}:
    # Its own window is full, and that of the connection.
    client.until(lambda: len(client.answers[stream].body) == 65535)
    client.h2.increment_flow_control_window(100)
    is_equal(client.get("/").body, b"ok")
"#,
                if settings.is_empty() { "False" } else { "True" }
            ),
        );
        let before = sent.load(SeqCst);
        assert!(before < bound, "{before} bytes were taken for a client that reads nothing");
    }
}

#[test]
fn a_client_that_takes_nothing_is_given_up_after_its_time() {
    needs_python!("h2");
    let stack = Stack::builder().servers(1).unchecked().frontend("timeouts: { client: 500ms }").start();
    stack.nginx[0].file("some", 1 << 20);
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
client.reads = False
stream = client.request("/files/some")
answer, = client.wait(stream)
is_equal((answer.status, len(answer.body), answer.reset is not None), ("200", 65535, True))
client.h2.increment_flow_control_window(100000)
is_equal(client.get("/").status, "200")
"#,
    );
    let lines = stack.log_lines(1, |line| line.target == "/files/some");
    assert_eq!(lines[0].termination, "cD");
}

#[test]
fn a_server_that_takes_nothing_stops_its_client_and_no_other_stream() {
    needs_python!("h2");
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    let (stack, _server) = Stack::builder().start_before(move |peer| {
        let head = peer.read_request()?;
        while head.starts_with("PUT") && !is_over.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    });
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
stream = client.request(method="PUT", end=False)
client.socket.settimeout(1)
try:
    client.data(stream, b"x" * (64 << 20))
    raise AssertionError("all of it was taken")
except TimeoutError:
    pass
client.socket.settimeout(60)
is_equal(client.get("/").body, b"ok")
client.h2.reset_stream(stream)
client.flush()
is_equal(client.get("/").body, b"ok")
"#,
    );
    over.store(true, SeqCst);
}

#[test]
fn a_stream_that_is_reset_leaves_its_server() {
    needs_python!("h2");
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.stall()
    });
    python(
        stack.web(),
        r#"
client = Client(ADDRESS)
stream = client.request()
other = client.request()
import time
time.sleep(0.5)
client.h2.reset_stream(stream, error_code=h2.errors.ErrorCodes.CANCEL)
client.flush()
time.sleep(0.5)
is_equal(client.answers[other].over, False)
"#,
    );
    wait_until("both connections to the server have ended", || server.ended() == 2);
    let lines = stack.log_lines(2, |_| true);
    assert!(lines.iter().all(|line| line.termination == "CH"), "{lines:?}");
    assert_eq!(
        stack.metric("tandem_frontend_http2_resets_total{proxy=\"web\",reason=\"client\"}"),
        Some(2.0),
        "one was reset, and one ended with its connection"
    );
}
