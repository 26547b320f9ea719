//! A side that does not read holds up the side that sends, and nothing piles up in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use testkit::{Stack, pattern, wait_until};

/// What is sent: far more than the kernel's socket buffers on the way can hold.
const LENGTH: usize = 96 << 20;
/// What those buffers may hold together: each of the four grows to at most 6 MiB by itself.
const KERNEL_BUFFERS: usize = 32 << 20;
/// What lbd may need for one connection, its allocator's habits included.
const MEMORY_KIB: u64 = 8 << 10;

/// Waits until the counter has stood still for a second: whoever counts is blocked.
fn wait_for_standstill(what: &str, counter: &AtomicUsize) -> usize {
    let (mut last, mut still) = (0, 0);
    wait_until(what, || {
        let now = counter.load(SeqCst);
        still = if now > 0 && now == last { still + 1 } else { 0 };
        last = now;
        still == 50
    });
    last
}

#[test]
fn a_client_that_does_not_read_holds_up_the_server() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let body = Arc::new(pattern(LENGTH, 1));
    let source = Arc::clone(&body);
    let (stack, _server) = Stack::builder().start_before(move |peer| {
        peer.read_request()?;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"))?;
        for part in source.chunks(64 << 10) {
            peer.send(part)?;
            counter.fetch_add(part.len(), SeqCst);
        }
        peer.stall()
    });
    let before = stack.lbd.memory_kib();
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");

    let held = wait_for_standstill("the server is held up", &sent);
    let grown = stack.lbd.memory_kib().saturating_sub(before);
    assert!(held < KERNEL_BUFFERS, "{held} bytes were taken from the server and not given to the client");
    assert!(grown < MEMORY_KIB, "lbd grew by {grown} KiB");

    assert!(client.response().body == *body, "once it reads, the client gets everything");
}

#[test]
fn a_server_that_does_not_read_holds_up_the_client() {
    let go_on = Arc::new(AtomicUsize::new(0));
    let received = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (gate, sink) = (Arc::clone(&go_on), Arc::clone(&received));
    let (stack, _server) = Stack::builder().start_before(move |peer| {
        peer.read_request()?;
        while gate.load(SeqCst) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        *sink.lock().unwrap() = peer.read_body(LENGTH)?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let before = stack.lbd.memory_kib();
    let body = Arc::new(pattern(LENGTH, 2));
    let sent = Arc::new(AtomicUsize::new(0));
    let (source, counter) = (Arc::clone(&body), Arc::clone(&sent));
    let mut client = stack.client();
    let sender = std::thread::spawn(move || {
        client.send(format!("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {LENGTH}\r\n\r\n"));
        for part in source.chunks(64 << 10) {
            client.send(part);
            counter.fetch_add(part.len(), SeqCst);
        }
        client.response().status
    });

    let held = wait_for_standstill("the client is held up", &sent);
    let grown = stack.lbd.memory_kib().saturating_sub(before);
    assert!(held < KERNEL_BUFFERS, "{held} bytes were taken from the client and not given to the server");
    assert!(grown < MEMORY_KIB, "lbd grew by {grown} KiB");

    go_on.store(1, SeqCst);
    assert_eq!(sender.join().unwrap(), 200);
    assert!(*received.lock().unwrap() == *body, "once it reads, the server gets everything");
}
