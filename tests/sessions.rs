//! Client connections in operators' hands: who is listed, who is ended, and that nobody else is.

use std::io::ErrorKind;
use std::net::SocketAddr;

use testkit::{Client, Haproxy, Stack, needs, text_command, wait_for, wait_until};

/// What the access log says of requests or sessions that have ended: the server, and the termination.
fn logged(log: &str, frontend: &str) -> Vec<(String, String)> {
    let of = |line: &str| {
        let mut words = line.split(' ').skip_while(|word| *word != frontend).skip(1);
        let server = words.next()?.split_once('/')?.1.to_owned();
        let is_flags = |word: &&str| {
            word.len() >= 2 && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphabetic())
        };
        Some((server, words.find(is_flags)?[..2].to_owned()))
    };
    log.lines().filter_map(of).collect()
}

fn wait_for_log(stack: &Stack, server: &str, termination: &str) {
    let wanted = (server.to_owned(), termination.to_owned());
    wait_until(&format!("the log tells of {termination}"), || {
        logged(&stack.lbd.stdout(), "web").contains(&wanted)
    });
}

/// The ids of the connections that `show sess` lists, with the words behind them.
fn sessions(stack: &Stack, whose: &str) -> Vec<(String, Vec<String>)> {
    let text = stack.command(&format!("show sess {whose}"));
    let mut lines = text.lines().filter(|line| !line.is_empty());
    assert_eq!(lines.next(), Some("# id frontend client server age_ms idle_ms bytes_in bytes_out"), "{text}");
    let row = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        (words.next().unwrap(), words.collect())
    };
    lines.map(row).collect()
}

