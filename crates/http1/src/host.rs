//! The grammar of a host and port, strict.

use std::net::Ipv6Addr;

use crate::bytes::is_host_text;

/// Whether `text` is a name, an IPv4 address or an IPv6 address in brackets, with an optional port (RFC 3986 section
/// 3.2.2).
///
/// Narrower than the RFC where no host needs it and servers disagree: no percent-encoding, no sub-delimiters (a comma
/// would be the trace of two Host fields joined), no empty labels, no IPvFuture; and it is not empty, which http URLs do
/// not allow (RFC 9110 section 4.2.1).
pub(crate) fn is_valid(text: &[u8]) -> bool {
    let (host_is_valid, rest) = if let Some(literal) = text.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|&byte| byte == b']') else { return false };
        let address = std::str::from_utf8(&literal[..end]);
        (address.is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok()), &literal[end + 1..])
    } else {
        let end = text.iter().position(|&byte| byte == b':').unwrap_or(text.len());
        (is_name(&text[..end]), &text[end..])
    };
    host_is_valid
        && match rest {
            [] => true,
            [b':', port @ ..] => is_port(port),
            _ => false,
        }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && is_host_text(name) && name[0] != b'.' && !name.windows(2).any(|pair| pair == b"..")
}

/// At most 65535; empty is the default port (RFC 3986 section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && port.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_ports_are_valid() {
        for host in [
            "a",
            "example.com",
            "EXAMPLE.com.",
            "a-b_c~d.e",
            "xn--bcher-kva.ch",
            "127.0.0.1",
            "127.0.0.1:80",
            "a:",
            "a:0",
            "a:65535",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::ffff:192.0.2.1]",
            "1",
        ] {
            assert!(is_valid(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for host in [
            "",
            ":80",
            ".",
            ".a",
            "a..b",
            "..",
            "a:65536",
            "a:000080",
            "a:8o",
            "a:80:80",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "a?b",
            "a\\b",
            "a%41",
            "[::1",
            "::1",
            "[::1]a",
            "[]",
            "[v1.a]",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "a\u{e9}",
            "a:+80",
            "a: 80",
            "<a>",
            "a;b",
            "http://a",
        ] {
            assert!(!is_valid(host.as_bytes()), "{host}");
        }
    }
}
