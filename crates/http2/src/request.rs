//! A request's fields become the head of a request of HTTP/1.1.
//!
//! What HTTP/2 alone forbids is malformed here (RFC 9113 section 8.1.1). What HTTP itself has rules for is left to who reads the head.

use crate::hpack;

/// Reads requests, one after the other.
#[derive(Debug)]
pub(crate) struct Reader {
    /// The head so far, or what the pseudo-header fields say: it begins when all of those are there.
    text: Vec<u8>,
    /// `:method`, `:scheme`, `:path`, `:authority` and `:protocol`, one behind the other.
    pseudo: Vec<u8>,
    at: [Option<(usize, usize)>; 5],
    /// The request line has been written.
    begun: bool,
    cookies: Vec<u8>,
    trailers_wanted: bool,
    length: Option<u64>,
    malformed: bool,
    /// What its fields count together, and may count.
    size: usize,
    most: usize,
}

/// What a block of fields is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A request's head. How long its body is to be, if it says so.
    Head(Option<u64>),
    /// That of a request for a WebSocket.
    WebSocket,
    /// More than anybody may say.
    TooLarge,
    /// No HTTP/2, although each field can be read.
    Malformed,
}

const METHOD: usize = 0;
const SCHEME: usize = 1;
const PATH: usize = 2;
const AUTHORITY: usize = 3;
const PROTOCOL: usize = 4;
/// What is kept for the next request.
const KEPT: usize = 4096;

