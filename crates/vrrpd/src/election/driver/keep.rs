//! Connections that outlive a handover: what the instance keeps, or passes on to others.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vrrp::Priority;
use vrrp::keep::{Action, Input, News};
use vrrp::packet::Kind;
use wire::human::things;

use super::Driver;
use crate::addresses::{Departure, Hold, PLANNED, Wish};
use crate::election::place::{is_link_local, virtual_addresses};
use crate::net::Link;
use crate::net::rules::{Part, Rule};

/// Addresses of an instance whose connections can be kept: packets are passed on to the address that adverts come from, which is of their
/// family; and on `lo` a link-local address is another.
pub(crate) fn keepable(config: &config::Instance) -> Vec<IpAddr> {
    let ipv6 = config.addresses.first().is_some_and(|address| address.ip.is_ipv6());
    let all = virtual_addresses(config).map(|address| address.ip);
    all.filter(|ip| ip.is_ipv6() == ipv6 && !is_link_local(*ip)).collect()
}

/// The interface for what is kept.
pub(crate) fn lo(links: &[Link]) -> Option<&Link> {
    links.iter().find(|link| link.name == "lo")
}

impl Driver {
    /// Goes on with what a run that crashed has kept.
    pub(super) fn adopt_kept(&mut self) {
        let links = self.links.borrow().clone();
        let kept = keepable(&self.config);
        let is_kept = |link: &Link| link.addresses.iter().any(|own| own.ours && kept.contains(&own.ip));
        if lo(&links).is_some_and(is_kept) {
            self.depart(None);
            // It is said when somebody can hear it.
            self.keeper.handle(Input::Left, Instant::now() - self.shared.epoch);
        }
    }

    /// From now on the addresses leave as planned, if they leave.
    pub(super) fn depart(&mut self, beside_another: Option<Duration>) {
        let addresses = virtual_addresses(&self.config).map(|address| address.ip).collect();
        self.departure = Departure { addresses, beside_another };
    }

    /// Hands one input to the keeper, and does what it orders.
    pub(super) async fn keep(&mut self, input: Input) {
        let before = self.keeper.plan();
        let actions = self.keeper.handle(input, Instant::now() - self.shared.epoch);
        let has_changed = self.keeper.plan() != before;
        if before.keeps && !self.keeper.plan().keeps {
            // Nobody is waiting: this node has not answered for what was on `lo`.
            self.departure.beside_another = None;
        }
        if has_changed {
            self.wish();
        }
        let keeps = Action::Say { kind: Kind::Keeps, last: false };
        if has_changed && actions.contains(&keeps) {
            self.shared.addresses.come_true(PLANNED).await;
        }
        for action in actions {
            match action {
                Action::Say { kind, last } => {
                    let priority = if last { Priority::RELEASE } else { self.instance.priority() };
                    self.send(kind, priority);
                }
                Action::Tell(news) => self.tell_kept(&news),
            }
        }
        self.show_kept();
    }

    /// When the keeper has something to do.
    pub(super) fn keep_until(&self) -> Option<Instant> {
        self.keeper.next_deadline().map(|deadline| self.shared.epoch + deadline)
    }

    /// Connections have been counted.
    pub(super) async fn count(&mut self) {
        let counts = self.counts.borrow_and_update().clone();
        let counted = keepable(&self.config).into_iter().map(|address| counts.get(&address).copied());
        if let Some(connections) = counted.sum() {
            self.keep(Input::Counted(connections)).await;
        }
    }

    /// Gives up what is kept or passed on, before the end.
    pub(super) async fn keep_no_more(&mut self) {
        let before = self.keeper.plan();
        self.keep(Input::Ends).await;
        if self.keeper.plan() != before {
            self.shared.addresses.come_true(PLANNED).await;
        }
    }

    /// What is wanted of `lo`, and of packets.
    pub(super) fn kept(&self) -> (Option<Wish>, Vec<Rule>) {
        let plan = self.keeper.plan();
        let Some(site) = self.place.as_ref().map(|place| &place.site).filter(|_| plan.mute) else {
            return (self.kept_before(), Vec::new());
        };
        let addresses = keepable(&self.config);
        let part = match plan.keeps {
            true => Part::Keeps { own: site.source },
            false => Part::Passes { interface: site.index, to: plan.passes_to },
        };
        let rules = addresses.iter().map(|address| Rule { address: *address, part: part.clone() });
        let links = self.links.borrow();
        let wish =
            lo(&links).filter(|_| plan.keeps).map(|lo| Wish::for_kept(&addresses, lo.index, Hold::Have));
        (wish, rules.collect())
    }

    /// What a run that crashed has kept stays where it is, until this one has its interface.
    fn kept_before(&self) -> Option<Wish> {
        let links = self.links.borrow();
        let lo = lo(&links).filter(|_| self.keeper.plan().keeps)?;
        Some(Wish::for_kept(&keepable(&self.config), lo.index, Hold::Keep))
    }

    fn tell_kept(&self, news: &News) {
        let name = &self.config.name;
        match news {
            News::Keeps(count) => {
                tracing::info!("VRRP {name}: keeps {}, until they end", things(*count, "connection"));
            }
            News::KeepsNone(why, 0) => tracing::info!("VRRP {name}: keeps no connection any more: {why}"),
            News::KeepsNone(why, left) => {
                tracing::info!("VRRP {name}: keeps no connection any more, of {left} that were left: {why}");
            }
            News::PassesTo(to) => {
                tracing::info!("VRRP {name}: passes packets on to {to}, which keeps connections");
            }
            News::PassesNoMore(to) => tracing::info!("VRRP {name}: passes no packets on to {to} any more"),
        }
    }

    fn show_kept(&self) {
        let (keeps, passes_to) = (self.keeper.kept().filter(|kept| *kept > 0), self.keeper.plan().passes_to);
        let changed = self.board(|record, _| {
            let status = &mut record.status;
            let changed = (status.keeps, &status.passes_to) != (keeps, &passes_to);
            (status.keeps, status.passes_to) = (keeps, passes_to);
            changed
        });
        if changed {
            self.pen.publish();
        }
    }
}
