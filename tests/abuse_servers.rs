//! A crowd of requests to servers that misbehave at each stage of a response: every client learns what it has to, the log says
//! who was to blame, clients of the same lbd that go elsewhere notice nothing, and nothing is left behind.

use std::io;
use std::time::Duration;

use testkit::{Crowd, Load, Peer, Stack};

/// Clients that meet each misbehaviour at once.
const EACH: usize = 10;
/// What lbd may need for each of them, by docs/architecture.md, "What is bounded", with long heads; and the allocator in all.
const MEMORY_KIB: usize = 8 + 100 + 64;
const SLACK_KIB: usize = 4 << 10;

/// From one stage of a misbehaviour to the next: lbd has seen the one by then.
const PAUSE: Duration = Duration::from_millis(200);

/// What a server does with a request, what its client gets, and what the log says.
type Case = (&'static str, fn(&mut Peer) -> io::Result<()>, u16, &'static str);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";

/// Sends the same again until the other side has had enough.
fn endlessly(peer: &mut Peer, start: &str, again: &str) -> io::Result<()> {
    peer.send(start)?;
    // What is broken within lbd's first read becomes a 502; here the response is to have begun.
    std::thread::sleep(PAUSE);
    let again = again.repeat(1 + 4096 / again.len());
    loop {
        peer.send(&again)?;
    }
}

/// Sends this, and then nothing.
fn stall_after(peer: &mut Peer, bytes: &str) -> io::Result<()> {
    peer.send(bytes)?;
    peer.stall()
}

/// Sends this, and resets the connection when lbd has it.
fn reset_after(peer: &mut Peer, bytes: &str) -> io::Result<()> {
    peer.send(bytes)?;
    // A reset destroys what has not been read yet, and so would be one of an earlier stage.
    std::thread::sleep(PAUSE);
    peer.reset()
}

const CASES: &[Case] = &[
    ("/stall/before", |peer| stall_after(peer, ""), 504, "sH"),
    ("/stall/status-line", |peer| stall_after(peer, "HTTP/1.1 20"), 504, "sH"),
    ("/stall/head", |peer| stall_after(peer, "HTTP/1.1 200 OK\r\nContent-"), 504, "sH"),
    ("/stall/interim", |peer| stall_after(peer, "HTTP/1.1 103 Early Hints\r\n\r\n"), 103, "sH"),
    ("/stall/body", |peer| stall_after(peer, &format!("{OK}some")), 200, "sD"),
    ("/stall/chunk", |peer| stall_after(peer, CHUNKED), 200, "sD"),
    ("/reset/before", |peer| reset_after(peer, ""), 502, "SH"),
    ("/reset/head", |peer| reset_after(peer, "HTTP/1.1 200 OK\r\n"), 502, "SH"),
    ("/reset/body", |peer| reset_after(peer, &format!("{OK}some")), 200, "SD"),
    ("/reset/after", |peer| reset_after(peer, &format!("{OK}0123456789")), 200, "--"),
    ("/lies/short", |peer| peer.send(format!("{OK}short")), 200, "SD"),
    ("/lies/long", |peer| peer.send(format!("{OK}0123456789and more")), 200, "--"),
    ("/lies/two", |peer| peer.send(format!("{OK}0123456789HTTP/1.1 200 OK\r\n\r\nevil")), 200, "--"),
    ("/lies/chunk", |peer| peer.send(format!("{CHUNKED}3\r\nlonger\r\n0\r\n\r\n")), 502, "SD"),
    ("/garbage/text", |peer| peer.send("220 mail.example.org ESMTP\r\n\r\n"), 502, "PH"),
    ("/garbage/tls", |peer| peer.send([0x15, 3, 3, 0, 2, 2, 0x46, 13, 10, 13, 10]), 502, "PH"),
    ("/split/cr", |peer| peer.send("HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n"), 502, "PH"),
    ("/split/lf", |peer| peer.send("HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n"), 502, "PH"),
    ("/split/nul", |peer| peer.send("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"), 502, "PH"),
    ("/split/reason", |peer| peer.send("HTTP/1.1 200 OK\rX: a\r\n\r\n"), 502, "PH"),
    ("/endless/interim", |peer| endlessly(peer, "", "HTTP/1.1 102 Processing\r\n\r\n"), 102, "SH"),
    ("/endless/status-line", |peer| endlessly(peer, "HTTP/1.1 200 ", "OK"), 502, "PH"),
    ("/endless/field", |peer| endlessly(peer, "HTTP/1.1 200 OK\r\nX: ", "x"), 502, "PH"),
    ("/endless/fields", |peer| endlessly(peer, "HTTP/1.1 200 OK\r\n", "X: y\r\n"), 502, "PH"),
    ("/endless/extension", |peer| endlessly(peer, &format!("{CHUNKED}5;"), "x"), 200, "SD"),
    ("/endless/trailers", |peer| endlessly(peer, &format!("{CHUNKED}0\r\n"), "X: y\r\n"), 200, "SD"),
    ("/endless/size", |peer| endlessly(peer, CHUNKED, "0"), 200, "SD"),
];

