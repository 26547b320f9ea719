//! What is to be done so that interfaces have what is wished for. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use config::VirtualAddress;

use super::{Hold, Wish};
use crate::net::Link;

/// One change of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Remove { index: u32, address: VirtualAddress },
    Add { index: u32, address: VirtualAddress },
}

impl Step {
    pub(super) const fn index(self) -> u32 {
        match self {
            Self::Remove { index, .. } | Self::Add { index, .. } => index,
        }
    }

    pub(super) const fn address(self) -> VirtualAddress {
        match self {
            Self::Remove { address, .. } | Self::Add { address, .. } => address,
        }
    }

    /// What is there once the step is taken.
    pub(super) fn added(self) -> Option<(u32, VirtualAddress)> {
        match self {
            Self::Remove { .. } => None,
            Self::Add { index, address } => Some((index, address)),
        }
    }
}

/// All that differs. Removals come first: an address that moves between interfaces is never on both, unless one is `lo`.
pub(super) fn steps(links: &[Link], wishes: &BTreeMap<String, Wish>) -> Vec<Step> {
    let is_wished =
        |index, address| wishes.values().any(|wish| wish.index == index && wish.addresses.contains(&address));
    let ours = links.iter().flat_map(|link| addresses(link).map(|address| (link.index, address)));
    let too_many = ours.filter(|(index, address)| !is_wished(*index, *address));
    // RFC 9568 section 6.4.2: "It MUST NOT respond to ARP requests for the IPv4 address(es) associated with the Virtual Router."
    // The kernel answers for what is on an interface, and for nothing else.
    let mut steps: Vec<Step> = too_many.map(|(index, address)| Step::Remove { index, address }).collect();
    // RFC 9568 section 6.4.3: "It MUST respond to ARP requests for the IPv4 address(es) associated with the Virtual Router."
    for wish in wishes.values().filter(|wish| wish.hold == Hold::Have) {
        for address in wish.addresses.iter().copied().filter(|address| !has(links, wish.index, *address)) {
            let add = Step::Add { index: wish.index, address };
            if !steps.contains(&add) {
                steps.push(add);
            }
        }
    }
    // Connections that outlive a move to `lo`, or back, have their address all the time.
    let is_lo = |step: &Step| links.iter().any(|link| link.index == step.index() && link.name == "lo");
    steps.sort_by_key(|step| match step {
        Step::Add { .. } if is_lo(step) => 0,
        Step::Remove { .. } if !is_lo(step) => 1,
        Step::Add { .. } => 2,
        Step::Remove { .. } => 3,
    });
    steps
}

/// The addresses that are nowhere on this node once these steps are taken.
pub(super) fn leaving(links: &[Link], steps: &[Step]) -> BTreeSet<IpAddr> {
    let goes =
        |index, ip, prefix| steps.contains(&Step::Remove { index, address: VirtualAddress { ip, prefix } });
    let stays = |ip| {
        let on_link = |link: &Link| {
            link.addresses.iter().any(|own| own.ip == ip && !goes(link.index, own.ip, own.prefix))
        };
        links.iter().any(on_link) || steps.iter().filter_map(|step| step.added()).any(|(_, new)| new.ip == ip)
    };
    let removed = steps.iter().filter(|step| matches!(step, Step::Remove { .. }));
    removed.map(|step| step.address().ip).filter(|ip| !stays(*ip)).collect()
}

/// Whether an interface has an address, with our mark.
pub(super) fn has(links: &[Link], index: u32, address: VirtualAddress) -> bool {
    links.iter().any(|link| link.index == index && addresses(link).any(|own| own == address))
}

