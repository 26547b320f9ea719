//! A second reading of HTTP/1.1, by a parser that shares nothing with ours: httparse for heads, and above it the rules of
//! RFC 9112 where httparse is lenient. It takes only what every server would read the same way.

use std::fmt;

/// A request as it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`
    pub method: String,
    /// As it stands in the request line.
    pub target: String,
    /// The value of its one Host.
    pub host: String,
    /// Names in lower case, and values.
    pub fields: Fields,
    /// The content, without chunk framing.
    pub body: Vec<u8>,
    /// Whether its body has ended.
    pub complete: bool,
}

/// A response as it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub fields: Fields,
    /// The content, without chunk framing.
    pub body: Vec<u8>,
    /// Whether its body has ended.
    pub complete: bool,
}

type Fields = Vec<(String, Vec<u8>)>;

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The bytes end where a message ends.
    Clean,
    /// They end within a message.
    Incomplete,
    /// What follows is none, for this reason.
    Refused(&'static str),
    /// What follows the last message is another protocol.
    Switched,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads requests until the bytes end or are none. The last one may be incomplete.
pub fn requests(mut bytes: &[u8]) -> (Vec<Request>, End) {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let (mut request, framing, len) = match request_head(bytes) {
            Ok(head) => head,
            Err(end) => return (requests, end),
        };
        bytes = &bytes[len..];
        let taken = match body(framing, bytes, &mut request.body) {
            Ok(taken) => taken,
            Err(end) => {
                requests.push(request);
                return (requests, end);
            }
        };
        bytes = &bytes[taken..];
        request.complete = true;
        requests.push(request);
    }
    (requests, End::Clean)
}

/// Reads the responses to requests of these methods, until the bytes end with the connection or are none. The last one may
/// be incomplete.
pub fn responses(mut bytes: &[u8], methods: &[&str]) -> (Vec<Response>, End) {
    let mut methods = methods.iter();
    let mut responses = Vec::new();
    while !bytes.is_empty() {
        let (mut response, framing, len) = match response_head(bytes) {
            Ok(head) => head,
            Err(end) => return (responses, end),
        };
        bytes = &bytes[len..];
        let interim = response.status < 200 && response.status != 101;
        let method = if interim { Some(&"GET") } else { methods.next() };
        let Some(method) = method else { return (responses, End::Refused("nobody asked")) };
        if interim || response.status == 101 || matches!(response.status, 204 | 304) || *method == "HEAD" {
            let switched = response.status == 101;
            response.complete = true;
            responses.push(response);
            if switched {
                return (responses, End::Switched);
            }
            continue;
        }
        match body(framing, bytes, &mut response.body) {
            Ok(taken) => bytes = &bytes[taken..],
            Err(end) => {
                responses.push(response);
                return (responses, end);
            }
        }
        response.complete = true;
        responses.push(response);
    }
    (responses, End::Clean)
}

/// A request's head at the start of `bytes`, how its body is framed, and the length of the head.
fn request_head(bytes: &[u8]) -> Result<(Request, Framing, usize), End> {
    let head = lines(bytes)?;
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut headers);
    if parsed.parse(head) != Ok(httparse::Status::Complete(head.len())) {
        return Err(End::Refused("httparse"));
    }
    let fields = fields(parsed.headers);
    if parsed.version != Some(1) {
        return Err(End::Refused("another version"));
    }
    let hosts = values(&fields, "host");
    let [host] = hosts[..] else { return Err(End::Refused("not one Host")) };
    let host = String::from_utf8(host.to_vec()).map_err(|_| End::Refused("Host"))?;
    let target = parsed.path.unwrap_or_default().to_owned();
    if target.bytes().any(|byte| byte <= b' ' || byte >= 0x7f || byte == b'#') {
        return Err(End::Refused("target"));
    }
    spacing(head, &[b"host", b"content-length", b"transfer-encoding"])?;
    let framing = framing(&fields)?.unwrap_or(Framing::Length(0));
    let method = parsed.method.unwrap_or_default().to_owned();
    Ok((Request { method, target, host, fields, body: Vec::new(), complete: false }, framing, head.len()))
}

/// A response's head at the start of `bytes`, how its body is framed, and the length of the head.
fn response_head(bytes: &[u8]) -> Result<(Response, Framing, usize), End> {
    let head = lines(bytes)?;
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Response::new(&mut headers);
    if parsed.parse(head) != Ok(httparse::Status::Complete(head.len())) {
        return Err(End::Refused("httparse"));
    }
    if parsed.version != Some(1) {
        return Err(End::Refused("another version"));
    }
    let fields = fields(parsed.headers);
    spacing(head, &[b"content-length", b"transfer-encoding"])?;
    let framing = framing(&fields)?.unwrap_or(Framing::UntilClose);
    let status = parsed.code.unwrap_or_default();
    Ok((Response { status, fields, body: Vec::new(), complete: false }, framing, head.len()))
}

