//! Connections to servers between two requests: what becomes of those that the server has closed, and of servers that have none
//! to spare.

use std::fs;
use std::process::Command;
use std::time::Duration;

use testkit::{
    Client, Daemon, Load, Peer, Process, Program, RawServer, SERVER_PORT, Stack, is_root, needs, skip,
    text_command, wait_until,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GOOD_BYE: &str = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate";
const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// One that ends the connection without announcing it.
const CURT_GOOD_BYE: &str = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate";

fn post(client: &mut Client) -> u16 {
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    client.response().status
}

/// Two servers that answer a connection's first request, and close it when they have read the second.
fn forgetful(backend: &str) -> (Stack, [RawServer; 2]) {
    let script = |name: &'static str| {
        move |peer: &mut Peer| {
            peer.read_request()?;
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{name}"))?;
            peer.read_request().map(drop)
        }
    };
    let (mut stack, one) = Stack::builder()
        .backend(backend)
        .config(|config, _| config.lbd = "workers: 1".into())
        .start_before(script("one"));
    let address = stack.addresses.socket(101, SERVER_PORT);
    let two = RawServer::start(address, script("two"));
    stack.config.server("two", address);
    stack.write_config();
    assert!(stack.command("reload").contains("configuration reloaded"));
    (stack, [one, two])
}

#[test]
fn a_kept_connection_that_was_closed_is_no_failure_of_its_server() {
    for backend in ["balance: source", "balance: source\nretries: 0\nretry_budget: 0%"] {
        let (stack, servers) = forgetful(backend);
        let mut client = stack.client();
        let first = client.get("/").text();
        for _ in 0..10 {
            assert_eq!(client.get("/").text(), first, "the session stays where it is");
        }
        let seen: usize = servers.iter().map(RawServer::connections).sum();
        assert_eq!(seen, 11, "each connection was used once in vain");
        let row = stack.stat("app", "BACKEND");
        for column in ["wretr", "wredis", "econ", "eresp"] {
            assert_eq!(row.number(column), 0, "{column}: {row:?}");
        }
    }
}

#[test]
fn a_408_on_a_kept_connection_is_a_good_bye_and_nobody_else_hears_it() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        let head = peer.read_request()?;
        if head.starts_with("GET /late ") {
            return peer.send(GOOD_BYE);
        }
        if head.starts_with("POST ") {
            peer.read_body(2)?;
        }
        peer.send(OK)?;
        // It has no more patience for a connection that looks idle.
        let is_get = peer.read_request()?.starts_with("GET ");
        peer.send(if is_get { CURT_GOOD_BYE } else { GOOD_BYE })
    });
    let mut client = stack.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(client.get("/").status, 200, "it was not read");
        assert_eq!(post(&mut client), 200, "it was not read either");
    }
    assert_eq!(server.connections(), 15, "a connection that ended so is not used again");
    let row = stack.stat("app", "BACKEND");
    assert_eq!((row.number("wretr"), row.number("eresp"), row.number("hrsp_4xx")), (0, 0, 0), "{row:?}");
    // On a new connection it concerns the request itself.
    let mut other = stack.client();
    other.send("GET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let status = other.response().status;
    assert_eq!(status, 408);
}

#[test]
fn a_connection_is_not_used_again_behind_a_408_whatever_it_says() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        let mut answer = OK;
        loop {
            peer.read_request()?;
            peer.read_body(2)?;
            peer.send(answer)?;
            answer = CURT_GOOD_BYE;
        }
    });
    let mut client = stack.client();
    for _ in 0..3 {
        assert_eq!(post(&mut client), 200);
        // What is not idempotent may have been done by a server that does not say that it closes.
        assert_eq!(post(&mut client), 408);
    }
    assert_eq!(server.connections(), 3);
}

#[test]
fn an_upload_that_met_the_end_of_a_kept_connection_with_its_head_alone_is_sent_again() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        if peer.read_request()?.starts_with("PUT ") {
            peer.read_body(5)?;
        }
        peer.send(OK)?;
        peer.read_request().map(drop)
    });
    let mut client = stack.client();
    for round in 1..=5 {
        assert_eq!(client.get("/").status, 200);
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        wait_until("the head is at a new connection", || server.connections() == 2 * round);
        client.send("hello");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(stack.stat("app", "BACKEND").number("eresp"), 0);
}

