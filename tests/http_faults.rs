//! Servers that misbehave: clients get a complete error or a visibly broken response, and never somebody else's bytes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use testkit::{Peer, Stack, wait_until};

/// Sends one `GET` to a stack whose server follows the script, and checks that the client is told in full.
fn assert_answer(
    what: &str,
    statuses: &[u16],
    script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static,
) {
    let backend = "timeouts: { server: 500ms }\nretries: 0";
    let (stack, _server) = Stack::builder().backend(backend).start_before(script);
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.response();
    assert!(statuses.contains(&response.status), "{what}: {response:?}");
    assert!(response.closes() || client.try_get("/").is_ok(), "{what}: the connection is closed unannounced");
}

/// Reads the request, and answers with these bytes.
fn answering(bytes: impl Into<Vec<u8>>) -> impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static {
    let bytes = bytes.into();
    move |peer| {
        peer.read_request()?;
        peer.send(&bytes)
    }
}

#[test]
fn connections_that_end_before_a_response_are_502() {
    assert_answer("closed at once", &[502, 503], |_| Ok(()));
    assert_answer("closed after the request", &[502], |peer| peer.read_request().map(drop));
    assert_answer("reset after the request", &[502], |peer| {
        peer.read_request()?;
        peer.reset()
    });
    assert_answer("closed within the head", &[502], answering("HTTP/1.1 200 OK\r\nContent-Le"));
}

#[test]
fn responses_that_are_not_http_are_502() {
    assert_answer("garbage", &[502], answering("complete nonsense\r\n\r\n"));
    assert_answer("binary garbage", &[502], answering([0, 1, 2, 3, 255, 254, 13, 10, 13, 10]));
    assert_answer("bad status", &[502], answering("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"));
    assert_answer("bare line feeds", &[502], answering("HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n"));
    assert_answer("folded", &[502], answering("HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"));
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100 << 10));
    assert_answer("an endless head", &[502], answering(endless));
}

#[test]
fn responses_with_ambiguous_lengths_are_502() {
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_answer("two framings", &[502], answering(both));
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!";
    assert_answer("two lengths", &[502], answering(two));
    assert_answer("a signed length", &[502], answering("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"));
    let coded = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n";
    assert_answer("chunked twice", &[502], answering(coded));
}

// RFC 9112 section 6.3: "the proxy MUST close the connection to the server, discard the received response, and send a 502 (Bad Gateway)"
#[test]
fn a_connection_with_an_invalid_length_is_closed_and_nothing_of_its_response_is_seen() {
    for length in ["+5", "five", "5, 6", "99999999999999999999"] {
        let answer = format!("HTTP/1.1 200 OK\r\nX-Secret: yes\r\nContent-Length: {length}\r\n\r\nhello");
        let (stack, server) = Stack::builder().start_before(move |peer| {
            peer.read_request()?;
            peer.send(&answer)?;
            // Until the other side closes.
            peer.read_request().map(drop)
        });
        let mut client = stack.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.field("x-secret")), (502, None), "{length}");
        assert!(!response.text().contains("hello"), "{length}");
        wait_until("the connection is closed", || server.ended() == 1);
        assert_eq!(server.requests().len(), 1, "{length}: nothing else is sent on it");
    }
}

// RFC 9112 section 9.6: "A client that receives a "close" connection option MUST cease sending requests on that connection"
#[test]
fn a_server_that_says_close_gets_no_other_request_though_it_does_not_close() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        loop {
            peer.read_request()?;
            peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")?;
        }
    });
    let mut client = stack.client();
    for answered in 1..=3 {
        assert_eq!(client.get("/").text(), "ok");
        assert_eq!(server.connections(), answered, "each request has a connection of its own");
    }
}

#[test]
fn a_server_that_says_nothing_is_504() {
    assert_answer("silent", &[504], |peer| {
        peer.read_request()?;
        peer.stall()
    });
    assert_answer("silent within the head", &[504], |peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\n")?;
        peer.stall()
    });
}

#[test]
fn a_body_that_is_cut_off_is_not_passed_on_as_whole() {
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut off",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nbad\r\n0\r\n\r\n",
    ] {
        let (stack, _server) = Stack::builder().start_before(answering(cut));
        let mut client = stack.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let outcome = client.try_response("GET");
        assert!(!matches!(&outcome, Ok(response) if response.status == 200), "{cut:?} became {outcome:?}");
    }
}

#[test]
fn a_stalled_body_does_not_hold_its_client_for_ever() {
    let backend = "timeouts: { server: 500ms }";
    let (stack, _server) = Stack::builder().backend(backend).start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome")?;
        peer.stall()
    });
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let error = client.try_response("GET").unwrap_err();
    // A timed-out read of this client would be `WouldBlock`: lbd has to end it.
    assert!(matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{error}");
}

#[test]
fn a_body_without_a_length_lasts_until_the_server_closes() {
    let (stack, _server) = Stack::builder().start_before(answering("HTTP/1.1 200 OK\r\n\r\nall of it"));
    let mut client = stack.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("transfer-encoding")), ("all of it", None));
    client.expect_closed();
    // A client of HTTP/1.1 gets chunks, and its connection lives on.
    let mut client = stack.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!((response.text().as_str(), response.closes()), ("all of it", false));
        assert_eq!(response.field("transfer-encoding"), Some("chunked"));
    }
}

#[test]
fn a_body_without_a_length_is_passed_on_as_it_comes_in_chunks() {
    const PARTS: usize = 200;
    let (stack, _server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.0 200 OK\r\n\r\n")?;
        for part in 1..=PARTS {
            peer.send(vec![b'x'; part * part])?;
        }
        Ok(())
    });
    let mut client = stack.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").body.len(), (1..=PARTS).map(|part| part * part).sum::<usize>());
    }
    // An empty one is a whole one.
    let (stack, _server) = Stack::builder().start_before(answering("HTTP/1.0 200 OK\r\n\r\n"));
    let mut client = stack.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "");
    }
}

