//! How connections end without losing a request: when lbd stops, when their frontend is gone, and at operators' hands.

use testkit::{Stack, wait_until};

use crate::{needs_python, python};

/// A server that answers as soon as the test says so.
fn gated() -> (Stack, testkit::RawServer, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    let open = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let gate = open.clone();
    let (stack, server) = Stack::builder().start_before(move |peer| {
        loop {
            peer.read_request()?;
            while !gate.load(std::sync::atomic::Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    });
    (stack, server, open)
}

const TWENTY: &str = r#"
client = Client(ADDRESS)
streams = [client.request() for _ in range(20)]
for answer in client.wait(*streams):
    is_equal((answer.status, answer.body, answer.reset), ("200", b"ok", None))
client.rest()
is_equal([code for code, _ in client.goaway], [0] * len(client.goaway))
is_equal(client.goaway[-1], (0, 39))
"#;

#[test]
fn an_lbd_that_stops_answers_every_stream_first() {
    needs_python!("h2");
    let (mut stack, server, open) = gated();
    let address = stack.web();
    let client = std::thread::spawn(move || python(address, TWENTY));
    wait_until("the server has them all", || server.requests().len() == 20);
    stack.lbd.terminate();
    stack.lbd.wait_to_tell("lbd stops");
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    client.join().unwrap();
    assert!(stack.lbd.wait().success());
}

#[test]
fn a_frontend_that_is_gone_answers_every_stream_first() {
    needs_python!("h2");
    let (mut stack, server, open) = gated();
    let address = stack.web();
    let client = std::thread::spawn(move || python(address, TWENTY));
    wait_until("the server has them all", || server.requests().len() == 20);
    let text = stack.config.to_string().replace("  web:\n", "  other:\n");
    let elsewhere = stack.addresses.socket(1, 7099);
    stack.write_config_text(&text.replace(&address.to_string(), &elsewhere.to_string()));
    stack.lbd.reload();
    stack.lbd.wait_to_tell("configuration reloaded");
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    client.join().unwrap();
    stack.config.bind = elsewhere;
}

#[test]
fn no_request_is_lost_while_lbd_is_restarted() {
    needs_python!("h2");
    let mut stack = Stack::builder().unchecked().start();
    let dir = tempfile::tempdir().unwrap();
    let enough = dir.path().join("enough");
    let (address, file) = (stack.web(), enough.clone());
    let client = std::thread::spawn(move || {
        python(address, &format!("ENOUGH = {:?}\n{RESTARTED}", file.display().to_string()));
    });
    for _ in 0..3 {
        let before = stack.nginx[0].requests().len();
        wait_until("requests come", || stack.nginx[0].requests().len() > before + 100);
        stack.lbd.stop();
        stack.lbd.start();
    }
    std::fs::write(&enough, "").unwrap();
    client.join().unwrap();
}

// RFC 9113 section 6.8: "Activity on streams numbered lower than or equal to the last stream identifier might still complete successfully."
const RESTARTED: &str = r#"
import os
import time

connections = 0
while not os.path.exists(ENOUGH):
    try:
        client = Client(ADDRESS)
    except ConnectionError:
        # Nobody listens between one lbd and the next.
        time.sleep(0.01)
        continue
    connections += 1
    asked = []
    try:
        while not client.ended and not client.goaway and not os.path.exists(ENOUGH):
            asked = [client.request() for _ in range(10)]
            client.wait(*asked)
            if not client.goaway:
                for stream in asked:
                    is_equal((client.answers[stream].status, client.answers[stream].reset), ("200", None))
    except (BrokenPipeError, ConnectionResetError):
        # It closed before it was asked again: what it has said is still to be read.
        pass
    client.rest() if client.goaway or not os.path.exists(ENOUGH) else None
    if client.goaway:
        last = client.goaway[-1][1]
        for stream, answer in client.answers.items():
            if stream <= last:
                is_equal((answer.status, answer.over, answer.reset), ("200", True, None), stream)
assert connections > 3, connections
"#;

#[test]
fn streams_are_listed_and_ended_with_their_server_or_their_connection() {
    needs_python!("h2");
    let (stack, server, _open) = gated();
    let address = stack.web();
    let client = std::thread::spawn(move || {
        python(
            address,
            r#"
client = Client(ADDRESS)
first, second = client.request("/a"), client.request("/b")
answers = client.wait(first, second)
is_equal(sorted(answer.status for answer in answers), ["503", "503"])
last = client.request("/c")
client.rest()
is_equal(client.answers[last].status, None)
"#,
        )
    });
    wait_until("the server has both", || server.requests().len() == 2);
    let listed = |whose: &str| {
        let text = stack.command(&format!("show sess {whose}"));
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(listed("").len(), 3, "a connection and two streams: {:?}", listed(""));
    assert_eq!(listed("app/raw").len(), 2);
    for line in listed("app/raw") {
        let id = line.split(' ').next().unwrap().to_owned();
        stack.command(&format!("shutdown session {id}"));
    }
    wait_until("the server has the third", || server.requests().len() == 3);
    let connection = listed("").into_iter().find(|line| !line.contains("app/raw")).unwrap();
    stack.command(&format!("shutdown session {}", connection.split(' ').next().unwrap()));
    client.join().unwrap();
    let lines = stack.log_lines(3, |_| true);
    assert!(lines.iter().all(|line| line.termination.starts_with('K')), "{lines:?}");
}
