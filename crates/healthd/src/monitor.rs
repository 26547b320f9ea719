//! The task of one server: it follows the server's name, and checks it when the engine says so.
//!
//! ```text
//!            reload --.                     .-- another address: this check is of no use, start one there at once
//!      observation --. \                   /
//!                     v v                 v
//!   waiting ----- deadline comes -----> checking ------ result -----> engine, record, log ---> waiting
//!          ^                                                                                     |
//!          '-------------------------------------------------------------------------------------'
//! ```
//! Everything that is waited for is cancel safe: a check that is given up closes its connection, and never happened for the
//! engine. The task ends when the fleet drops it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use config::{Check, Host, Mode, ServerAddress, ServerCheck, ServerTls};
use health::{CertificateEnd, CheckResult, Checker, Moment, Status, Timing, Transition};
use proxy_protocol::Version;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::board::Board;
use crate::candidates::{self, first_good};
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::probe::{self, Probed, Prober, Target};
use crate::record::{Clock, Record, ServerKey};
use crate::resolve::{Group, NameWatch, Names, Resolved};

/// What the monitors share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) names: Names,
    pub(crate) board: Arc<Board>,
    pub(crate) metrics: Arc<Metrics>,
    /// Checks at once.
    pub(crate) seats: Semaphore,
    pub(crate) pace: Pace,
}

/// What the configuration wants of a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) server: ServerAddress,
    pub(crate) check: Option<CheckPlan>,
    /// What is its own in its checks.
    pub(crate) own: ServerCheck,
    /// The PROXY header that checks begin with.
    pub(crate) proxy: Option<Version>,
    /// Whom its certificate has to be for, where checks are secured as requests are.
    pub(crate) tls_name: Option<String>,
    /// What was found out about it, if it is not in the configuration.
    pub(crate) member: Option<Arc<wire::Member>>,
}

/// How the servers of a backend are checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckPlan {
    pub(crate) check: Arc<Check>,
    /// What requests are secured with, if they are, and what is spoken.
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) mode: Mode,
    /// Made for the check, and nothing else.
    pub(crate) prober: Arc<Prober>,
}

impl PartialEq for CheckPlan {
    fn eq(&self, other: &Self) -> bool {
        (&self.check, &self.tls, self.mode) == (&other.check, &other.tls, other.mode)
    }
}

/// The task of one server.
pub(crate) struct Monitor {
    shared: Arc<Shared>,
    plans: watch::Receiver<Plan>,
    plan: Plan,
    /// Its place among the servers of its backend, and how many these are: in this order they are checked first.
    turn: (usize, usize),
    hurried: Arc<Notify>,
    /// Dropped when the server's first check has ended.
    first_round: Option<mpsc::Sender<()>>,
    name: Option<NameWatch>,
    /// What the name was last followed to. Decisions stand on this alone, and only [`Monitor::follow`] reads the name: so no
    /// answer can be seen without being followed.
    meaning: Resolved,
    record: Record,
    /// When the name, if there is one, came into use.
    named: Moment,
    /// No check before this moment: the host ran out of something.
    pause: Moment,
    /// The address or the check is another one: check at once.
    urgent: bool,
    starved: bool,
    /// The last check was good, at the address in use.
    worked: bool,
    /// The end of the certificate that was told of, as it is near.
    expiry_told: Option<i64>,
    /// Where the next check begins with the addresses that are not in use.
    next_other: usize,
}

impl Monitor {
    /// A monitor of a new server. `first_round` is dropped when its first check has ended.
    pub(crate) fn new(
        shared: Arc<Shared>,
        key: ServerKey,
        mut plans: watch::Receiver<Plan>,
        turn: (usize, usize),
        hurried: Arc<Notify>,
        first_round: mpsc::Sender<()>,
    ) -> Self {
        let plan = plans.borrow_and_update().clone();
        let now = shared.clock.now();
        let mut monitor = Self {
            shared,
            plans,
            plan,
            turn,
            hurried,
            first_round: Some(first_round),
            name: None,
            meaning: Resolved::default(),
            record: Record::new(key, now),
            named: now,
            pause: now,
            urgent: false,
            starved: false,
            worked: false,
            expiry_told: None,
            next_other: 0,
        };
        monitor.adopt(None);
        monitor
    }

