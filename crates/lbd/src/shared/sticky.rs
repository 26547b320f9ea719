//! The cookie by which clients stay with their server: read in requests and taken out, set in responses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use balance::{Belongs, STICKY_VALUE_MAX, Seconds, Sticky, StickyLimits, Written};
use config::SameSite;

/// The sticky cookie of a backend.
#[derive(Clone, Debug)]
pub struct StickyCookie {
    name: Box<[u8]>,
    values: Sticky,
    /// What follows the value, up to the end of the head.
    end: Box<[u8]>,
}

impl StickyCookie {
    /// The cookie of a backend with these servers, in their order.
    pub fn new<'n>(config: &config::Sticky, backend: &str, servers: impl Iterator<Item = &'n str>) -> Self {
        let key = config.key.as_ref().map_or(&b""[..], |key| key.expose().as_bytes());
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let limits = StickyLimits { idle: config.max_idle.map(seconds), life: config.max_life.map(seconds) };
        Self {
            name: config.cookie.as_bytes().into(),
            values: Sticky::new(key, backend, servers, limits),
            end: end(config).into_bytes().into(),
        }
    }

    /// What the cookies in a request's field lines say.
    pub fn read(&self, lines: &[u8], now: SystemTime) -> Belongs {
        self.values.read(http1::cookies(lines, &self.name), seconds(now))
    }

    /// Takes the cookie out of a request's head: it means nothing to the server.
    pub fn remove(&self, head: &mut Vec<u8>) {
        http1::remove_cookies(head, &self.name);
    }

    /// Sets the cookie in a response's head, which is whole, if the client has to be given one: the server at that place has
    /// answered. What the server itself sets under the name is taken out.
    pub fn set(
        &self,
        place: usize,
        belongs: Belongs,
        now: SystemTime,
        head: &mut Vec<u8>,
    ) -> Option<Written> {
        http1::remove_set_cookies(head, &self.name);
        let whole = head.len();
        head.reserve(64 + self.name.len() + STICKY_VALUE_MAX + self.end.len());
        // In place of the empty line, which comes again behind it.
        head.truncate(whole.saturating_sub(2));
        head.extend_from_slice(b"Set-Cookie: ");
        head.extend_from_slice(&self.name);
        head.push(b'=');
        let written = self.values.write(place, belongs, seconds(now), head);
        if written.is_some() {
            head.extend_from_slice(&self.end);
        } else {
            head.truncate(whole.saturating_sub(2));
            head.extend_from_slice(b"\r\n");
        }
        written
    }
}

/// The attributes, and what keeps caches that serve several people from giving one's cookie to all.
fn end(config: &config::Sticky) -> String {
    let mut end = format!("; Path={}", config.path);
    if let Some(domain) = &config.domain {
        end += &format!("; Domain={domain}");
    }
    if config.secure {
        end += "; Secure";
    }
    if config.http_only {
        end += "; HttpOnly";
    }
    end += match config.same_site {
        Some(SameSite::Strict) => "; SameSite=Strict",
        Some(SameSite::Lax) => "; SameSite=Lax",
        Some(SameSite::None) => "; SameSite=None",
        None => "",
    };
    end + "\r\nCache-Control: private\r\n\r\n"
}

fn seconds(time: SystemTime) -> Seconds {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Seconds(u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(lines: &str) -> StickyCookie {
        let text = format!(
            "frontends: {{ f: {{ bind: '127.0.0.1:80', backend: b }} }}\nbackends:\n  b:\n    servers: {{ s1: '127.0.0.1:81', s2: '127.0.0.1:82' }}\n    sticky: {{ cookie: SRV{lines} }}\n"
        );
        let config = config::parse("lb.yaml", &text).unwrap().config;
        let backend = &config.backends[0];
        let names = backend.servers.iter().map(|server| &*server.name);
        StickyCookie::new(backend.sticky.as_ref().unwrap(), &backend.name, names)
    }

    fn set(cookie: &StickyCookie, belongs: Belongs, head: &str) -> String {
        let mut head = head.as_bytes().to_vec();
        cookie.set(1, belongs, SystemTime::now(), &mut head);
        String::from_utf8(head).unwrap()
    }

    #[test]
    fn the_field_has_the_attributes_and_the_rest_of_the_head_stays() {
        for (lines, attributes) in [
            ("", "Path=/; HttpOnly"),
            (", http_only: off, path: /shop", "Path=/shop"),
            (", secure: on, same_site: none", "Path=/; Secure; HttpOnly; SameSite=None"),
            (", domain: .example.org, same_site: lax", "Path=/; Domain=example.org; HttpOnly; SameSite=Lax"),
        ] {
            let head = set(&cookie(lines), Belongs::Nowhere, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
            let rest = head.strip_prefix("HTTP/1.1 200 OK\r\nA: b\r\nSet-Cookie: SRV=").unwrap();
            let (value, rest) = rest.split_once("; ").unwrap();
            assert_eq!(rest, format!("{attributes}\r\nCache-Control: private\r\n\r\n"));
            assert_eq!(value.len(), 16, "{value}");
            assert!(!value.contains("s2"), "it tells nothing");
        }
    }

    #[test]
    fn who_has_the_right_one_is_given_none_and_the_servers_own_goes() {
        let cookie = cookie("");
        let given = set(&cookie, Belongs::Nowhere, "HTTP/1.1 200 OK\r\n\r\n");
        let (_, value) = given.split_once("SRV=").unwrap();
        let lines = format!("Cookie: a=b; SRV={}; c=d\r\n", &value[..16]);
        let belongs = cookie.read(lines.as_bytes(), SystemTime::now());
        let head = "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=x\r\nSet-Cookie: a=b\r\n\r\n";
        assert_eq!(set(&cookie, belongs, head), "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n\r\n");
        let mut request = format!("GET / HTTP/1.1\r\n{lines}\r\n").into_bytes();
        cookie.remove(&mut request);
        assert_eq!(request, b"GET / HTTP/1.1\r\nCookie: a=b; c=d\r\n\r\n");
    }
}
