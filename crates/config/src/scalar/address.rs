//! Addresses with ports: where to listen, where a server is, where a name server is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Problem;
use crate::read::quoted;
use crate::{Host, ServerAddress};

/// `192.0.2.1:80` or `[2001:db8::1]:80`: an address of this machine, never a name.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, Problem> {
    if let Some((address, _)) = text.split_once(' ').filter(|(address, _)| listen_address(address).is_ok()) {
        return Problem::because(format!(
            "the address ends at the blank; what TLS needs is in a mapping: {{ address: {}, tls: {{ certificates: ... }} }}",
            quoted(address)
        ));
    }
    match split(text)? {
        (None, port) => Problem::because(missing_port_advice(text, port)),
        (Some("" | "*"), port) => {
            let port = self::port(port)?;
            Problem::because(format!(
                "for all IPv4 addresses write \"0.0.0.0:{port}\", for all IPv6 addresses \"[::]:{port}\""
            ))
        }
        (Some(name), port) if name.eq_ignore_ascii_case("localhost") => {
            Problem::meant(format_args!("127.0.0.1:{port}"))
        }
        (Some(host), port) => match host_of(host)? {
            Host::Ip(ip) => Ok(SocketAddr::new(ip, self::port(port)?)),
            Host::Name(_) => Problem::because("listening needs an IP address, not a name"),
        },
    }
}

/// `nginx1:80`, `192.0.2.1:80` or `[2001:db8::1]:80`.
pub(crate) fn server_address(text: &str) -> Result<ServerAddress, Problem> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or(rest);
        let port = match split(host) {
            Ok((None, _)) if scheme == "https" => ":443",
            Ok((None, _)) => ":80",
            _ => "",
        };
        return Problem::meant(format_args!("{host}{port}"));
    }
    if let Some((address, _)) = text.split_once(' ').filter(|(address, _)| server_address(address).is_ok()) {
        return Problem::because(format!(
            "the address ends at the blank; options are keys of a mapping: {{ address: {}, ... }}",
            quoted(address)
        ));
    }
    match split(text)? {
        (None, only) => Problem::because(missing_port_advice(text, only)),
        (Some(""), _) => Problem::because("the host is missing before the \":\""),
        (Some(host), port) => {
            let host = host_of(host)?;
            if matches!(host, Host::Ip(ip) if ip.is_unspecified() || ip.is_multicast()) {
                return Problem::because("no single server can have this address");
            }
            Ok(ServerAddress { host, port: self::port(port)? })
        }
    }
}

/// The name of a host, without a port.
pub(crate) fn host_name(text: &str) -> Result<String, Problem> {
    match host_of(text)? {
        Host::Name(name) => Ok(name),
        Host::Ip(_) => Problem::because("an address is no name"),
    }
}

/// `192.0.2.53`, `2001:db8::53`, or either with a port, as in `192.0.2.53:5353`.
pub(crate) fn name_server(text: &str) -> Result<SocketAddr, Problem> {
    const DNS: u16 = 53;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, DNS));
    }
    match split(text)? {
        (Some(host), port) => match host_of(host)? {
            Host::Ip(ip) => Ok(SocketAddr::new(ip, self::port(port)?)),
            Host::Name(_) => Problem::because("a name server is given by its IP address, not by name"),
        },
        (None, _) => Err(Problem::Unexpected),
    }
}

/// The host and the port of a text; no host, if there is only one of the two.
fn split(text: &str) -> Result<(Option<&str>, &str), Problem> {
    if text.parse::<Ipv6Addr>().is_ok() {
        let with_port = text
            .rsplit_once(':')
            .filter(|(ip, port)| ip.parse::<Ipv6Addr>().is_ok() && self::port(port).is_ok());
        let (ip, port) = with_port.unwrap_or((text, "80"));
        return Problem::because(format!(
            "an IPv6 address goes into brackets: did you mean \"[{ip}]:{port}\"?"
        ));
    }
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, port)) if port.starts_with(':') => Ok((Some(host), port.trim_start_matches(':'))),
            Some((_, "")) => Ok((None, text)),
            _ => Err(Problem::Unexpected),
        };
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Err(Problem::Unexpected),
        Some((host, port)) => Ok((Some(host), port)),
        None => Ok((None, text)),
    }
}

fn missing_port_advice(text: &str, only: &str) -> String {
    if !only.is_empty() && only.bytes().all(|byte| byte.is_ascii_digit()) {
        "the address is missing before the port".to_owned()
    } else {
        format!("the port is missing: did you mean {}?", quoted(&format!("{text}:80")))
    }
}

