//! Where the instance takes part: interfaces come, go and change.

use std::net::IpAddr;
use std::time::Instant;

use vrrp::Input;

use super::{BORNE, Driver, RETRY};
use crate::board::Sheet as _;
use crate::election::place::{Place, Site, find};
use crate::election::settings::{INTERFACE, expectations, settings, unspecified};
use crate::net::Link;
use crate::order::Report;

impl Driver {
    /// Looks for the interface again, since interfaces or addresses have changed.
    pub(super) async fn relocate(&mut self) {
        let links = self.links.borrow_and_update().clone();
        let before = self.place.as_ref().map(|place| &place.site);
        match find(&self.config, &links, before) {
            Ok((link, site)) if link.running => {
                self.missing_since = None;
                if before != Some(&site) {
                    // Mastership depends on the interface, not on which of its addresses adverts come from.
                    if before.is_none_or(|before| (before.index, &before.name) != (site.index, &site.name)) {
                        self.leave(&format!("{} takes its place", site.name)).await;
                    }
                    self.settle(link, site).await;
                }
                self.follow_mac(link).await;
                if self.place.is_some() {
                    self.report_interface(true, &format!("{} is up", link.name)).await;
                }
            }
            Err(why) if self.bears(&links) => {
                tracing::warn!(
                    instance = self.config.name,
                    "{why}; adverts go on from the address of before for a while"
                );
                self.report_interface(true, &why).await;
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

    /// Whether it is borne that the source address is missing on an interface that runs: those who manage addresses remove
    /// them for a moment. Adverts go on from it meanwhile, and if it stays away, the farewell does too.
    fn bears(&mut self, links: &[Link]) -> bool {
        let Some(Place { site, .. }) = &self.place else { return false };
        let link = links.iter().find(|link| (link.index, &link.name) == (site.index, &site.name));
        let is_meant = self.config.interface.as_ref().is_none_or(|name| *name == site.name);
        let is_missing =
            |link: &Link| !link.addresses.iter().any(|own| own.ip == site.source && own.usable && !own.ours);
        if !is_meant || !link.is_some_and(|link| link.running && is_missing(link)) {
            return false;
        }
        let until = *self.missing_since.get_or_insert_with(Instant::now) + BORNE;
        self.retry = Some(until);
        Instant::now() < until
    }

    /// A new hardware address is nobody's fault.
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
                self.wish();
                self.receiver.reload(expectations(&self.config, source));
                // Still in Fault, or not started: nothing but the address changes.
                self.handle(Input::Reload(settings(&self.config, source)), Instant::now()).await;
                tracing::info!(instance = self.config.name, interface, %source, "takes part on this interface");
            }
            Err(error) => {
                let why = format!("cannot open sockets on {interface}: {error}");
                self.leave(&why).await;
                self.retry = Some(Instant::now() + RETRY);
                self.report_interface(false, &why).await;
            }
        }
        self.board(|record, driver| {
            let site = driver.place.as_ref().map(|place| &place.site);
            record.status.interface = site.map(|site| site.name.clone());
            record.status.source = site.map(|site| site.source);
        });
    }

    /// Gives a place up: the election first, while its sockets may still work.
    pub(super) async fn leave(&mut self, why: &str) {
        if self.place.is_some() {
            self.report_interface(false, why).await;
            // When the interface is back, nobody knows who has the addresses.
            self.keep_no_more().await;
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
        let report = if good { Report::Good } else { Report::Fails };
        self.report(INTERFACE.to_owned(), report, text).await;
    }

    /// Sockets that listen as is configured now, at the same place.
    pub(super) async fn reopen(&mut self) {
        let links = self.links.borrow().clone();
        let Ok((link, site)) = find(&self.config, &links, self.place.as_ref().map(|place| &place.site))
        else {
            return;
        };
        match Place::open(&self.config, link, site) {
            Ok(place) => self.place = Some(place),
            Err(error) => self.leave(&format!("cannot open sockets on {}: {error}", link.name)).await,
        }
    }

    pub(super) fn source(&self) -> IpAddr {
        self.place.as_ref().map_or_else(|| unspecified(&self.config), |place| place.site.source)
    }
}
