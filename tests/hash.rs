//! The same part of a request always at the same server, beside HAProxy with the same servers.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use testkit::{Client, Haproxy, Stack, needs, wait_until};

/// What is hashed, here and in HAProxy's words.
const PARTS: [(&str, &str); 6] = [
    ("host", "balance hdr(host)"),
    ("path", "balance uri"),
    ("query", "balance hash query"),
    ("{ header: X-User }", "balance hdr(X-User)"),
    ("{ cookie: SESSION }", "balance hash req.cook(SESSION)"),
    ("{ url_param: id }", "balance url_param id"),
];

/// Requests in which the part has a value of its own, and nothing else changes.
fn request(part: &str, value: usize) -> String {
    let (mut host, mut target, mut fields) = ("test".to_owned(), "/".to_owned(), String::new());
    match part {
        "host" => host = format!("h{value}.example.org"),
        "path" => target = format!("/{value}"),
        "query" => target = format!("/?{value}"),
        "{ header: X-User }" => fields = format!("X-User: user{value}\r\n"),
        "{ cookie: SESSION }" => fields = format!("Cookie: a=b; SESSION=s{value}; c=d\r\n"),
        _ => target = format!("/?a=b&id={value}&c=d"),
    }
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

/// Who answers each of forty values, twice each, from connections of their own.
fn servers(address: SocketAddr, part: &str) -> Vec<usize> {
    let ask = |value: usize| {
        let answers: BTreeSet<usize> = (0..2)
            .map(|_| {
                let mut client = Client::connect(address);
                client.send(request(part, value));
                let answer = client.response();
                answer.instance().unwrap_or_else(|| panic!("{part} {value}: {answer:?}"))
            })
            .collect();
        assert_eq!(answers.len(), 1, "{part} {value} is always at the same server");
        answers.into_iter().next().unwrap()
    };
    (0..40).map(ask).collect()
}

fn beside(stack: &Stack, balance: &str) -> Haproxy {
    let servers: String = (1..=3)
        .map(|number| {
            let server = stack.server_address(number);
            format!(" server s{number} {server} {}\n", Haproxy::CHECK)
        })
        .collect();
    Haproxy::beside(stack, "http", |address| {
        format!(
            "listen app\n bind {address}\n {balance}\n hash-type consistent\n option httpchk GET /health\n{servers}"
        )
    })
}

#[test]
fn a_part_leads_to_one_server_and_a_death_moves_only_what_was_its_as_with_haproxy() {
    needs!("haproxy");
    let mut stack = Stack::start();
    for (part, theirs) in PARTS {
        stack.config.backend = format!("balance: {{ hash: {part} }}");
        stack.reload();
        let haproxy = beside(&stack, theirs);
        let other = haproxy.address();
        let both = [stack.web(), other];
        let before = both.map(|address| servers(address, part));
        for map in &before {
            assert_eq!(map.iter().collect::<BTreeSet<_>>().len(), 3, "{part}: {map:?}");
        }
        stack.nginx[1].stop();
        stack.wait_for_status("s2", "DOWN");
        wait_until("haproxy has noticed, too", || {
            let answers = servers_or_none(other, part);
            answers.iter().all(|instance| matches!(instance, 1 | 3))
        });
        for (address, before) in both.into_iter().zip(&before) {
            let during = servers(address, part);
            for (value, (before, during)) in before.iter().zip(&during).enumerate() {
                assert!(before == during || *before == 2, "{part} {value}: from {before} to {during}");
            }
            assert!(!during.contains(&2));
        }
        stack.nginx[1].restart();
        stack.wait_for_status("s2", "UP");
        assert_eq!(servers(stack.web(), part), before[0], "{part}: what was its is back");
        wait_until("as with haproxy", || servers_or_none(other, part) == before[1]);
    }
}

/// The same where not every answer may be there yet.
fn servers_or_none(address: SocketAddr, part: &str) -> Vec<usize> {
    let ask = |value: usize| {
        let mut client = Client::connect(address);
        client.send(request(part, value));
        client.response().instance().unwrap_or_default()
    };
    (0..40).map(ask).collect()
}

#[test]
fn requests_without_the_part_go_to_everybody_as_with_haproxy() {
    needs!("haproxy");
    let stack = Stack::builder().backend("balance: { hash: { header: X-User } }").start();
    let haproxy = beside(&stack, "balance hdr(X-User)");
    let other = haproxy.address();
    for address in [stack.web(), other] {
        for fields in ["", "X-User:\r\n", "X-Users: a\r\n"] {
            let answers: BTreeSet<usize> = (0..30)
                .filter_map(|_| {
                    let mut client = Client::connect(address);
                    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
                    client.response().instance()
                })
                .collect();
            assert_eq!(answers, BTreeSet::from([1, 2, 3]), "{fields:?}");
        }
    }
}

#[test]
fn two_load_balancers_agree_and_a_restart_changes_nothing() {
    let config = "balance: { hash: path }";
    let mut one = Stack::builder().backend(config).unchecked().start();
    let before = servers(one.web(), "path");
    // The other node has the same servers under the same names, wherever they are.
    let two = Stack::builder().backend(config).unchecked().start();
    assert_eq!(servers(two.web(), "path"), before);
    one.lbd.stop();
    one.lbd.start();
    assert_eq!(servers(one.web(), "path"), before);
}

#[test]
fn a_path_that_everybody_asks_for_occupies_more_than_one_server_if_loads_are_bounded() {
    for (factor, is_bounded) in [("", false), (", factor: 150%", true)] {
        let stack = Stack::builder()
            .unchecked()
            .backend(&format!("balance: {{ hash: path{factor} }}"))
            .config(|config, _| config.lbd = "workers: 1".to_owned())
            .start();
        // Each is under way for as long as this test needs.
        for nginx in &stack.nginx {
            nginx.file("slow", 10 << 20);
        }
        let downloads: Vec<Client> = (0..9)
            .map(|_| {
                let mut client = stack.client();
                client.send("GET /slow/slow HTTP/1.1\r\nHost: test\r\n\r\n");
                assert_eq!(client.try_head().unwrap().status, 200);
                client
            })
            .collect();
        let mut loads: Vec<u64> =
            (1..=3).map(|number| stack.stat("app", &format!("s{number}")).number("scur")).collect();
        loads.sort_unstable();
        let used = loads.iter().filter(|load| **load > 0).count();
        assert_eq!(used > 1, is_bounded, "{loads:?}");
        // Never more than one and a half shares, rounded up: 150% of 9 / 3.
        assert!(!is_bounded || loads.iter().all(|load| *load <= 5), "{loads:?}");
        drop(downloads);
    }
}
