//! The HTTP check: one request on a connection of its own, decided by the status of the answer.
//!
//! An answer that lbd would not pass on, or not wholly, is no success whatever its status: see [`answer`].

mod answer;
mod request;

use std::io;
use std::net::SocketAddr;

use config::{ExpectedStatus, HttpProbe, ServerAddress};
use health::CheckCode;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use self::answer::{Answer, Fault};
use self::request::Request;
use super::failure::io_text;
use super::{BadCheck, Finding, Limits};

/// Room for a piece of a head, and for most answers as a whole. What is kept of one is bounded by the parsers' limits.
const ROOM: usize = 2048;
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

    pub(super) async fn probe(&self, configured: &ServerAddress, address: SocketAddr) -> Finding {
        let end = Instant::now() + self.limits.whole;
        let request = self.request.to(configured);
        let (stream, sent) = match super::connect(address, &request, self.limits).await {
            Ok(connected) => connected,
            Err(finding) => return finding,
        };
        match timeout_at(end, self.exchange(stream, &request, sent)).await {
            Ok(Ok(status)) => self.judge(status),
            Ok(Err(Failure::Broken(error))) => Finding::new(CheckCode::L7Rsp, io_text(&error)),
            Ok(Err(Failure::Answer(fault))) => {
                Finding::new(CheckCode::L7Rsp, format!("no valid HTTP answer: {fault}"))
            }
            Err(_) => Finding::answer_timeout(self.limits),
        }
    }

    /// The status of the server's answer to a request, some of which has been sent.
    async fn exchange(
        &self,
        mut stream: TcpStream,
        request: &[u8],
        sent: io::Result<usize>,
    ) -> Result<u16, Failure> {
        let sent = match sent {
            Ok(sent) if sent < request.len() => {
                stream.write_all(request.get(sent..).unwrap_or_default()).await
            }
            sent => sent.map(drop),
        };
        let mut answer = Answer::new(self.request.method(), &self.expect);
        let mut buffer = Vec::new();
        loop {
            // While nothing has come, nothing is held for it.
            stream.readable().await?;
            buffer.reserve(if answer.in_body() { BODY_ROOM } else { ROOM });
            if stream.read_buf(&mut buffer).await? == 0 {
                // A server that does not read may have answered all the same: only without an answer does that matter.
                sent?;
                return Ok(answer.ended()?);
            }
            if let Some(status) = answer.read(&mut buffer)? {
                return Ok(status);
            }
        }
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
