//! Crowds of clients that are slow, endless or gone: each ends as it should, others are served meanwhile, what it costs is
//! bounded, and nothing is left behind.

use std::io;
use std::time::Duration;

use testkit::{Client, Crowd, Footprint, Load, Peer, RunningLoad, Stack, StackBuilder, wait_until};

/// What lbd may need for a client with a request under way, by docs/architecture.md, "What is bounded".
const REQUEST_KIB: usize = 8 + 100;
/// The same while a head arrives.
const HEAD_KIB: usize = 8 + 32;
/// What the allocator may add in all.
const SLACK_KIB: usize = 4 << 10;

/// A system under abuse: somebody else's requests go on all the time.
struct Scene {
    stack: Stack,
    others: RunningLoad,
    before: Footprint,
    most_kib: u64,
}

impl Scene {
    fn set(builder: StackBuilder) -> Self {
        Self::around(builder.servers(1).unchecked().start())
    }

    fn around(stack: Stack) -> Self {
        let others = Load { clients: 2, ..Load::default() }.start(stack.web());
        others.wait_for_requests(100);
        let before = stack.footprint_at_rest();
        Self { stack, others, before, most_kib: 0 }
    }

    /// Goes on until it is over, and watches lbd's memory meanwhile.
    fn play(&mut self, what: &str, mut over: impl FnMut(&Stack) -> bool) {
        wait_until(what, || {
            self.most_kib = self.most_kib.max(self.stack.growth_kib(self.before));
            over(&self.stack)
        });
    }

    /// Checks what the log says of the abusers: as many lines as there were, each with that status and termination.
    fn assert_logged(&self, target: &str, count: usize, status: u16, termination: &str) {
        let lines = self.stack.log_lines(count, |line| line.target == target);
        assert_eq!(lines.len(), count, "{target}");
        let other =
            lines.iter().find(|line| (line.status, line.termination.as_str()) != (status, termination));
        assert!(other.is_none(), "{target}, not {status} {termination}: {other:?}");
    }

    /// Checks that the others got every answer, that memory kept its bound, and that nothing is left.
    fn end(self, bound_kib: usize) {
        self.others.wait_for_requests(100);
        self.others.stop().assert_nothing_lost();
        assert!(
            self.most_kib < (bound_kib + SLACK_KIB) as u64,
            "lbd grew by {} KiB; the bound is {bound_kib}",
            self.most_kib
        );
        self.stack.wait_until_calm(self.before);
    }
}

#[test]
fn heads_that_drip_get_408_at_their_deadline() {
    const CROWD: usize = 3000;
    let mut scene = Scene::set(Stack::builder().frontend("timeouts: { request_head: 3s }"));
    let mut crowd = Crowd::connect(scene.stack.web(), CROWD);
    crowd.send("GET /drip HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    // The deadline is absolute: bytes that keep coming do not move it.
    scene.play("every head meets its deadline", |_| {
        crowd.send("x");
        crowd.receive();
        crowd.members.iter().all(|member| member.ended)
    });
    assert_eq!(crowd.count(408), CROWD);
    scene.assert_logged("/drip", CROWD, 408, "cR");
    scene.end(CROWD * HEAD_KIB);
}

#[test]
fn bodies_that_stop_get_408_and_those_that_drip_get_through() {
    const STOPPED: usize = 300;
    const DRIPPING: usize = 50;
    let mut scene = Scene::set(Stack::builder().frontend("timeouts: { client: 2s }"));
    let head =
        |name, length| format!("PUT /upload/{name} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let mut stopped = Crowd::connect(scene.stack.web(), STOPPED);
    stopped.send(head("stopped", 100) + "some");
    let mut dripping = Crowd::connect(scene.stack.web(), DRIPPING);
    dripping.send(head("dripping", 30));
    // Together longer than the timeout, which is one of silence.
    for _ in 0..30 {
        dripping.send("x");
        std::thread::sleep(Duration::from_millis(100));
    }
    scene.play("every upload ends", |_| {
        stopped.receive();
        dripping.receive();
        stopped.members.iter().all(|member| member.ended) && dripping.members.iter().all(|m| m.length > 0)
    });
    assert_eq!(stopped.count(408), STOPPED);
    assert_eq!(dripping.count(201) + dripping.count(204), DRIPPING);
    scene.assert_logged("/upload/stopped", STOPPED, 408, "cD");
    drop(dripping);
    scene.end((STOPPED + DRIPPING) * REQUEST_KIB);
}

#[test]
fn responses_that_nobody_reads_are_broken_off() {
    const CROWD: usize = 200;
    let mut scene = Scene::set(Stack::builder().frontend("timeouts: { client: 2s }"));
    scene.stack.nginx[0].file("large", 8 << 20);
    let mut crowd = Crowd::default();
    let address = scene.stack.web();
    crowd.join(CROWD, || Client::connect_with_room(address, 4096));
    crowd.send("GET /files/large HTTP/1.1\r\nHost: a\r\n\r\n");
    scene.play("every response is given up", |stack| {
        let given_up = |line: &str| line.contains("/files/large");
        stack.lbd.stdout().lines().filter(|line| given_up(line)).count() == CROWD
    });
    scene.assert_logged("/files/large", CROWD, 200, "cD");
    drop(crowd);
    scene.end(CROWD * REQUEST_KIB);
}

#[test]
fn pipelines_whose_answers_nobody_reads_are_broken_off() {
    const CROWD: usize = 30;
    let mut scene = Scene::set(Stack::builder().frontend("timeouts: { client: 2s }"));
    scene.stack.nginx[0].file("page", 256 << 10);
    let mut crowd = Crowd::default();
    let address = scene.stack.web();
    crowd.join(CROWD, || Client::connect_with_room(address, 4096));
    let many = "GET /files/page HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    scene.play("every pipeline is given up", |stack| {
        // Whatever the sockets take.
        crowd.send(&many);
        stack.lbd.stdout().lines().filter(|line| line.contains(" cD-- ")).count() == CROWD
    });
    drop(crowd);
    scene.end(CROWD * REQUEST_KIB);
}

