//! Who stalls is blamed, and a stall ends: each direction of an exchange has its own deadline, whatever the other one does.

use std::io;
use std::time::Duration;

use testkit::{Client, LogLine, Peer, Stack, StackBuilder, wait_until};

/// The time of the side that is to stall; the other one has more than any test takes.
const SHORT: &str = "500ms";
const LONG: &str = "5m";
/// From one byte of the direction that moves to the next.
const DRIP: Duration = Duration::from_millis(50);
/// More than the kernel's buffers on the way hold.
const MUCH: usize = 64 << 20;

/// A stack in which only the client has to hurry.
fn impatient_with_clients() -> StackBuilder {
    Stack::builder()
        .frontend(&format!("timeouts: {{ client: {SHORT} }}"))
        .backend(&format!("timeouts: {{ server: {LONG} }}\nretries: 0"))
}

/// A stack in which only the server has to hurry.
fn impatient_with_servers() -> StackBuilder {
    Stack::builder()
        .frontend(&format!("timeouts: {{ client: {LONG} }}"))
        .backend(&format!("timeouts: {{ server: {SHORT} }}\nretries: 0"))
}

/// Sends a byte now and then, until the other side has had enough.
fn drip(mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        send()?;
        std::thread::sleep(DRIP);
    }
}

/// Begins a response, and then sends a byte now and then.
fn drip_response(peer: &mut Peer) -> io::Result<()> {
    peer.read_request()?;
    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"))?;
    drip(|| peer.send("x"))
}

/// Begins an upload.
fn upload(stack: &Stack) -> Client {
    let mut client = stack.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {MUCH}\r\n\r\nsome"));
    client
}

/// What the log says of the one request.
fn logged(stack: &Stack) -> LogLine {
    stack.log_lines(1, |_| true).remove(0)
}

fn assert_logged(stack: &Stack, status: u16, termination: &str) {
    let line = logged(stack);
    assert_eq!((line.status, line.termination.as_str()), (status, termination), "{line:?}");
}

#[test]
fn a_client_that_stalls_its_upload_is_408() {
    let (stack, _server) = impatient_with_clients().start_before(|peer| {
        peer.read_request()?;
        peer.stall()
    });
    assert_eq!(upload(&stack).response().status, 408);
    assert_logged(&stack, 408, "cD");
}

#[test]
fn a_client_that_stalls_its_upload_while_the_response_moves_is_blamed() {
    let (stack, server) = impatient_with_clients().start_before(drip_response);
    let mut client = upload(&stack);
    assert_eq!(client.try_head().unwrap().status, 200);
    assert!(client.take(MUCH).is_err(), "the response is broken off");
    assert_logged(&stack, 200, "cD");
    wait_until("the server is let go", || server.ended() == 1);
}

#[test]
fn a_client_that_reads_nothing_while_its_upload_moves_is_blamed() {
    let (stack, _server) = impatient_with_clients().start_before(|peer| {
        peer.read_request()?;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"))?;
        peer.send(vec![b'x'; MUCH])
    });
    let mut client = upload(&stack);
    assert!(drip(|| client.try_send("x")).is_err());
    assert_logged(&stack, 200, "cD");
}

#[test]
fn a_server_that_stalls_its_response_while_the_upload_moves_is_blamed() {
    let (stack, server) = impatient_with_servers().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome")?;
        peer.stall()
    });
    let mut client = upload(&stack);
    assert!(drip(|| client.try_send("x")).is_err());
    assert_logged(&stack, 200, "sD");
    wait_until("the server is let go", || server.ended() == 1);
}

#[test]
fn a_server_that_reads_no_upload_is_504() {
    let (stack, _server) = impatient_with_servers().start_before(|peer| {
        peer.read_request()?;
        std::thread::sleep(Duration::from_secs(600));
        Ok(())
    });
    let mut client = upload(&stack);
    // More than fits on the way: from some byte on lbd waits for the server.
    let mut sender = client.sender();
    let sending = std::thread::spawn(move || sender.try_send(vec![b'x'; MUCH - 4]));
    assert_eq!(client.response().status, 504);
    assert_logged(&stack, 504, "sH");
    assert!(sending.join().unwrap().is_err(), "nobody took the rest");
}