fn port(text: &str) -> Result<u16, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(1..) if digits && text.starts_with('0') => {
            Problem::because("a port is a number without leading zeros")
        }
        Ok(port @ 1..) if digits => Ok(port),
        _ => Problem::because("a port is a number from 1 to 65535"),
    }
}

/// An IP address, or a name that DNS can have: RFC 1123 2.1, and `_`, which container engines allow.
fn host_of(text: &str) -> Result<Host, Problem> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Host::Ip(ip));
    }
    if text.contains(':') {
        return Problem::because("this is not an IPv6 address");
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let labels_fit = name.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(usual));
    if !labels_fit || name.len() > 253 {
        return Problem::because("this is neither an IP address nor a host name");
    }
    // No top-level domain is all digits, so this was meant as an address.
    if name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
        let hint = if name.parse::<Ipv4Addr>().is_err() {
            ": four numbers from 0 to 255, without leading zeros"
        } else {
            ""
        };
        return Problem::because(format!("this is not an IPv4 address{hint}"));
    }
    Ok(Host::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        match result {
            Err(Problem::Because(reason)) => reason,
            Err(Problem::Unexpected) => "unexpected".to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for text in
            ["127.0.0.1:80", "[::1]:8080", "[::ffff:192.0.2.1]:65535", "nginx1:80", "a_b.example.org.:1"]
        {
            assert_eq!(server_address(text).unwrap().to_string(), text);
        }
        for text in ["0.0.0.0:80", "[::]:80"] {
            assert_eq!(listen_address(text).unwrap().to_string(), text);
        }
        assert_eq!(name_server("127.0.0.11").unwrap().to_string(), "127.0.0.11:53");
        assert_eq!(name_server("::1").unwrap().to_string(), "[::1]:53");
        assert_eq!(name_server("[::1]:5353").unwrap().to_string(), "[::1]:5353");
    }

    #[test]
    fn wrong_servers_are_explained() {
        for (text, advice) in [
            ("nginx1", "the port is missing: did you mean \"nginx1:80\"?"),
            ("[::1]", "the port is missing: did you mean \"[::1]:80\"?"),
            ("80", "the address is missing before the port"),
            (":80", "the host is missing before the \":\""),
            ("::1", "an IPv6 address goes into brackets: did you mean \"[::1]:80\"?"),
            ("fe80::1:8080", "an IPv6 address goes into brackets: did you mean \"[fe80::1]:8080\"?"),
            ("http://nginx1/", "did you mean \"nginx1:80\"?"),
            ("http://nginx1:8080/x", "did you mean \"nginx1:8080\"?"),
            ("nginx1:0", "a port is a number from 1 to 65535"),
            ("nginx1:+80", "a port is a number from 1 to 65535"),
            ("nginx1:080", "a port is a number without leading zeros"),
            ("nginx1:65536", "a port is a number from 1 to 65535"),
            (
                "10.0.0.256:80",
                "this is not an IPv4 address: four numbers from 0 to 255, without leading zeros",
            ),
            ("[fe80::1%eth0]:80", "this is not an IPv6 address"),
            ("ngi nx:80", "this is neither an IP address nor a host name"),
            (
                "nginx1:80 check inter 2s",
                "the address ends at the blank; options are keys of a mapping: { address: \"nginx1:80\", ... }",
            ),
            ("nginx..org:80", "this is neither an IP address nor a host name"),
            ("0.0.0.0:80", "no single server can have this address"),
            ("[::1]80", "unexpected"),
            ("a:b:80", "unexpected"),
        ] {
            assert_eq!(reason(server_address(text)), advice, "{text}");
        }
    }

    #[test]
    fn wrong_listeners_are_explained() {
        let all = "for all IPv4 addresses write \"0.0.0.0:80\", for all IPv6 addresses \"[::]:80\"";
        for (text, advice) in [
            ("*:80", all),
            (":80", all),
            ("localhost:80", "did you mean \"127.0.0.1:80\"?"),
            ("lb1:80", "listening needs an IP address, not a name"),
            ("8080", "the address is missing before the port"),
            ("0.0.0.0", "the port is missing: did you mean \"0.0.0.0:80\"?"),
            ("127.0.0.1:http", "a port is a number from 1 to 65535"),
            (
                "0.0.0.0:443 ssl crt /etc/certs",
                "the address ends at the blank; what TLS needs is in a mapping: { address: \"0.0.0.0:443\", tls: { certificates: ... } }",
            ),
        ] {
            assert_eq!(reason(listen_address(text)), advice, "{text}");
        }
        assert_eq!(reason(name_server("dns:53")), "a name server is given by its IP address, not by name");
        assert_eq!(reason(name_server("dns")), "unexpected");
    }
}