/// The addresses with our mark.
fn addresses(link: &Link) -> impl Iterator<Item = VirtualAddress> {
    let ours = link.addresses.iter().filter(|own| own.ours);
    ours.map(|own| VirtualAddress { ip: own.ip, prefix: own.prefix })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use config::Gratuitous;

    use super::*;
    use crate::net::LinkAddress;

    fn address(text: &str) -> VirtualAddress {
        let (ip, prefix) = text.split_once('/').unwrap();
        VirtualAddress { ip: ip.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    fn link(index: u32, ours: &[&str], theirs: &[&str]) -> Link {
        let own = |text: &&str, ours| {
            let VirtualAddress { ip, prefix } = address(text);
            LinkAddress { ip, prefix, ours, usable: true }
        };
        let addresses =
            ours.iter().map(|text| own(text, true)).chain(theirs.iter().map(|text| own(text, false)));
        let addresses = addresses.collect();
        Link {
            index,
            name: format!("eth{index}"),
            running: true,
            mac: None,
            carrier_ups: 1,
            promotes: false,
            addresses,
        }
    }

    fn wish(index: u32, hold: Hold, addresses: &[&str]) -> Wish {
        let gratuitous = Gratuitous { repeat: 1, interval: Duration::ZERO, delay: None, refresh: None };
        let addresses = addresses.iter().map(|text| address(text)).collect();
        Wish { index, addresses, hold, gratuitous, announcements: 0, since: Instant::now() }
    }

    fn planned(links: &[Link], wishes: &[Wish]) -> Vec<String> {
        let wishes =
            wishes.iter().enumerate().map(|(number, wish)| (number.to_string(), wish.clone())).collect();
        let told = |step: &Step| match step {
            Step::Remove { index, address } => format!("- {index} {address}"),
            Step::Add { index, address } => format!("+ {index} {address}"),
        };
        steps(links, &wishes).iter().map(told).collect()
    }

    #[test]
    fn what_is_wanted_comes_and_what_nobody_wants_goes() {
        let links = [link(2, &["10.9.0.101/24"], &["10.9.0.1/24"]), link(3, &["10.8.0.7/32"], &[])];
        let have = wish(2, Hold::Have, &["10.9.0.100/24", "10.9.0.101/24"]);
        assert_eq!(planned(&links, &[have]), ["- 3 10.8.0.7/32", "+ 2 10.9.0.100/24"]);
        assert_eq!(planned(&links, &[]), ["- 2 10.9.0.101/24", "- 3 10.8.0.7/32"]);
    }

    #[test]
    fn what_may_stay_is_neither_added_nor_removed() {
        let links = [link(2, &["10.9.0.101/24"], &["10.9.0.1/24"])];
        let keep = wish(2, Hold::Keep, &["10.9.0.100/24", "10.9.0.101/24"]);
        assert_eq!(planned(&links, &[keep]), [""; 0]);
    }

    #[test]
    fn an_address_leaves_the_interface_that_it_was_on_and_its_old_prefix() {
        let links = [link(2, &["10.9.0.100/24"], &[]), link(3, &[], &[])];
        let moved = wish(3, Hold::Have, &["10.9.0.100/24"]);
        assert_eq!(planned(&links, &[moved]), ["- 2 10.9.0.100/24", "+ 3 10.9.0.100/24"]);
        let narrower = wish(2, Hold::Have, &["10.9.0.100/32"]);
        assert_eq!(planned(&links, &[narrower]), ["- 2 10.9.0.100/24", "+ 2 10.9.0.100/32"]);
    }

    #[test]
    fn what_moves_or_is_somebody_elses_as_well_does_not_leave() {
        let lo = Link { name: "lo".to_owned(), ..link(1, &["10.9.0.103/32"], &[]) };
        let links = [
            lo,
            link(2, &["10.9.0.100/24", "10.9.0.101/24", "10.9.0.102/24"], &[]),
            link(3, &[], &["10.9.0.102/32"]),
        ];
        let moves = wish(1, Hold::Have, &["10.9.0.101/32"]);
        let wishes = BTreeMap::from([("web (kept)".to_owned(), moves)]);
        let left = |wishes| {
            leaving(&links, &steps(&links, wishes)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(left(&wishes), ["10.9.0.100", "10.9.0.103"]);
        assert_eq!(left(&BTreeMap::new()), ["10.9.0.100", "10.9.0.101", "10.9.0.103"]);
    }

    #[test]
    fn an_address_that_somebody_else_has_added_is_marked_and_never_removed() {
        let links = [link(2, &[], &["10.9.0.100/24"])];
        assert_eq!(planned(&links, &[wish(2, Hold::Have, &["10.9.0.100/24"])]), ["+ 2 10.9.0.100/24"]);
        assert_eq!(planned(&links, &[]), [""; 0]);
    }
}