/// The head at the start of `bytes`: lines that end in CR LF, none of which is folded or holds a control character.
fn lines(bytes: &[u8]) -> Result<&[u8], End> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let end = rest.iter().position(|byte| byte.is_ascii_control() && *byte != b'\t');
        let line = match end.map(|end| (&rest[..end], &rest[end..])) {
            Some((line, [b'\r', b'\n', ..])) => line,
            None | Some((_, [b'\r'])) => return Err(End::Incomplete),
            Some(_) => return Err(End::Refused("a control character in a head")),
        };
        at += line.len() + 2;
        match line.first() {
            None if at == 2 => return Err(End::Refused("an empty line in front")),
            None => return Ok(&bytes[..at]),
            Some(b' ' | b'\t') => return Err(End::Refused("a folded line")),
            Some(_) => {}
        }
    }
}

fn fields(headers: &[httparse::Header<'_>]) -> Fields {
    headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec())).collect()
}

/// The values of all fields of that name, given in lower case.
pub fn values<'a>(fields: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_slice()).collect()
}

/// The fields that say where a message goes and ends, by their names, have one blank before their value, and none behind it.
fn spacing(head: &[u8], names: &[&[u8]]) -> Result<(), End> {
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if names.iter().any(|known| name.eq_ignore_ascii_case(known))
            && value.strip_prefix(b" ") != Some(value.trim_ascii())
        {
            return Err(End::Refused("white space around a value"));
        }
    }
    Ok(())
}

/// How the body is framed: by one number, or by `chunked`, and by nothing that only looks like them.
fn framing(fields: &Fields) -> Result<Option<Framing>, End> {
    match (&values(fields, "content-length")[..], &values(fields, "transfer-encoding")[..]) {
        ([], []) => Ok(None),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            length.map(|length| Some(Framing::Length(length))).ok_or(End::Refused("Content-Length"))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
        _ => Err(End::Refused("framing")),
    }
}

/// Reads a body into `content`, and returns how many bytes it took.
fn body(framing: Framing, bytes: &[u8], content: &mut Vec<u8>) -> Result<usize, End> {
    match framing {
        Framing::UntilClose => {
            content.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            content.extend_from_slice(&bytes[..length.min(bytes.len())]);
            if length > bytes.len() { Err(End::Incomplete) } else { Ok(length) }
        }
        Framing::Chunked => chunked(bytes, content),
    }
}

fn chunked(bytes: &[u8], content: &mut Vec<u8>) -> Result<usize, End> {
    let mut at = 0;
    loop {
        let line = line(&bytes[at..])?;
        if line.is_empty() || line.len() > 16 || !line.iter().all(u8::is_ascii_hexdigit) {
            return Err(End::Refused("a chunk size"));
        }
        at += line.len() + 2;
        let digits = std::str::from_utf8(line).unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).map_err(|_| End::Refused("a chunk size"))?;
        if size == 0 {
            break;
        }
        let rest = &bytes[at..];
        content.extend_from_slice(&rest[..size.min(rest.len())]);
        match rest.get(size..).unwrap_or_default() {
            [b'\r', b'\n', ..] => at += size + 2,
            [] | [b'\r'] => return Err(End::Incomplete),
            _ => return Err(End::Refused("a chunk's end")),
        }
    }
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        match line.iter().position(|byte| *byte == b':') {
            None if line.is_empty() => return Ok(at),
            Some(colon) if colon > 0 && line[..colon].iter().all(u8::is_ascii_graphic) => {}
            _ => return Err(End::Refused("a trailer")),
        }
    }
}

/// A line up to its CR LF, without other control characters than tabs.
fn line(bytes: &[u8]) -> Result<&[u8], End> {
    let Some(end) = bytes.iter().position(|byte| byte.is_ascii_control() && *byte != b'\t') else {
        return Err(End::Incomplete);
    };
    match bytes[end..] {
        [b'\r', b'\n', ..] => Ok(&bytes[..end]),
        [b'\r'] => Err(End::Incomplete),
        _ => Err(End::Refused("a control character in a line")),
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, target, host, body, complete, .. } = self;
        write!(f, "{method} {target} to {host} with {:?}", String::from_utf8_lossy(body))?;
        if *complete { Ok(()) } else { f.write_str(" and more") }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, body, complete, .. } = self;
        write!(f, "{status} with {:?}", String::from_utf8_lossy(body))?;
        if *complete { Ok(()) } else { f.write_str(" and more") }
    }
}
