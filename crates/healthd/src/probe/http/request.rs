//! The request of a check: written once for a backend; only the Host may differ from server to server.

use config::HttpProbe;
use http::{HeaderName, HeaderValue};

use super::super::{BadCheck, Target};

/// What checks say of themselves and what they take, unless the configuration says something else.
const DEFAULTS: [(&str, &str); 2] =
    [("User-Agent", concat!("tandem-healthd/", env!("CARGO_PKG_VERSION"))), ("Accept", "*/*")];

/// A request in bytes.
#[derive(Debug)]
pub(super) struct Request {
    method: http1::Method,
    /// Up to the value of Host.
    start: String,
    /// None: the server's own.
    host: Option<String>,
    /// From the end of that value on.
    rest: String,
}

impl Request {
    /// Prepares a check's request.
    ///
    /// # Errors
    /// When a part of it would break the framing.
    pub(super) fn new(probe: &HttpProbe) -> Result<Self, BadCheck> {
        let method = &probe.method;
        http::Method::from_bytes(method.as_bytes())
            .map_err(|_| BadCheck(format!("`{method}` is not an HTTP method")))?;
        if !probe.path.starts_with('/') {
            return Err(BadCheck(format!("`{}` is not a path: it has to start with `/`", probe.path)));
        }
        if let Some(host) = &probe.host {
            check_field("Host", host)?;
        }
        let mut rest = String::from("\r\nConnection: close\r\n");
        for (name, value) in &probe.headers {
            check_field(name, value)?;
            rest.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in DEFAULTS {
            if !probe.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
                rest.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        rest.push_str("\r\n");
        let start = format!("{method} {} HTTP/1.1\r\nHost: ", encoded(&probe.path));
        Ok(Self {
            method: http1::Method::from_bytes(method.as_bytes()),
            start,
            host: probe.host.clone(),
            rest,
        })
    }

    /// Its method.
    pub(super) fn method(&self) -> http1::Method {
        self.method
    }

    /// The request to that server.
    pub(super) fn to(&self, target: &Target) -> Vec<u8> {
        let host = target.host.as_ref().or(self.host.as_ref()).unwrap_or(&target.authority);
        [self.start.as_str(), host, &self.rest].concat().into_bytes()
    }
}

fn check_field(name: &str, value: &str) -> Result<(), BadCheck> {
    match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        (Ok(_), Ok(_)) => Ok(()),
        _ => Err(BadCheck(format!("`{name}: {value}` is not an HTTP header field"))),
    }
}

/// A path and query as they may stand in a request (RFC 3986 section 3): lbd refuses others, and servers may.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use config::{ExpectedStatus, Host, ServerAddress, ServerCheck};

    use super::*;

    fn probe() -> HttpProbe {
        HttpProbe {
            method: "GET".into(),
            path: "/".into(),
            host: None,
            headers: Vec::new(),
            expect: ExpectedStatus(vec![200..=200]),
            body: None,
        }
    }

    fn text_of(probe: &HttpProbe, own: &ServerCheck) -> String {
        let server = ServerAddress { host: Host::Ip("2001:db8::1".parse().unwrap()), port: 80 };
        let target = Target::new(&server, Some(8080), own);
        String::from_utf8(Request::new(probe).unwrap().to(&target)).unwrap()
    }

    fn text(probe: &HttpProbe) -> String {
        text_of(probe, &ServerCheck::default())
    }

    #[test]
    fn only_the_host_is_the_servers() {
        let agent = concat!("User-Agent: tandem-healthd/", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            text(&probe()),
            format!(
                "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nConnection: close\r\n{agent}\r\nAccept: */*\r\n\r\n"
            )
        );
        let named = HttpProbe { host: Some("www.example.org".into()), ..probe() };
        assert!(text(&named).contains("\r\nHost: www.example.org\r\n"));
        let own = ServerCheck { port: Some(8081), host: Some("one.example.org".into()) };
        assert!(text_of(&named, &own).contains("\r\nHost: one.example.org\r\n"));
        let own = ServerCheck { host: None, ..own };
        assert!(text_of(&probe(), &own).contains("\r\nHost: [2001:db8::1]:8081\r\n"));
    }

    #[test]
    fn what_is_configured_stands_instead_of_the_defaults() {
        let headers = vec![("user-agent".into(), "a".into()), ("X".into(), "b c".into())];
        let text = text(&HttpProbe { headers, ..probe() });
        assert!(text.ends_with("\r\nuser-agent: a\r\nX: b c\r\nAccept: */*\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_path_is_sent_as_paths_are_written() {
        for (path, sent) in [("/a%20b?c=d&e", "/a%20b?c=d&e"), ("/{id}|\"x\"", "/%7Bid%7D%7C%22x%22")] {
            assert!(
                text(&HttpProbe { path: path.into(), ..probe() })
                    .starts_with(&format!("GET {sent} HTTP/1.1\r\n"))
            );
        }
    }
}
