//! Clients that stay with their server by a cookie, beside HAProxy with the same servers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use testkit::{Client, Haproxy, Response, Stack, needs, text_command, wait_until};

const STICKY: &str = "sticky: { cookie: SRV }";

/// HAProxy with the same cookie, logging to its standard output, and where it takes commands.
struct Peer {
    haproxy: Haproxy,
    address: SocketAddr,
    socket: PathBuf,
}

impl Peer {
    fn start(stack: &Stack) -> Self {
        let socket = stack.dir().join("haproxy.sock");
        let servers: String = (1..=3)
            .map(|number| {
                let server = stack.server_address(number);
                format!(" server s{number} {server} {} cookie v{number}\n", Haproxy::CHECK)
            })
            .collect();
        let haproxy = Haproxy::beside(stack, "http", |address| {
            format!(
                "global\n nbthread 1\n stats socket {} level admin\n log stdout format raw local0\n\
                 listen app\n bind {address}\n log global\n option httplog\n balance roundrobin\n option redispatch\n\
                 cookie SRV insert indirect nocache httponly\n option httpchk GET /health\n{servers}",
                socket.display()
            )
        });
        Self { address: haproxy.address(), haproxy, socket }
    }

    fn state(&self, server: &str, state: &str) {
        text_command(&self.socket, &format!("set server app/{server} state {state}"));
    }

    fn wait_for_status(&self, server: &str, status: &str) {
        wait_until(&format!("haproxy has {server} {status}"), || {
            let stats = text_command(&self.socket, "show stat");
            stats.lines().any(|line| {
                line.starts_with(&format!("app,{server},")) && line.contains(&format!(",{status},"))
            })
        });
    }
}

/// A browser, as far as cookies go.
#[derive(Clone, Default)]
struct Visitor {
    cookie: Option<String>,
}

impl Visitor {
    /// One request on a connection of its own, with what was set before. What is set is kept.
    fn visit(&mut self, address: SocketAddr) -> Response {
        let fields =
            self.cookie.as_ref().map(|cookie| format!("Cookie: a=1; {cookie}; b=2\r\n")).unwrap_or_default();
        let response = ask(address, "/", &fields);
        if let Some(set) = response.field("set-cookie") {
            self.cookie = Some(set.split(';').next().unwrap().to_owned());
        }
        response
    }

    fn server(&mut self, address: SocketAddr) -> usize {
        let response = self.visit(address);
        response.instance().unwrap_or_else(|| panic!("{response:?}"))
    }

    /// One that is at home at that server.
    fn of(address: SocketAddr, server: usize) -> Self {
        for _ in 0..20 {
            let mut visitor = Self::default();
            if visitor.server(address) == server {
                return visitor;
            }
        }
        panic!("no new visitor comes to s{server}");
    }
}

fn ask(address: SocketAddr, path: &str, fields: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    client.response()
}