impl Reader {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            text: Vec::new(),
            pseudo: Vec::new(),
            at: [None; 5],
            begun: false,
            cookies: Vec::new(),
            trailers_wanted: false,
            length: None,
            malformed: false,
            size: 0,
            most,
        }
    }

    /// Forgets the last request.
    pub(crate) fn clear(&mut self) {
        let Self { text, pseudo, at, begun, cookies, trailers_wanted, length, malformed, size, most: _ } =
            self;
        for kept in [text, pseudo, cookies] {
            kept.clear();
            kept.shrink_to(KEPT);
        }
        (*at, *begun, *trailers_wanted, *length, *malformed, *size) =
            ([None; 5], false, false, None, false, 0);
    }

    /// The head that was read last.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Takes a field of a request.
    pub(crate) fn take(&mut self, name: &[u8], value: &[u8]) {
        self.size += hpack::size(name, value);
        if self.size > self.most || self.malformed {
            return;
        }
        match name {
            [b':', ..] => self.take_pseudo(name, value),
            _ => self.take_field(name, value),
        }
    }

    /// Takes a field of a trailer section (RFC 9113 section 8.1: "Trailers MUST NOT include pseudo-header fields").
    pub(crate) fn take_trailer(&mut self, name: &[u8], value: &[u8]) {
        self.size += hpack::size(name, value);
        if self.size > self.most || self.malformed {
            return;
        }
        self.malformed |= !is_name(name) || !is_value(value) || is_of_connection(name);
        self.push_field(name, value);
    }

    // RFC 9113 section 8.3: "All pseudo-header fields MUST appear in a field block before all regular field lines." […] "The same pseudo-header field name MUST NOT appear more than once in a field block."
    fn take_pseudo(&mut self, name: &[u8], value: &[u8]) {
        let which = match name {
            b":method" => METHOD,
            b":scheme" => SCHEME,
            b":path" => PATH,
            b":authority" => AUTHORITY,
            b":protocol" => PROTOCOL,
            // "Endpoints MUST treat a request or response that contains undefined or invalid pseudo-header fields as malformed."
            _ => return self.malformed = true,
        };
        self.malformed |= self.begun || self.at[which].is_some() || !value.iter().all(u8::is_ascii_graphic);
        let begin = self.pseudo.len();
        self.pseudo.extend_from_slice(value);
        self.at[which] = Some((begin, self.pseudo.len()));
    }

    fn pseudo(&self, which: usize) -> Option<&[u8]> {
        self.at[which].map(|(begin, end)| &self.pseudo[begin..end])
    }

    fn is_web_socket(&self) -> bool {
        self.pseudo(PROTOCOL).is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
    }

    /// Writes the request line, and the host.
    fn begin(&mut self) {
        self.begun = true;
        let mut text = std::mem::take(&mut self.text);
        let (method, scheme, path, authority) =
            (self.pseudo(METHOD), self.pseudo(SCHEME), self.pseudo(PATH), self.pseudo(AUTHORITY));
        let is_connect = method == Some(b"CONNECT");
        let protocol = self.pseudo(PROTOCOL);
        let is_web_socket = self.is_web_socket();
        // RFC 9113 section 8.3.1: "All HTTP/2 requests MUST include exactly one valid value for the ":method", ":scheme", and ":path" pseudo-header fields, unless they are CONNECT requests"
        let target = match (path, authority) {
            // RFC 8441 section 4: "On requests that contain the :protocol pseudo-header field, the :scheme and :path pseudo-header fields of the target URI MUST also be included."
            (Some([b'/', ..]), Some(_)) if is_connect && is_web_socket => path,
            // Another protocol is one that nobody here knows, as any host that somebody wants to be connected to.
            (Some(_), Some(authority)) if is_connect && protocol.is_some() => Some(authority),
            _ if protocol.is_some() => None,
            // Section 8.5: "The ":scheme" and ":path" pseudo-header fields MUST be omitted."
            (None, Some(authority)) if is_connect && scheme.is_none() => Some(authority),
            (Some([b'/', ..]), _) if !is_connect => path,
            (Some(b"*"), _) if method == Some(b"OPTIONS") => path,
            _ => None,
        };
        let known = is_connect && protocol.is_none()
            || scheme.is_some_and(|it| {
                [&b"http"[..], b"https"].iter().any(|known| it.eq_ignore_ascii_case(known))
            });
        if let (Some(method), Some(target), true) = (method.filter(|it| is_token(it)), target, known) {
            // RFC 8441 section 5: it is GET where HTTP/1.1 has an upgrade.
            let method = if is_web_socket { b"GET" } else { method };
            for part in [method, b" ", target, b" HTTP/1.1\r\n"] {
                text.extend_from_slice(part);
            }
            if let Some(authority) = authority {
                push_line(b"Host", authority, &mut text);
            }
        } else {
            self.malformed = true;
        }
        self.text = text;
    }

    fn take_field(&mut self, name: &[u8], value: &[u8]) {
        if !self.begun {
            self.begin();
        }
        if !is_name(name) || !is_value(value) {
            self.malformed = true;
            return;
        }
        match name {
            // RFC 9113 section 8.2.3: "If there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet string using the two-octet delimiter of 0x3b, 0x20"
            b"cookie" => {
                self.cookies.extend_from_slice(if self.cookies.is_empty() { b"" } else { b"; " });
                self.cookies.extend_from_slice(value);
            }
            // Section 8.2.2: "The only exception to this is the TE header field, which MAY be present in an HTTP/2 request; when it is, it MUST NOT contain any value other than "trailers"."
            b"te" if value.eq_ignore_ascii_case(b"trailers") => self.trailers_wanted = true,
            b"te" => self.malformed = true,
            // RFC 8441 section 5: `:protocol` has taken its place.
            b"sec-websocket-key" if self.is_web_socket() => {}
            // RFC 9113 section 8.3.1: "A server SHOULD treat a request as malformed if it contains a Host header field that identifies an entity that differs from the entity in the ":authority" pseudo-header field."
            b"host" => match self.pseudo(AUTHORITY) {
                Some(authority) => self.malformed |= !authority.eq_ignore_ascii_case(value),
                None => self.push_field(name, value),
            },
            b"content-length" => {
                let length = number(value);
                self.malformed |= length.is_none() || self.length.is_some_and(|said| Some(said) != length);
                self.length = length;
                self.push_field(name, value);
            }
            _ => {
                self.malformed |= is_of_connection(name);
                self.push_field(name, value);
            }
        }
    }

    fn push_field(&mut self, name: &[u8], value: &[u8]) {
        push_line(name, value, &mut self.text);
    }

    /// Ends the head: of a request without a body if it has ended.
    pub(crate) fn finish(&mut self, ended: bool) -> Read {
        if self.size > self.most {
            return Read::TooLarge;
        }
        if !self.begun {
            self.begin();
        }
        // RFC 9113 section 8.1.1: a length that is not that of the body is malformed.
        if self.malformed || ended && self.length.is_some_and(|length| length > 0) {
            return Read::Malformed;
        }
        if self.trailers_wanted {
            self.text.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
        }
        if !self.cookies.is_empty() {
            push_line(b"cookie", &self.cookies, &mut self.text);
        }
        if self.is_web_socket() {
            self.text.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            return if ended { Read::Malformed } else { Read::WebSocket };
        }
        let is_meant_to_have_content = matches!(self.pseudo(METHOD), Some(b"POST" | b"PUT" | b"PATCH"));
        self.text.extend_from_slice(match self.length {
            Some(_) => b"\r\n",
            // RFC 9110 section 8.6: a method that gives content a meaning has a Content-Length, be it 0. Some servers insist.
            None if ended && is_meant_to_have_content => b"Content-Length: 0\r\n\r\n",
            None if ended => b"\r\n",
            None => b"Transfer-Encoding: chunked\r\n\r\n",
        });
        Read::Head(self.length)
    }

    /// Ends a trailer section.
    pub(crate) fn finish_trailers(&mut self) -> Read {
        match self.malformed {
            _ if self.size > self.most => Read::TooLarge,
            true => Read::Malformed,
            false => Read::Head(None),
        }
    }
}