    /// Takes it over from an earlier healthd since when the server has had a status.
    pub(crate) fn remember(&mut self, status: Status, since: Moment) {
        self.record.remember(status, since);
    }

    /// The server's record.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Runs until it is dropped, or the fleet is.
    pub(crate) async fn run(mut self) {
        self.publish();
        loop {
            let due = self.due();
            tokio::select! {
                // What else there is to hear, a check hears too.
                biased;
                () = until(due) => self.check().await,
                changed = self.plans.changed() => match changed {
                    Ok(()) => self.replan(),
                    Err(_) => return,
                },
                () = self.hurried.notified() => self.hurry(),
                meaning = news(&mut self.name, &self.meaning) => {
                    self.follow(meaning);
                }
            }
        }
    }

    fn now(&self) -> Moment {
        self.shared.clock.now()
    }

    /// When the next check is to start; none if there is none.
    fn due(&self) -> Option<Instant> {
        let checker = self.record.checker.as_ref()?;
        let deadline = match self.urgent {
            true => Moment::ZERO,
            false => self.shared.pace.round(checker.next_deadline()?, checker.timing()),
        };
        // The first question about a name is given the time of a check to be answered.
        let unasked = self.name.is_some() && !self.meaning.asked;
        let patience =
            if unasked { self.named.saturating_add(checker.timing().timeout) } else { Moment::ZERO };
        Some(self.shared.clock.instant(deadline.max(self.pause).max(patience)))
    }

