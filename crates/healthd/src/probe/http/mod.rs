//! The HTTP check: one request on a connection of its own, decided by the status of the answer, and perhaps by its body.
//!
//! An answer that lbd would not pass on, or not wholly, is no success whatever its status: see [`answer`].

mod answer;
mod request;

use config::{ExpectedBody, ExpectedStatus, HttpProbe};
use health::CheckCode;
use health::dialogue::{Dialogue, Verdict, shown};
use http::StatusCode;

use self::answer::{Answer, Fault, Outcome};
use self::request::Request;
use super::{BadCheck, Target};

/// Room for a piece of a head, and for most answers as a whole. What is kept of one is bounded by the parsers' limits.
const ROOM: usize = 1024;
/// Room for a piece of a body that did not come with its head.
const BODY_ROOM: usize = 16 * 1024;

/// The HTTP checks of a backend.
#[derive(Debug)]
pub(super) struct HttpCheck {
    request: Request,
    probe: HttpProbe,
}

impl HttpCheck {
    pub(super) fn new(probe: &HttpProbe) -> Result<Self, BadCheck> {
        Ok(Self { request: Request::new(probe)?, probe: probe.clone() })
    }

    /// A check of one server.
    pub(super) fn dialogue<'a>(&'a self, target: &'a Target) -> HttpDialogue<'a> {
        let answer = Answer::new(self.request.method(), &self.probe);
        HttpDialogue { check: self, target, answer }
    }

    fn judge(&self, Outcome { status, body }: Outcome) -> Verdict {
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let words = match reason {
            Some(reason) => format!("{status} {reason}"),
            None => status.to_string(),
        };
        let verdict = if !self.probe.expect.contains(status) {
            Verdict::refused(format!("{words}, expected {}", expected(&self.probe.expect)))
        } else if let (Some(wanted), false) = (&self.probe.body, body) {
            Verdict::invalid(format!("{words}, but its body has not {}", in_words(wanted)))
        } else {
            Verdict::new(CheckCode::L7Ok, words)
        };
        Verdict { http_status: Some(status), ..verdict }
    }
}

/// One request and its answer.
pub(super) struct HttpDialogue<'a> {
    check: &'a HttpCheck,
    target: &'a Target,
    answer: Answer<'a>,
}

impl HttpDialogue<'_> {
    fn verdict(&self, outcome: Result<Outcome, Fault>) -> Verdict {
        match outcome {
            Ok(outcome) => self.check.judge(outcome),
            Err(fault) => Verdict::invalid(format!("no valid HTTP answer: {fault}")),
        }
    }
}

impl Dialogue for HttpDialogue<'_> {
    fn opening(&mut self) -> Vec<u8> {
        self.check.request.to(self.target)
    }

    fn hear(&mut self, heard: &mut Vec<u8>, _: &mut Vec<u8>) -> Option<Verdict> {
        let outcome = self.answer.read(heard).transpose()?;
        Some(self.verdict(outcome))
    }

    fn awaited(&self) -> String {
        "a whole answer".to_owned()
    }

    fn ended(&mut self, _: &[u8]) -> Verdict {
        let outcome = self.answer.ended();
        self.verdict(outcome)
    }

    fn late(&self, _: &[u8], patience: &str) -> String {
        format!("connected, but no answer within {patience}")
    }

    /// Heads and bodies have bounds of their own.
    fn most(&self) -> u64 {
        u64::MAX
    }

    fn room(&self) -> usize {
        if self.answer.in_body() { BODY_ROOM } else { ROOM }
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

fn in_words(wanted: &ExpectedBody) -> String {
    match wanted {
        ExpectedBody::Contains(text) => shown(text.as_bytes()),
        ExpectedBody::Matches(pattern) => format!("a match of {}", shown(pattern.as_str().as_bytes())),
    }
}
