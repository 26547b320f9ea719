//! What the instance hears: adverts, believed or not, and claims of its addresses.

use std::net::IpAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use vrrp::{Datagram, Input, Priority, ReceiveError, Received, State};

use super::{Driver, millis};
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
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            match self.receiver.receive(datagram, unix) {
                Ok(received) => {
                    let since_last = self.board(|record, _| record.heard(&received));
                    let is_master = self.instance.state() == State::Master;
                    if let Some(late) =
                        since_last.and_then(|gap| gap.checked_sub(received.advert.interval.duration()))
                        && !is_master
                    {
                        self.board(|record, _| record.status.counters.advert_lateness.observe(late));
                    }
                    if received.addresses_differ
                        && self.complaints.may_say("addresses", received.source, began)
                    {
                        tracing::warn!(
                            instance = self.config.name, peer = %received.source,
                            "a router lists other virtual addresses than this one: configure the same on all"
                        );
                    }
                    self.handle(Input::from(&received), began).await;
                    self.remember_master(&received);
                }
                // It came before the kernel was told whom to hear.
                Err(ReceiveError::VirtualRouterId(_)) => {}
                Err(error) => self.disbelieve(&error, arrived.endpoints.source, began),
            }
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
        self.board(|record, _| {
            *record.status.counters.receive_errors.entry(label.to_owned()).or_default() += 1;
        });
        if self.complaints.may_say(label, source, now) {
            tracing::warn!(instance = self.config.name, peer = %source, error = label, "advert not believed: {error}");
        }
    }

    pub(super) async fn claimed(&mut self, claim: Claim) {
        let now = Instant::now();
        let before = self.instance.next_deadline();
        let mac = format_mac(claim.mac);
        match self.instance.state() {
            State::Master => {
                self.board(|record, _| record.status.counters.conflicts += 1);
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
                if self.instance.next_deadline() != before {
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
