//! A gateway on the instance's link: good while it answers ARP or neighbour solicitations.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use config::{Instance, TrackTiming};
use futures_util::FutureExt as _;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::verdict::Verdict;
use super::{Reporter, TrackerId};
use crate::election::find;
use crate::net::{Mac, Neighbours, Netlink, NextHops};

/// Old answers that are forgotten before a question. The kernel keeps few more.
const OLD: usize = 256;

/// Asks a gateway for ever.
pub(super) async fn ask(
    id: TrackerId,
    instance: Instance,
    address: Option<IpAddr>,
    timing: TrackTiming,
    mut reporter: Reporter,
) {
    let mut verdict = Verdict::new(timing.rise, timing.fall);
    let mut ticks = interval(timing.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asker = Asker { instance, address, kernel: None, open: None };
    loop {
        ticks.tick().await;
        let (good, text) = match asker.look(timing.timeout).await {
            Ok(gateway) => (true, format!("{gateway} answers")),
            Err(error) => (false, format!("{error:#}")),
        };
        let good = verdict.take(good);
        reporter.report(&id, good, text).await;
    }
}

/// An interface, by its index and hardware address.
type Place = (u32, Option<Mac>);

struct Asker {
    instance: Instance,
    address: Option<IpAddr>,
    kernel: Option<(Netlink, NextHops)>,
    /// Kept from one question to the next: the kernel takes its time to close packet sockets.
    open: Option<(Place, Neighbours)>,
}

impl Asker {
    /// One question: who answered it.
    async fn look(&mut self, patience: Duration) -> anyhow::Result<IpAddr> {
        let (netlink, next_hops) = match &self.kernel {
            Some(open) => open,
            None => self.kernel.insert((Netlink::open()?.0, NextHops::open()?)),
        };
        let links = netlink.links().await?;
        let (link, site) = find(&self.instance, &links, None).map_err(anyhow::Error::msg)?;
        if !link.running {
            bail!("{} is down, or has no carrier", link.name);
        }
        let gateway = match self.address {
            Some(address) => address,
            None => netlink
                .gateway(link.index, site.source.is_ipv6(), next_hops)
                .await?
                .ok_or_else(|| anyhow!("there is no default route through {}", link.name))?,
        };
        let place = (link.index, link.mac);
        let neighbours = match &mut self.open {
            Some((before, neighbours)) if *before == place => neighbours,
            open => &mut open.insert((place, Neighbours::open(link)?)).1,
        };
        let answer = question(neighbours, gateway, site.source, patience).await;
        if answer.is_err() {
            // The next question has new sockets, whatever these have been through.
            self.open = None;
        }
        if answer.with_context(|| format!("cannot ask {gateway} on {}", link.name))? {
            Ok(gateway)
        } else {
            bail!("{gateway} does not answer on {}", link.name)
        }
    }
}

/// Whether the gateway answers.
async fn question(
    neighbours: &Neighbours,
    gateway: IpAddr,
    source: IpAddr,
    patience: Duration,
) -> std::io::Result<bool> {
    neighbours.watch(&[gateway])?;
    for _ in 0..OLD {
        match neighbours.claim().now_or_never() {
            Some(old) => old?,
            None => break,
        };
    }
    neighbours.ask(gateway, source)?;
    match timeout(patience, neighbours.claim()).await {
        Ok(claim) => claim.map(|_| true),
        Err(_) => Ok(false),
    }
}
