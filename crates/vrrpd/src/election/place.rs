//! Where an instance takes part: an interface, the address that adverts are sent from, and the sockets there.

use std::io;
use std::net::IpAddr;

use config::{Instance, Unicast, VirtualAddress};

use crate::net::{AdvertSocket, Claim, Link, LinkAddress, Mac, Neighbours};

/// A place that could be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) source: IpAddr,
}

/// Finds the interface of an instance, and its own address there: the one of before, as long as it is there.
///
/// # Errors
/// In words, why there is none.
pub(crate) fn find<'a>(
    instance: &Instance,
    links: &'a [Link],
    before: Option<&Site>,
) -> Result<(&'a Link, Site), String> {
    let link =
        match &instance.interface {
            Some(name) => links
                .iter()
                .find(|link| link.name == *name)
                .ok_or_else(|| format!("there is no interface {name}"))?,
            None => links.iter().find(|link| link.name != "lo" && has_subnet_of(instance, link)).ok_or_else(
                || format!("no interface has an address in the subnet of {}", list(&instance.addresses)),
            )?,
        };
    let before = before.filter(|site| site.index == link.index).map(|site| site.source);
    let source = source(instance, link, before).ok_or_else(|| {
        let unusable = own_addresses(instance, link).any(|own| !own.usable);
        let but = if unusable {
            ": those that are tentative, duplicate, deprecated or temporary are none"
        } else {
            ""
        };
        format!("{} has no address to send adverts from{but}", link.name)
    })?;
    Ok((link, Site { index: link.index, name: link.name.clone(), source }))
}

/// Whether an interface, by its own addresses, is on the link of the virtual ones.
fn has_subnet_of(instance: &Instance, link: &Link) -> bool {
    own_addresses(instance, link).any(|own| {
        let own = VirtualAddress { ip: own.ip, prefix: own.prefix };
        instance.addresses.iter().any(|address| own.prefix != 0 && own.has_in_subnet(address.ip))
            && !is_link_local(own.ip)
    })
}

/// The address that adverts are sent from: never a virtual one. IPv6 multicast needs a link-local one.
fn source(instance: &Instance, link: &Link, before: Option<IpAddr>) -> Option<IpAddr> {
    let ipv6 = instance.addresses.first()?.ip.is_ipv6();
    let fits = |ip: &IpAddr| match &instance.unicast {
        Some(Unicast { source: Some(wanted), .. }) => ip == wanted,
        Some(unicast) => is_link_local(*ip) == unicast.peers.first().is_some_and(|peer| is_link_local(*peer)),
        None => !ipv6 || is_link_local(*ip),
    };
    let own = own_addresses(instance, link).filter(|own| own.usable).map(|own| own.ip);
    let fitting: Vec<IpAddr> = own.filter(|ip| ip.is_ipv6() == ipv6 && fits(ip)).collect();
    before.filter(|ip| fitting.contains(ip)).or_else(|| fitting.first().copied())
}

fn own_addresses<'a>(instance: &'a Instance, link: &'a Link) -> impl Iterator<Item = &'a LinkAddress> + 'a {
    link.addresses
        .iter()
        .filter(|own| !own.ours && !virtual_addresses(instance).any(|address| address.ip == own.ip))
}

/// All addresses that move.
pub(crate) fn virtual_addresses(instance: &Instance) -> impl Iterator<Item = VirtualAddress> + '_ {
    instance.addresses.iter().chain(&instance.excluded).copied()
}

pub(super) const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn list(addresses: &[VirtualAddress]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The sockets of an instance on its interface.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) site: Site,
    pub(super) adverts: AdvertSocket,
    /// The interface's hardware address when `neighbours` was opened.
    mac: Option<Mac>,
    /// None on an interface without Ethernet addresses.
    pub(super) neighbours: Option<Neighbours>,
}

fn neighbours(link: &Link) -> io::Result<Option<Neighbours>> {
    link.mac.map(|_| Neighbours::open(link)).transpose()
}

/// What happens at a place.
#[derive(Debug)]
pub(super) enum Event {
    /// Adverts may have arrived.
    Adverts,
    /// Somebody else claims a virtual address.
    Claim(Claim),
    /// The sockets cannot be used any more.
    Lost(io::Error),
}

impl Place {
    pub(super) fn open(instance: &Instance, link: &Link, site: Site) -> io::Result<Self> {
        let multicast = instance.unicast.is_none();
        let adverts =
            AdvertSocket::open(site.index, &site.name, site.source, instance.virtual_router_id, multicast)?;
        let place = Self { site, adverts, mac: link.mac, neighbours: neighbours(link)? };
        place.watch(instance)?;
        Ok(place)
    }

    /// Speaks for another hardware address, if the interface has got one: a bond changes it without going down. Whether it has.
    pub(super) fn follow(&mut self, instance: &Instance, link: &Link) -> io::Result<bool> {
        if self.mac == link.mac {
            return Ok(false);
        }
        self.neighbours = neighbours(link)?;
        self.mac = link.mac;
        self.watch(instance).map(|()| true)
    }

    /// Listens for the instance, and for claims of its addresses.
    pub(super) fn watch(&self, instance: &Instance) -> io::Result<()> {
        self.adverts.hear(instance.virtual_router_id)?;
        let addresses: Vec<IpAddr> = virtual_addresses(instance).map(|address| address.ip).collect();
        self.neighbours.as_ref().map_or(Ok(()), |neighbours| neighbours.watch(&addresses))
    }

