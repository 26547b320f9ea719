//! A gateway: good while it answers ARP or neighbour solicitations.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use config::{Instance, TrackTiming, VirtualAddress};
use futures_util::FutureExt as _;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::verdict::Verdict;
use super::{Place, Reporter, TrackerId};
use crate::election::find;
use crate::net::{Link, Mac, Neighbours, Netlink, NextHops};

/// Old answers that are forgotten before a question. The kernel keeps few more.
const OLD: usize = 256;

/// Asks a gateway for ever.
pub(super) async fn ask(
    id: TrackerId,
    place: Place,
    address: Option<IpAddr>,
    timing: TrackTiming,
    mut reporter: Reporter,
) {
    let mut verdict = Verdict::new(timing.rise, timing.fall);
    let mut ticks = interval(timing.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asker = Asker { place, address, kernel: None, open: None };
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
type Interface = (u32, Option<Mac>);

struct Asker {
    place: Place,
    address: Option<IpAddr>,
    kernel: Option<(Netlink, NextHops)>,
    /// Kept from one question to the next: the kernel takes its time to close packet sockets.
    open: Option<(Interface, Neighbours)>,
}

impl Asker {
    /// One question: who answered it.
    async fn look(&mut self, patience: Duration) -> anyhow::Result<IpAddr> {
        let (netlink, next_hops) = match &self.kernel {
            Some(open) => open,
            None => self.kernel.insert((Netlink::open()?.0, NextHops::open()?)),
        };
        let links = netlink.links().await?;
        let Way { link, source, gateway } = match &self.place {
            Place::Of(instance) => on_its_link(instance, self.address, &links, netlink, next_hops).await?,
            Place::Routed => routed(self.address, &links, netlink, next_hops).await?,
        };
        let interface = (link.index, link.mac);
        let neighbours = match &mut self.open {
            Some((before, neighbours)) if *before == interface => neighbours,
            open => &mut open.insert((interface, Neighbours::open(link)?)).1,
        };
        let answer = question(neighbours, gateway, source, patience).await;
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

/// How a gateway is reached.
struct Way<'a> {
    link: &'a Link,
    source: IpAddr,
    gateway: IpAddr,
}

/// The gateway that an instance tracks, on its own interface.
async fn on_its_link<'a>(
    instance: &Instance,
    address: Option<IpAddr>,
    links: &'a [Link],
    netlink: &Netlink,
    next_hops: &NextHops,
) -> anyhow::Result<Way<'a>> {
    let (link, site) = find(instance, links, None).map_err(anyhow::Error::msg)?;
    if !link.running {
        bail!("{} is down, or has no carrier", link.name);
    }
    let gateway = match address {
        Some(address) => address,
        None => netlink
            .gateway(link.index, site.source.is_ipv6(), next_hops)
            .await?
            .ok_or_else(|| anyhow!("there is no default route through {}", link.name))?,
    };
    Ok(Way { link, source: site.source, gateway })
}

/// The gateway that a service tracks: on the interface in whose subnet it is, or the one that the first default route leads through.
async fn routed<'a>(
    address: Option<IpAddr>,
    links: &'a [Link],
    netlink: &Netlink,
    next_hops: &NextHops,
) -> anyhow::Result<Way<'a>> {
    let running = || links.iter().filter(|link| link.running);
    if let Some(gateway) = address {
        let way = |link: &'a Link| Some(Way { link, source: source(link, gateway)?, gateway });
        return running().find_map(way).ok_or_else(|| anyhow!("{gateway} is in no subnet of this node"));
    }
    for ipv6 in [false, true] {
        for link in running() {
            if let Some(gateway) = netlink.gateway(link.index, ipv6, next_hops).await?
                && let Some(source) = source(link, gateway)
            {
                return Ok(Way { link, source, gateway });
            }
        }
    }
    bail!("there is no default route")
}

/// The own address of an interface that is in a subnet with another one.
fn source(link: &Link, other: IpAddr) -> Option<IpAddr> {
    let mut own = link.addresses.iter().filter(|own| own.usable && !own.ours && own.prefix != 0);
    own.find(|own| VirtualAddress { ip: own.ip, prefix: own.prefix }.has_in_subnet(other)).map(|own| own.ip)
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
