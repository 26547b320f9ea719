//! The PROXY protocol: taken and sent, with HAProxy and nginx at the other end, and HAProxy beside.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};

use testkit::{Client, Haproxy, Nginx, Stack, StackBuilder, get, needs, pattern, skip, wait_for, wait_until};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n";
const V4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0xc3, 0x50, 1, 0xbb];
const REQUEST: &[u8] = b"GET /headers HTTP/1.1\r\nHost: test\r\n\r\n";

/// A header of version 2, of these parts.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, rest].concat()
}

/// A stack in a mode, in front of nothing yet.
fn empty(mode: &str, lines: &str) -> StackBuilder {
    let stack = Stack::builder().servers(0).unchecked().backend(&format!("mode: {mode}"));
    stack.frontend(&format!("mode: {mode}\n{lines}"))
}

/// HAProxy in front of the same server.
fn accepting(stack: &Stack) -> Haproxy {
    let server = stack.server_address(1);
    Haproxy::beside(stack, "http", |bind| {
        format!("listen web\n bind {bind} accept-proxy\n option forwardfor\n server s {server}\n")
    })
}

#[test]
fn a_header_names_the_client_as_with_haproxy() {
    needs!("haproxy");
    let stack = Stack::builder().servers(1).unchecked().frontend("accept_proxy: 127.0.0.0/8").start();
    let other = accepting(&stack);
    let v6: Vec<u8> = [[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 1]].concat();
    let both = [
        (LINE.to_vec(), Some("192.0.2.1")),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(), Some("2001:db8::1")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (binary(0x21, 0x11, V4), Some("192.0.2.1")),
        (binary(0x21, 0x11, &[V4, &[4, 0, 3, 0, 0, 0]].concat()), Some("192.0.2.1")),
        (binary(0x21, 0x21, &[&v6[..], &v6, &[0, 1, 0, 2]].concat()), Some("2001:db8::1")),
        (binary(0x20, 0x00, b""), None),
        (binary(0x20, 0x11, V4), None),
    ];
    // What HAProxy refuses, and the specification does not.
    let ours = [
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(), None),
        (binary(0x21, 0x00, b""), None),
        (binary(0x21, 0x31, &[0; 216]), None),
    ];
    let told = |address: SocketAddr, header: &[u8], client: Option<&str>| {
        // HAProxy takes a header that comes whole.
        let cuts = if address == stack.web() { &[0, 1, 13, header.len()][..] } else { &[0, header.len()] };
        for &cut in cuts {
            let mut connection = Client::connect(address);
            connection.send(&header[..cut]);
            connection.send([&header[cut..], REQUEST].concat());
            let own = connection.local_address().ip().to_string();
            let expected = format!("\nx-forwarded-for={}\n", client.unwrap_or(&own));
            let answer = connection.response().text();
            assert!(answer.contains(&expected), "{address}, {header:x?}, cut at {cut}: {answer}");
            let again = connection.get("/headers").text();
            assert_eq!(again, answer, "it is the same client all the time");
        }
    };
    for (header, client) in &both {
        for address in [stack.web(), other.address()] {
            told(address, header, *client);
        }
    }
    for (header, client) in &ours {
        told(stack.web(), header, *client);
    }
    wait_until("all is logged", || stack.lbd.stdout().lines().count() == 8 * (both.len() + ours.len()));
    let log = stack.lbd.stdout();
    assert_eq!(log.matches("192.0.2.1:50000 [").count(), 8 * 3, "{log}");
    assert_eq!(log.matches("[2001:db8::1]:1 [").count(), 8 * 2, "{log}");
}