    /// The next event. Cancel safe.
    pub(super) async fn event(&self) -> Event {
        let claim = async {
            match &self.neighbours {
                Some(neighbours) => neighbours.claim().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            readable = self.adverts.readable() => match readable {
                Ok(()) => Event::Adverts,
                Err(error) => Event::Lost(error),
            },
            claim = claim => match claim {
                Ok(claim) => Event::Claim(claim),
                Err(error) => Event::Lost(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn link(index: u32, name: &str, addresses: &[(&str, u8, bool)]) -> Link {
        let addresses = addresses
            .iter()
            .map(|(ip, prefix, ours)| LinkAddress {
                ip: ip.parse().unwrap(),
                prefix: *prefix,
                ours: *ours,
                usable: true,
            })
            .collect();
        Link {
            index,
            name: name.to_owned(),
            running: true,
            mac: Some([2, 0, 0, 0, 0, 1]),
            carrier_ups: 1,
            promotes: false,
            addresses,
        }
    }

    fn instance(interface: Option<&str>, addresses: &[&str]) -> Instance {
        let addresses = addresses
            .iter()
            .map(|text| {
                let (ip, prefix) = text.split_once('/').unwrap();
                VirtualAddress { ip: ip.parse().unwrap(), prefix: prefix.parse().unwrap() }
            })
            .collect();
        Instance {
            name: "web".to_owned(),
            interface: interface.map(str::to_owned),
            version: vrrp::Version::V3,
            virtual_router_id: vrrp::VirtualRouterId::new(51).unwrap(),
            priority: vrrp::Priority::DEFAULT,
            interval: vrrp::AdvertInterval::new(vrrp::Version::V3, Duration::from_secs(1)).unwrap(),
            addresses,
            excluded: Vec::new(),
            preemption: vrrp::Preemption::default(),
            strict: false,
            unicast: None,
            authentication: vrrp::Authentication::None,
            key_files: Vec::new(),
            checksum: vrrp::packet::ChecksumForm::default(),
            address_mismatch: vrrp::AddressMismatch::default(),
            track: Vec::new(),
            gratuitous: config::Gratuitous {
                repeat: 5,
                interval: Duration::from_millis(100),
                delay: None,
                refresh: None,
            },
            probe: None,
            keep_connections: None,
            notify: None,
        }
    }

    fn found(instance: &Instance, links: &[Link]) -> Result<(String, String), String> {
        find(instance, links, None).map(|(link, site)| (link.name.clone(), site.source.to_string()))
    }

    #[test]
    fn the_interface_is_the_one_in_the_virtual_addresses_subnet() {
        let links = [
            link(1, "lo", &[("127.0.0.1", 8, false)]),
            link(2, "eth0", &[("192.0.2.7", 24, false)]),
            link(9, "eth1", &[("10.0.0.100", 16, true), ("10.0.0.11", 16, false), ("fe80::1", 64, false)]),
        ];
        let eth1 = Ok(("eth1".to_owned(), "10.0.0.11".to_owned()));
        assert_eq!(found(&instance(None, &["10.0.0.100/16"]), &links), eth1);
        assert_eq!(
            found(&instance(None, &["10.0.0.100/32"]), &links),
            eth1,
            "the interface's prefix decides"
        );
        assert!(found(&instance(None, &["203.0.113.1/24"]), &links).unwrap_err().contains("203.0.113.1/24"));
        let named = instance(Some("eth0"), &["10.0.0.100/16"]);
        assert_eq!(found(&named, &links), Ok(("eth0".to_owned(), "192.0.2.7".to_owned())));
        assert!(found(&instance(Some("eth7"), &["10.0.0.100/16"]), &links).unwrap_err().contains("eth7"));
    }

    #[test]
    fn a_virtual_address_is_never_the_source() {
        let links = [link(2, "eth0", &[("10.0.0.100", 16, false)])];
        let error = found(&instance(Some("eth0"), &["10.0.0.100/16"]), &links).unwrap_err();
        assert!(error.contains("no address to send adverts from"), "{error}");
    }

    #[test]
    fn the_source_of_before_stays_and_one_that_cannot_be_used_is_none() {
        let mut links = [link(2, "eth0", &[("10.0.0.1", 16, false), ("10.0.0.2", 16, false)])];
        let instance = instance(None, &["10.0.0.100/16"]);
        let source = |links: &[Link], before: &str| {
            let before = Site { index: 2, name: "eth0".to_owned(), source: before.parse().unwrap() };
            find(&instance, links, Some(&before)).map(|(_, site)| site.source.to_string())
        };
        assert_eq!(source(&links, "10.0.0.2"), Ok("10.0.0.2".to_owned()));
        assert_eq!(source(&links, "10.0.0.3"), Ok("10.0.0.1".to_owned()), "it is gone");
        links[0].addresses[0].usable = false;
        assert_eq!(source(&links, "10.0.0.1"), Ok("10.0.0.2".to_owned()));
        links[0].addresses[1].usable = false;
        assert!(source(&links, "10.0.0.1").unwrap_err().contains("tentative"));
    }

    #[test]
    fn adverts_over_ipv6_come_from_the_link_local_address() {
        let links = [link(2, "eth0", &[("2001:db8::11", 64, false), ("fe80::11", 64, false)])];
        let instance = instance(None, &["fe80::100/64", "2001:db8::100/64"]);
        assert_eq!(found(&instance, &links), Ok(("eth0".to_owned(), "fe80::11".to_owned())));
    }
}
