//! What the instance hears: adverts, believed or not, and claims of its addresses.

use std::net::IpAddr;
use std::time::Instant;

use vrrp::packet::Kind;
use vrrp::{Datagram, Doubt, Input, Priority, ReceiveError, Received, Signed, State};
use wire::human;

use super::{Driver, millis, unix};
use crate::net::Claim;

impl Driver {
    /// Takes in what has arrived, at most so many packets.
    pub(super) async fn receive(&mut self, most: usize) {
        for _ in 0..most {
            let began = Instant::now();
            let Some(place) = &self.place else { return };
            let arrived = match place.adverts.try_receive(&mut self.buffer) {
                Ok(Some(arrived)) => arrived,
                Ok(None) => return,
                Err(error) => {
                    // The interface went down, most likely: netlink tells more.
                    tracing::debug!(instance = self.config.name, %error, "cannot receive");
                    return;
                }
            };
            let payload = &self.buffer[arrived.payload];
            let datagram = Datagram { endpoints: arrived.endpoints, ttl: arrived.ttl, payload };
            match self.receiver.receive(datagram, unix()) {
                Ok(received) => self.heard(&received, began).await,
                // It came before the kernel was told whom to hear.
                Err(ReceiveError::VirtualRouterId(_)) => {}
                Err(error) => self.disbelieve(&error, arrived.endpoints.source, began),
            }
        }
    }

    async fn heard(&mut self, received: &Received, began: Instant) {
        if received.kind != Kind::Advertisement {
            self.board(|record, driver| record.sequences.accepted = driver.receiver.marks().collect());
            // Nobody answers for such a word: a doubtful one counts for nothing.
            if received.signed.is_none_or(|signed| signed.doubt.is_none()) {
                let (source, kind, priority) = (received.source, received.kind, received.advert.priority);
                self.keep(vrrp::keep::Input::Heard { source, kind, priority }).await;
            }
            return;
        }
        let since_last = self.board(|record, driver| {
            record.sequences.accepted = driver.receiver.marks().collect();
            record.heard(received)
        });
        if received.addresses_differ && self.complaints.may_say("addresses", received.source, began) {
            tracing::warn!(
                instance = self.config.name, peer = %received.source,
                "a router lists other virtual addresses than this one: configure the same on all"
            );
        }
        if let Some(Signed { clock_ahead_ms, doubt: Some(doubt) }) = received.signed {
            self.doubt(received.source, clock_ahead_ms, doubt, began);
            self.handle(Input::from(received), began).await;
            return;
        }
        if let Some(late) = since_last.and_then(|gap| gap.checked_sub(received.advert.interval.duration()))
            && self.instance.state() != State::Master
        {
            self.board(|record, _| record.status.counters.advert_lateness.observe(late));
        }
        self.handle(Input::from(received), began).await;
        self.remember_master(received);
    }

    fn doubt(&mut self, peer: IpAddr, clock_ahead_ms: i64, doubt: Doubt, now: Instant) {
        if !self.complaints.may_say(doubt.label(), peer, now) {
            return;
        }
        let instance = &self.config.name;
        let apart = human::duration(clock_ahead_ms.unsigned_abs());
        let direction = if clock_ahead_ms < 0 { "behind" } else { "ahead of" };
        match doubt {
            Doubt::Window => tracing::warn!(
                instance, %peer, error = doubt.label(),
                "clocks differ: {peer} is {apart} {direction} this node, or its advert is a replay; it counts only while \
                 somebody answers for the address: set the clocks right"
            ),
            Doubt::Sequence => tracing::warn!(
                instance, %peer, error = doubt.label(),
                "the clock of {peer} was set back, or its advert is a replay; it counts only while somebody answers for the \
                 address"
            ),
        }
    }

    fn remember_master(&self, received: &Received) {
        if self.instance.state() == State::Backup && received.advert.priority != Priority::RELEASE {
            self.board(|record, _| {
                record.status.master = Some(received.source);
                record.status.master_priority = Some(received.advert.priority.get());
                record.status.interval_ms = millis(received.advert.interval.duration());
            });
        }
    }

    fn disbelieve(&mut self, error: &ReceiveError, source: IpAddr, now: Instant) {
        let label = error.label();
        self.board(|record, _| record.refused(label, error.to_string(), source));
        if self.complaints.may_say(label, source, now) {
            tracing::warn!(instance = self.config.name, peer = %source, error = label, "advert not believed: {error}");
        }
    }

    pub(super) async fn claimed(&mut self, claim: Claim) {
        let now = Instant::now();
        let (before, vouched) = (self.instance.next_deadline(), self.vouched);
        let mac = format_mac(claim.mac);
        match self.instance.state() {
            State::Master => {
                self.board(|record, _| record.claimed(claim.ip, mac.clone()));
                if self.complaints.may_say("conflict", claim.ip, now) {
                    tracing::warn!(
                        instance = self.config.name, address = %claim.ip, mac,
                        "another station claims a virtual address that is here; telling the network again"
                    );
                }
                self.handle(Input::Claimed, now).await;
            }
            // Only an answer to this router's own question counts: others announce their takeover in the same way.
            State::Backup if self.probed.is_some() && self.instance.expects_silence() => {
                self.handle(Input::Claimed, now).await;
                if self.vouched == vouched && self.instance.next_deadline() != before {
                    self.probed = None;
                    self.board(|record, _| record.status.counters.takeovers_delayed += 1);
                    tracing::warn!(
                        instance = self.config.name, address = %claim.ip, mac,
                        "the master is silent, but somebody answers for the address; waiting another interval"
                    );
                }
            }
            State::Init | State::Backup | State::Fault => {}
        }
    }
}

fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
