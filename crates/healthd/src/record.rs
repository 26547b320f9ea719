//! What is held of one server: its verdict, its last check, and what was counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use balance::AdminState;
use health::{CheckCode, CheckResult, Checker, Moment, Status, Transition};
use tokio::time::Instant;
use wire::{LastCheck, Verdict};

use crate::view::ServerSeen;

/// A server's backend and name.
pub type ServerKey = (Arc<str>, Arc<str>);

/// Tells moments, which is what the pure engine counts in.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// The moment of the start.
    first: Moment,
}

impl Clock {
    /// Starts at a moment: what was before it can be told as far back as zero.
    pub fn start_at(first: Moment) -> Self {
        Self { start: Instant::now(), first }
    }

    /// Now.
    pub fn now(self) -> Moment {
        self.first.saturating_add(self.start.elapsed())
    }

    /// The runtime's instant of a moment. One before the start is as good as the start.
    pub fn instant(self, moment: Moment) -> Instant {
        let later = moment.saturating_sub(self.first);
        // A moment too far away to be an instant is as good as one far away.
        self.start.checked_add(later).unwrap_or_else(|| self.start + Duration::from_secs(86_400 * 365))
    }
}

/// Everything held of one server.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which server.
    pub key: ServerKey,
    /// Where the configuration says that it listens.
    pub configured: Arc<str>,
    /// Where it listens, as far as its name resolves.
    pub address: Option<SocketAddr>,
    /// Why there is no address, or why the one given is the last known.
    pub resolve_error: Option<Arc<str>>,
    /// Its checks; none if the configuration wants none.
    pub checker: Option<Checker>,
    /// Since when it is in the configuration, or unchecked.
    pub since: Moment,
    /// What was found out about it, if it is not in the configuration.
    pub member: Option<Arc<wire::Member>>,
    /// Until when its certificate is valid, as the last check that saw it found, in seconds since 1970.
    pub certificate: Option<i64>,
    last: Option<Ended>,
    /// How often checks ended with each code, in the order of [`CheckCode::ALL`].
    counts: [u64; CheckCode::ALL.len()],
    ups: u64,
}

/// A check that has ended.
#[derive(Clone, Debug)]
struct Ended {
    result: Arc<CheckResult>,
    at: Moment,
}

impl Record {
    /// A server of which nothing is known.
    pub fn new(key: ServerKey, since: Moment) -> Self {
        Self {
            key,
            configured: Arc::from(""),
            address: None,
            resolve_error: None,
            checker: None,
            since,
            member: None,
            certificate: None,
            last: None,
            counts: [0; CheckCode::ALL.len()],
            ups: 0,
        }
    }

    /// Takes it over from an earlier healthd since when the server has had a status.
    pub fn remember(&mut self, status: Status, since: Moment) {
        match &mut self.checker {
            Some(checker) => checker.remember(status, since),
            None if status == Status::Unchecked => self.since = since,
            None => {}
        }
    }

    /// Its status and since when it holds; before its first check, what was taken over.
    pub fn standing(&self) -> (Status, Moment) {
        self.checker.as_ref().map_or((Status::Unchecked, self.since), Checker::standing)
    }

    /// Up, down, not known, or not checked.
    pub fn status(&self) -> Status {
        self.checker.as_ref().map_or(Status::Unchecked, Checker::status)
    }

    /// Whether another record of the server says the same of it, counts and ages aside.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said =
            |record: &Self| record.last.as_ref().map(|last| (last.result.code, last.result.http_status));
        (self.status(), self.address, said(self)) == (other.status(), other.address, said(other))
            && self.resolve_error == other.resolve_error
            && self.member == other.member
    }

    /// Takes the result of a check of `now - result.duration`.
    pub fn checked(&mut self, result: CheckResult, now: Moment) -> Option<Transition> {
        let checker = self.checker.as_mut()?;
        // The engine is told of a check only when it has ended, so that one that is given up never happened.
        checker.started(now.saturating_sub(result.duration));
        let transition = checker.handle(&result, now);
        if transition.is_some_and(|transition| transition.to == Status::Up) {
            self.ups += 1;
        }
        self.noted(result, now);
        transition
    }

    /// Takes it that the server is not there, as when its name is gone: it is down at once, whatever was counted.
    pub fn condemned(&mut self, result: CheckResult, now: Moment) -> Option<Transition> {
        let transition = self.checker.as_mut()?.condemn(result.code, now);
        self.noted(result, now);
        transition
    }

    /// Notes a check that says nothing about the server: it decides nothing.
    pub fn noted(&mut self, result: CheckResult, now: Moment) {
        if let Some(index) = CheckCode::ALL.iter().position(|code| *code == result.code) {
            self.counts[index] += 1;
        }
        let shown = result.certificate.map(|certificate| certificate.not_after);
        self.certificate = shown.or(self.certificate);
        self.last = Some(Ended { result: Arc::new(result), at: now });
    }

    /// Forgets the checks: the configuration wants none any more.
    pub fn unchecked(&mut self, now: Moment) {
        if self.checker.take().is_some() {
            self.last = None;
            self.certificate = None;
            self.since = now;
        }
    }

    /// As it is told to those who follow it, with its ages as of `now`.
    pub fn verdict(&self, now: Moment) -> Verdict {
        let (backend, server) = &self.key;
        let checker = self.checker.as_ref();
        Verdict {
            backend: backend.to_string(),
            server: server.to_string(),
            status: self.status(),
            address: self.address,
            resolve_error: self.resolve_error.as_deref().map(str::to_owned),
            check: self.last.as_ref().map(|ended| ended.told(now)),
            streak: checker.map_or(0, Checker::streak),
            rise: checker.map_or(0, |checker| checker.timing().rise),
            fall: checker.map_or(0, |checker| checker.timing().fall),
            since_ms: millis(checker.map_or(now.saturating_sub(self.since), |checker| checker.held_for(now))),
            failed_checks: checker.map_or(0, Checker::failed_checks),
            downs: checker.map_or(0, Checker::downs),
            downtime_ms: millis(checker.map_or(Duration::ZERO, |checker| checker.downtime(now))),
            admin_state: None,
            member: self.member.as_deref().cloned(),
        }
    }

    /// As it is shown to people and to Prometheus.
    pub fn seen(&self, admin_state: AdminState, now: Moment) -> ServerSeen {
        let checks = CheckCode::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0).collect();
        ServerSeen {
            verdict: Verdict { admin_state: Some(admin_state), ..self.verdict(now) },
            configured: self.configured.to_string(),
            checks,
            ups: self.ups,
            certificate: self.certificate,
        }
    }
}

impl Ended {
    fn told(&self, now: Moment) -> LastCheck {
        LastCheck {
            code: self.result.code,
            http_status: self.result.http_status,
            duration_ms: millis(self.result.duration),
            text: self.result.text.clone(),
            age_ms: millis(now.saturating_sub(self.at)),
        }
    }
}

/// Whole milliseconds; a duration beyond half a billion years counts as that.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
