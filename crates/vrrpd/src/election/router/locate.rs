//! Where the virtual router takes part: interfaces come, go and change.

use std::net::IpAddr;
use std::time::Instant;

use vrrp::{Input, State};

use super::{RETRY, Router};
use crate::election::place::{Place, Site, find, virtual_addresses};
use crate::election::settings::{INTERFACE, expectations, settings, unspecified};
use crate::net::Link;

impl Router {
    /// Looks for the interface again, since interfaces or addresses have changed.
    pub(super) async fn relocate(&mut self, links: &[Link]) {
        match find(&self.config, links) {
            Ok((link, site)) if link.running => {
                if self.place.as_ref().is_none_or(|place| place.site != site) {
                    self.leave(&format!("{} takes its place", site.name)).await;
                    self.settle(link, site).await;
                }
                self.follow_mac(link).await;
                if self.place.is_some() {
                    self.report_interface(true, &format!("{} is up", link.name)).await;
                    self.keep_addresses(link).await;
                }
            }
            // Sockets on it would not survive.
            Ok((link, _)) => {
                let why = format!("{} is down, or has no carrier", link.name);
                self.leave(&why).await;
                self.report_interface(false, &why).await;
            }
            Err(why) => {
                self.leave(&why).await;
                self.report_interface(false, &why).await;
            }
        }
    }

    /// A new hardware address is nobody's fault, but the network has to learn of it.
    async fn follow_mac(&mut self, link: &Link) {
        let Some(place) = &mut self.place else { return };
        match place.follow(&self.config, link) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(
                    instance = self.config.name,
                    interface = link.name,
                    "the interface has another hardware address"
                );
                if self.instance.state() == State::Master {
                    self.announcer.start(&self.config.gratuitous, Instant::now());
                    self.announce_if_due();
                }
            }
            Err(error) => self.leave(&format!("cannot open sockets on {}: {error}", link.name)).await,
        }
    }

    /// Opens the sockets at a new place.
    pub(super) async fn settle(&mut self, link: &Link, site: Site) {
        let source = site.source;
        let interface = site.name.clone();
        match Place::open(&self.config, link, site) {
            Ok(place) => {
                self.place = Some(place);
                self.retry = None;
                self.receiver.reload(expectations(&self.config, source));
                // Still in Fault, or not started: nothing but the address changes.
                self.handle(Input::Reload(settings(&self.config, source)), Instant::now()).await;
                tracing::info!(instance = self.config.name, interface, %source, "takes part on this interface");
            }
            Err(error) => {
                self.retry = Some(Instant::now() + RETRY);
                self.report_interface(false, &format!("cannot open sockets on {interface}: {error}")).await;
            }
        }
        self.board(|record, router| {
            let site = router.place.as_ref().map(|place| &place.site);
            record.status.interface = site.map(|site| site.name.clone());
            record.status.source = site.map(|site| site.source);
        });
    }

    /// Gives a place up: the election first, while its sockets may still work.
    pub(super) async fn leave(&mut self, why: &str) {
        if self.place.is_some() {
            self.report_interface(false, why).await;
            self.place = None;
            self.retry = Some(Instant::now() + RETRY);
            self.board(|record, _| {
                record.status.interface = None;
                record.status.source = None;
            });
        }
    }

    pub(super) async fn report_interface(&mut self, good: bool, text: &str) {
        let unchanged = self.reports.get(INTERFACE) == Some(&good);
        if unchanged && self.board(|record, _| record.tracker_text(INTERFACE) == Some(text)) {
            return;
        }
        self.report(INTERFACE.to_owned(), good, text).await;
    }

    /// Sockets that listen as is configured now, at the same place.
    pub(super) async fn reopen(&mut self, links: &[Link]) {
        let Ok((link, site)) = find(&self.config, links) else { return };
        match Place::open(&self.config, link, site) {
            Ok(place) => self.place = Some(place),
            Err(error) => self.leave(&format!("cannot open sockets on {}: {error}", link.name)).await,
        }
    }

    /// The interface has the virtual addresses if the election says so, whatever others do to it and whatever failed before.
    async fn keep_addresses(&mut self, link: &Link) {
        if self.start_by.is_some() || !self.differs(link) {
            return;
        }
        // What is known may be older than our own last change.
        let Ok(links) = self.shared.netlink.links().await else { return };
        let Some(link) = links.iter().find(|now| now.index == link.index) else { return };
        let mut restored = 0;
        for address in virtual_addresses(&self.config).collect::<Vec<_>>() {
            let there = link.addresses.iter().find(|own| own.ip == address.ip);
            match (self.holding, there) {
                (true, None) if self.instance.state() == State::Master => {
                    tracing::warn!(
                        instance = self.config.name, %address, interface = link.name,
                        "somebody removed a virtual address; putting it back"
                    );
                    self.add(address).await;
                    restored += 1;
                }
                (false, Some(own)) if own.ours => {
                    tracing::warn!(
                        instance = self.config.name, %address, interface = link.name,
                        "this node has no right to a virtual address that is still here; removing it"
                    );
                    self.remove(address).await;
                }
                _ => {}
            }
        }
        if restored > 0 {
            self.board(|record, _| record.status.counters.addresses_restored += restored);
            self.announcer.start(&self.config.gratuitous, Instant::now());
            self.announce_if_due();
        }
    }

    /// Whether there is a virtual address too many or too few.
    fn differs(&self, link: &Link) -> bool {
        virtual_addresses(&self.config).any(|address| {
            let there = link.addresses.iter().find(|own| own.ip == address.ip);
            there.map_or(self.holding, |own| own.ours && !self.holding)
        })
    }

    pub(super) fn source(&self) -> IpAddr {
        self.place.as_ref().map_or_else(|| unspecified(&self.config), |place| place.site.source)
    }
}