fn is_reset(client: &mut Client) -> bool {
    client.try_rest().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// Two servers that have their sessions in turn: by one worker, as each has turns of its own.
fn two_servers() -> Stack {
    let stack = Stack::builder().frontend("mode: tcp").backend("mode: tcp").servers(2);
    stack.config(|config, _| config.lbd = "workers: 1".to_owned()).start()
}

#[test]
fn sessions_are_listed_and_those_of_a_server_are_ended() {
    let stack = two_servers();
    let mut clients: Vec<_> = (0..4).map(|_| stack.client()).collect();
    let at: Vec<_> = clients.iter_mut().map(|client| client.get("/").instance().unwrap()).collect();
    let with_s1 = at.iter().filter(|at| **at == 1).count();
    assert!(0 < with_s1 && with_s1 < 4, "{at:?}");
    assert_eq!(sessions(&stack, "").len(), 4);
    assert_eq!(sessions(&stack, "app").len(), 4);
    for (id, words) in sessions(&stack, "app/s1") {
        let [frontend, client, server, age, idle, bytes_in, bytes_out] = words.as_slice() else {
            panic!("{id} {words:?}")
        };
        assert_eq!((frontend.as_str(), server.as_str()), ("web", "app/s1"));
        client.parse::<SocketAddr>().unwrap();
        assert!(age.parse::<u64>().unwrap() >= idle.parse().unwrap(), "{words:?}");
        assert!(bytes_in.parse::<u64>().unwrap() > 0 && bytes_out.parse::<u64>().unwrap() > 0, "{words:?}");
    }
    let table = stack.tandemctl_ok(&["sessions", "app/s1"]);
    assert!(table.starts_with("ID "), "{table}");
    assert_eq!(table.lines().count(), 1 + with_s1, "{table}");

    stack.tandemctl_ok(&["shutdown", "sessions", "server", "app/s1"]);
    for (client, at) in clients.iter_mut().zip(&at) {
        match at {
            1 => assert!(is_reset(client), "its session has ended"),
            _ => assert_eq!(client.get("/").instance(), Some(2), "it stays"),
        }
    }
    wait_for_log(&stack, "s1", "KD");
    let (last, _) = wait_for("those of s2 are left", || sessions(&stack, "app/s2").first().cloned());
    stack.tandemctl_ok(&["shutdown", "session", &last]);
    let ended = clients
        .iter_mut()
        .zip(&at)
        .filter(|(_, at)| **at == 2)
        .filter_map(|(client, _)| client.try_get("/").err());
    assert_eq!(ended.count(), 1);
    // Nobody is to blame, and new ones are welcome.
    assert_eq!(stack.stat("app", "s1").number("eresp"), 0);
    assert!((0..2).any(|_| stack.get("/").instance() == Some(1)));
}

#[test]
fn mistakes_are_explained_and_change_nothing() {
    let stack = Stack::builder().servers(1).start();
    for (args, message) in [
        (["shutdown", "sessions", "server", "app/s2"].as_slice(), "no server `s2` in backend `app`"),
        (&["shutdown", "session", "0-999"], "no session 0-999; `show sess` lists them"),
        (&["shutdown", "session", "999"], "a session's id is two numbers such as 0-17"),
        (&["sessions", "apq"], "no backend `apq` (did you mean `app`?)"),
        (&["drain", "app/s1", "--close-after", "30"], "a time is a number and a unit"),
        (&["drain", "app/s1", "--close-after", "200h"], "from 0s to 604800s"),
    ] {
        let output = stack.tandemctl(args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(message), "{args:?}: {told}");
    }
    assert_eq!(stack.stat("app", "s1").text("status"), "UP");
}

#[test]
fn requests_are_ended_too_and_say_so() {
    let (stack, _server) = Stack::builder().start_before(|peer| {
        let mut head = peer.read_until(b"\r\n\r\n")?;
        while head.starts_with(b"GET /answers ") {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            head = peer.read_until(b"\r\n\r\n")?;
        }
        if head.starts_with(b"GET /begins ") {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.")?;
        }
        if head.starts_with(b"GET /switches ") {
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")?;
        }
        peer.stall()
    });
    let ask = |path: &str, fields: &str| {
        let mut client = stack.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        client
    };
    let mut waits = ask("/waits", "");
    let mut begins = ask("/begins", "");
    let mut switches = ask("/switches", "Connection: upgrade\r\nUpgrade: echo\r\n");
    let mut answers = ask("/answers", "");
    assert!(begins.take(19).unwrap().starts_with(b"HTTP/1.1 200"));
    assert!(switches.take(19).unwrap().starts_with(b"HTTP/1.1 101"));
    assert_eq!(answers.response().status, 200);
    wait_until("three are with the server", || sessions(&stack, "app/raw").len() == 3);
    stack.tandemctl_ok(&["shutdown", "sessions", "server", "app/raw"]);
    assert_eq!(waits.response().status, 503);
    begins.try_rest().ok();
    switches.try_rest().ok();
    for (termination, of) in [("KH", 1), ("KD", 2)] {
        wait_until(&format!("{of} end with {termination}"), || {
            let log = logged(&stack.lbd.stdout(), "web");
            log.iter().filter(|(_, how)| how == termination).count() == of
        });
    }
    // Who was with no server stays, and nobody is to blame.
    answers.send("GET /answers HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answers.response().status, 200);
    assert_eq!(stack.stat("app", "raw").number("eresp"), 0);
}

#[test]
fn a_drain_may_have_a_bound() {
    let stack = two_servers();
    let mut clients: Vec<_> = (0..4).map(|_| stack.client()).collect();
    let at: Vec<_> = clients.iter_mut().map(|client| client.get("/").instance().unwrap()).collect();
    assert!(at.contains(&1), "{at:?}");

    let told = stack.tandemctl_ok(&["drain", "app/s1", "--close-after", "1h"]);
    assert!(told.contains("app/s1: state drain; 2 requests in flight, sessions end in"), "{told}");
    let status = stack.tandemctl_ok(&["status"]);
    assert!(status.contains("sessions end in"), "{status}");
    // To be ready again takes that back.
    stack.tandemctl_ok(&["ready", "app/s1"]);
    assert!(!stack.tandemctl_ok(&["status"]).contains("sessions end in"));
    for (client, at) in clients.iter_mut().zip(&at) {
        assert_eq!(client.get("/").instance(), Some(*at));
    }

    stack.tandemctl_ok(&["drain", "app/s1", "--close-after", "50ms"]);
    for (client, at) in clients.iter_mut().zip(&at) {
        match at {
            1 => assert!(is_reset(client)),
            _ => assert_eq!(client.get("/").instance(), Some(2)),
        }
    }
    wait_for_log(&stack, "s1", "KD");
}

/// HAProxy with the same server, and the same command.
#[test]
fn a_server_is_left_by_its_sessions_as_with_haproxy() {
    needs!("haproxy");
    let stack = Stack::builder().frontend("mode: tcp").backend("mode: tcp").servers(1).start();
    let (socket, server) = (stack.dir().join("haproxy.sock"), stack.nginx[0].address());
    let haproxy = Haproxy::beside(&stack, "tcp", |address| {
        format!(
            "global\n stats socket {} level admin\n log stdout format raw local0\n\
             frontend web\n bind {address}\n log global\n option tcplog\n default_backend app\n\
             backend app\n server s1 {server}\n",
            socket.display()
        )
    });
    let address = haproxy.address();
    let mut ends = Vec::new();
    for (address, end) in [
        (stack.web(), &(|| stack.command("shutdown sessions server app/s1")) as &dyn Fn() -> String),
        (address, &|| text_command(&socket, "shutdown sessions server app/s1")),
    ] {
        let mut client = Client::connect(address);
        assert_eq!(client.get("/").instance(), Some(1));
        let answer = end();
        let is_over = client.try_rest().map_or_else(|_| true, |rest| rest.is_empty());
        ends.push((answer.trim().to_owned(), is_over, Client::connect(address).get("/").instance()));
    }
    assert_eq!(ends[0], (String::new(), true, Some(1)));
    assert_eq!(ends[0], ends[1]);
    let is_killed =
        |log: &str| logged(log, "web").iter().any(|(server, how)| server == "s1" && how.starts_with('K'));
    wait_until("both logs tell of it", || {
        is_killed(&stack.lbd.stdout()) && is_killed(&haproxy.process().stdout())
    });
}