/// The letters of each request in a log.
fn letters(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains(" - - ") && line.contains("\"GET "));
    lines.filter_map(|line| line.split(" - - ").nth(1)?.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn a_client_stays_with_its_server_as_with_haproxy() {
    needs!("haproxy");
    let mut stack =
        Stack::builder().backend(STICKY).config(|config, _| config.lbd = "workers: 1".to_owned()).start();
    let peer = Peer::start(&stack);
    (1..=3).for_each(|number| peer.wait_for_status(&format!("s{number}"), "UP"));
    let both = [stack.web(), peer.address];
    let visitors = both.map(|address| [1, 2, 3].map(|server| Visitor::of(address, server)));
    let stay = |expected: [usize; 3], when: &str| {
        for (address, visitors) in both.into_iter().zip(&visitors) {
            for (visitor, expected) in visitors.iter().zip(expected) {
                for _ in 0..4 {
                    let response = visitor.clone().visit(address);
                    assert_eq!(response.instance(), Some(expected), "{when}: {response:?}");
                    assert_eq!(response.field("set-cookie"), None, "{when}: {response:?}");
                }
            }
        }
    };
    stay([1, 2, 3], "at first");
    stack.reload();
    stay([1, 2, 3], "after a reload");
    stack.tandemctl_ok(&["drain", "app/s1"]);
    peer.state("s1", "drain");
    stay([1, 2, 3], "while the first is drained");
    for address in both {
        let new: BTreeSet<usize> = (0..9).map(|_| Visitor::default().server(address)).collect();
        assert_eq!(new, BTreeSet::from([2, 3]), "nobody new comes to it");
    }
    stack.tandemctl_ok(&["weight", "app/s1", "0"]);
    stack.tandemctl_ok(&["ready", "app/s1"]);
    peer.state("s1", "ready");
    text_command(&peer.socket, "set server app/s1 weight 0");
    stay([1, 2, 3], "with a weight of zero");
    stack.tandemctl_ok(&["weight", "app/s1", "1"]);
    text_command(&peer.socket, "set server app/s1 weight 1");

    // The maintained one is as good as dead.
    stack.tandemctl_ok(&["maint", "app/s2"]);
    peer.state("s2", "maint");
    for (address, visitors) in both.into_iter().zip(&visitors) {
        let mut visitor = visitors[1].clone();
        let response = visitor.visit(address);
        let now = response.instance().unwrap();
        assert!(now != 2 && response.field("set-cookie").is_some(), "{response:?}");
        assert_eq!(visitor.server(address), now, "it stays with the new one");
    }
    stack.tandemctl_ok(&["ready", "app/s2"]);
    peer.state("s2", "ready");

    stack.nginx[2].stop();
    stack.wait_for_status("s3", "DOWN");
    peer.wait_for_status("s3", "DOWN");
    let mut moved = Vec::new();
    for (address, visitors) in both.into_iter().zip(&visitors) {
        let mut visitor = visitors[2].clone();
        let now = visitor.server(address);
        assert_ne!(now, 3);
        moved.push((address, visitor, now));
    }
    stack.nginx[2].restart();
    stack.wait_for_status("s3", "UP");
    peer.wait_for_status("s3", "UP");
    for (address, mut visitor, home) in moved {
        assert_eq!(visitor.server(address), home, "it stays where it went to");
    }
    stay([1, 2, 3], "when all are back");
}

#[test]
fn the_log_has_haproxys_letters() {
    needs!("haproxy");
    let stack =
        Stack::builder().backend(STICKY).config(|config, _| config.lbd = "workers: 1".to_owned()).start();
    let peer = Peer::start(&stack);
    (1..=3).for_each(|number| peer.wait_for_status(&format!("s{number}"), "UP"));
    for address in [stack.web(), peer.address] {
        let mut visitor = Visitor::of(address, 1);
        visitor.visit(address);
        ask(address, "/", "Cookie: SRV=nonsense\r\n");
        match address == stack.web() {
            true => drop(stack.tandemctl_ok(&["maint", "app/s1"])),
            false => peer.state("s1", "maint"),
        }
        visitor.visit(address);
        visitor.visit(address);
    }
    // What two requests did may be logged in either order.
    let tail = |log: &str| {
        let mut last: Vec<_> = letters(log).into_iter().rev().take(5).collect();
        last.sort();
        last
    };
    let expected = ["--DI", "--II", "--NI", "--VN", "--VN"];
    wait_until("lbd has logged", || tail(&stack.lbd.stdout()) == expected);
    wait_until("haproxy has logged the same", || tail(&peer.haproxy.process().stdout()) == expected);
}

#[test]
fn the_server_never_sees_the_cookie_and_caches_are_told() {
    needs!("haproxy");
    let stack = Stack::builder().backend(STICKY).start();
    let peer = Peer::start(&stack);
    for address in [stack.web(), peer.address] {
        let mut visitor = Visitor::default();
        let first = visitor.visit(address);
        let set = first.field("set-cookie").unwrap();
        assert!(set.starts_with("SRV=") && set.to_ascii_lowercase().contains("; path=/; httponly"), "{set}");
        let cookie = visitor.cookie.unwrap();
        for (line, seen) in [
            (format!("Cookie: {cookie}\r\n"), ""),
            (format!("Cookie: a=1; {cookie}; b=2\r\n"), "a=1; b=2"),
            (format!("Cookie: {cookie}; a=1\r\n"), "a=1"),
            (format!("Cookie: a=1; {cookie}\r\n"), "a=1"),
        ] {
            let text = ask(address, "/headers", &line).text();
            let told = text.lines().find_map(|line| line.strip_prefix("cookie=")).map(str::trim);
            assert_eq!(told, Some(seen), "{line}: {text}");
        }
    }
    let first = Visitor::default().visit(stack.web());
    assert_eq!(first.field("cache-control"), Some("private"));
}

/// The cookie is gone before a request is edited, and comes after a response has been.
#[test]
fn edits_of_all_cookies_leave_this_one_alone() {
    let edits =
        "request: { remove: [Cookie] }\nresponse: { remove: [Set-Cookie], set: { X-Server: \"{server}\" } }";
    let stack = Stack::builder().frontend(edits).backend(STICKY).start();
    let mut visitor = Visitor::default();
    let home = visitor.server(stack.web());
    assert!(visitor.cookie.is_some());
    for _ in 0..6 {
        let response = visitor.visit(stack.web());
        assert_eq!((response.instance(), response.field("set-cookie")), (Some(home), None));
        assert_eq!(response.field("x-server"), Some(format!("s{home}").as_str()));
    }
}

#[test]
fn both_nodes_of_a_pair_honour_the_same_cookies_and_a_restart_changes_nothing() {
    for lines in [STICKY, "sticky: { cookie: SRV, key: 0123456789abcdef, max_idle: 1h, max_life: 8h }"] {
        let mut one = Stack::builder().backend(lines).unchecked().start();
        let two = Stack::builder().backend(lines).unchecked().start();
        let mut visitors = [1, 2, 3].map(|server| Visitor::of(one.web(), server));
        for (visitor, server) in visitors.iter_mut().zip(1..) {
            let response = visitor.visit(two.web());
            assert_eq!((response.instance(), response.field("set-cookie")), (Some(server), None));
        }
        one.lbd.stop();
        one.lbd.start();
        for (visitor, server) in visitors.iter_mut().zip(1..) {
            assert_eq!(visitor.server(one.web()), server);
        }
    }
    // Who has another key knows none of them.
    let other =
        Stack::builder().backend("sticky: { cookie: SRV, key: fedcba9876543210 }").unchecked().start();
    let stack =
        Stack::builder().backend("sticky: { cookie: SRV, key: 0123456789abcdef }").unchecked().start();
    let response = Visitor::of(stack.web(), 2).visit(other.web());
    assert!(response.field("set-cookie").is_some(), "{response:?}");
}

#[test]
fn a_session_ends_in_its_time() {
    for (limit, letter) in [("max_idle", "--EI"), ("max_life", "--OI")] {
        let stack = Stack::builder()
            .backend(&format!("sticky: {{ cookie: SRV, key: 0123456789abcdef, {limit}: 1s }}"))
            .unchecked()
            .start();
        let visitor = Visitor::of(stack.web(), 1);
        wait_until("the cookie counts for nothing", || {
            std::thread::sleep(std::time::Duration::from_millis(1_100));
            let answer = visitor.clone().visit(stack.web());
            answer.field("set-cookie").is_some()
                && letters(&stack.lbd.stdout()).iter().any(|one| one == letter)
        });
        assert!(!letters(&stack.lbd.stdout()).iter().any(|one| one.starts_with("--I")));
    }
}

#[test]
fn a_session_that_is_used_goes_on() {
    let stack = Stack::builder()
        .backend("sticky: { cookie: SRV, key: 0123456789abcdef, max_idle: 60s }")
        .unchecked()
        .start();
    let mut visitor = Visitor::of(stack.web(), 2);
    let first = visitor.cookie.clone();
    wait_until("the cookie is renewed", || {
        assert_eq!(visitor.server(stack.web()), 2);
        visitor.cookie != first
    });
    wait_until("it is logged", || letters(&stack.lbd.stdout()).iter().any(|one| one == "--VU"));
}

#[test]
fn a_request_waits_for_its_own_server_and_then_goes_elsewhere() {
    let start = |queue: &str| {
        let stack = Stack::builder()
            .unchecked()
            .backend(&format!("{STICKY}\nqueue: {{ timeout: {queue} }}"))
            .config(|config, addresses| {
                for number in 1..=3_u8 {
                    let address = addresses.socket(10 + number, testkit::SERVER_PORT);
                    config.server(&format!("s{number}"), format!("{{ address: \"{address}\", maxconn: 1 }}"));
                }
            })
            .start();
        stack.nginx[0].file("slow", 10 << 20);
        stack
    };
    // Its server is busy for as long as it takes.
    let occupied = |stack: &Stack| {
        let visitor = Visitor::of(stack.web(), 1);
        let cookie = visitor.cookie.clone().unwrap();
        let mut busy = Client::connect(stack.web());
        busy.send(format!("GET /slow/slow HTTP/1.1\r\nHost: test\r\nCookie: {cookie}\r\n\r\n"));
        assert_eq!(busy.try_head().unwrap().status, 200);
        (visitor, busy)
    };
    for drained in [false, true] {
        let stack = start("40s");
        let (mut visitor, busy) = occupied(&stack);
        if drained {
            stack.tandemctl_ok(&["drain", "app/s1"]);
        }
        let web = stack.web();
        let waiting = std::thread::spawn(move || visitor.server(web));
        wait_until("it waits", || stack.stat("app", "BACKEND").number("qcur") == 1);
        assert_ne!(Visitor::default().server(web), 1, "others go where there is room");
        drop(busy);
        assert_eq!(waiting.join().unwrap(), 1);
    }
    let stack = start("100ms");
    let (mut visitor, busy) = occupied(&stack);
    assert_ne!(visitor.server(stack.web()), 1);
    wait_until("it is logged as one that had to move", || {
        letters(&stack.lbd.stdout()).iter().any(|one| one == "--DI")
    });
    drop(busy);
}

#[test]
fn a_server_that_cannot_be_reached_loses_its_clients_at_once() {
    let mut stack = Stack::builder().backend(STICKY).unchecked().start();
    let mut visitor = Visitor::of(stack.web(), 1);
    stack.nginx[0].stop();
    let now = visitor.server(stack.web());
    assert_ne!(now, 1);
    assert_eq!(visitor.server(stack.web()), now);
    wait_until("it is logged", || letters(&stack.lbd.stdout()).iter().any(|one| one == "--DI"));
}

#[test]
fn a_backup_server_that_stands_by_again_keeps_its_clients() {
    let stack = Stack::builder()
        .backend(STICKY)
        .config(|config, addresses| {
            let address = addresses.socket(13, testkit::SERVER_PORT);
            config.server("s3", format!("{{ address: \"{address}\", backup: true }}"));
        })
        .start();
    for server in ["app/s1", "app/s2"] {
        stack.tandemctl_ok(&["maint", server]);
    }
    let mut visitor = Visitor::default();
    wait_until("the backup server serves", || ask(stack.web(), "/", "").instance() == Some(3));
    assert_eq!(visitor.server(stack.web()), 3);
    stack.tandemctl_ok(&["ready", "app/s1"]);
    wait_until("it does not any more", || ask(stack.web(), "/", "").instance() == Some(1));
    assert_eq!(visitor.server(stack.web()), 3);
}

#[test]
fn forged_cookies_cost_nobody_anything() {
    let stack = Stack::builder().backend(STICKY).unchecked().start();
    let cookie = Visitor::of(stack.web(), 1).cookie.unwrap();
    let many = "SRV=0123456789abcdef; ".repeat(300);
    for fields in [
        "Cookie: SRV=\r\n".to_owned(),
        "Cookie: SRV=\"\r\n".to_owned(),
        format!("Cookie: {cookie}0\r\n"),
        format!("Cookie: {}\r\n", &cookie[..cookie.len() - 1]),
        format!("Cookie: {}\r\n", cookie.replace("SRV", "srv")),
        format!("Cookie: {many}{cookie}\r\n"),
        "Cookie: ;;;=;SRV;=SRV\r\nCookie:\r\n".to_owned(),
    ] {
        let response = ask(stack.web(), "/", &fields);
        assert_eq!(response.status, 200, "{fields}");
        assert!(response.field("set-cookie").is_some(), "{fields}: {response:?}");
    }
    let good = ask(stack.web(), "/", &format!("Cookie: SRV=x; SRV=\"{}\"\r\nCookie: c=d\r\n", &cookie[4..]));
    assert_eq!((good.instance(), good.field("set-cookie")), (Some(1), None));
}
