//! The driver of one anycast service: a task of the election's thread that tells its [`Service`] of trackers, operators and time,
//! and wishes for the addresses or gives them up.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anycast::{Action, Cause, Input, Service, Settings, State, Transition};
use config::{Anycast, VirtualAddress};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant as TokioInstant, sleep_until};
use vrrp::{TrackerRule, Weight};

use crate::addresses::{Departure, Hold, Links, PLANNED, Wish};
use crate::board::{Pen, ServiceRecord, Sheet as _};
use crate::election::{Command, INTERFACE, REPORTS, Shared, follow_notify};
use crate::notify;
use crate::order::{Notice, Report};

/// What only a service is told.
pub(crate) enum Order {
    Reload {
        config: Anycast,
        done: oneshot::Sender<()>,
    },
    /// Answered, when the addresses are gone, with whether they had been announced.
    Withdraw {
        done: oneshot::Sender<bool>,
    },
    /// Answered with where the service then stands.
    Announce {
        done: oneshot::Sender<State>,
    },
}

pub(crate) struct Driver {
    shared: Rc<Shared>,
    /// What is known of the service, and others are shown.
    pen: Pen<ServiceRecord>,
    config: Anycast,
    service: Service,
    links: Links,
    /// When the event began that made it want the addresses.
    since: Instant,
    departure: Departure,
    /// Where it stands, for its hook.
    told: watch::Sender<Option<Notice>>,
    /// Trackers that have reported, and how.
    reports: BTreeMap<String, bool>,
    /// Until when the start waits for first reports; none once started.
    start_by: Option<Instant>,
}

impl Driver {
    pub(crate) fn new(
        shared: Rc<Shared>,
        config: Anycast,
        links: Links,
        told: watch::Sender<Option<Notice>>,
    ) -> Self {
        let now = Instant::now();
        let pen = Pen::new(shared.board.clone(), shared.board.service(&config.name));
        pen.write(|record: &mut ServiceRecord| record.configure(&config, &rules(&config)));
        pen.show();
        Self {
            pen,
            service: Service::new(settings(&config)),
            links,
            since: now,
            departure: Departure::default(),
            told,
            reports: BTreeMap::new(),
            start_by: Some(now + REPORTS),
            shared,
            config,
        }
    }

