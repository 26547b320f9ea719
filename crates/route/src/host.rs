//! Hosts: exact, or all below a domain.

use std::fmt::{self, Write};
use std::net::Ipv6Addr;

use crate::PatternError;
use crate::hex::decoded;

/// The longest host that can be meant: a name of DNS has at most 253 characters.
pub const HOST_MAX: usize = 255;

/// A host, or all hosts below a domain: `www.example.org`, `*.example.org`, `192.0.2.1`, `[2001:db8::1]`. In lower case, and
/// without a port or a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Every host that ends with a dot and this: `*.example.org` is a.example.org and a.b.example.org, not example.org.
    Below(String),
}

impl HostPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What it is instead.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (below, name) = match text.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, text),
        };
        if name.contains('*') {
            return PatternError::because(
                "a \"*\" stands for whole labels at the start, as in \"*.example.org\"",
            );
        }
        if !name.is_ascii() {
            return PatternError::because("a host is written in ASCII: an international name as xn--...");
        }
        let prefix = if below { "*." } else { "" };
        if let Some(literal) = name.strip_prefix('[').filter(|_| !below) {
            let (address, rest) = literal.split_once(']').unwrap_or((literal, ""));
            return match address.parse::<Ipv6Addr>() {
                Ok(address) if rest.is_empty() && literal.ends_with(']') => {
                    Ok(Self::Exact(format!("[{address}]")))
                }
                Ok(address) => Err(PatternError::Meant(format!("[{address}]"))),
                Err(_) => PatternError::because("expected an IPv6 address in brackets"),
            };
        }
        if name.parse::<Ipv6Addr>().is_ok() {
            return Err(PatternError::Meant(format!("[{name}]")));
        }
        if let Some((host, _)) = name.split_once(':') {
            return Err(if is_name(host) {
                PatternError::Because(format!("a port makes no difference; did you mean \"{prefix}{host}\"?"))
            } else {
                PatternError::Because("expected a host such as www.example.org".to_owned())
            });
        }
        if let Some(host) = name.strip_suffix('.').filter(|host| is_name(host)) {
            return Err(PatternError::Meant(format!("{prefix}{host}")));
        }
        if !is_name(name) {
            return PatternError::because("expected a host such as www.example.org, or *.example.org");
        }
        let name = name.to_ascii_lowercase();
        Ok(if below { Self::Below(name) } else { Self::Exact(name) })
    }

    /// Whether it holds for a host as [`canonical`] has it.
    pub(crate) fn holds(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == host,
            Self::Below(domain) => is_below(host, domain.as_bytes()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// Whether a host ends with a dot and the domain, and something stands before it.
pub(crate) fn is_below(host: &[u8], domain: &[u8]) -> bool {
    host.strip_suffix(domain).and_then(|rest| rest.strip_suffix(b".")).is_some_and(|rest| !rest.is_empty())
}

fn is_name(name: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=253).contains(&name.len())
        && name.bytes().all(usual)
        && name.split('.').all(|label| !label.is_empty())
}

/// A host as it is compared: in lower case and decoded, without port and final dot; an IPv6 address in its one short form.
/// `None` where it is longer than any host can be.
pub fn canonical<'b>(host: &[u8], room: &'b mut [u8; HOST_MAX]) -> Option<&'b [u8]> {
    let mut text = Text { room, len: 0 };
    if let Some(literal) = host.strip_prefix(b"[") {
        let address =
            literal.split(|&byte| byte == b']').next().and_then(|address| std::str::from_utf8(address).ok());
        let address: Ipv6Addr = address?.parse().ok()?;
        write!(text, "[{address}]").ok()?;
    } else {
        let name = host.split(|&byte| byte == b':').next().unwrap_or_default();
        for byte in decoded(name) {
            text.push(byte.to_ascii_lowercase()).ok()?;
        }
        if text.len > 1 && text.room[text.len - 1] == b'.' {
            text.len -= 1;
        }
    }
    let Text { room, len } = text;
    Some(&room[..len])
}

/// Text in room that is given.
struct Text<'b> {
    room: &'b mut [u8; HOST_MAX],
    len: usize,
}

impl Text<'_> {
    fn push(&mut self, byte: u8) -> fmt::Result {
        *self.room.get_mut(self.len).ok_or(fmt::Error)? = byte;
        self.len += 1;
        Ok(())
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().try_for_each(|byte| self.push(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_form() {
        for (host, form) in [
            ("Example.ORG", "example.org"),
            ("example.org:8080", "example.org"),
            ("example.org.:80", "example.org"),
            ("ex%61mple.org", "example.org"),
            ("example.org:", "example.org"),
            ("[2001:DB8:0:0::1]:80", "[2001:db8::1]"),
            ("192.0.2.1:80", "192.0.2.1"),
        ] {
            let mut room = [0; HOST_MAX];
            assert_eq!(canonical(host.as_bytes(), &mut room), Some(form.as_bytes()), "{host}");
        }
        assert_eq!(canonical(&[b'a'; 256], &mut [0; HOST_MAX]), None);
    }

    #[test]
    fn a_star_stands_for_one_label_or_more() {
        let below = HostPattern::parse("*.Example.org").unwrap();
        assert_eq!(below.to_string(), "*.example.org");
        for (host, holds) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            (".example.org", false),
            ("aexample.org", false),
        ] {
            assert_eq!(below.holds(host.as_bytes()), holds, "{host}");
        }
    }

    #[test]
    fn mistakes_are_told_apart() {
        let wrong = |text| HostPattern::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("a.example:80"), "a port makes no difference; did you mean \"a.example\"?");
        assert_eq!(wrong("*.example:80"), "a port makes no difference; did you mean \"*.example\"?");
        assert_eq!(wrong("a.example."), "did you mean \"a.example\"?");
        assert_eq!(wrong("2001:db8::1"), "did you mean \"[2001:db8::1]\"?");
        assert_eq!(wrong("[2001:db8::1]:80"), "did you mean \"[2001:db8::1]\"?");
        for text in [
            "",
            "*",
            "*.",
            "a*.example",
            "www.*",
            "b\u{fc}cher.example",
            "a b",
            "a..b",
            "http://a",
            "a/b",
            "[a]",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }
}
