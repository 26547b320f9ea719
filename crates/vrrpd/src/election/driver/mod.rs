//! The driver of one instance: a task that drives its [`Instance`] with packets, time and reports, and carries its actions out.

mod act;
mod keep;
mod listen;
mod locate;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant as TokioInstant, sleep_until};
use vrrp::keep::Keeper;
use vrrp::packet::Sequencer;
use vrrp::{Input, Instance, Receiver, State};

pub(super) use keep::{keepable, lo};

use super::complaints::Complaints;
use super::members::Command;
use super::place::{Event, Place, virtual_addresses};
use super::settings::{expectations, rules, settings, unspecified};
use crate::addresses::{Addresses, Counts, Departure, Hold, Links, Wish};
use crate::board::{Board, Marks, Pen, Record};
use crate::notify::{self, Told};
use crate::order::{Notice, Report};
use crate::sequences;

/// The largest advert, and what a network may pad it with.
const PACKET: usize = 9216;
/// Adverts that are taken in at once, before the clock is looked at again.
const BATCH: usize = 64;
/// Adverts that are taken in before an expired deadline is believed.
const BACKLOG: usize = 1024;
/// How long trackers may take to report before a start goes on without them.
pub(crate) const REPORTS: Duration = Duration::from_secs(3);
/// When to try again to open what could not be opened.
const RETRY: Duration = Duration::from_millis(500);
/// How long the source address may be missing. One that comes back takes up to 2 s to be checked for duplicates.
const BORNE: Duration = Duration::from_secs(3);

/// What all instances and services of the thread share.
pub(crate) struct Shared {
    pub(crate) addresses: Addresses,
    pub(crate) board: Arc<Board>,
    /// Where each tells what its hook is to hear.
    pub(crate) hooks: mpsc::Sender<Told>,
    /// Where the election's clock begins.
    pub(crate) epoch: Instant,
}

/// What only an instance is told.
pub(super) enum Order {
    Reload {
        config: Box<config::Instance>,
        done: oneshot::Sender<()>,
    },
    /// Answered with whether the addresses have stayed, unless this router is not master.
    Release {
        done: oneshot::Sender<Option<bool>>,
    },
}

pub(super) struct Driver {
    shared: Rc<Shared>,
    /// What is known of the instance, and others are shown.
    pen: Pen<Record>,
    config: config::Instance,
    instance: Instance,
    /// What outlives a handover.
    keeper: Keeper,
    counts: Counts,
    receiver: Receiver,
    sequencer: Sequencer,
    links: Links,
    place: Option<Place>,
    /// Since when the source address is missing on the interface.
    missing_since: Option<Instant>,
    /// Whether the election wants the virtual addresses on the interface.
    holding: bool,
    /// When the event began that made it want them.
    since: Instant,
    /// Whether they are here for a successor to take.
    given_away: bool,
    departure: Departure,
    /// Events after which a neighbour may believe somebody else.
    announcements: u64,
    /// Where it stands, for its hook.
    told: watch::Sender<Option<Notice>>,
    complaints: Complaints,
    /// Trackers that have reported, and whether they are good.
    reports: BTreeMap<String, bool>,
    /// Until when the start waits for first reports; none once started.
    start_by: Option<Instant>,
    /// Who waits for a successor to take the addresses, or for the end of the wait for one.
    releases: Vec<oneshot::Sender<Option<bool>>>,
    /// How often doubtful adverts were believed.
    vouched: u64,
    /// For which deadline the network has been asked who has the addresses.
    probed: Option<Instant>,
    retry: Option<Instant>,
    buffer: Box<[u8]>,
}

impl Driver {
    pub(super) fn new(
        shared: Rc<Shared>,
        config: config::Instance,
        links: Links,
        told: watch::Sender<Option<Notice>>,
    ) -> Self {
        let nowhere = unspecified(&config);
        let now = Instant::now();
        let pen = Pen::new(shared.board.clone(), shared.board.place(&config.name));
        let kept = pen.write(|record: &mut Record| {
            record.configure(&config, &rules(&config));
            record.sequences.clone()
        });
        pen.show();
        let mut receiver = Receiver::new(expectations(&config, nowhere));
        receiver.recall(kept.accepted.iter().copied());
        let sequencer = sequences::resume(&config, &kept, unix());
        let mut driver = Self {
            keeper: Keeper::new(config.keep_connections),
            counts: shared.addresses.counts(),
            pen,
            instance: Instance::new(settings(&config, nowhere)),
            receiver,
            sequencer,
            links,
            place: None,
            missing_since: None,
            holding: false,
            since: now,
            given_away: false,
            departure: Departure::default(),
            announcements: 0,
            told,
            complaints: Complaints::default(),
            reports: BTreeMap::new(),
            start_by: Some(now + REPORTS.min(config.interval.duration())),
            releases: Vec::new(),
            vouched: 0,
            probed: None,
            retry: None,
            buffer: vec![0; PACKET].into(),
            shared,
            config,
        };
        driver.adopt_kept();
        driver
    }