#[test]
fn a_server_that_reads_no_upload_while_its_response_moves_is_blamed() {
    let (stack, _server) = impatient_with_servers().start_before(drip_response);
    let mut client = upload(&stack);
    let mut sender = client.sender();
    let sending = std::thread::spawn(move || sender.try_send(vec![b'x'; MUCH - 4]));
    assert_eq!(client.try_head().unwrap().status, 200);
    assert!(client.take(MUCH).is_err(), "the response is broken off");
    assert_logged(&stack, 200, "sD");
    assert!(sending.join().unwrap().is_err(), "nobody took the rest");
}

#[test]
fn a_client_that_reads_nothing_is_blamed_for_the_server_that_it_holds_up() {
    // A server that sends back what it gets reads no more once nobody reads what it sends. Its time is the shorter one.
    let (stack, _server) =
        Stack::builder().backend("timeouts: { server: 6s }\nretries: 0").start_before(|peer| {
            peer.read_request()?;
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"))?;
            loop {
                let echo = peer.read_body(64 << 10)?;
                peer.send(echo)?;
            }
        });
    let mut client = upload(&stack);
    assert!(client.try_send(vec![b'x'; MUCH - 4]).is_err());
    assert_logged(&stack, 200, "cD");
    assert_eq!(stack.stat("app", "raw").number("eresp"), 0, "the server did nothing wrong");
}

#[test]
fn a_server_that_hangs_after_expect_100_continue_is_504() {
    let (stack, _server) = impatient_with_servers().start_before(|peer| {
        peer.read_request()?;
        peer.stall()
    });
    let mut client = stack.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.response().status, 504);
    assert_logged(&stack, 504, "sH");
}

#[test]
fn other_interim_responses_ask_for_no_body() {
    let (stack, _server) = impatient_with_servers().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        peer.stall()
    });
    let mut client = stack.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 103);
    assert_eq!(client.response().status, 504);
    assert_logged(&stack, 504, "sH");
}

#[test]
fn a_client_that_was_asked_for_its_body_and_sends_none_is_408() {
    let (stack, _server) = impatient_with_clients().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        peer.stall()
    });
    let mut client = stack.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 100);
    assert_eq!(client.response().status, 408);
    assert_logged(&stack, 408, "cD");
}

#[test]
fn a_client_that_does_not_wait_to_be_asked_has_its_own_time() {
    let (stack, _server) = impatient_with_clients().start_before(|peer| {
        peer.read_request()?;
        peer.stall()
    });
    let mut client = stack.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    std::thread::sleep(DRIP);
    client.send("so");
    assert_eq!(client.response().status, 408);
    assert_logged(&stack, 408, "cD");
}

#[test]
fn a_slow_upload_takes_nothing_of_the_servers_time() {
    let (stack, _server) =
        Stack::builder().backend("timeouts: { server: 6s }\nretries: 0").start_before(|peer| {
            peer.read_request()?;
            peer.read_body(60)?;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        });
    let mut client = stack.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n");
    // Longer than the server may take.
    for _ in 0..60 {
        client.send("x");
        std::thread::sleep(DRIP);
    }
    assert_eq!(client.response().status, 200);
}

#[test]
fn nothing_follows_a_part_of_an_interim_response() {
    const HINTS: usize = 30;
    let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(30_000));
    let source = hint.clone();
    let (stack, _server) = impatient_with_clients().start_before(move |peer| {
        peer.read_request()?;
        for _ in 0..HINTS {
            peer.send(&source)?;
        }
        peer.stall()
    });
    let mut client = Client::connect_with_little_room(stack.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // Broken off in the middle, since the client did not read.
    assert_logged(&stack, 0, "cD");
    let received = client.take_all();
    let whole = received.len() / hint.len();
    assert!(whole < HINTS, "all {HINTS} got through: nothing was broken off");
    let rest = &received[whole * hint.len()..];
    assert!(hint.as_bytes().starts_with(rest), "something else follows: {:?}", String::from_utf8_lossy(rest));
}
