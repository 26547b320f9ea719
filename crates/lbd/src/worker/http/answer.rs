//! What lbd itself answers.

use crate::shared::access_log::Termination;

/// An answer of lbd's own that leaves the connection as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Status line and fields, but for those about the connection.
    head: &'a [u8],
    pub(crate) body: &'a [u8],
    /// How the log says that it came to that.
    pub(crate) termination: Termination,
}

impl Answer<'_> {
    /// Appends the head, but for what it says about the connection.
    pub(crate) fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head);
    }
}

/// For a request that no route fits.
pub(crate) const NOT_FOUND: Answer<'static> = Answer {
    status: 404,
    head: b"HTTP/1.1 404 Not Found\r\ncontent-length: 93\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n",
    body: NOT_FOUND_BODY,
    termination: Termination::REFUSED_REQUEST,
};
const NOT_FOUND_BODY: &[u8] =
    b"<html><body><h1>404 Not Found</h1>\nNothing is served under this host or path.\n</body></html>\n";
const _: () = assert!(NOT_FOUND_BODY.len() == 93, "it is as long as it says");

/// A complete response of lbd's own, after which the connection is closed.
pub(crate) fn response(status: u16, head_only: bool) -> Vec<u8> {
    let (reason, advice) = match status {
        400 => ("Bad Request", "The request is malformed."),
        408 => ("Request Timeout", "The request did not arrive in time."),
        413 => ("Content Too Large", "The request's body is longer than allowed."),
        414 => ("URI Too Long", "The request line is longer than allowed."),
        417 => ("Expectation Failed", "The only expectation understood is 100-continue."),
        431 => ("Request Header Fields Too Large", "The request's head is larger than allowed."),
        501 => ("Not Implemented", "The request asks for something that is not supported."),
        502 => ("Bad Gateway", "The server gave an invalid or incomplete answer."),
        504 => ("Gateway Timeout", "The server did not answer in time."),
        505 => ("HTTP Version Not Supported", "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
        _ => ("Service Unavailable", "No server is available to handle this request."),
    };
    let body = format!("<html><body><h1>{status} {reason}</h1>\n{advice}\n</body></html>\n");
    let mut response = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-length: {}\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    if !head_only {
        response.push_str(&body);
    }
    response.into_bytes()
}
