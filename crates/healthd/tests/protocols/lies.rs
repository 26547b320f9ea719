//! Servers that lie: wrong lengths, halves of messages, and what never ends. Each costs a bound, and is named.

use config::Probe;
use health::CheckCode::{self, L7Rsp, L7Tout};
use health::dialogue::Step;
use testkit::{Addresses, RawServer};

use crate::check;

fn probes() -> [(&'static str, Probe); 5] {
    [
        ("mysql", Probe::Mysql { user: None }),
        ("postgres", Probe::Postgres { user: "check".into(), database: None }),
        ("redis", Probe::Redis { role: None }),
        ("smtp", Probe::Smtp { domain: "lb".into() }),
        ("steps", Probe::Steps(vec![Step::Send(b"hello".to_vec()), Step::Expect(b"world".to_vec())])),
    ]
}

/// What a check finds of a server that says this and then nothing more.
fn found(probe: &Probe, says: &'static [u8]) -> (CheckCode, String) {
    let addresses = Addresses::claim();
    let server = RawServer::start(addresses.socket(11, 1), move |peer| {
        peer.send(says)?;
        peer.stall()
    });
    let result = check(probe, server.address());
    (result.code, result.text)
}

#[test]
fn a_server_that_never_ends_costs_the_bound() {
    for (name, probe) in probes() {
        let addresses = Addresses::claim();
        // Whole lines and messages that are no answer, so that no protocol has a reason to stop but the bound.
        let endless: &'static [u8] = match name {
            "mysql" => b"\x00\x10\x00\x00\x0a",
            "postgres" => b"S\0\0\0\x08a\0b\0",
            "redis" => b"x",
            "smtp" => b"220-still\r\n",
            _ => b"w",
        };
        let server = RawServer::start(addresses.socket(11, 1), move |peer| {
            loop {
                peer.send(endless.repeat(500))?;
            }
        });
        let result = check(&probe, server.address());
        assert_eq!(result.code, L7Rsp, "{name}: {result:?}");
        if name != "mysql" {
            assert!(result.text.starts_with("more than 16 KiB, but not "), "{name}: {result:?}");
        }
    }
}

#[test]
fn a_server_that_says_nothing_costs_the_timeout() {
    for (name, probe) in probes() {
        let (code, text) = found(&probe, b"");
        assert_eq!(code, L7Tout, "{name}: {text}");
        assert!(text.starts_with("connected, but not ") && text.ends_with(" within 2 s"), "{name}: {text}");
    }
}

#[test]
fn halves_and_wrong_lengths() {
    let of = |wanted: &str| probes().into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    for (name, says, code, text) in [
        (
            "mysql",
            &b"\x4a\0\0\0\x0a10.11"[..],
            L7Tout,
            "not a MySQL greeting within 2 s, only \"J\\x00\\x00\\x00\\n10.11\"",
        ),
        ("mysql", b"\xff\xff\xff\0\x0a10.11", L7Rsp, "not a MySQL packet: \"\\xff\\xff\\xff\\x00\\n10.11\""),
        (
            "postgres",
            b"R\0\0\0\x08\0\0",
            L7Tout,
            "not an answer to the startup message within 2 s, only \"R\\x00",
        ),
        ("postgres", b"R\x7f\xff\xff\xff\0\0\0\0", L7Rsp, "not a PostgreSQL message: \"R\\x7f"),
        ("postgres", b"R\0\0\0\0", L7Rsp, "not a PostgreSQL message"),
        ("redis", b"+PO", L7Tout, "not PONG within 2 s, only \"+PO\""),
        ("redis", b"$1000000\r\n", L7Rsp, "expected PONG, got \"$1000000\""),
        ("smtp", b"220-\x1b[2J\r\n220", L7Tout, "not an SMTP greeting (220) within 2 s, only \"220\""),
        ("smtp", b"\x1b[2J\r\n", L7Rsp, "expected an SMTP greeting (220), got \"\\x1b[2J\""),
        ("steps", b"wor", L7Tout, "not \"world\" of step 2 within 2 s, only \"wor\""),
    ] {
        let (found_code, found_text) = found(&of(name), says);
        assert_eq!(found_code, code, "{name}: {found_text}");
        assert!(found_text.contains(text), "{name}: {found_text}");
    }
}