/// Does what the request's path says.
fn misbehave(peer: &mut Peer) -> io::Result<()> {
    let request = peer.read_request()?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (_, act, ..) = CASES.iter().find(|(name, ..)| *name == path).expect("a case");
    act(peer)
}

#[test]
fn each_misbehaviour_is_told_for_what_it_is_and_leaves_nothing_behind() {
    let (mut stack, _bad) = Stack::builder()
        .backend("timeouts: { server: 1s }\nretries: 0\nretry_budget: 0%")
        .start_before(misbehave);
    stack.add_nginx();
    let (good, elsewhere) = (stack.server_address(1), stack.addresses.socket(2, 7080));
    stack.config.more_backends = format!("good:\n  check: off\n  servers: {{ s1: \"{good}\" }}");
    stack.config.more_frontends = format!("elsewhere:\n  bind: [\"{elsewhere}\"]\n  backend: good");
    stack.write_config();
    stack.lbd.stop();
    stack.lbd.start();
    let others = Load { clients: 2, ..Load::default() }.start(elsewhere);
    others.wait_for_requests(100);

    let before = stack.footprint_at_rest();
    let mut crowds: Vec<_> = CASES
        .iter()
        .map(|(path, ..)| {
            let mut crowd = Crowd::connect(stack.web(), EACH);
            crowd.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            crowd
        })
        .collect();
    let mut most = 0;
    for (crowd, (path, ..)) in crowds.iter_mut().zip(CASES) {
        crowd.wait_for_all(&format!("{path} ends"), |member| member.ended);
        most = most.max(stack.growth_kib(before));
    }
    for (crowd, (path, _, status, _)) in crowds.iter().zip(CASES) {
        let statuses: Vec<_> = crowd.members.iter().map(|member| member.status()).collect();
        assert!(statuses.iter().all(|seen| seen == status), "{path}: {statuses:?}, not {status}");
        let evil = |member: &testkit::Member| String::from_utf8_lossy(&member.received).contains("evil");
        assert!(!crowd.members.iter().any(evil), "{path}: a client got what was not its own");
    }
    let lines = stack.log_lines(EACH * CASES.len(), |line| line.server == "raw");
    for (path, _, _, termination) in CASES {
        let seen: Vec<_> = lines.iter().filter(|line| line.target == *path).collect();
        assert_eq!(seen.len(), EACH, "{path} in the log: {seen:?}");
        assert!(
            seen.iter().all(|line| line.termination == *termination),
            "{path}, not {termination}: {seen:?}"
        );
    }
    assert!(most < (EACH * CASES.len() * MEMORY_KIB + SLACK_KIB) as u64, "lbd grew by {most} KiB");

    others.wait_for_requests(100);
    others.stop().assert_nothing_lost();
    stack.wait_until_calm(before);
}

#[test]
fn a_client_that_leaves_an_endless_response_ends_it() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        endlessly(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n")
    });
    let before = stack.footprint_at_rest();
    let mut crowd = Crowd::connect(stack.web(), EACH);
    crowd.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    crowd.wait_for_all("megabytes have come", |member| member.length > 4 << 20);
    assert!(
        stack.growth_kib(before) < (EACH * MEMORY_KIB + SLACK_KIB) as u64,
        "grew by {} KiB",
        stack.growth_kib(before)
    );
    drop(crowd);
    let lines = stack.log_lines(EACH, |line| line.server == "raw");
    assert!(lines.iter().all(|line| line.termination == "CD" && line.status == 200), "{lines:?}");
    testkit::wait_until("the server is let go", || server.ended() == EACH);
    stack.wait_until_calm(before);
}