    /// Takes part until told to stop.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command<Order>>) {
        self.relocate().await;
        if rules(&self.config).iter().any(|rule| rule.name == notify::TRACKER) {
            self.report(notify::TRACKER.to_owned(), Report::Good, "nobody had to be told yet").await;
        }
        loop {
            self.go_on().await;
            self.pen.show();
            let wake = self.next_wake();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Tracker { tracker, report, text }) => {
                        self.report(tracker, report, &text).await;
                    }
                    Some(Command::Own(Order::Reload { config, done })) => {
                        self.adopt(*config).await;
                        self.pen.answer(done, ());
                    }
                    Some(Command::Own(Order::Release { done })) => self.release(done).await,
                    Some(Command::Settle { done }) => self.pen.answer(done, ()),
                    Some(Command::Stop { done }) => {
                        self.handle(Input::Stop, Instant::now()).await;
                        self.keep_no_more().await;
                        self.pen.answer(done, ());
                        return;
                    }
                    None => return,
                },
                Ok(()) = self.links.changed() => self.relocate().await,
                Ok(()) = self.counts.changed() => self.count().await,
                event = event_at(self.place.as_ref()) => match event {
                    Event::Adverts => self.receive(BATCH).await,
                    Event::Claim(claim) => self.claimed(claim).await,
                    Event::Lost(error) => {
                        tracing::warn!(instance = self.config.name, %error, "the sockets failed; opening them again");
                        self.leave("its sockets failed").await;
                    }
                },
                () = sleep_until(TokioInstant::from_std(wake)) => self.wake().await,
            }
        }
    }

    /// Starts when everything has reported that it waits for, and tells what became of handovers.
    async fn go_on(&mut self) {
        let now = Instant::now();
        if let Some(by) = self.start_by
            && (now >= by || self.has_heard_of_all())
        {
            self.start_by = None;
            let holding = self.holds_already();
            self.hold(holding, now);
            self.handle(Input::Start { holding }, now).await;
        }
        if !self.is_leaving() {
            let kept = self.instance.state() == State::Master;
            for done in std::mem::take(&mut self.releases) {
                self.pen.answer(done, Some(kept));
            }
        }
    }

    /// Gives mastership away. `go_on` tells what becomes of it.
    async fn release(&mut self, done: oneshot::Sender<Option<bool>>) {
        self.handle(Input::Release, Instant::now()).await;
        if self.is_leaving() {
            self.releases.retain(|waiting| !waiting.is_closed());
            self.releases.push(done);
        } else {
            self.pen.answer(done, None);
        }
    }

    /// Whether the addresses are here for a successor to take.
    fn is_leaving(&self) -> bool {
        self.instance.state() == State::Backup && self.holding
    }

    fn has_heard_of_all(&self) -> bool {
        rules(&self.config).iter().all(|rule| self.reports.contains_key(&rule.name))
    }

    /// Whether virtual addresses are on the interface already, left by a run of vrrpd that did not end in order.
    fn holds_already(&self) -> bool {
        let links = self.links.borrow();
        let site = self.place.as_ref().map(|place| place.site.index);
        links.iter().find(|link| Some(link.index) == site).is_some_and(|link| {
            let is_there = |ip: IpAddr| link.addresses.iter().any(|own| own.ip == ip);
            virtual_addresses(&self.config).any(|address| is_there(address.ip))
        })
    }

    /// Takes over another configuration of this instance, without leaving the election.
    async fn adopt(&mut self, config: config::Instance) {
        let before = std::mem::replace(&mut self.config, config);
        let is_left = |ip: &IpAddr| !virtual_addresses(&self.config).any(|address| address.ip == *ip);
        let left = virtual_addresses(&before).map(|address| address.ip).filter(is_left);
        self.departure.addresses.extend(left);
        self.reports.retain(|name, _| rules(&self.config).iter().any(|rule| rule.name == *name));
        let rules = rules(&self.config);
        self.board(|record, driver| record.configure(&driver.config, &rules));
        if self.place.is_some() && before.unicast.is_some() != self.config.unicast.is_some() {
            self.reopen().await;
        }
        if let Some(place) = &self.place
            && let Err(error) = place.watch(&self.config)
        {
            tracing::warn!(instance = self.config.name, %error, "cannot listen for what is configured now");
        }
        self.keep(vrrp::keep::Input::Reload { bound: self.config.keep_connections }).await;
        self.wish();
        follow_notify(&self.told, self.config.notify.as_ref(), self.pen.marks());
        let source = self.source();
        self.receiver.reload(expectations(&self.config, source));
        self.handle(Input::Reload(settings(&self.config, source)), Instant::now()).await;
        self.relocate().await;
    }

    async fn report(&mut self, tracker: String, report: Report, text: &str) {
        let (began, good) = (Instant::now(), report.is_good());
        self.reports.insert(tracker.clone(), good);
        let changed = self.pen.report(&self.config.name, &tracker, good, text);
        let planned = report == Report::Ends;
        self.handle(Input::Tracker { name: tracker, good, planned }, began).await;
        if changed {
            self.pen.publish();
        }
    }

    fn next_wake(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let deadline = self.deadline();
        [deadline, self.probe_at(), self.keep_until(), self.start_by, self.retry]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(far)
    }

    fn deadline(&self) -> Option<Instant> {
        self.instance.next_deadline().map(|deadline| self.shared.epoch + deadline)
    }

    /// When to ask the network who has the addresses, if it has not been asked yet for this deadline.
    fn probe_at(&self) -> Option<Instant> {
        let (deadline, ahead) = (self.deadline()?, self.config.probe?);
        if self.instance.expects_silence() && self.probed.is_none() {
            deadline.checked_sub(ahead)
        } else {
            None
        }
    }

    async fn wake(&mut self) {
        let now = Instant::now();
        if self.deadline().is_some_and(|deadline| deadline <= now)
            || self.probe_at().is_some_and(|at| at <= now)
        {
            // What has arrived already may tell that there is nothing to do.
            self.receive(BACKLOG).await;
        }
        if self.probe_at().is_some_and(|at| at <= now) {
            self.probed = self.deadline();
            self.probe();
        }
        if let Some(deadline) = self.deadline().filter(|deadline| *deadline <= now) {
            self.board(|record, _| record.status.counters.loop_lag.observe(now - deadline));
            self.handle(Input::Woken, deadline).await;
        }
        if self.keep_until().is_some_and(|until| until <= now) {
            self.keep(vrrp::keep::Input::Woken).await;
        }
        if self.retry.is_some_and(|retry| retry <= now) {
            self.retry = None;
            self.relocate().await;
        }
    }

    /// Asks the network who has the addresses.
    fn probe(&self) {
        self.each_address(|neighbours, ip| neighbours.probe(ip));
    }

    /// The election wants the addresses, or wants them no more, because of what began then.
    pub(super) fn hold(&mut self, holding: bool, began: Instant) {
        self.holding = holding;
        self.since = began;
        self.wish();
    }

    /// Says what is wanted of the interface. Only a master's addresses have to be there: before the election, and while
    /// nobody knows who is master, they may stay.
    fn wish(&self) {
        let site = self.place.as_ref().map(|place| &place.site);
        let site = site.filter(|_| self.holding || self.start_by.is_some());
        let hold = if self.instance.state() == State::Master { Hold::Have } else { Hold::Keep };
        let wish = site.map(|site| Wish {
            announcements: self.announcements,
            since: self.since,
            ..Wish::new(&self.config, site.index, hold)
        });
        let (kept, rules) = self.kept();
        let departure = self.departure.clone();
        self.shared.addresses.wish_with_rules(&self.config.name, wish, kept, rules, departure);
    }

    /// Writes down what others are shown before this task waits again.
    fn board<T>(&self, change: impl FnOnce(&mut Record, &Self) -> T) -> T {
        self.pen.write(|record| change(record, self))
    }
}

/// What a hook could not be told yet it is told as configured now.
pub(crate) fn follow_notify(
    told: &watch::Sender<Option<Notice>>,
    configured: Option<&config::Notify>,
    marks: &Marks,
) {
    told.send_if_modified(|told| {
        match (&mut *told, configured) {
            (Some(notice), Some(notify)) => notice.notify.clone_from(notify),
            (_, None) => *told = None,
            (None, Some(_)) => {}
        }
        false
    });
    if configured.is_none() {
        marks.notify_failing.store(false, Relaxed);
    }
}

async fn event_at(place: Option<&Place>) -> Event {
    match place {
        Some(place) => place.event().await,
        None => std::future::pending().await,
    }
}

/// The wall clock.
fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
