//! What the configuration of an instance means to the election, and to the checks of adverts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::notify;
use config::Instance;
use vrrp::{Expectations, Senders, Settings, TrackerRule, Weight};

/// The tracker that every instance has: without an interface nobody is master. No name in a file has a blank, and none that
/// is made of what is tracked begins with this word.
pub(crate) const INTERFACE: &str = "own interface";

/// The trackers of the election: the interface, the hook where it counts, and those configured.
pub(super) fn rules(config: &Instance) -> Vec<TrackerRule> {
    let interface = TrackerRule { name: INTERFACE.to_owned(), weight: Weight::Fault };
    let configured =
        config.track.iter().map(|tracker| TrackerRule { name: tracker.name.clone(), weight: tracker.weight });
    let notify = config.notify.as_ref().filter(|notify| notify.fault_after.is_some());
    let notify = notify.map(|_| TrackerRule { name: notify::TRACKER.to_owned(), weight: Weight::Fault });
    std::iter::once(interface).chain(notify).chain(configured).collect()
}

pub(super) fn settings(config: &Instance, own_address: IpAddr) -> Settings {
    Settings {
        version: config.version,
        own_address,
        priority: config.priority,
        interval: config.interval,
        preemption: config.preemption,
        strict: config.strict,
        trackers: rules(config),
    }
}

pub(super) fn expectations(config: &Instance, own_address: IpAddr) -> Expectations {
    Expectations {
        version: config.version,
        virtual_router_id: config.virtual_router_id,
        own_address,
        interval: config.interval,
        addresses: config.addresses.iter().map(|address| address.ip).collect(),
        address_mismatch: config.address_mismatch,
        senders: config.unicast.as_ref().map_or(Senders::Link, |unicast| Senders::Peers {
            addresses: unicast.peers.clone(),
            min_ttl: unicast.min_ttl,
        }),
        authentication: config.authentication.clone(),
    }
}

/// The source address of an instance that has no interface.
pub(super) fn unspecified(config: &Instance) -> IpAddr {
    if config.addresses.first().is_some_and(|address| address.ip.is_ipv6()) {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}