fn push_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

// RFC 9113 section 8.2.1: "A field name MUST NOT contain characters in the ranges 0x00-0x20, 0x41-0x5a, or 0x7f-0xff (all ranges inclusive)."
fn is_name(name: &[u8]) -> bool {
    is_token(name) && !name.iter().any(u8::is_ascii_uppercase)
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    const OTHERS: &[u8] = b"!#$%&'*+-.^_`|~";
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || OTHERS.contains(byte))
}

// RFC 9113 section 8.2.1: "A field value MUST NOT contain the zero value (ASCII NUL, 0x00), line feed (ASCII LF, 0x0a), or carriage return (ASCII CR, 0x0d) at any position. A field value MUST NOT start or end with an ASCII whitespace character"
fn is_value(value: &[u8]) -> bool {
    !matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
        && memchr::memchr3(0, b'\n', b'\r', value).is_none()
}

// RFC 9113 section 8.2.2: "Any message containing connection-specific header fields MUST be treated as malformed."
fn is_of_connection(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade")
}

fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, uri: (&str, &str), fields: &[(&str, &str)], ended: bool) -> Result<String, Read> {
        let (authority, path) = uri;
        let mut pseudo = vec![(":method", method)];
        if method != "CONNECT" {
            pseudo.extend([(":scheme", "http"), (":path", path)]);
        }
        if !authority.is_empty() {
            pseudo.push((":authority", authority));
        }
        read(&[&pseudo, fields].concat(), ended)
    }

    fn read(fields: &[(&str, &str)], ended: bool) -> Result<String, Read> {
        let mut reader = Reader::new(10_000);
        for (name, value) in fields {
            reader.take(name.as_bytes(), value.as_bytes());
        }
        match reader.finish(ended) {
            Read::Head(_) | Read::WebSocket => Ok(String::from_utf8(reader.text().to_vec()).unwrap()),
            other => Err(other),
        }
    }

    #[test]
    fn a_request_reads_as_one_of_http_1_1() {
        assert_eq!(
            head("GET", ("a.test:81", "/b?c=d"), &[("accept", "*/*"), ("x-a", "1"), ("x-a", "2")], true),
            Ok("GET /b?c=d HTTP/1.1\r\nHost: a.test:81\r\naccept: */*\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
                .to_owned())
        );
        // Without an authority there may be Host.
        assert_eq!(
            head("OPTIONS", ("", "*"), &[("host", "a")], true),
            Ok("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n".to_owned())
        );
        assert_eq!(
            head("CONNECT", ("a.test:443", ""), &[], true),
            Ok("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n".to_owned())
        );
    }

    #[test]
    fn the_end_of_a_body_is_told_by_its_length_or_by_chunks() {
        let line = |method, fields: &[_], ended| {
            let head = head(method, ("a", "/"), fields, ended).unwrap();
            head.strip_prefix(&format!("{method} / HTTP/1.1\r\nHost: a\r\n")).unwrap().to_owned()
        };
        assert_eq!(line("POST", &[("content-length", "5")], false), "content-length: 5\r\n\r\n");
        assert_eq!(line("POST", &[], false), "Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(line("GET", &[], false), "Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(line("GET", &[], true), "\r\n");
        for method in ["POST", "PUT", "PATCH"] {
            assert_eq!(line(method, &[], true), "Content-Length: 0\r\n\r\n");
        }
        assert_eq!(line("POST", &[("content-length", "0")], true), "content-length: 0\r\n\r\n");
    }

    #[test]
    fn crumbs_are_one_cookie_again() {
        let fields = [("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("te", "trailers")];
        assert_eq!(
            head("GET", ("a", "/"), &fields, true).unwrap(),
            "GET / HTTP/1.1\r\nHost: a\r\nx: y\r\nTE: trailers\r\nConnection: TE\r\ncookie: a=b; c=d\r\n\r\n"
        );
    }

    #[test]
    fn the_host_is_said_once_or_twice_the_same() {
        let said = head("GET", ("a.test", "/"), &[("host", "A.test")], true).unwrap();
        assert_eq!(said, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        for hosts in [&["b.test"][..], &["a.test", "b.test"]] {
            let fields: Vec<_> = hosts.iter().map(|&host| ("host", host)).collect();
            assert_eq!(head("GET", ("a.test", "/"), &fields, true), Err(Read::Malformed));
        }
    }

    // RFC 8441 section 5
    #[test]
    fn a_web_socket_is_an_upgrade() {
        let all = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", "/chat"),
            (":authority", "a"),
        ];
        let fields = [("sec-websocket-version", "13"), ("sec-websocket-key", "x"), ("origin", "b")];
        assert_eq!(
            read(&[&all[..], &fields].concat(), false).unwrap(),
            "GET /chat HTTP/1.1\r\nHost: a\r\nsec-websocket-version: 13\r\norigin: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        assert_eq!(read(&all, true), Err(Read::Malformed));
        for absent in [0, 2, 3, 4] {
            let some: Vec<_> = (0..5).filter(|&at| at != absent).map(|at| all[at]).collect();
            assert_eq!(read(&some, false), Err(Read::Malformed), "{some:?}");
        }
        let mut other = all;
        other[1].1 = "connect-udp";
        assert_eq!(read(&other, true).unwrap(), "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n");
        other[0].1 = "GET";
        assert_eq!(read(&other, true), Err(Read::Malformed));
    }

    #[test]
    fn what_only_http_2_forbids_is_malformed() {
        let fields = [
            ("x", " a"),
            ("x", "a "),
            ("x", "\ta"),
            ("x", "a\t"),
            ("x", "a\rb"),
            ("x", "a\nb"),
            ("x", "a\0b"),
            ("X", "a"),
            ("a b", "c"),
            ("", "a"),
            ("a:b", "c"),
            ("ä", "b"),
            (":late", "x"),
            (":path", "/"),
            ("connection", "close"),
            ("keep-alive", "5"),
            ("proxy-connection", "close"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("content-length", "x"),
            ("content-length", ""),
            ("content-length", "5"),
            ("content-length", "+0"),
            ("content-length", "99999999999999999999"),
        ];
        for field in fields {
            assert_eq!(
                head("GET", ("a", "/"), &[("fine", "a \t b"), field], true),
                Err(Read::Malformed),
                "{field:?}"
            );
        }
        assert_eq!(
            head("POST", ("a", "/"), &[("content-length", "5"), ("content-length", "6")], false),
            Err(Read::Malformed)
        );
        let all = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")];
        assert!(read(&all, true).is_ok());
        for absent in 0..3 {
            let some: Vec<_> = (0..4).filter(|&at| at != absent).map(|at| all[at]).collect();
            assert_eq!(read(&some, true), Err(Read::Malformed), "{some:?}");
        }
        for (at, wrong) in [
            (0, ""),
            (0, "G T"),
            (1, "ftp"),
            (1, ""),
            (2, ""),
            (2, "a"),
            (2, "*"),
            (2, "/ "),
            (2, "/\u{7f}"),
            (3, "a b"),
            (3, "a\r"),
        ] {
            let mut some = all;
            some[at].1 = wrong;
            assert_eq!(read(&some, true), Err(Read::Malformed), "{some:?}");
        }
        assert_eq!(read(&[&all[..], &[(":status", "200")]].concat(), true), Err(Read::Malformed));
        assert_eq!(
            read(&[(":method", "CONNECT"), (":path", "/"), (":authority", "a")], true),
            Err(Read::Malformed)
        );
    }

    #[test]
    fn nothing_of_a_request_stays_for_the_next() {
        let mut reader = Reader::new(200);
        let get = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            ("cookie", "a=b"),
            ("te", "trailers"),
            ("content-length", "0"),
        ];
        get.iter().for_each(|(name, value)| reader.take(name.as_bytes(), value.as_bytes()));
        assert_eq!(reader.finish(false), Read::TooLarge);
        reader.clear();
        for (name, value) in &get[..3] {
            reader.take(name.as_bytes(), value.as_bytes());
        }
        assert_eq!((reader.finish(true), reader.text()), (Read::Head(None), &b"GET / HTTP/1.1\r\n\r\n"[..]));
        reader.clear();
        reader.take_trailer(b"x", b"y");
        assert_eq!((reader.finish_trailers(), reader.text()), (Read::Head(None), &b"x: y\r\n"[..]));
        reader.take_trailer(b":path", b"/");
        assert_eq!(reader.finish_trailers(), Read::Malformed);
    }
}
