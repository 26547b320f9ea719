//! The HTTP check: one request on a connection of its own, decided by the status of the answer.
//!
//! An answer that lbd would not pass on, or not wholly, is no success whatever its status: see [`answer`].

mod answer;
mod request;

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::time::Duration;

use config::{ExpectedStatus, HttpProbe};
use health::CheckCode;
use http::StatusCode;
use socket2::{SockRef, Socket};
use tokio::io::Interest;
use tokio::time::{Instant, timeout_at};
use wire::readiness::register;

use self::answer::{Answer, Fault};
use self::request::Request;
use super::dial::Connected;
use super::failure::io_text;
use super::{BadCheck, Finding, Limits};

/// Room for a piece of a head, and for most answers as a whole. What is kept of one is bounded by the parsers' limits.
const ROOM: usize = 1024;
/// Room for a piece of a body that did not come with its head.
const BODY_ROOM: usize = 16 * 1024;

/// Runs the HTTP checks of a backend.
#[derive(Debug)]
pub(super) struct HttpProber {
    request: Request,
    expect: ExpectedStatus,
    limits: Limits,
}

impl HttpProber {
    pub(super) fn new(probe: &HttpProbe, limits: Limits) -> Result<Self, BadCheck> {
        Ok(Self { request: Request::new(probe)?, expect: probe.expect.clone(), limits })
    }

    pub(super) async fn probe(&self, configured: &str, address: SocketAddr, started: Instant) -> Finding {
        let request = self.request.to(configured);
        let connected = match super::connect(address, &request, self.limits, started).await {
            Ok(connected) => connected,
            Err(finding) => return finding,
        };
        match timeout_at(started + self.limits.whole, self.exchange(connected, &request)).await {
            Ok(Ok(status)) => self.judge(status),
            Ok(Err(Failure::Broken(error))) => Finding::new(CheckCode::L7Rsp, io_text(&error)),
            Ok(Err(Failure::Answer(fault))) => {
                Finding::new(CheckCode::L7Rsp, format!("no valid HTTP answer: {fault}"))
            }
            Err(_) => Finding::answer_timeout(self.limits),
        }
    }

    /// The status of the server's answer to a request, some of which has been sent.
    async fn exchange(&self, connected: Connected, request: &[u8]) -> Result<u16, Failure> {
        let Connected { mut socket, mut sent } = connected;
        if let Ok(first) = sent {
            let rest = request.get(first..).unwrap_or_default();
            (socket, sent) = send(socket, rest).await?;
        }
        // Only what is waited for: a socket that may also be written to would say so at once.
        let socket = register(socket.into(), Interest::READABLE)?;
        let mut answer = Answer::new(self.request.method(), &self.expect);
        let mut buffer = Vec::new();
        let (status, is_over) = loop {
            // While nothing has come, nothing is held for it.
            let mut ready = socket.readable().await?;
            let is_closed = ready.ready().is_read_closed();
            let held = buffer.len();
            buffer.resize(held + if answer.in_body() { BODY_ROOM } else { ROOM }, 0);
            let Ok(read) =
                ready.try_io(|socket| (&*SockRef::from(socket.get_ref())).read(buffer.split_at_mut(held).1))
            else {
                buffer.truncate(held);
                continue;
            };
            let read = read?;
            buffer.truncate(held + read);
            if read == 0 {
                // A server that does not read may have answered all the same: only without an answer does that matter.
                sent?;
                break (answer.ended()?, true);
            }
            if let Some(status) = answer.read(&mut buffer)? {
                break (status, is_closed);
            }
        };
        if is_over {
            // The server has ended its side and waits for nothing: a reset rids it of the connection at once, instead of after
            // an exchange of ends and a minute in TIME_WAIT. It does not matter if that cannot be.
            let _ = SockRef::from(socket.get_ref()).set_linger(Some(Duration::ZERO));
        }
        Ok(status)
    }

    fn judge(&self, status: u16) -> Finding {
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let words = match reason {
            Some(reason) => format!("{status} {reason}"),
            None => status.to_string(),
        };
        let finding = if self.expect.contains(status) {
            Finding::new(CheckCode::L7Ok, words)
        } else {
            Finding::new(CheckCode::L7Sts, format!("{words}, expected {}", expected(&self.expect)))
        };
        Finding { http_status: Some(status), ..finding }
    }
}

/// Sends the rest of a request. Whether it could be is not known to be a failure before the answer is.
async fn send(socket: Socket, mut rest: &[u8]) -> io::Result<(Socket, io::Result<usize>)> {
    if rest.is_empty() {
        return Ok((socket, Ok(0)));
    }
    let socket = register(socket.into(), Interest::WRITABLE)?;
    let sent = loop {
        match socket.async_io(Interest::WRITABLE, |socket| SockRef::from(socket).send(rest)).await {
            Ok(sent) if sent < rest.len() => rest = rest.get(sent..).unwrap_or_default(),
            sent => break sent,
        }
    };
    Ok((socket.into_inner().into(), sent))
}

/// Why there is no status.
enum Failure {
    Broken(io::Error),
    Answer(Fault),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Answer(fault)
    }
}

/// The expected statuses as they are written in the configuration.
fn expected(expect: &ExpectedStatus) -> String {
    let words: Vec<String> = expect
        .0
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (one, other) if one == other => one.to_string(),
            (first, last) => format!("{first}-{last}"),
        })
        .collect();
    words.join(" or ")
}
