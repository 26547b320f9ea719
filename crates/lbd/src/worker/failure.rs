//! How an exchange can fail, and what that means for the client, the log and the counters.

use http1::{BodyFault, RequestFault, ResponseFault};

use super::deadline::Cut;
use super::handshake::HandshakeFault;
use crate::shared::access_log::Termination;

/// Why an exchange did not end well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The request's head is refused.
    Request(RequestFault),
    /// The request's path is one that servers understand in different ways, and its route or an edit depends on it.
    AmbiguousPath,
    /// Edits would make the request's head too long.
    EditedRequest,
    /// Edits would make the response's head too long.
    EditedResponse,
    /// No route fits a session, and there is no backend for all others.
    NoRoute,
    /// The connection does not begin with a PROXY header, as it has to.
    Proxy(proxy_protocol::Fault),
    /// It does not in time.
    ProxyTimeout,
    /// The TLS handshake failed.
    Handshake(HandshakeFault),
    /// It was not complete in time.
    HandshakeTimeout,
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
    /// The last one succeeded, but for TLS: the server cannot show who it is, or refuses lbd.
    ServerHandshake,
    /// It was not complete in time.
    ServerHandshakeTimeout,
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
    /// The server was found down, and its sessions are not to outlive that.
    ServerDown,
    /// The backup server is not needed any more, and its sessions are not to outlive that.
    BackupRelieved,
    /// An operator ended it; whether the server had begun to answer by then.
    Cut(bool),
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

/// Whose doing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// The client did not wait for the end.
    Client,
    /// The client sent what is refused, for this reason.
    Refused(&'static str),
    /// The server's response did not arrive as it should.
    Server,
    /// No server has the request.
    Nobody,
}

/// What a failure means: the status to answer with, the letters for the log, and whose doing it is.
type Meaning = (Option<u16>, Termination, Blame);

impl Failure {
    /// Why a connection failed that was ended before its time; and whether its response, or session, had begun by then.
    pub(crate) fn of_cut(cut: Cut, begun: bool) -> Self {
        match cut {
            Cut::Operator => Self::Cut(begun),
            Cut::ServerDown => Self::ServerDown,
            Cut::BackupRelieved => Self::BackupRelieved,
        }
    }

    fn meaning(self) -> Meaning {
        use Blame::{Client, Nobody, Refused, Server};
        type End = Termination;
        match self {
            Self::Request(fault) => (Some(fault.status()), End::REFUSED_REQUEST, Refused(fault.label())),
            Self::AmbiguousPath => (Some(400), End::REFUSED_REQUEST, Refused("ambiguous_path")),
            Self::EditedRequest => (Some(431), End::REFUSED_REQUEST, Refused("edited_head_too_large")),
            Self::EditedResponse => (Some(500), End::REFUSED_RESPONSE, Nobody),
            Self::NoRoute => (None, End::REFUSED_REQUEST, Refused("no_route")),
            Self::Proxy(fault) => (None, End::REFUSED_REQUEST, Refused(fault.label())),
            Self::ProxyTimeout => (None, End::CLIENT_TIMEOUT_IN_REQUEST, Refused("proxy_timeout")),
            Self::Handshake(fault) => (None, End::REFUSED_REQUEST, Refused(fault.label())),
            Self::HandshakeTimeout => (None, End::CLIENT_TIMEOUT_IN_REQUEST, Refused("tls_timeout")),
            Self::RequestBody(fault) => (Some(400), End::REFUSED_REQUEST, Refused(fault.label())),
            Self::RequestTooLong => (Some(413), End::REFUSED_REQUEST, Refused("body_too_long")),
            Self::RequestTimeout => (Some(408), End::CLIENT_TIMEOUT_IN_REQUEST, Refused("head_timeout")),
            Self::ClientClosed => (None, End::CLIENT_IN_REQUEST, Client),
            Self::ClientStalled => (Some(408), End::CLIENT_TIMEOUT_IN_DATA, Client),
            Self::ClientReset => (None, End::CLIENT_IN_DATA, Client),
            Self::ClientLeft(Wait::Queue) => (None, End::CLIENT_IN_QUEUE, Client),
            Self::ClientLeft(Wait::Connection) => (None, End::CLIENT_IN_CONNECT, Client),
            Self::ClientLeft(Wait::Response) => (None, End::CLIENT_IN_HEAD, Client),
            Self::Queue => (Some(503), End::TIMEOUT_IN_QUEUE, Nobody),
            Self::NoServer | Self::Connect | Self::ServerHandshake => {
                (Some(503), End::SERVER_IN_CONNECT, Nobody)
            }
            Self::Shortage => (Some(503), End::SHORTAGE_IN_CONNECT, Nobody),
            Self::ConnectTimeout | Self::ServerHandshakeTimeout => {
                (Some(503), End::SERVER_TIMEOUT_IN_CONNECT, Nobody)
            }
            Self::Unanswered | Self::Dismissed | Self::ServerClosed => {
                (Some(502), End::SERVER_IN_HEAD, Server)
            }
            Self::ServerTimeout => (Some(504), End::SERVER_TIMEOUT_IN_HEAD, Server),
            Self::Response(_) => (Some(502), End::REFUSED_RESPONSE, Server),
            Self::ServerBroke => (Some(502), End::SERVER_IN_DATA, Server),
            Self::ServerDown => (None, End::SERVER_DOWN, Nobody),
            Self::BackupRelieved => (None, End::BACKUP_RELIEVED, Nobody),
            Self::Cut(false) => (Some(503), End::KILLED_IN_HEAD, Nobody),
            Self::Cut(true) => (None, End::KILLED_IN_DATA, Nobody),
            Self::ServerStalled => (Some(504), End::SERVER_TIMEOUT_IN_DATA, Server),
        }
    }

    /// The status to answer with, as long as nothing has been sent to the client; none where nobody listens any more.
    pub(crate) fn status(self) -> Option<u16> {
        self.meaning().0
    }

    /// The letters for the log.
    pub(crate) fn termination(self) -> Termination {
        self.meaning().1
    }

    /// The reason to count a refused request under; none if it was not refused.
    pub(crate) fn refusal(self) -> Option<&'static str> {
        match self.meaning().2 {
            Blame::Refused(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether the client did not wait for the end.
    pub(crate) fn is_clients(self) -> bool {
        self.meaning().2 == Blame::Client
    }

    /// Whether the server is to blame for a response that did not arrive as it should.
    pub(crate) fn is_bad_response(self) -> bool {
        self.meaning().2 == Blame::Server
    }
}
