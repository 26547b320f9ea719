//! The task of a backend whose servers are found: it asks, hands answers to the engine, and tells the fleet who belongs to the backend.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::{Discover, Member, Source};
use health::Moment;
use membership::{Answer, Changes, Membership};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use wire::human::things;

use super::dns::{Asked, Question, Records, Said};
use super::file::{self, Look, Watched};
use crate::monitor::Shared;
use crate::record::millis;
use crate::resolve::Told;

/// The most names that a line of the log shows.
const SHOWN: usize = 16;

/// What a task goes by: with other rules it is another one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    source: Source,
    max: u32,
    min: u32,
    hold: Duration,
    /// Where paths start.
    directory: PathBuf,
}

impl Rules {
    pub(crate) fn new(discover: &Discover, directory: PathBuf) -> Self {
        let Discover { source, max, min, hold, .. } = discover;
        Self { source: source.clone(), max: *max, min: *min, hold: *hold, directory }
    }

    fn engine(&self) -> membership::Rules {
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let whole = matches!(self.source, Source::File(_));
        membership::Rules { max: size(self.max), min: size(self.min), hold: self.hold, whole }
    }
}

/// What a task tells.
#[derive(Debug)]
pub(crate) struct Found {
    /// Which task it is.
    pub(crate) finder: u64,
    pub(crate) backend: Arc<str>,
    /// Who belongs to the backend, if that has changed.
    pub(crate) members: Option<Vec<Member>>,
    pub(crate) report: Report,
    /// Dropped when those who were found first have been checked.
    pub(crate) first_round: Option<mpsc::Sender<()>>,
}

/// What is told of where servers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Without its age.
    pub(crate) discovery: wire::Discovery,
    /// When the last answer was.
    pub(crate) answered: Option<Moment>,
}

impl Report {
    /// All of it, with its age as of `now`.
    pub(crate) fn at(&self, now: Moment) -> wire::Discovery {
        let age = self.answered.map(|at| millis(now.saturating_sub(at)));
        wire::Discovery { answer_age_ms: age, ..self.discovery.clone() }
    }
}

/// The task.
pub(crate) struct Finder {
    number: u64,
    backend: Arc<str>,
    rules: Rules,
    shared: Arc<Shared>,
    found: mpsc::Sender<Found>,
    first_round: Option<mpsc::Sender<()>>,
    asked: Asked,
    membership: Membership<String, Said>,
    members: Vec<Member>,
    report: Report,
    /// Whether the last attempt brought no answer.
    failing: bool,
    /// Whether it was logged that something is wrong.
    logged: Told<bool>,
}

