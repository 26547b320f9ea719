//! What the election orders, in its order.

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use vrrp::keep;
use vrrp::packet::{Advert, Kind, Protection, encode_as};
use vrrp::{Action, Authentication, Cause, Input, Priority, State, Transition};

use super::{Driver, millis, unix};
use crate::addresses::{Departure, FAREWELL, OUTRANKED, PLANNED, beside_successor};
use crate::board::Sheet as _;
use crate::election::place::virtual_addresses;
use crate::net::{AdvertSocket, Neighbours};
use crate::order::Notice;

impl Driver {
    /// Hands one input to the election, and does what it orders, in its order.
    pub(super) async fn handle(&mut self, input: Input, began: Instant) {
        let deadline = self.instance.next_deadline();
        let now = Instant::now() - self.shared.epoch;
        let actions = self.instance.handle(input, now);
        if self.instance.next_deadline() != deadline {
            self.probed = None;
        }
        let mut leaving = false;
        let is_caused = |is_so: fn(&Cause) -> bool| {
            actions.iter().any(|action| matches!(action, Action::Transition(to) if is_so(&to.cause)))
        };
        let peacefully = is_caused(|cause| matches!(cause, Cause::MasterReleased | Cause::Preempted { .. }));
        // An lbd that was told to end goes on with what it has.
        let ends = is_caused(|cause| matches!(cause, Cause::TrackerEnds(_)));
        let moves = ends || is_caused(|cause| matches!(cause, Cause::Released));
        // Whoever hears the farewell knows by then.
        if moves {
            self.keep(keep::Input::Leaves).await;
        }
        let is_planned = moves || is_caused(|cause| matches!(cause, Cause::Stopped));
        let patience = if is_planned { PLANNED } else { FAREWELL };
        let is_outranked = is_caused(|cause| matches!(cause, Cause::Outranked { .. }));
        self.given_away |= is_caused(|cause| matches!(cause, Cause::Released));
        for action in actions {
            match action {
                Action::SendAdvert(priority) => {
                    // Whoever hears the farewell takes over: then the addresses are not here any more.
                    if leaving {
                        self.shared.addresses.come_true(patience).await;
                    }
                    self.send(Kind::Advertisement, priority);
                }
                Action::AddAddresses => {
                    self.holding = true;
                    self.given_away = false;
                    // What a reload has just taken out of the instance leaves all the same.
                    let is_left = |ip: &IpAddr| !virtual_addresses(&self.config).any(|own| own.ip == *ip);
                    self.departure.addresses.retain(is_left);
                    self.departure.beside_another = None;
                    self.keep(keep::Input::Serves { peacefully }).await;
                    self.hold(true, began);
                }
                Action::RemoveAddresses => {
                    self.holding = false;
                    // To a router that lives. In any other state this one could not serve, unless lbd still does.
                    let moved = ends || self.instance.state() == State::Backup;
                    let is_taken =
                        std::mem::take(&mut self.given_away) && self.instance.state() == State::Backup;
                    if is_outranked {
                        self.depart(Some(OUTRANKED));
                    } else if is_taken {
                        self.depart(Some(beside_successor(&self.config.gratuitous)));
                    } else if is_planned {
                        self.depart(None);
                    } else {
                        self.departure = Departure::default();
                    }
                    self.keep(if moved { keep::Input::Left } else { keep::Input::Ends }).await;
                    self.hold(false, began);
                    if is_taken {
                        // Who has asked for it relies on what it is told.
                        self.shared.addresses.come_true(PLANNED).await;
                    }
                    leaving = true;
                }
                Action::SendGratuitous => {
                    self.announcements += 1;
                    self.wish();
                }
                Action::Probe => self.probe(),
                Action::Vouch(source) => self.vouch(source),
                Action::Transition(transition) => self.tell(&transition, began),
            }
        }
        let priority = self.instance.priority().get();
        self.board(|record, _| record.status.priority = priority);
    }

