//! How an exchange can fail, and what that means for the client, the log and the counters.

use http1::{BodyFault, RequestFault, ResponseFault};

use crate::access_log::Termination;

/// Why an exchange did not end well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The request's head is refused.
    Request(RequestFault),
    /// The request's body is refused.
    RequestBody(BodyFault),
    /// The request's body is longer than allowed.
    RequestTooLong,
    /// The request's head did not arrive in time.
    RequestTimeout,
    /// The client closed before its request was complete.
    ClientClosed,
    /// The client stalled, or closed, during the transfer.
    ClientStalled,
    /// The client closed, or reset, the connection during the transfer.
    ClientReset,
    /// The client hung up while its request waited for something.
    ClientLeft(Wait),
    /// The request waited for too long for a place at a server, or too many waited already.
    Queue,
    /// No server is usable, or none is left to try.
    NoServer,
    /// This host lacks descriptors or memory for a connection to a server, or local ports for one to any of them.
    Shortage,
    /// Every attempt to connect failed.
    Connect,
    /// Connecting took too long.
    ConnectTimeout,
    /// The server closed before the response's first byte: it may never have seen the request.
    Unanswered,
    /// The server's good-bye to a connection that it took for idle: it has not read the request (RFC 9110 15.5.9).
    Dismissed,
    /// The server closed before its response's head was complete.
    ServerClosed,
    /// The response's head did not come in time.
    ServerTimeout,
    /// The response's head is refused.
    Response(ResponseFault),
    /// The server closed, or broke the framing, in the response's body.
    ServerBroke,
    /// The server stalled in the response's body.
    ServerStalled,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A place at a server.
    Queue,
    /// A connection to a server.
    Connection,
    /// The server's response.
    Response,
}

impl Failure {
    /// The status to answer with, as long as nothing has been sent to the client; none where nobody listens any more.
    pub(crate) fn status(self) -> Option<u16> {
        match self {
            Self::Request(fault) => Some(fault.status()),
            Self::RequestBody(_) => Some(400),
            Self::RequestTooLong => Some(413),
            Self::RequestTimeout | Self::ClientStalled => Some(408),
            Self::ClientClosed | Self::ClientReset | Self::ClientLeft(_) => None,
            Self::Queue | Self::NoServer | Self::Shortage | Self::Connect | Self::ConnectTimeout => Some(503),
            Self::Unanswered
            | Self::Dismissed
            | Self::ServerClosed
            | Self::Response(_)
            | Self::ServerBroke => Some(502),
            Self::ServerTimeout | Self::ServerStalled => Some(504),
        }
    }

    /// The letters for the log.
    pub(crate) fn termination(self) -> Termination {
        match self {
            Self::Request(_) | Self::RequestBody(_) | Self::RequestTooLong => Termination::REFUSED_REQUEST,
            Self::RequestTimeout => Termination::CLIENT_TIMEOUT_IN_REQUEST,
            Self::ClientClosed => Termination::CLIENT_IN_REQUEST,
            Self::ClientStalled => Termination::CLIENT_TIMEOUT_IN_DATA,
            Self::ClientReset => Termination::CLIENT_IN_DATA,
            Self::ClientLeft(Wait::Queue) => Termination::CLIENT_IN_QUEUE,
            Self::ClientLeft(Wait::Connection) => Termination::CLIENT_IN_CONNECT,
            Self::ClientLeft(Wait::Response) => Termination::CLIENT_IN_HEAD,
            Self::Queue => Termination::TIMEOUT_IN_QUEUE,
            Self::NoServer | Self::Connect => Termination::SERVER_IN_CONNECT,
            Self::Shortage => Termination::SHORTAGE_IN_CONNECT,
            Self::ConnectTimeout => Termination::SERVER_TIMEOUT_IN_CONNECT,
            Self::Unanswered | Self::Dismissed | Self::ServerClosed => Termination::SERVER_IN_HEAD,
            Self::ServerTimeout => Termination::SERVER_TIMEOUT_IN_HEAD,
            Self::Response(_) => Termination::REFUSED_RESPONSE,
            Self::ServerBroke => Termination::SERVER_IN_DATA,
            Self::ServerStalled => Termination::SERVER_TIMEOUT_IN_DATA,
        }
    }

    /// The reason to count a refused request under; none if it was not refused.
    pub(crate) fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Request(fault) => Some(fault.label()),
            Self::RequestBody(fault) => Some(fault.label()),
            Self::RequestTooLong => Some("body_too_long"),
            Self::RequestTimeout => Some("head_timeout"),
            _ => None,
        }
    }

    /// Whether the client did not wait for the end.
    pub(crate) fn is_clients(self) -> bool {
        matches!(self, Self::ClientClosed | Self::ClientReset | Self::ClientStalled | Self::ClientLeft(_))
    }

    /// Whether the server is to blame for a response that did not arrive as it should.
    pub(crate) fn is_bad_response(self) -> bool {
        matches!(
            self,
            Self::Unanswered
                | Self::Dismissed
                | Self::ServerClosed
                | Self::ServerTimeout
                | Self::Response(_)
                | Self::ServerBroke
                | Self::ServerStalled
        )
    }
}

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