impl Finder {
    /// A task that begins with those who are known.
    pub(crate) fn new(
        number: u64,
        backend: Arc<str>,
        rules: Rules,
        known: Vec<Member>,
        shared: Arc<Shared>,
        (found, first_round): (mpsc::Sender<Found>, mpsc::Sender<()>),
    ) -> Self {
        let before = known.into_iter().map(|member| (member.name.clone(), Said::of(member)));
        let membership = Membership::new(rules.engine(), before);
        let asked = match &rules.source {
            Source::File(path) => Asked::File(Watched::new(rules.directory.join(path))),
            Source::Srv(name) => Asked::Name(Question::services(name)),
            Source::Host { name, port } => Asked::Name(Question::addresses(name, *port)),
        };
        let mut finder = Self {
            number,
            backend,
            rules,
            shared,
            found,
            first_round: Some(first_round),
            asked,
            members: Vec::new(),
            membership,
            report: Report { discovery: wire::Discovery::default(), answered: None },
            failing: false,
            logged: Told::new(false),
        };
        finder.members = Said::members(finder.membership.members());
        finder.report.discovery = wire::Discovery {
            backend: finder.backend.to_string(),
            source: finder.rules.source.to_string(),
            known: !finder.members.is_empty(),
            members: finder.members.len() as u64,
            max: finder.rules.max.into(),
            ..wire::Discovery::default()
        };
        finder
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn backend(&self) -> Arc<str> {
        Arc::clone(&self.backend)
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Those who are known from before.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// What is told before anybody was asked.
    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// Runs until it is dropped, or the fleet is.
    pub(crate) async fn run(mut self) {
        let mut last = None;
        loop {
            let (outcome, again) = match &mut self.asked {
                Asked::File(watched) => (watched.look().await.into(), file::PAUSE),
                Asked::Name(question) => question.ask(&self.shared.names).await,
            };
            let now = self.shared.clock.now();
            let is_due = self.membership.deadline().is_some_and(|at| at <= now);
            let is_told = match outcome {
                Records::Same if !is_due => self.same(now).await,
                Records::Same => match last.clone() {
                    Some(answer) => self.answered(answer, now).await,
                    None => true,
                },
                Records::Answer(answer) => {
                    last = Some(answer.clone());
                    self.answered(answer, now).await
                }
                Records::Failed(why) => self.failed(why).await,
            };
            if !is_told {
                return;
            }
            let due = now.saturating_add(again);
            let due = self.membership.deadline().filter(|at| *at > now).map_or(due, |at| at.min(due));
            sleep_until(self.shared.clock.instant(due)).await;
        }
    }

    /// What was answered last holds, unless it failed. Whether the fleet is there.
    async fn same(&mut self, now: Moment) -> bool {
        if self.failing {
            return true;
        }
        self.report.answered = Some(now);
        self.tell(None).await
    }

    async fn answered(&mut self, answer: Answer<String, Said>, now: Moment) -> bool {
        let size = answer.named.len();
        let changes = self.membership.handle(answer, now);
        let members = Said::members(self.membership.members());
        let is_new = members != self.members || !self.report.discovery.known;
        let surplus = self.membership.surplus() as u64;
        let discovery = &mut self.report.discovery;
        discovery.answers += 1;
        discovery.known = true;
        discovery.members = members.len() as u64;
        discovery.missing = self.membership.missing() as u64;
        discovery.surplus = surplus;
        self.report.answered = Some(now);
        self.failing = false;
        self.members.clone_from(&members);
        self.log(&changes);
        self.note(match self.membership.doubted() {
            Some(_) if members.is_empty() => Some("the answer names no server".to_owned()),
            Some(_) => {
                let (few, min) = (things(size, "server"), self.rules.min);
                Some(format!("the answer names {few}, and \"min\" is {min}: nobody leaves for a while"))
            }
            None if surplus > 0 => Some(format!("the answer names {surplus} more than \"max\" allows")),
            None => None,
        });
        self.tell(is_new.then_some(members)).await
    }

    async fn failed(&mut self, why: String) -> bool {
        self.report.discovery.failures += 1;
        self.failing = true;
        self.note(Some(why));
        self.tell(None).await
    }

    /// Notes what is wrong. That anything is, is told at a bounded rate; in which way it is, is seen elsewhere.
    fn note(&mut self, trouble: Option<String>) {
        let (backend, source, members) = (&self.backend, &self.rules.source, self.members.len());
        if self.logged.tell(&trouble.is_some(), Instant::now()).is_some() {
            match &trouble {
                Some(reason) => {
                    warn!(%backend, %source, reason, members, "servers are not found as they should be");
                }
                None => info!(%backend, %source, members, "servers are found as they should be again"),
            }
        }
        self.report.discovery.trouble = trouble;
    }

    fn log(&self, changes: &Changes<String, Said>) {
        if changes.joined.is_empty() && changes.left.is_empty() {
            return;
        }
        let joined = list(changes.joined.iter().map(|(name, _)| name.as_str()));
        let left = list(changes.left.iter().map(String::as_str));
        let members = self.members.len();
        info!(backend = %self.backend, source = %self.rules.source, joined, left, members, "servers are found");
    }

    async fn tell(&mut self, members: Option<Vec<Member>>) -> bool {
        let found = Found {
            finder: self.number,
            backend: Arc::clone(&self.backend),
            members,
            report: self.report.clone(),
            first_round: self.first_round.take(),
        };
        self.found.send(found).await.is_ok()
    }
}

fn list<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(",");
    match more {
        0 if shown.is_empty() => "none".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl From<Look> for Records {
    fn from(look: Look) -> Self {
        match look {
            Look::Same => Self::Same,
            Look::Failed(why) => Self::Failed(why),
            Look::Read(members) => {
                let named = members.into_iter().map(|member| (member.name.clone(), Said::of(member)));
                Self::Answer(Answer { named: named.collect(), cut_off: false })
            }
        }
    }
}