#[test]
fn ports_that_are_used_up_towards_one_server_concern_no_other() {
    if !is_root() {
        skip!("network namespaces need root");
    }
    needs!("ip");
    let netns = testkit::Netns::new("ports");
    netns.inside(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", "60000 60003").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let [web, admin, one, two] = ["127.0.0.1:7080", "127.0.0.1:7081", "127.0.0.2:7000", "127.0.0.3:7000"]
        .map(|text| text.parse().unwrap());
    fs::write(
        dir.path().join("lb.yaml"),
        format!(
            "frontends: {{ web: {{ bind: \"{web}\", backend: app, access_log: off }} }}\n\
             backends:\n  app:\n    check: off\n    servers: {{ one: \"{one}\", two: \"{two}\" }}\n\
             admin: {{ bind: \"{admin}\" }}\nlbd: {{ workers: 1, verdict_wait: 0s }}\n"
        ),
    )
    .unwrap();
    // As many connections to the first server as there are ports, none of which lbd has.
    let holding = |peer: &mut Peer| peer.stall();
    let answering = |peer: &mut Peer| loop {
        peer.read_request()?;
        peer.send(OK)?;
    };
    let _first = netns.inside(|| RawServer::start(one, holding));
    let _second = netns.inside(|| RawServer::start(two, answering));
    let held = netns.inside(|| std::array::from_fn::<_, 4, _>(|_| Client::connect(one)));
    let mut lbd = Daemon::new(Program::Lbd, dir.path()).within(&netns);
    lbd.start();
    netns.inside(|| {
        let mut client = Client::connect_from("127.0.0.9".parse().unwrap(), web);
        for _ in 0..20 {
            assert_eq!(client.get("/").status, 200);
        }
    });
    let stats = testkit::read_csv(&text_command(&lbd.socket(), "show stat"));
    let row = stats.iter().find(|row| row.text("svname") == "one").unwrap();
    assert_eq!((row.number("econ"), row.text("status")), (0, "no check"), "nobody is blamed: {row:?}");
    let log = lbd.stderr();
    assert!(log.contains("no local port is left for connections to this server"), "{log}");
    drop(held);
}

#[test]
fn servers_are_told_when_no_other_request_will_come() {
    let answering = |peer: &mut Peer| loop {
        peer.read_request()?;
        peer.send(OK)?;
    };
    let cases = [
        ("timeouts: { keep_alive: off }", ""),
        ("", ", maxconn: 1"),
        ("timeouts: { keep_alive: 1h }", ", maxconn: 1"),
    ];
    for (backend, server) in cases {
        let (mut stack, raw) = Stack::builder().backend(backend).start_before(answering);
        stack.config.server("raw", format!("{{ address: \"{}\"{server} }}", raw.address()));
        stack.write_config();
        assert!(stack.command("reload").contains("configuration reloaded"));
        let mut client = stack.client();
        for _ in 0..5 {
            assert_eq!(client.get("/").status, 200);
        }
        assert_eq!(raw.connections(), 5);
        assert!(
            raw.requests().iter().all(|head| head.to_ascii_lowercase().contains("\r\nconnection: close\r\n"))
        );
        wait_until("every connection has ended", || raw.ended() == 5);
    }
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over() {
    let (stack, raw) = Stack::builder().backend("timeouts: { keep_alive: 10ms }").start_before(|peer| {
        loop {
            peer.read_request()?;
            peer.send(OK)?;
        }
    });
    let mut client = stack.client();
    for expected in 1..=5 {
        assert_eq!(client.get("/").status, 200);
        wait_until("it is closed, though nobody asks for it", || raw.ended() == expected);
    }
    let idle = "tandem_server_idle_connections_current{proxy=\"app\",server=\"raw\"}";
    assert_eq!(stack.metric(idle), Some(0.0));
}

#[test]
fn a_connection_that_was_idle_for_too_long_is_not_used_again() {
    let (stack, raw) = Stack::builder().backend("timeouts: { keep_alive: 10ms }").start_before(|peer| {
        loop {
            peer.read_request()?;
            peer.send(OK)?;
        }
    });
    let mut client = stack.client();
    for connections in 1..=10 {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(raw.connections(), connections);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server that gives up a connection which begins with something that it does not understand, and ignores that later.
#[test]
fn a_request_that_its_server_may_not_understand_goes_out_on_a_new_connection() {
    let (stack, _server) = Stack::builder().start_before(|peer| {
        for is_first in [true, false] {
            let understood = !peer.read_request()?.contains("{id}");
            match (understood, is_first) {
                (true, _) => peer.send(OK)?,
                (false, true) => return peer.send(BAD_REQUEST),
                (false, false) => return peer.stall(),
            }
        }
        Ok(())
    });
    let mut client = stack.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(client.get("/{id}").status, 400);
    }
}

/// What counts is what the server is sent.
#[test]
fn an_edited_path_is_judged_as_the_server_gets_it() {
    let edit = "request: { replace_path: { pattern: \"^/[{]id[}]\", with: /id } }";
    let (stack, raw) = Stack::builder().backend(edit).start_before(|peer| {
        loop {
            let head = peer.read_request()?;
            assert!(head.starts_with("GET /id ") || head.starts_with("GET / "), "{head}");
            peer.send(OK)?;
        }
    });
    let mut client = stack.client();
    assert_eq!(client.get("/").status, 200);
    let connections = raw.connections();
    for _ in 0..5 {
        assert_eq!(client.get("/{id}").status, 200);
    }
    assert_eq!(raw.connections(), connections);
}

/// Serves one connection until its end, and only then the next one.
const ONE_AT_A_TIME: &str = r#"
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args):
        pass
class Server(http.server.HTTPServer):
    request_queue_size = 128
Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"#;

/// It would serve an idle connection for ever, and nobody else, had it a say: neither other clients, nor other workers, nor the
/// health check.
#[test]
fn a_single_threaded_server_does_not_starve_behind_idle_connections() {
    needs!("python3");
    let mut stack = Stack::builder()
        .servers(0)
        .backend("timeouts: { keep_alive: 1h, server: 20s }")
        .config(|config, addresses| {
            config.server("python", addresses.socket(100, SERVER_PORT));
            config.check = "{ http: { path: / }, interval: 100ms, timeout: 10s, fall: 1, rise: 1 }".into();
        })
        .without_lbd()
        .start();
    let address = stack.addresses.socket(100, SERVER_PORT);
    let mut command = Command::new("python3");
    command.args(["-c", ONE_AT_A_TIME, &address.ip().to_string(), &address.port().to_string()]);
    let _python = Process::spawn("python", command, stack.dir());
    stack.lbd.start();
    stack.wait_for_status("python", "UP");
    let checked = stack.stat("app", "python").number("chkfail");
    // Busy, and then so quiet that connections lie idle.
    for pause in [Duration::ZERO, Duration::from_millis(300)] {
        let load = Load { clients: 6, pause, ..Load::default() };
        load.run(stack.web(), 60).assert_nothing_lost();
    }
    let row = stack.stat("app", "python");
    assert_eq!((row.text("status"), row.number("chkfail")), ("UP", checked), "{row:?}");
}

/// Each answer is followed by the connection's end, which meets the next request on its way. What no byte of reached the server is
/// sent again; what may have reached it is not.
#[test]
fn a_post_that_meets_the_end_of_a_kept_connection_is_never_done_twice() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.read_body(2)?;
        peer.send(OK)
    });
    let mut client = stack.client();
    let mut done = 0;
    for _ in 0..500 {
        match post(&mut client) {
            200 => done += 1,
            // It came before the server closed, which had no look at it.
            status => {
                assert_eq!(status, 502);
                client = stack.client();
            }
        }
    }
    assert_eq!(server.requests().len(), done, "each that was done was received once");
    assert!(done > 0);
}
