//! The grammar of a host and port, strict.

use std::net::Ipv6Addr;

use crate::bytes::host_prefix;

/// Whether `text` is a name, an IPv4 address or an IPv6 address in brackets, with an optional port (RFC 3986 section
/// 3.2.2).
///
/// Narrower than the RFC where no host needs it and servers disagree: no empty labels, no IPvFuture, nothing
/// percent-encoded that would not be a part of a name if it were decoded; and it is not empty, which http URLs do not allow
/// (RFC 9110 section 4.2.1).
pub fn is_host(text: &[u8]) -> bool {
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
    !name.is_empty() && is_name_text(name) && name[0] != b'.' && !name.windows(2).any(|pair| pair == b"..")
}

/// Whether `text` is made of characters of a name, some of them percent-encoded. Dots are not: labels would depend on who
/// decodes.
fn is_name_text(mut text: &[u8]) -> bool {
    loop {
        text = &text[host_prefix(text)..];
        let [b'%', high, low, rest @ ..] = text else { return text.is_empty() };
        match hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low) {
            Some(byte) if byte != b'.' && (byte >= 0x80 || host_prefix(&[byte]) == 1) => text = rest,
            _ => return false,
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
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
            "a,b",
            "a;b",
            "!$&'()*+,;=",
            "a%41",
            "b%C3%BCcher.example:80",
            "b%c3%bccher.example",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
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
            "a/b",
            "a@b",
            "a?b",
            "a\\b",
            "a%",
            "a%4",
            "a%4g",
            "a%+1",
            "a%2Eb",
            "a%2e%2e",
            "a%2Fb",
            "a%3a80",
            "a%40b",
            "a%00",
            "a%0d%0ab",
            "a%20b",
            "a%2541",
            "a%7f",
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
            "http://a",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