#[test]
fn clients_that_close_their_half_are_answered_or_forgotten() {
    const EACH: usize = 100;
    let mut scene = Scene::set(Stack::builder());
    let cases = [
        ("/whole", "GET /whole HTTP/1.1\r\nHost: a\r\n\r\n", 200, "--"),
        ("/head", "GET /head HTTP/1.1\r\nHost: a\r\n", 0, "CR"),
        ("/upload/body", "PUT /upload/body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome", 0, "CD"),
        (
            "/upload/chunk",
            "PUT /upload/chunk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nsome",
            0,
            "CD",
        ),
    ];
    let mut crowds: Vec<_> = cases
        .iter()
        .map(|(_, request, ..)| {
            let mut crowd = Crowd::connect(scene.stack.web(), EACH);
            crowd.send(request);
            crowd.members.iter().for_each(|member| member.finish_sending());
            crowd
        })
        .collect();
    scene.play("every connection ends", |_| {
        crowds.iter_mut().for_each(Crowd::receive);
        crowds.iter().flat_map(|crowd| &crowd.members).all(|member| member.ended)
    });
    for (crowd, (target, _, status, termination)) in crowds.iter().zip(cases) {
        assert_eq!(crowd.count(status), EACH, "{target}");
        scene.assert_logged(target, EACH, status, termination);
    }
    scene.end(cases.len() * EACH * REQUEST_KIB);
}

/// Reads whatever comes, for as long as it comes; answers what is whole.
fn swallow(peer: &mut Peer) -> io::Result<()> {
    loop {
        let request = peer.read_request()?;
        if request.starts_with("POST ") {
            return peer.stall();
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

#[test]
fn endless_heads_and_endless_framing_are_refused() {
    const EACH: usize = 50;
    let chunked =
        |target: &str| format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let cases = [
        ("", "GET /".to_owned(), "x", 414),
        ("/field", "GET /field HTTP/1.1\r\nHost: a\r\nX: ".to_owned(), "x", 431),
        ("/fields", "GET /fields HTTP/1.1\r\nHost: a\r\n".to_owned(), "X: y\r\n", 431),
        ("/size", chunked("/size"), "0", 400),
        ("/extension", chunked("/extension") + "5;", "x", 400),
        ("/trailer", chunked("/trailer") + "0\r\nX: ", "x", 400),
        ("/trailers", chunked("/trailers") + "0\r\n", "X: y\r\n", 400),
        ("/body", chunked("/body"), "5\r\nhello\r\n", 413),
    ];
    let (stack, server) = Stack::builder().frontend("limits: { body: 64KiB }").start_before(swallow);
    let mut scene = Scene::around(stack);
    for (target, start, again, status) in &cases {
        let mut crowd = Crowd::connect(scene.stack.web(), EACH);
        crowd.send(start);
        let more = again.repeat(4096 / again.len());
        scene.play(&format!("{target} ends"), |_| {
            crowd.send(&more);
            crowd.receive();
            crowd.members.iter().all(|member| member.ended)
        });
        assert_eq!(crowd.count(*status), EACH, "{target}");
        if !target.is_empty() {
            scene.assert_logged(target, EACH, *status, "PR");
        }
    }
    let heads = server.requests();
    assert!(!heads.iter().any(|head| head.contains("/field")), "an endless head reached the server");
    scene.end(EACH * REQUEST_KIB);
}

#[test]
fn endless_bodies_within_the_rules_take_no_memory() {
    const CROWD: usize = 4;
    const LENGTH: usize = 32 << 20;
    let (stack, server) = Stack::builder().start_before(swallow);
    let mut scene = Scene::around(stack);
    // Large chunks, small chunks, and chunks that are mostly extensions, which are dropped.
    let chunks = [
        format!("8000\r\n{}\r\n", "x".repeat(0x8000)),
        "5\r\nhello\r\n".repeat(3000),
        format!("5;{}\r\nhello\r\n", "x".repeat(900)).repeat(30),
    ];
    for chunk in &chunks {
        let address = scene.stack.web();
        let senders: Vec<_> = (0..CROWD)
            .map(|_| {
                let (mut client, chunk) = (Client::connect(address), chunk.clone());
                std::thread::spawn(move || {
                    client.send("POST /endless HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
                    (0..LENGTH / chunk.len()).for_each(|_| client.send(&chunk));
                })
            })
            .collect();
        scene.play("everything is sent", |_| senders.iter().all(std::thread::JoinHandle::is_finished));
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    }
    scene.assert_logged("/endless", 3 * CROWD, 0, "CD");
    wait_until("the server is let go", || server.ended() >= 3 * CROWD);
    scene.end(CROWD * REQUEST_KIB);
}