#[test]
fn who_does_not_begin_with_a_header_is_not_answered_as_with_haproxy() {
    needs!("haproxy");
    let stack = Stack::builder().servers(1).unchecked().frontend("accept_proxy: 127.0.0.0/8").start();
    let other = accepting(&stack);
    let wrong = [
        (REQUEST.to_vec(), "proxy_missing"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(), "proxy_line"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n".to_vec(), "proxy_line"),
        ([&b"PROXY UNKNOWN "[..], &[b'x'; 120], b"\r\n"].concat(), "proxy_too_long"),
        (binary(0x22, 0x11, V4), "proxy_command"),
        (binary(0x21, 0x12, V4), "proxy_family"),
        (binary(0x21, 0x11, &V4[1..]), "proxy_length"),
        (binary(0x21, 0x11, &[V4, &[3, 0, 4, 0, 0, 0, 0]].concat()), "proxy_checksum"),
    ];
    for (header, reason) in &wrong {
        for address in [stack.web(), other.address()] {
            let mut client = Client::connect(address);
            client.send([header, REQUEST].concat());
            assert!(client.take_all().is_empty(), "{address} answers {reason}");
        }
    }
    // These two are closed before they have said enough to be wrong: one of them is only curious.
    drop(Client::connect(stack.web()));
    let mut client = Client::connect(stack.web());
    client.send("PROXY ");
    client.finish_sending();
    client.expect_closed();
    wait_until("all is logged", || stack.lbd.stdout().lines().count() > wrong.len());
    let log = stack.lbd.stdout();
    assert_eq!(log.matches(" web web/<NOSRV> ").count(), wrong.len() + 1, "{log}");
    assert_eq!(log.matches(" PR-- ").count(), wrong.len(), "{log}");
    assert!(log.contains(" CR-- ") && log.contains("\"GET /headers HTTP/1.1\""), "{log}");
    for (_, reason) in &wrong {
        let count = wrong.iter().filter(|(_, other)| other == reason).count();
        let metric = stack.metric(&format!("tandem_lbd_refused_requests_total{{reason=\"{reason}\"}}"));
        assert_eq!(metric, Some(count as f64), "{reason}");
    }
    assert_eq!(stack.stat("web", "FRONTEND").number("ereq"), wrong.len() as u64);
    assert_eq!(stack.stat("app", "BACKEND").number("stot"), 0);
}

#[test]
fn a_header_that_does_not_come_ends_the_connection() {
    for (mode, first) in [("http", &b""[..]), ("tcp", b"PROXY ")] {
        let (stack, server) = empty(mode, "accept_proxy: 127.0.0.1").start_before(|peer| peer.stall());
        let mut client = stack.client();
        client.send(first);
        client.expect_closed();
        let refused = || stack.metric("tandem_lbd_refused_requests_total{reason=\"proxy_timeout\"}");
        wait_until("it is counted", || refused() == Some(1.0));
        wait_until("it is logged", || stack.lbd.stdout().contains(" web web/<NOSRV> "));
        assert!(stack.lbd.stdout().contains(" cR"), "{}", stack.lbd.stdout());
        assert_eq!(server.connections(), 0);
    }
}

#[test]
fn whoever_has_not_said_its_header_is_not_waited_for_by_a_stop() {
    let (mut stack, server) = empty("tcp", "accept_proxy: 127.0.0.1").start_before(|peer| peer.stall());
    let mut client = stack.client();
    wait_until("it is accepted", || stack.stat("web", "FRONTEND").number("scur") == 1);
    stack.lbd.stop();
    client.expect_closed();
    assert_eq!((stack.lbd.stdout().as_str(), server.connections()), ("", 0), "nobody was refused");
}

#[test]
fn operators_see_who_was_named_and_may_end_who_was_not() {
    let (stack, _server) = empty("tcp", "accept_proxy: 127.0.0.1").start_before(|peer| peer.stall());
    let mut named = stack.client();
    named.send(LINE);
    wait_until("the client is listed", || {
        stack.command("show sess").contains(" web 192.0.2.1:50000 app/raw ")
    });
    let mut silent = stack.client();
    let address = format!(" web {} ", silent.local_address());
    let id = wait_for("the other is listed", || {
        let list = stack.command("show sess");
        let line = list.lines().find(|line| line.contains(&address))?;
        line.split(' ').next().map(str::to_owned)
    });
    stack.tandemctl_ok(&["shutdown", "session", &id]);
    silent.expect_closed();
    wait_until("it is logged", || stack.lbd.stdout().contains(" K"));
    assert!(!stack.lbd.stdout().contains(" cR "), "{}", stack.lbd.stdout());
}

#[test]
fn headers_are_taken_from_those_who_are_listed_alone() {
    let mut stack = Stack::builder()
        .servers(1)
        .unchecked()
        .config(|config, addresses| {
            let proxy = addresses.ip(200);
            config.frontend = format!(
                "accept_proxy: {proxy}\nroutes:\n  - {{ source: 192.0.2.0/24, respond: {{ body: named }} }}\n  \
                 - {{ source: {proxy}, respond: {{ body: the proxy }} }}"
            );
        })
        .start();
    let proxy = stack.addresses.ip(200);
    let ask = |client: &mut Client, header: &[u8]| {
        client.send([header, REQUEST].concat());
        client.response()
    };
    assert_eq!(ask(&mut stack.client(), b"").status, 200);
    for header in [LINE.to_vec(), binary(0x21, 0x11, V4)] {
        assert_eq!(ask(&mut stack.client(), &header).status, 400);
        assert_eq!(ask(&mut Client::connect_from(proxy, stack.web()), &header).text(), "named");
    }
    // One that names nobody is the proxy's own.
    let mut client = Client::connect_from(proxy, stack.web());
    assert_eq!(ask(&mut client, &binary(0x20, 0, b"")).text(), "the proxy");
    // A second header is none.
    assert_eq!(ask(&mut client, LINE).status, 400);
    let mut client = Client::connect_from(proxy, stack.web());
    client.send(REQUEST);
    assert!(client.take_all().is_empty());

    stack.config.frontend.clear();
    stack.write_config();
    stack.command("reload");
    wait_until("the proxy is one client among others", || {
        let mut client = Client::connect_from(proxy, stack.web());
        client.send(REQUEST);
        client.try_response("GET").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn in_tcp_mode_what_is_behind_the_header_is_the_session() {
    const LONG: usize = 1 << 20;
    let lines = "accept_proxy: 127.0.0.1";
    let (stack, _server) = empty("tcp", lines).start_before(|peer| {
        let all = peer.read_all()?;
        peer.send(all)
    });
    let elsewhere = stack.addresses.ip(30);
    for size in [0, 1, 100, LONG] {
        let mut client = stack.client();
        client.send([LINE, &pattern(size, 1)].concat());
        client.finish_sending();
        assert!(client.try_rest().unwrap() == pattern(size, 1), "{size}");
        // From elsewhere a header is like any other bytes.
        let mut client = Client::connect_from(elsewhere, stack.web());
        client.send([LINE, &pattern(size, 1)].concat());
        client.finish_sending();
        assert!(client.try_rest().unwrap() == [LINE, &pattern(size, 1)].concat(), "{size}");
    }
    wait_until("the sessions are logged", || stack.lbd.stdout().lines().count() == 8);
    assert_eq!(stack.lbd.stdout().matches("192.0.2.1:50000 [").count(), 4);
}

/// lbd, and HAProxy beside it, in front of an nginx that asks for a header.
fn sending(mode: &str, version: &str) -> (Stack, Nginx, Haproxy) {
    let mut nginx = None;
    let stack = empty(mode, "")
        .config(|config, addresses| {
            let address = addresses.socket(101, 7081);
            nginx = Some(Nginx::start_introduced(1, address));
            config.server("s1", format!("{{ address: \"{address}\", send_proxy: {version} }}"));
        })
        .start();
    let nginx = nginx.unwrap();
    let (option, server) = (haproxy_option(version), nginx.address());
    let other = Haproxy::beside(&stack, mode, |bind| {
        format!("listen web\n bind {bind}\n server s {server} {option}\n")
    });
    (stack, nginx, other)
}

fn haproxy_option(version: &str) -> &'static str {
    if version == "v1" { "send-proxy" } else { "send-proxy-v2" }
}

/// What nginx has been told of a client of this address.
fn told(client: &Client, address: SocketAddr) -> String {
    let client = client.local_address();
    format!("from={} {}\nto={} {}\n", client.ip(), client.port(), address.ip(), address.port())
}

#[test]
fn servers_are_told_of_each_client_as_by_haproxy() {
    needs!("haproxy");
    for (mode, version) in [("http", "v1"), ("http", "v2"), ("tcp", "v1"), ("tcp", "v2")] {
        let (stack, _nginx, other) = sending(mode, version);
        for address in [stack.web(), other.address()] {
            let mut clients: Vec<_> =
                (0..6).map(|number| Client::connect_from(stack.addresses.ip(30 + number), address)).collect();
            for _ in 0..4 {
                for client in &mut clients {
                    let answer = client.get("/proxy").text();
                    let expected = told(client, address);
                    assert!(
                        answer.starts_with(&expected),
                        "{mode} {version} {address}: {answer}\n{expected}"
                    );
                }
            }
        }
        // What cannot be repeated, and what has no body.
        let mut client = stack.client();
        for method in ["POST", "HEAD", "PUT", "HEAD", "POST"] {
            client.send(format!("{method} /proxy HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"));
            let answer = client.response_to(method);
            let expected = if method == "HEAD" { String::new() } else { told(&client, stack.web()) };
            assert!(answer.status == 200 && answer.text().starts_with(&expected), "{method}: {answer:?}");
        }
    }
}

#[test]
fn a_connection_is_kept_for_its_client_and_goes_with_it() {
    needs!("haproxy");
    let (mut stack, _nginx, _haproxy) = sending("http", "v2");
    stack.config.backend = "timeouts: { keep_alive: 1h }".to_owned();
    stack.write_config();
    stack.command("reload");
    let mut client = wait_for("a connection is used again", || {
        let mut client = stack.client();
        client.get("/proxy");
        client.get("/proxy").text().contains("request=2\n").then_some(client)
    });
    let others: BTreeSet<String> = (0..20).map(|_| get(stack.web(), "/proxy").text()).collect();
    assert_eq!(others.len(), 20, "each has another port");
    assert!(others.iter().all(|told| told.ends_with("request=1\n")), "{others:?}");
    let mine = told(&client, stack.web());
    assert!(client.get("/proxy").text().starts_with(&mine));
    drop(client);
    wait_until("nothing is kept for nobody", || {
        stack.metric("tandem_server_idle_connections_current{proxy=\"app\",server=\"s1\"}") == Some(0.0)
    });
}

#[test]
fn a_connection_that_was_closed_is_made_anew_with_its_own_header() {
    for (method, closes) in [("GET", true), ("GET", false), ("POST", false)] {
        let (stack, server) = Stack::builder()
            .unchecked()
            .backend("send_proxy: v1")
            .config(|config, _| config.lbd = "workers: 1".to_owned())
            .start_before(move |peer| {
                let header = peer.read_until(b"\r\n")?;
                loop {
                    peer.read_request()?;
                    let len = header.len();
                    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"))?;
                    peer.send(&header)?;
                    if closes {
                        return Ok(());
                    }
                }
            });
        let mut client = stack.client();
        let (own, web) = (client.local_address(), stack.web());
        let expected = format!("PROXY TCP4 {} {} {} {}\r\n", own.ip(), web.ip(), own.port(), web.port());
        for _ in 0..5 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"));
            assert_eq!(client.response().text(), expected);
        }
        if closes {
            assert_eq!(server.connections(), 5);
        }
    }
}

#[test]
fn headers_go_through_a_chain_of_proxies() {
    needs!("haproxy");
    for (mode, version) in [("http", "v1"), ("http", "v2"), ("tcp", "v1"), ("tcp", "v2")] {
        let mut nginx = None;
        let stack = empty(mode, "accept_proxy: 127.0.0.0/8\n")
            .config(|config, addresses| {
                nginx = Some(Nginx::start_introduced(1, addresses.socket(101, 7081)));
                let next = addresses.socket(1, 7091);
                config.server("s1", format!("{{ address: \"{next}\", send_proxy: {version} }}"));
            })
            .start();
        let (web, next, option) = (stack.web(), stack.addresses.socket(1, 7091), haproxy_option(version));
        let last = nginx.as_ref().unwrap().address();
        let first = Haproxy::beside(&stack, mode, |bind| {
            format!(
                "listen first\n bind {bind}\n server lbd {web} {option}\n\
                 listen next\n bind {next} accept-proxy\n server s {last} {option}\n"
            )
        });
        for number in 0..4 {
            let mut client = Client::connect_from(stack.addresses.ip(30 + number), first.address());
            for _ in 0..3 {
                let answer = client.get("/proxy").text();
                let expected = told(&client, first.address());
                assert!(answer.starts_with(&expected), "{mode} {version}: {answer}\n{expected}");
            }
        }
    }
}

#[test]
fn headers_have_addresses_of_ipv6() {
    let free = || TcpListener::bind("[::1]:0").and_then(|listener| listener.local_addr());
    let (Ok(web), Ok(server)) = (free(), free()) else { skip!("there is no IPv6") };
    let _nginx = Nginx::start_introduced(1, server);
    for version in ["v1", "v2"] {
        let stack = empty("http", "accept_proxy: 127.0.0.1")
            .config(|config, addresses| {
                config.bind = web;
                config.server("s1", format!("{{ address: \"{server}\", send_proxy: {version} }}"));
                let more = addresses.socket(1, 7082);
                config.more_frontends =
                    format!("v4: {{ bind: \"{more}\", accept_proxy: 127.0.0.1, backend: app }}");
            })
            .start();
        let mut client = stack.client();
        let answer = client.get("/proxy").text();
        assert!(answer.starts_with(&told(&client, web)), "{version}: {answer}");
        // A client of IPv6 that came in by IPv4, and one of IPv4 that goes to a server of IPv6.
        let mut client = Client::connect(stack.addresses.socket(1, 7082));
        client.send("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
        assert!(client.get("/proxy").text().starts_with("from=2001:db8::1 1\nto=2001:db8::2 2\n"));
        let mut client = Client::connect(stack.addresses.socket(1, 7082));
        client.send(LINE);
        assert!(client.get("/proxy").text().starts_with("from=192.0.2.1 50000\nto=192.0.2.2 443\n"));
    }
}

#[test]
fn sessions_begin_with_a_header_whoever_speaks_first() {
    const LONG: usize = 5 << 20;
    let (stack, _server) =
        Stack::builder().frontend("mode: tcp").backend("mode: tcp\nsend_proxy: v1").start_before(|peer| {
            let header = peer.read_until(b"\r\n")?;
            peer.send(&header)?;
            let all = peer.read_all()?;
            peer.send(all)
        });
    let mut client = stack.client();
    let (own, web) = (client.local_address(), stack.web());
    let header = format!("PROXY TCP4 {} {} {} {}\r\n", own.ip(), web.ip(), own.port(), web.port());
    assert_eq!(client.take(header.len()).unwrap(), header.as_bytes());
    client.send(pattern(LONG, 1));
    client.finish_sending();
    assert!(client.try_rest().unwrap() == pattern(LONG, 1));
    wait_until("the header is no byte of the session", || {
        stack.stat("app", "raw").number("bin") == LONG as u64
    });
}

#[test]
fn each_attempt_has_a_header_of_its_own() {
    let (stack, _server) = Stack::builder()
        .backend("send_proxy: v1\nretry_budget: 100%")
        .config(|config, addresses| {
            config.lbd = "workers: 1".to_owned();
            config.server("nobody", addresses.socket(99, testkit::SERVER_PORT));
        })
        .start_before(|peer| {
            let header = peer.read_until(b"\r\n")?;
            peer.read_request()?;
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                header.len()
            ))?;
            peer.send(header)
        });
    for _ in 0..4 {
        let mut client = stack.client();
        let port = client.local_address().port();
        let told = client.get("/").text();
        assert!(told.starts_with("PROXY TCP4 ") && told.contains(&format!(" {port} ")), "{told}");
    }
    assert!(stack.stat("app", "BACKEND").number("wretr") > 0);
}

#[test]
fn checks_begin_with_a_header_where_requests_do() {
    let mut nginx = None;
    let stack = Stack::builder()
        .servers(0)
        .config(|config, addresses| {
            let address = addresses.socket(101, 7081);
            nginx = Some(Nginx::start_introduced(1, address));
            for version in ["v1", "v2", "off"] {
                config.server(version, format!("{{ address: \"{address}\", send_proxy: {version} }}"));
            }
            let servers = format!("servers: {{ s: {{ address: \"{address}\", send_proxy: v1 }} }}");
            let check = "interval: 200ms, timeout: 2s, fall: 3, rise: 2";
            for (name, own) in [
                ("never", "send_proxy: off"),
                ("elsewhere", "port: 7081"),
                ("always", "port: 7081, send_proxy: v2"),
            ] {
                config.more_backends += &format!("{name}: {{ {servers}, check: {{ {own}, {check} }} }}\n");
            }
        })
        .start();
    for (proxy, name, expected) in [
        ("app", "v1", "UP"),
        ("app", "v2", "UP"),
        ("app", "off", "DOWN"),
        ("never", "s", "DOWN"),
        ("elsewhere", "s", "DOWN"),
        ("always", "s", "UP"),
    ] {
        wait_until(&format!("{proxy}/{name} is {expected}"), || {
            let row = stack.stat(proxy, name);
            row.text("status") == expected && !row.text("check_status").is_empty()
        });
    }
    assert_eq!(get(stack.web(), "/proxy").status, 200);
}
