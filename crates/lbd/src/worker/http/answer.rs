//! What lbd itself answers.

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