    /// Another configuration: the verdict stays, and what was counted towards a change of it begins anew.
    fn replan(&mut self) {
        let plan = self.plans.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.plan, plan);
        self.adopt(Some(before));
        self.publish();
    }

    fn adopt(&mut self, before: Option<Plan>) {
        let now = self.now();
        self.record.configured = self.plan.server.to_string().into();
        self.record.member.clone_from(&self.plan.member);
        if before.as_ref().is_some_and(|before| before.check != self.plan.check) {
            self.record.certificate = None;
        }
        match (&self.plan.check, &mut self.record.checker) {
            (None, _) => {
                self.record.unchecked(now);
                self.first_round = None;
            }
            (Some(check), Some(checker)) => checker.retime(check.check.timing, now),
            (Some(check), none) => {
                *none = Some(Checker::new(check.check.timing, self.turn, seed(&self.record.key), now));
            }
        }
        if before.as_ref().is_some_and(|before| before.server == self.plan.server) {
            return;
        }
        self.name = match &self.plan.server.host {
            Host::Name(name) => {
                let group = Group { backend: Arc::clone(&self.record.key.0), port: self.plan.server.port };
                Some(self.shared.names.watch(name, group))
            }
            Host::Ip(_) => None,
        };
        self.worked = false;
        self.named = now;
        self.urgent = before.is_some();
        self.meaning = self.name.as_ref().map(NameWatch::resolved).unwrap_or_default();
        self.refresh_address();
    }

    /// Somebody saw the server fail, or somebody wants to know.
    fn hurry(&mut self) {
        let now = self.now();
        if let Some(checker) = &mut self.record.checker {
            checker.hurry(now);
        }
    }

    /// Takes over what the name means now. Returns whether the address is another one.
    fn follow(&mut self, meaning: Resolved) -> bool {
        self.meaning = meaning;
        let before = (self.record.address, self.record.resolve_error.clone());
        self.refresh_address();
        let moved = self.record.address != before.0;
        if moved {
            let now = self.now();
            if let Some(checker) = &mut self.record.checker {
                // What was counted was counted elsewhere.
                checker.retime(*checker.timing(), now);
            }
            // First checks stay spread.
            self.urgent = self.record.status() != Status::Unknown;
            self.worked = false;
        }
        if self.is_lost() {
            self.unresolved();
        } else if moved || self.record.resolve_error != before.1 {
            self.publish();
        }
        moved
    }

    fn refresh_address(&mut self) {
        let port = self.plan.server.port;
        let found = self.meaning.address.map(|ip| SocketAddr::new(ip, port));
        self.record.address = self.plan.server.literal().or(found);
        self.record.resolve_error.clone_from(&self.meaning.error);
    }

    /// Runs one check, unless something makes it pointless meanwhile.
    async fn check(&mut self) {
        let Some(check) = self.plan.check.clone() else { return };
        self.urgent = false;
        let Some(address) = self.record.address else {
            return self.unresolved();
        };
        if self.record.status() == Status::Down {
            if self.meaning.denied {
                // Addresses are given to others: what answers there now is not this server.
                return self.unresolved();
            }
            // Whoever comes back often does so elsewhere: the name is asked for while the check waits for the old address.
            self.doubt_name();
        }
        let target =
            Target::new(&self.plan.server, check.check.port, &self.plan.own).introduced(self.plan.proxy);
        let target = target.secured(self.plan.tls_name.clone());
        let port = target.port();
        let others = self.others(address.ip(), port);
        let whole = check.check.timing.timeout;
        // An address that worked has all the time that a check may take; others share it.
        let tried = u32::try_from(1 + others.len()).unwrap_or(u32::MAX);
        let share = if self.worked { whole } else { whole / tried };
        let shared = Arc::clone(&self.shared);
        // A check under way is large, and most of the time there is none.
        let mut probing = Box::pin(async {
            // The semaphore is never closed; without a seat there would just be no bound.
            let _seat = shared.seats.acquire().await.ok();
            let _running = shared.metrics.running();
            let first = SocketAddr::new(address.ip(), port);
            first_good(first, others, whole, share, |address| check.prober.run(&target, address)).await
        });
        loop {
            tokio::select! {
                biased;
                (at, probed) = &mut probing => {
                    if self.settle_at(at.ip()) {
                        self.probed(probed, check.check.timing);
                    }
                    return;
                }
                changed = self.plans.changed() => {
                    self.urgent = true;
                    if changed.is_ok() {
                        self.replan();
                    }
                    return;
                }
                meaning = news(&mut self.name, &self.meaning) => if self.follow(meaning) {
                    return;
                },
            }
        }
    }

    /// Addresses of the name that are not in use: another few at each check.
    fn others(&mut self, used: IpAddr, port: u16) -> Vec<SocketAddr> {
        let Some(name) = &self.name else { return Vec::new() };
        let mut others: Vec<IpAddr> = name.candidates().into_iter().filter(|ip| *ip != used).collect();
        if !others.is_empty() {
            let start = self.next_other % others.len();
            others.rotate_left(start);
            others.truncate(candidates::MOST - 1);
            self.next_other = start + others.len();
        }
        others.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// Uses the address that a check found to work. Returns whether it is the one in use now: the name may have changed meanwhile.
    fn settle_at(&mut self, address: IpAddr) -> bool {
        let Some(name) = &self.name else { return true };
        let before = self.record.address;
        name.choose(address);
        let meaning = name.resolved();
        if meaning.address != Some(address) {
            self.follow(meaning);
            return false;
        }
        self.meaning = meaning;
        self.refresh_address();
        if self.record.address != before {
            let (backend, server) = &self.record.key;
            debug!(%backend, %server, %address, "server answers at another address of its name");
        }
        true
    }

    /// The name is gone, and the server is not down yet.
    fn is_lost(&self) -> bool {
        self.meaning.is_gone() && matches!(self.record.status(), Status::Unknown | Status::Up)
    }

    fn unresolved(&mut self) {
        let reason = self.meaning.error.clone();
        let reason = reason
            .unwrap_or_else(|| format!("{}: no answer to the first query yet", self.plan.server).into());
        let result = probe::unresolved(&reason);
        if self.is_lost() {
            self.ended(result, Record::condemned);
        } else if self.meaning.denied || self.record.status() != Status::Unknown {
            self.ended(result, Record::checked);
        } else if let Some(checker) = &self.record.checker {
            // Name servers that say nothing, say nothing about the server: whoever knows a verdict and an address keeps them.
            let now = self.now();
            self.pause = now.saturating_add(checker.timing().interval);
            self.record.noted(result, now);
            self.first_round = None;
            self.publish();
        }
    }

    fn probed(&mut self, probed: Probed, timing: Timing) {
        match probed {
            Probed::Server(result) => {
                self.starved = false;
                self.worked = result.code.is_good();
                self.ended(result, Record::checked);
            }
            // Servers must not go down for what this host lacks.
            Probed::Starved(result) => {
                if !std::mem::replace(&mut self.starved, true) {
                    let (backend, server) = &self.record.key;
                    warn!(%backend, %server, reason = result.text, "server cannot be checked; its status stays");
                }
                self.shared.metrics.starved();
                let now = self.now();
                self.pause = now.saturating_add(timing.interval);
                self.record.noted(result, now);
                self.publish();
            }
        }
    }

    fn ended(
        &mut self,
        result: CheckResult,
        judge: impl FnOnce(&mut Record, CheckResult, Moment) -> Option<Transition>,
    ) {
        let now = self.now();
        self.shared.metrics.checked(&self.record.key.0, &result);
        if !result.code.is_good() {
            self.doubt_name();
        }
        self.tell_expiry(result.certificate);
        let text = result.text.clone();
        if let Some(transition) = judge(&mut self.record, result, now) {
            self.announce(transition, &text);
        }
        self.first_round = None;
        self.publish();
    }

    /// Tells once of a certificate that ends soon.
    fn tell_expiry(&mut self, certificate: Option<CertificateEnd>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let ending = certificate.filter(|certificate| certificate.soon_from < now);
        let ending = ending.map(|certificate| certificate.not_after);
        if let Some(not_after) = ending.filter(|ending| self.expiry_told != Some(*ending)) {
            self.expiry_told = Some(not_after);
            let (backend, server) = &self.record.key;
            let on = certificates::day(not_after);
            warn!(%backend, %server, %on, "server's certificate expires soon");
        }
    }

    fn doubt_name(&self) {
        if let Some(name) = &self.name {
            name.doubt();
        }
    }

    /// The one log event of a transition.
    fn announce(&self, transition: Transition, reason: &str) {
        let (backend, server) = &self.record.key;
        let (from, to) = (shout(transition.from), shout(transition.to));
        let streak = format!("{}/{}", transition.streak, transition.needed);
        let address = self.record.address.map_or_else(|| "none".to_owned(), |address| address.to_string());
        let code = transition.code;
        if transition.to == Status::Down {
            warn!(%backend, %server, %from, %to, %code, reason, %streak, %address, "server is DOWN");
        } else {
            info!(%backend, %server, %from, %to, %code, reason, %streak, %address, "server is UP");
        }
    }

    fn publish(&self) {
        self.shared.board.update(&self.record);
    }
}

/// A status as HAProxy writes it.
fn shout(status: Status) -> &'static str {
    match status {
        Status::Unknown => "UNKNOWN",
        Status::Up => "UP",
        Status::Down => "DOWN",
        Status::Unchecked => "UNCHECKED",
    }
}

/// Spreads servers over the first second, and differently on another node or after a restart.
fn seed(key: &ServerKey) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(key)
}

/// Waits until the name means something else than what was followed; for ever without one. Cancel safe.
async fn news(name: &mut Option<NameWatch>, followed: &Resolved) -> Resolved {
    match name {
        Some(name) => name.other_than(followed).await,
        None => std::future::pending().await,
    }
}

/// Waits for an instant; for ever without one. Cancel safe.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
