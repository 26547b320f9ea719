//! What lbd itself answers.

use std::sync::Arc;

use config::Scheme;
use http1::RequestHead;

use crate::shared::access_log::Termination;

/// An answer of lbd's own that leaves the connection as it is.
#[derive(Debug)]
pub(crate) enum Own {
    Page(Page),
    Redirect(Redirect),
}

/// The same for everybody.
#[derive(Debug)]
pub(crate) struct Page {
    status: u16,
    /// Status line and fields, but for those about the connection.
    head: Vec<u8>,
    body: Arc<[u8]>,
    termination: Termination,
}

/// Sends the client elsewhere.
#[derive(Debug)]
pub(crate) struct Redirect {
    to: config::Redirect,
    /// The head up to the link.
    head: Vec<u8>,
}

impl Own {
    /// What a route answers.
    pub(crate) fn respond(answer: &config::Respond) -> Self {
        let config::Respond { status, content_type, page } = answer;
        let head = head(*status, page.content.len(), content_type, "");
        Self::Page(Page {
            status: *status,
            head,
            body: page.content.clone(),
            termination: Termination::LOCAL,
        })
    }

    /// What a route refuses.
    pub(crate) fn deny(status: u16, own: Option<&Arc<[u8]>>) -> Self {
        let body = own.cloned().unwrap_or_else(|| page(status).into_bytes().into());
        let head = head(status, body.len(), "text/html", NO_CACHE);
        Self::Page(Page { status, head, body, termination: Termination::REFUSED_REQUEST })
    }

    /// Where a route sends clients.
    pub(crate) fn redirect(to: &config::Redirect) -> Self {
        let more = match to.code {
            // Nobody keeps these unless told to (RFC 9110 15.4). HAProxy says it, too.
            302 | 303 | 307 => NO_CACHE,
            _ => "",
        };
        let mut head = head(to.code, 0, "", more);
        head.extend_from_slice(b"location: ");
        Self::Redirect(Redirect { to: to.clone(), head })
    }

    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Page(page) => page.status,
            Self::Redirect(redirect) => redirect.to.code,
        }
    }

    pub(crate) fn body(&self) -> &[u8] {
        match self {
            Self::Page(page) => &page.body,
            Self::Redirect(_) => b"",
        }
    }

    /// How the log says that it came to that.
    pub(crate) fn termination(&self) -> Termination {
        match self {
            Self::Page(page) => page.termination,
            Self::Redirect(_) => Termination::LOCAL,
        }
    }

    /// Appends the head, but for what it says about the connection. Not where the request lacks what a link needs.
    /// `bytes` is what the request's head was parsed from, which has come `by` this scheme.
    #[must_use]
    pub(crate) fn write_head(
        &self,
        request: &RequestHead,
        bytes: &[u8],
        by: Scheme,
        out: &mut Vec<u8>,
    ) -> bool {
        match self {
            Self::Page(page) => out.extend_from_slice(&page.head),
            Self::Redirect(redirect) => {
                out.extend_from_slice(&redirect.head);
                if !redirect.write_link(request, bytes, by, out) {
                    return false;
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        true
    }
}

impl Redirect {
    /// All that comes from the request was found to be visible ASCII: nothing ends the line.
    fn write_link(&self, request: &RequestHead, bytes: &[u8], by: Scheme, out: &mut Vec<u8>) -> bool {
        let config::Redirect { scheme, host, path, keeps_query, .. } = &self.to;
        let host = match (host, request.host) {
            (Some(host), _) => host.as_bytes(),
            (None, Some(host)) => match scheme {
                Some(scheme) if *scheme != by => without_port(host.of(bytes)),
                _ => host.of(bytes),
            },
            (None, None) => return false,
        };
        out.extend_from_slice(scheme.unwrap_or(by).word().as_bytes());
        out.extend_from_slice(b"://");
        out.extend_from_slice(host);
        match path {
            Some(path) => out.extend_from_slice(path.as_bytes()),
            // What is asked of the server as a whole has no path.
            None if request.path(bytes) == b"*" => out.push(b'/'),
            None => out.extend_from_slice(request.path(bytes)),
        }
        if let Some(query) = request.query(bytes).filter(|_| *keeps_query) {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        debug_assert!(!out.ends_with(b"\n"));
        true
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    let literal = host.iter().position(|&byte| byte == b']').unwrap_or(0);
    let colon = host[literal..].iter().position(|&byte| byte == b':');
    colon.map_or(host, |colon| &host[..literal + colon])
}

const NO_CACHE: &str = "cache-control: no-cache\r\n";

/// Status line and fields, but for those about the connection.
fn head(status: u16, length: usize, content_type: &str, more: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    // These have no length (RFC 9110 8.6).
    if !matches!(status, 204 | 304) {
        head += &format!("content-length: {length}\r\n");
    }
    head += more;
    if length > 0 {
        head += &format!("content-type: {content_type}\r\n");
    }
    head.into_bytes()
}

/// What a status is called; the others as clients have to take them, by their class (RFC 9110 15).
fn reason(status: u16) -> &'static str {
    match status {
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        200..=299 => "OK",
        300..=399 => "Multiple Choices",
        400..=499 => "Bad Request",
        _ => "Internal Server Error",
    }
}

/// What a person sees.
fn page(status: u16) -> String {
    let advice = match status {
        400 => "The request is malformed.",
        404 => "Nothing is served under this host or path.",
        408 => "The request did not arrive in time.",
        413 => "The request's body is longer than allowed.",
        414 => "The request line is longer than allowed.",
        417 => "The only expectation understood is 100-continue.",
        431 => "The request's head is larger than allowed.",
        500 => "The answer's head has become larger than allowed.",
        501 => "The request asks for something that is not supported.",
        502 => "The server gave an invalid or incomplete answer.",
        503 => "No server is available to handle this request.",
        504 => "The server did not answer in time.",
        505 => "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
        _ => "The request is refused.",
    };
    format!("<html><body><h1>{status} {}</h1>\n{advice}\n</body></html>\n", reason(status))
}

/// A complete response of lbd's own, after which the connection is closed, with a page of its own or this one.
pub(crate) fn response(status: u16, head_only: bool, own: Option<&[u8]>) -> Vec<u8> {
    let usual = page(status);
    let body = own.unwrap_or(usual.as_bytes());
    let mut response = head(status, body.len(), "text/html", NO_CACHE);
    response.extend_from_slice(b"connection: close\r\n\r\n");
    if !head_only {
        response.extend_from_slice(body);
    }
    response
}
