//! TCP mode: bytes go both ways as if nothing were between, and what a session does is chosen, bounded, counted and logged.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use testkit::{
    Client, Haproxy, RawServer, SERVER_PORT, Stack, StackBuilder, needs, pattern, wait_for, wait_until,
};

/// A stack in TCP mode.
fn tcp(lines: &str) -> StackBuilder {
    let backend = format!("mode: tcp\n{lines}");
    Stack::builder().frontend("mode: tcp").backend(&backend)
}

/// The fields of a line of the `tcplog` that tests look at: the server, and the termination.
fn logged(stack: &Stack, count: usize) -> Vec<(String, String)> {
    wait_for(&format!("{count} lines of access log"), || {
        let log = stack.lbd.stdout();
        let fields = |line: &str| {
            // client [date] frontend backend/server Tw/Tc/Tt bytes ts a/f/b/s/r sq/bq
            let words: Vec<_> = line.split(' ').collect();
            let &[_, _, "web", service, _, _, termination, _, _] = words.as_slice() else {
                panic!("not a line of tcplog: {line}")
            };
            (service.split_once('/').unwrap().1.to_owned(), termination.to_owned())
        };
        let lines: Vec<_> = log.lines().map(fields).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// HAProxy in front of the same server, as the one to compare with.
fn haproxy(stack: &Stack, server: SocketAddr) -> Haproxy {
    Haproxy::beside(stack, "tcp", |bind| format!("listen tcp\n bind {bind}\n server s {server}\n"))
}

#[test]
fn bytes_and_both_ends_arrive_as_they_do_with_haproxy() {
    needs!("haproxy");
    const LONG: usize = 5 << 20;
    let (stack, server) = tcp("").start_before(|peer| match peer.read_until(b"\n")?.as_slice() {
        // The client ends first, and gets its answer.
        b"client\n" => {
            let all = peer.read_all()?;
            peer.send(all.len().to_string())?;
            peer.send(pattern(LONG, 7))
        }
        // The server ends first, and still reads.
        b"server\n" => {
            peer.send(pattern(LONG, 8))?;
            peer.finish_sending()?;
            let all = peer.read_all()?;
            assert!(all == pattern(LONG, 9), "other bytes than were sent");
            Ok(())
        }
        _ => Ok(()),
    });
    let other = haproxy(&stack, server.address());
    for address in [stack.web(), other.address()] {
        let mut client = Client::connect(address);
        client.send("client\n");
        client.send(pattern(LONG, 9));
        client.finish_sending();
        let answer = client.try_rest().unwrap();
        let expected = [LONG.to_string().as_bytes(), &pattern(LONG, 7)].concat();
        assert!(answer == expected, "{address}: {} bytes", answer.len());

        let ended = server.ended();
        let mut client = Client::connect(address);
        client.send("server\n");
        assert!(client.try_rest().unwrap() == pattern(LONG, 8), "{address}");
        client.send(pattern(LONG, 9));
        client.finish_sending();
        wait_until("the server has read everything", || server.ended() > ended);
    }
    for (name, termination) in logged(&stack, 2) {
        assert_eq!((name.as_str(), termination.as_str()), ("raw", "--"));
    }
    let row = stat(&stack, "raw", |total| total == 2);
    assert_eq!((row.0, row.1), (0, 2), "sessions now and in all");
    assert_eq!(stack.stat("app", "BACKEND").number("bin"), 2 * (7 + LONG as u64));
    assert_eq!(stack.stat("web", "FRONTEND").text("mode"), "tcp");
    assert_eq!(stack.stat("app", "raw").text("mode"), "tcp");
}

/// Sessions of a server: now, and in all.
fn stat(stack: &Stack, server: &str, enough: impl Fn(u64) -> bool) -> (u64, u64) {
    wait_for("the sessions are counted and over", || {
        let row = stack.stat("app", server);
        (enough(row.number("stot")) && row.number("scur") == 0)
            .then(|| (row.number("scur"), row.number("stot")))
    })
}

#[test]
fn a_server_speaks_first_and_one_that_breaks_off_resets_its_client() {
    let (stack, _server) = tcp("").start_before(|peer| {
        peer.send("220 hello\r\n")?;
        peer.read_until(b"\n")?;
        peer.reset()
    });
    let mut client = stack.client();
    assert_eq!(client.take(11).unwrap(), b"220 hello\r\n");
    client.send("bye\n");
    let error = client.try_rest().unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectionReset,
        "the end of a part is not taken for the end of the whole"
    );
    assert_eq!(logged(&stack, 1), [("raw".to_owned(), "SD".to_owned())]);
}

#[test]
fn a_client_may_talk_on_to_a_server_that_has_said_everything() {
    const LONG: usize = 1 << 20;
    let (stack, _server) = tcp("").start_before(|peer| {
        peer.read_until(b"\n")?;
        peer.send(pattern(LONG, 3))
    });
    let mut client = stack.client();
    client.send("GET\n");
    assert!(client.take(LONG).unwrap() == pattern(LONG, 3), "the answer is whole");
    wait_until("the end of the answer is there", || client.has_ended());
    // The first of these is answered with a reset by the server.
    while stack.lbd.stdout().is_empty() && client.try_send("more\n").is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    client.expect_end();
    assert_eq!(logged(&stack, 1), [("raw".to_owned(), "--".to_owned())]);
}

#[test]
fn refused_connections_are_made_elsewhere() {
    let stack = tcp("retry_budget: 100%")
        .unchecked()
        .servers(1)
        .config(|config, addresses| {
            config.lbd = "workers: 1".to_owned();
            config.server("nobody", addresses.socket(99, SERVER_PORT));
        })
        .start();
    for _ in 0..6 {
        assert_eq!(stack.get("/").instance(), Some(1));
    }
    let backend = stack.stat("app", "BACKEND");
    assert!(backend.number("wretr") > 0 && backend.number("wredis") > 0, "{backend:?}");
    assert!(stack.stat("app", "nobody").number("econ") > 0);
    assert!(logged(&stack, 6).iter().all(|(server, end)| server == "s1" && end == "--"));
}

#[test]
fn nobody_to_connect_to_ends_the_connection() {
    let stack = tcp("retries: 0")
        .unchecked()
        .servers(0)
        .config(|config, addresses| config.server("nobody", addresses.socket(99, SERVER_PORT)))
        .start();
    stack.client().expect_closed();
    assert_eq!(logged(&stack, 1), [("nobody".to_owned(), "SC".to_owned())]);
}

#[test]
fn sessions_beyond_maxconn_wait_for_their_turn() {
    let stack = tcp("queue: { max: 1 }")
        .unchecked()
        .servers(1)
        .config(|config, addresses| {
            config.lbd = "workers: 1".to_owned();
            let address = addresses.socket(11, SERVER_PORT);
            config.server("s1", format!("{{ address: \"{address}\", maxconn: 1 }}"));
        })
        .start();
    let mut first = stack.client();
    assert_eq!(first.get("/").instance(), Some(1));
    let mut second = stack.client();
    second.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_until("the second waits", || stack.stat("app", "BACKEND").number("qcur") == 1);
    // The third finds the queue full.
    stack.client().expect_closed();
    assert_eq!(logged(&stack, 1), [("<NOSRV>".to_owned(), "sQ".to_owned())]);
    drop(first);
    assert_eq!(second.response().instance(), Some(1));
    assert_eq!(stack.stat("app", "s1").number("smax"), 1);
}

#[test]
fn a_drained_server_keeps_its_sessions_and_gets_no_new_ones() {
    let stack = tcp("").servers(2).start();
    let mut clients: Vec<_> = (0..4).map(|_| stack.client()).collect();
    let at = |client: &mut Client| client.get("/").instance().unwrap();
    let seen: Vec<_> = clients.iter_mut().map(at).collect();
    assert!(seen.contains(&1) && seen.contains(&2), "{seen:?}");
    stack.tandemctl_ok(&["drain", "app/s1"]);
    stack.wait_for_status("s1", "DRAIN");
    wait_until("the workers know", || stack.get("/").instance() == Some(2));
    for _ in 0..6 {
        assert_eq!(stack.get("/").instance(), Some(2));
    }
    assert_eq!(clients.iter_mut().map(at).collect::<Vec<_>>(), seen);
}

#[test]
fn sessions_with_a_server_that_went_down_are_closed_if_so_wanted() {
    for (on_down, is_cut) in [("close_sessions", true), ("keep_sessions", false)] {
        let mut sign_of_life = None;
        let stack = tcp(&format!("on_down: {on_down}"))
            .servers(1)
            .config(|config, addresses| {
                let address = addresses.socket(11, 7999);
                sign_of_life = Some(RawServer::start(address, |peer| peer.stall()));
                config.check = "{ tcp: {}, port: 7999, interval: 100ms, fall: 2 }".to_owned();
            })
            .start();
        let mut client = stack.client();
        assert_eq!(client.get("/").instance(), Some(1));
        drop(sign_of_life);
        stack.wait_for_status("s1", "DOWN");
        if is_cut {
            let error = client.try_rest().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(logged(&stack, 1), [("s1".to_owned(), "DD".to_owned())]);
        } else {
            assert_eq!(client.get("/").instance(), Some(1));
        }
    }
}

#[test]
fn a_session_that_rests_for_too_long_is_closed_and_who_should_have_spoken_is_named() {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (stack, _server) = tcp("timeouts: { server_fin: 200ms }")
        .config(|config, _| config.frontend += "\ntimeouts: { tunnel: 1h, client_fin: 200ms }")
        .start_before(move |peer| match peer.read_until(b"\n")?.as_slice() {
            b"end\n" => {
                peer.finish_sending()?;
                peer.stall()
            }
            _ => {
                // Says nothing until the test is over.
                let _ = held.lock().unwrap().recv();
                Ok(())
            }
        });
    let mut client = stack.client();
    client.send("end\n");
    // Only the client could still send.
    assert!(client.try_rest().unwrap().is_empty(), "the server has ended");
    assert_eq!(logged(&stack, 1), [("raw".to_owned(), "cD".to_owned())]);
    let mut client = stack.client();
    client.send("rest\n");
    client.finish_sending();
    assert_eq!(client.try_rest().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(logged(&stack, 2)[1], ("raw".to_owned(), "sD".to_owned()));
    drop(release);
}

#[test]
fn a_frontend_may_change_its_mode_and_takes_requests_no_more() {
    let mut stack = Stack::builder().servers(1).start();
    let mut kept = stack.client();
    assert_eq!(kept.get("/").instance(), Some(1));
    stack.config.frontend = "mode: tcp".to_owned();
    stack.config.backend = "mode: tcp".to_owned();
    stack.reload();
    kept.expect_closed();
    assert_eq!(stack.get("/").instance(), Some(1));
    assert_eq!(stack.stat("web", "FRONTEND").text("mode"), "tcp");
}
