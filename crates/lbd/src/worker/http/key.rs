//! The part of a request that its server is chosen by.

use balance::Key;
use config::HashKey;
use http1::{RequestHead, cookies};

/// The key of a request. `bytes` is what its head was parsed from.
pub(crate) fn key(of: &HashKey, head: &RequestHead, bytes: &[u8]) -> Key {
    let lines = || head.field_lines(bytes);
    let part = match of {
        HashKey::Host => {
            let mut room = [0; route::HOST_MAX];
            let host = head.host.and_then(|host| route::canonical(host.of(bytes), &mut room));
            return host.map_or(Key::Missing, some);
        }
        HashKey::Path => Some(head.path(bytes)),
        HashKey::Query => head.query(bytes),
        HashKey::Header(name) => route::values(lines(), name.as_bytes()).next(),
        HashKey::Cookie(name) => cookies(lines(), name.as_bytes()).next(),
        HashKey::UrlParam(name) => head.query(bytes).and_then(|query| route::parameter(query, name)),
    };
    part.map_or(Key::Missing, some)
}

/// What is empty leads nowhere: all who leave it empty would be at one server.
fn some(part: &[u8]) -> Key {
    if part.is_empty() { Key::Missing } else { Key::of(part.iter().copied()) }
}

#[cfg(test)]
mod tests {
    use http1::{Limits, RequestParser};

    use super::*;

    fn of(part: &HashKey, request: &str) -> Key {
        let request = request.replace('\n', "\r\n");
        let mut parser = RequestParser::new(Limits { request_line: 1024, head: 4096, fields: 10 });
        key(part, &parser.parse(request.as_bytes()).unwrap().unwrap(), request.as_bytes())
    }

    #[test]
    fn each_part_is_found() {
        let request = "GET /a%20b?q=1&id=%41&id=2 HTTP/1.1\nHost: WWW.Example.org.:8080\nX-User:  alice \nx-user: bob\nCookie: a=1; S=\"x\"\n\n";
        let named = |name: &str| name.to_owned();
        for (part, expected) in [
            (HashKey::Host, "www.example.org"),
            (HashKey::Path, "/a%20b"),
            (HashKey::Query, "q=1&id=%41&id=2"),
            (HashKey::Header(named("x-User")), "alice"),
            (HashKey::Cookie(named("S")), "x"),
            (HashKey::UrlParam(named("id")), "%41"),
        ] {
            assert_eq!(of(&part, request), Key::of(expected.bytes()), "{part:?}");
        }
    }

    #[test]
    fn a_part_that_is_not_there_or_empty_is_missing() {
        let request = "GET /?id= HTTP/1.1\nHost: h\nX:\nCookie: S=; s=1\n\n";
        let named = |name: &str| name.to_owned();
        for part in [
            HashKey::Header(named("X")),
            HashKey::Header(named("Y")),
            HashKey::Cookie(named("S")),
            HashKey::Cookie(named("T")),
            HashKey::UrlParam(named("id")),
            HashKey::UrlParam(named("no")),
        ] {
            assert_eq!(of(&part, request), Key::Missing, "{part:?}");
        }
        assert_eq!(of(&HashKey::Host, "GET / HTTP/1.0\n\n"), Key::Missing);
        assert_eq!(of(&HashKey::Query, "GET / HTTP/1.1\nHost: h\n\n"), Key::Missing);
    }
}