#[test]
fn a_body_without_a_length_that_breaks_off_has_no_last_chunk() {
    for reset in [true, false] {
        let backend = "timeouts: { server: 500ms }";
        let (stack, _server) = Stack::builder().backend(backend).start_before(move |peer| {
            peer.read_request()?;
            peer.send("HTTP/1.1 200 OK\r\n\r\nhalf of it")?;
            if reset {
                // A reset destroys what lbd has not read yet.
                std::thread::sleep(std::time::Duration::from_millis(200));
                peer.reset()
            } else {
                peer.stall()
            }
        });
        let mut client = stack.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let received = String::from_utf8(client.take_all()).unwrap();
        assert!(received.ends_with("\r\n\r\na\r\nhalf of it\r\n"), "{received:?}");
        let mut client = stack.client();
        client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
        let error = client.try_response("GET").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "nothing else tells it");
    }
}

#[test]
fn bytes_after_a_response_belong_to_nobody() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        )?;
        peer.stall()
    });
    let mut client = stack.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(server.connections(), 5, "such a connection is not used again");
}

/// As waitress, starman, cheroot and busybox do it.
#[test]
fn a_body_behind_the_answer_to_a_head_is_nobodys() {
    for pause in [0, 1, 40] {
        let (stack, _server) = Stack::builder().backend("retries: 0").start_before(move |peer| {
            loop {
                peer.read_request()?;
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")?;
                std::thread::sleep(std::time::Duration::from_millis(pause));
                peer.send("body")?;
            }
        });
        for _ in 0..10 {
            let mut client = stack.client();
            client.send(
                "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            );
            assert_eq!(client.response_to("HEAD").status, 200);
            let next = client.response();
            assert_eq!((next.status, next.text().as_str()), (200, "body"), "after {pause} ms");
        }
    }
}

#[test]
fn a_connection_that_answered_a_head_and_is_quiet_is_used_again() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        loop {
            peer.read_request()?;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")?;
        }
    });
    let mut client = stack.client();
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to("HEAD").status, 200);
        let idle = r#"tandem_server_idle_connections_current{proxy="app",server="raw"}"#;
        wait_until("the connection is kept", || stack.metric(idle) == Some(1.0));
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_unasked_response_on_an_idle_connection_belongs_to_nobody() {
    let said = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&said);
    let (stack, _server) = Stack::builder().start_before(move |peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        // By now lbd has the connection in its pool, most of the time.
        std::thread::sleep(std::time::Duration::from_millis(50));
        peer.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nevil")?;
        count.fetch_add(1, SeqCst);
        peer.stall()
    });
    let mut client = stack.client();
    for expected in 1..=5 {
        assert_eq!(client.get("/").text(), "ok");
        // Then it lies in lbd's socket, to be seen before the next request is written.
        wait_until("the server has said its unasked word", || said.load(SeqCst) == expected);
    }
}

#[test]
fn a_reused_connection_that_dies_costs_an_idempotent_request_nothing() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    // Every connection answers once, reads a second request, and dies.
    let (stack, server) = Stack::builder().start_before(move |peer| {
        peer.read_request()?;
        count.fetch_add(1, SeqCst);
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        peer.read_request().map(drop)
    });
    let mut client = stack.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(served.load(SeqCst), 5);
    assert_eq!(server.requests().len(), 9, "four of the five were sent twice");
}

// RFC 9110 section 9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests"
#[test]
fn a_reused_connection_that_dies_never_repeats_a_request_that_changes_something() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        peer.read_request().map(drop)
    });
    let mut client = stack.client();
    assert_eq!(client.get("/").text(), "ok");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let status = client.response().status;
    let posts = server.requests().iter().filter(|head| head.starts_with("POST ")).count();
    assert_eq!(posts, 1, "a POST is sent once, whatever becomes of it");
    // Either it went out on the old connection and is lost with it, or lbd gave it a new one.
    assert!([200, 502].contains(&status), "{status}");
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_not_used() {
    let (stack, server) =
        Stack::builder().start_before(answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let mut client = stack.client();
    for expected in 1..=5 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().status, 200, "even a POST is safe: the close was there to be seen");
        wait_until("the server has closed", || server.ended() == expected);
    }
}

#[test]
fn with_nobody_to_connect_to_the_answer_is_503() {
    let stack = Stack::builder()
        .servers(0)
        .unchecked()
        .config(|config, addresses| config.server("nobody", addresses.socket(100, 7081)))
        .start();
    for _ in 0..3 {
        assert_eq!(stack.get("/").status, 503);
    }
}

#[test]
fn a_server_that_hangs_after_an_interim_response_is_504() {
    let frontend = "timeouts: { client: 30s }";
    let (stack, _server) =
        Stack::builder().frontend(frontend).backend("timeouts: { server: 500ms }").start_before(|peer| {
            peer.read_request()?;
            peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
            peer.stall()
        });
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 103);
    assert_eq!(client.response().status, 504);
    wait_until("the server is blamed", || stack.stat("app", "raw").number("eresp") == 1);
}

// RFC 9110 section 7.8: "A server MUST NOT switch to a protocol that was not indicated by the client"
#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_502() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n";
    assert_answer("an unasked switch", &[502], answering(switch));
}

#[test]
fn endless_interim_responses_are_502_or_a_broken_connection() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        loop {
            peer.send("HTTP/1.1 102 Processing\r\n\r\n")?;
        }
    });
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("lbd gives up on the server", || server.ended() > 0);
}