    pub(super) fn send(&mut self, kind: Kind, priority: Priority) {
        let Some(place) = &self.place else { return };
        let advert = Advert {
            version: self.config.version,
            virtual_router_id: self.config.virtual_router_id,
            priority,
            interval: self.config.interval,
            addresses: self.config.addresses.iter().map(|address| address.ip).collect(),
        };
        let group = [AdvertSocket::group(place.site.source.is_ipv6())];
        let destinations = self.config.unicast.as_ref().map_or(&group[..], |unicast| &unicast.peers);
        let (mut sent, mut failed, mut signed) = (0, 0, None);
        for destination in destinations {
            let protection = match &self.config.authentication {
                Authentication::None => Protection::None,
                Authentication::Password(password) => Protection::Password(*password),
                Authentication::Hmac { mode, .. } if !mode.signs() => Protection::None,
                Authentication::Hmac { keys, window, .. } => {
                    let sequence = self.sequencer.next(unix(), *window);
                    signed = Some(sequence);
                    Protection::Hmac(keys, sequence)
                }
            };
            let endpoints = place.adverts.endpoints(*destination);
            let outcome = encode_as(kind, &advert, endpoints, self.config.checksum, protection)
                .map_err(io::Error::other)
                .and_then(|bytes| place.adverts.send(&bytes, *destination));
            match outcome {
                Ok(()) => sent += 1,
                Err(error) => {
                    failed += 1;
                    if self.complaints.may_say("send", *destination, Instant::now()) {
                        tracing::warn!(instance = self.config.name, %destination, %error, "cannot send an advert");
                    }
                }
            }
        }
        let is_advert = kind == Kind::Advertisement;
        let release = is_advert && priority == Priority::RELEASE;
        self.board(|record, _| {
            record.sequences.sent = signed.or(record.sequences.sent);
            record.status.counters.adverts_sent += if is_advert { sent } else { 0 };
            record.status.counters.releases_sent += if release { sent } else { 0 };
            record.status.counters.send_errors += failed;
        });
    }

    /// Somebody answers for the addresses, so that this router's doubtful adverts are no recording.
    fn vouch(&mut self, source: IpAddr) {
        self.vouched += 1;
        self.receiver.vouch(source);
        self.board(|record, driver| {
            record.sequences.accepted = driver.receiver.marks().collect();
            let priority =
                record.status.peers.iter().find(|peer| peer.address == source).map(|peer| peer.priority);
            record.status.master = Some(source);
            record.status.master_priority = priority;
        });
    }

    /// Does something with each virtual address on the network; how often it worked.
    pub(super) fn each_address(&self, mut what: impl FnMut(&Neighbours, IpAddr) -> io::Result<()>) -> u64 {
        let Some(neighbours) = self.place.as_ref().and_then(|place| place.neighbours.as_ref()) else {
            return 0;
        };
        let mut done = 0;
        for address in virtual_addresses(&self.config) {
            match what(neighbours, address.ip) {
                Ok(()) => done += 1,
                Err(error) => {
                    tracing::debug!(instance = self.config.name, %address, %error, "cannot speak of the address");
                }
            }
        }
        done
    }

    /// Tells the log, the board, subscribers and hooks of a transition.
    fn tell(&self, transition: &Transition, began: Instant) {
        let Transition { from, to, cause } = transition;
        let name = &self.config.name;
        let own = self.place.as_ref().map(|place| place.site.source);
        let priority = self.instance.priority().get();
        let reason = self.board(|record, driver| {
            let mut reason = cause.to_string();
            if let Cause::TrackerFailed(tracker) | Cause::TrackerEnds(tracker) = cause
                && let Some(text) = record.tracker_text(tracker)
            {
                reason = format!("{reason}: {text}");
            }
            record.transition(*to, cause.label(), reason.clone(), began);
            match to {
                State::Master => {
                    record.status.master = own;
                    record.status.master_priority = Some(priority);
                    record.status.interval_ms = millis(driver.config.interval.duration());
                }
                State::Backup | State::Init | State::Fault => {
                    record.status.master = None;
                    record.status.master_priority = None;
                }
            }
            if let Cause::Outranked { by, priority } = cause {
                record.status.master = Some(*by);
                record.status.master_priority = Some(priority.get());
            }
            reason
        });
        let took = format!("{:.1} ms", began.elapsed().as_secs_f64() * 1000.0);
        match to {
            State::Fault => tracing::warn!("VRRP {name}: {from} -> {to}: {reason} (took {took})"),
            State::Init | State::Backup | State::Master => {
                tracing::info!("VRRP {name}: {from} -> {to}: {reason} (took {took})");
            }
        }
        self.pen.publish();
        if let Some(notify) = &self.config.notify {
            let notice = Notice {
                owner: name.clone(),
                kind: "INSTANCE",
                state: told(*to),
                serves: *to == State::Master,
                priority,
                notify: notify.clone(),
            };
            self.told.send_replace(Some(notice));
        }
    }
}

/// keepalived's word for a state.
const fn told(state: State) -> &'static str {
    match state {
        State::Master => "MASTER",
        State::Backup => "BACKUP",
        State::Fault => "FAULT",
        State::Init => "STOP",
    }
}