    /// Goes on until told to stop.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command<Order>>) {
        self.look_at_interface();
        if rules(&self.config).iter().any(|rule| rule.name == notify::TRACKER) {
            self.report(notify::TRACKER.to_owned(), Report::Good, "nobody had to be told yet");
        }
        loop {
            self.start_in_time();
            self.pen.show();
            let wake = self.next_wake();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Tracker { tracker, report, text }) => self.report(tracker, report, &text),
                    Some(Command::Own(Order::Reload { config, done })) => {
                        self.adopt(config);
                        self.pen.answer(done, ());
                    }
                    Some(Command::Own(Order::Withdraw { done })) => self.withdraw(done).await,
                    Some(Command::Own(Order::Announce { done })) => {
                        self.handle(Input::Announce, Instant::now());
                        self.pen.answer(done, self.service.state());
                    }
                    Some(Command::Settle { done }) => self.pen.answer(done, ()),
                    Some(Command::Stop { done }) => {
                        self.handle(Input::Stop, Instant::now());
                        self.start_by = None;
                        self.wish();
                        self.shared.addresses.come_true(PLANNED).await;
                        self.pen.answer(done, ());
                        return;
                    }
                    None => return,
                },
                Ok(()) = self.links.changed() => self.look_at_interface(),
                () = sleep_until(TokioInstant::from_std(wake)) => {
                    if let Some(deadline) = self.deadline().filter(|deadline| *deadline <= Instant::now()) {
                        self.handle(Input::Woken, deadline);
                    }
                }
            }
        }
    }

    /// Starts when all trackers have reported, or when there is no more time for that.
    fn start_in_time(&mut self) {
        let now = Instant::now();
        let have_reported = || rules(&self.config).iter().all(|rule| self.reports.contains_key(&rule.name));
        if self.start_by.is_some_and(|by| now >= by || have_reported()) {
            self.start_by = None;
            let holding = self.holds_already();
            self.handle(Input::Start { holding }, now);
            self.wish();
        }
    }

    /// Whether addresses are on the interface already, left by a run of vrrpd that did not end in order.
    fn holds_already(&self) -> bool {
        let links = self.links.borrow();
        links.iter().find(|link| link.name == self.config.interface).is_some_and(|link| {
            let is_meant = |ip| self.config.addresses.iter().any(|address| address.ip == ip);
            link.addresses.iter().any(|own| own.ours && is_meant(own.ip))
        })
    }

    /// Takes the addresses away until they are asked for. Tells when they are gone whether they had been announced.
    async fn withdraw(&mut self, done: oneshot::Sender<bool>) {
        let was_announced = self.service.state() == State::Announced;
        self.handle(Input::Withdraw, Instant::now());
        if was_announced {
            self.shared.addresses.come_true(PLANNED).await;
        }
        self.pen.answer(done, was_announced);
    }

    /// Takes over another configuration of this service.
    fn adopt(&mut self, config: Anycast) {
        let before = std::mem::replace(&mut self.config, config);
        let is_left = |address: &&VirtualAddress| !self.config.addresses.contains(address);
        self.departure.addresses.extend(before.addresses.iter().filter(is_left).map(|address| address.ip));
        let rules = rules(&self.config);
        self.reports.retain(|name, _| rules.iter().any(|rule| rule.name == *name));
        self.pen.write(|record| record.configure(&self.config, &rules));
        follow_notify(&self.told, self.config.notify.as_ref(), self.pen.marks());
        self.handle(Input::Reload(settings(&self.config)), Instant::now());
        self.wish();
        self.look_at_interface();
    }

    /// The service needs its interface, as it is now.
    fn look_at_interface(&mut self) {
        let links = self.links.borrow_and_update().clone();
        let name = &self.config.interface;
        let (report, text) = match links.iter().find(|link| link.name == *name) {
            None => (Report::Fails, format!("there is no interface {name}")),
            Some(link) if link.running => (Report::Good, format!("{name} is up")),
            Some(_) => (Report::Fails, format!("{name} is down, or has no carrier")),
        };
        let is_known = self.reports.get(INTERFACE) == Some(&report.is_good());
        if !is_known || self.pen.write(|record| record.tracker_text(INTERFACE) != Some(&text)) {
            self.report(INTERFACE.to_owned(), report, &text);
        }
        // One that came back has another number.
        self.wish();
    }

    fn report(&mut self, tracker: String, report: Report, text: &str) {
        let began = Instant::now();
        let good = report.is_good();
        self.reports.insert(tracker.clone(), good);
        let changed = self.pen.report(&self.config.name, &tracker, good, text);
        let planned = report == Report::Ends;
        self.handle(Input::Tracker { name: tracker, good, planned }, began);
        if changed {
            self.pen.publish();
        }
    }

    /// Hands one input to the service, and does what it orders.
    fn handle(&mut self, input: Input, began: Instant) {
        let now = Instant::now() - self.shared.epoch;
        let planned = match &input {
            Input::Tracker { planned, .. } => *planned,
            Input::Withdraw | Input::Stop | Input::Reload(_) => true,
            Input::Start { .. } | Input::Announce | Input::Woken => false,
        };
        for action in self.service.handle(input, now) {
            match action {
                Action::Announce | Action::Withdraw => {
                    let departs = planned && action == Action::Withdraw;
                    let departing = self.config.addresses.iter().filter(|_| departs);
                    self.departure.addresses = departing.map(|address| address.ip).collect();
                    self.since = began;
                    self.wish();
                }
                Action::Transition(transition) => self.tell(&transition, began),
            }
        }
        let ends = self.deadline();
        self.pen.write(|record| record.ends = ends);
    }

    fn deadline(&self) -> Option<Instant> {
        self.service.next_deadline().map(|deadline| self.shared.epoch + deadline)
    }

    fn next_wake(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        [self.deadline(), self.start_by].into_iter().flatten().min().unwrap_or(far)
    }

    /// Says what is wanted of the interface: before the start, that what is there may stay.
    fn wish(&self) {
        let links = self.links.borrow();
        let link = links.iter().find(|link| link.name == self.config.interface);
        let hold = match self.service.state() {
            State::Announced => Some(Hold::Have),
            State::Init if self.start_by.is_some() => Some(Hold::Keep),
            _ => None,
        };
        let wish = hold.zip(link).map(|(hold, link)| Wish {
            since: self.since,
            ..Wish::of_service(&self.config, link.index, hold)
        });
        self.shared.addresses.wish(&self.config.name, wish, self.departure.clone());
    }

    /// Tells the log, the board, subscribers and hooks of a transition.
    fn tell(&self, transition: &Transition, began: Instant) {
        let Transition { from, to, cause } = transition;
        let name = &self.config.name;
        let reason = self.pen.write(|record| {
            let mut reason = cause.to_string();
            if let Cause::TrackerFailed(tracker) = cause
                && let Some(text) = record.tracker_text(tracker)
            {
                reason = format!("{reason}: {text}");
            }
            record.transition(*to, cause.label(), reason.clone(), began);
            reason
        });
        let took = format!("{:.1} ms", began.elapsed().as_secs_f64() * 1000.0);
        match to {
            State::Fault => tracing::warn!("anycast {name}: {from} -> {to}: {reason} (took {took})"),
            _ => tracing::info!("anycast {name}: {from} -> {to}: {reason} (took {took})"),
        }
        self.pen.publish();
        if let Some(notify) = &self.config.notify {
            self.told.send_replace(Some(Notice {
                owner: name.clone(),
                kind: "ANYCAST",
                state: told(*to),
                serves: *to == State::Announced,
                priority: 0,
                notify: notify.clone(),
            }));
        }
    }
}

/// What a hook is told of a state.
const fn told(state: State) -> &'static str {
    match state {
        State::Announced => "ANNOUNCED",
        State::Leaving => "LEAVING",
        State::Withdrawn => "WITHDRAWN",
        State::Waiting => "WAITING",
        State::Fault => "FAULT",
        State::Init => "STOP",
    }
}

/// The trackers of a service: its interface, the hook where it counts, and those configured.
fn rules(config: &Anycast) -> Vec<TrackerRule> {
    let rule = |name: &str| TrackerRule { name: name.to_owned(), weight: Weight::Fault };
    let notify = config.notify.as_ref().filter(|notify| notify.fault_after.is_some());
    let own = std::iter::once(INTERFACE).chain(notify.map(|_| notify::TRACKER));
    own.map(rule).chain(config.track.iter().map(|tracker| rule(&tracker.name))).collect()
}

fn settings(config: &Anycast) -> Settings {
    Settings { trackers: rules(config), withdraw: config.withdraw, hold_down: config.hold_down }
}
