//! What is allowed in a `vrrp.yaml`, but probably not meant.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use vrrp::{Authentication, Preemption, Priority, Version, Weight};

use crate::read::{Report, quoted};
use crate::scalar::show_duration;
use crate::yaml::Node;
use crate::{
    Checked, Content, Diagnostic, Instance, Severity, TrackTarget, Tracker, VirtualAddress, VrrpConfig,
};

/// Remarks on a whole file in which nothing is wrong.
pub(super) fn check(report: &Report, file: &Node, config: &VrrpConfig) {
    for (index, instance) in config.instances.iter().enumerate() {
        let remarks = Remarks { report, file, instance };
        remarks.addresses();
        remarks.timing(config.vrrpd.realtime.is_some());
        remarks.ineffective_keys();
        remarks.unasked();
        remarks.trackers();
        for earlier in &config.instances[..index] {
            remarks.compare(earlier);
        }
    }
}

impl Checked {
    /// Instances without an interface, by name or by subnet, on a machine that has these addresses on its interfaces.
    /// Only the node itself can say so.
    pub fn off_link(&self, own: &[VirtualAddress]) -> Vec<Diagnostic> {
        let Content::Vrrp(config) = &self.content else { return Vec::new() };
        let is_off = |instance: &&Instance| {
            let moves =
                |ip| instance.addresses.iter().chain(&instance.excluded).any(|address| address.ip == ip);
            let has = |own: &VirtualAddress| instance.addresses.iter().any(|one| own.has_in_subnet(one.ip));
            let counts = |own: &&VirtualAddress| own.prefix != 0 && !moves(own.ip) && !is_link_local(own.ip);
            instance.interface.is_none() && !own.iter().filter(counts).any(has)
        };
        let remark = |instance: &Instance| {
            let path = ["instances", instance.name.as_str(), "virtual_addresses"];
            let doubt = format!(
                "instance {} has virtual addresses outside every subnet of this machine",
                quoted(&instance.name)
            );
            self.remark(
                Severity::Warning,
                &path,
                doubt,
                "if this is its node: give an interface an address in that subnet, or name one with interface; until \
                 then vrrpd waits in state fault",
            )
        };
        config.instances.iter().filter(is_off).map(remark).collect()
    }

    /// Interfaces that instances and services are for, or track, and that a machine with these does not have.
    pub fn absent_interfaces(&self, present: &BTreeSet<String>) -> Vec<Diagnostic> {
        let Content::Vrrp(config) = &self.content else { return Vec::new() };
        let absent = |name: &&String| !present.contains(*name);
        let mut found = Vec::new();
        let mut warn = |path: &[&str], doubt: String, name: &str, state: &str| {
            let likely = crate::nearest(name, present.iter().map(String::as_str));
            let likely = likely.map_or_else(String::new, |near| format!(", perhaps {}", quoted(near)));
            let help =
                format!("if this is its node: name one that \"ip link\" shows{likely}; until then {state}");
            found.push(self.remark(Severity::Warning, path, doubt, &help));
        };
        let instances = config.instances.iter();
        let instances =
            instances.map(|one| ("instances", "instance", &one.name, one.interface.as_ref(), &one.track));
        let services = config.anycast.iter();
        let services =
            services.map(|one| ("anycast", "service", &one.name, Some(&one.interface), &one.track));
        for (section, kind, name, interface, track) in instances.chain(services) {
            if let Some(absent) = interface.filter(absent) {
                let doubt = format!(
                    "{kind} {} is for {absent}, an interface that this machine does not have",
                    quoted(name)
                );
                warn(&[section, name, "interface"], doubt, absent, "vrrpd waits in state fault");
            }
            for (index, tracker) in track.iter().enumerate() {
                if let TrackTarget::Interface(tracked) = &tracker.target
                    && absent(&tracked)
                {
                    let doubt = format!(
                        "{kind} {} tracks {tracked}, an interface that this machine does not have",
                        quoted(name)
                    );
                    let path = [section, name, "track", &index.to_string(), "interface"];
                    warn(&path, doubt, tracked, "it counts as failed");
                }
            }
        }
        found
    }

    /// Whether a machine with this file is to keep connections.
    pub fn keeps_connections(&self) -> bool {
        matches!(&self.content, Content::Vrrp(config) if config.instances.iter().any(keeps))
    }

    /// Instances that are to keep connections, on a machine that cannot for that reason.
    pub fn unable_to_keep(&self, lack: &dyn Display) -> Vec<Diagnostic> {
        let Content::Vrrp(config) = &self.content else { return Vec::new() };
        let remark = |instance: &Instance| {
            let path = ["instances", instance.name.as_str(), "keep_connections"];
            let doubt = format!(
                "instance {} has keep_connections, and this machine cannot keep them: {lack}",
                quoted(&instance.name)
            );
            let help = "if this is its node: give it a kernel that has that, or load its modules; until then connections \
                        break when addresses move";
            self.remark(Severity::Warning, &path, doubt, help)
        };
        config.instances.iter().filter(|instance| keeps(instance)).map(remark).collect()
    }
}

const fn keeps(instance: &Instance) -> bool {
    instance.keep_connections.is_some()
}

/// Trackers that one result decides about.
pub(crate) fn stray_results(track: &[Tracker], warn: impl Fn(&[&str], String)) {
    for (index, tracker) in track.iter().enumerate() {
        let (TrackTarget::Command { timing, .. } | TrackTarget::Gateway { timing, .. }) = &tracker.target
        else {
            continue;
        };
        for (key, count) in [("rise", timing.rise), ("fall", timing.fall)] {
            if count == 1 {
                let doubt = format!("tracks {} with {key}: 1", quoted(&tracker.name));
                warn(&["track", &index.to_string(), key], doubt);
            }
        }
    }
}

struct Remarks<'a> {
    report: &'a Report,
    file: &'a Node,
    instance: &'a Instance,
}

impl Remarks<'_> {
    fn warn(&self, path: &[&str], doubt: impl Display, help: &str) {
        let name = &self.instance.name;
        let path = [&["instances", name], path].concat();
        self.report.warning(self.file.mark(&path), format!("instance {} {doubt}", quoted(name)), help);
    }

    fn is_given(&self, key: &str) -> bool {
        self.file.has(&["instances", &self.instance.name, key])
    }

    fn is_ipv6(&self) -> bool {
        self.instance.addresses.first().is_some_and(|address| address.ip.is_ipv6())
    }

    fn addresses(&self) {
        if let Some(IpAddr::V6(first)) = self.instance.addresses.first().map(|address| address.ip)
            && !first.is_unicast_link_local()
        {
            self.warn(
                &["virtual_addresses"],
                format_args!("has {first} as its first address"),
                "of IPv6 addresses the first has to be link-local (RFC 9568 section 5.2.9); some routers ignore others",
            );
        }
        let unicast = self.instance.unicast.as_ref();
        let own = |peer: &IpAddr| {
            unicast.is_some_and(|unicast| unicast.source == Some(*peer))
                || self.instance.addresses.iter().any(|address| address.ip == *peer)
        };
        if let Some(own) = unicast.and_then(|unicast| unicast.peers.iter().find(|peer| own(peer))) {
            self.warn(
                &["unicast", "peers"],
                format_args!("has {own} among its peers, which is no other router's address"),
                "list the real addresses of the other routers, and only those",
            );
        }
    }

    fn timing(&self, realtime: bool) {
        /// What a busy machine may take to run a thread, thrice.
        const SHORT: Duration = Duration::from_millis(50);
        let interval = self.instance.interval.duration();
        if interval < SHORT && !realtime {
            self.warn(
                &["advert_interval"],
                format_args!("sends adverts every {}", show_duration(interval)),
                "a machine that stalls for three of them loses the address; set vrrpd.realtime, or use timing: fast",
            );
        }
    }

    fn ineffective_keys(&self) {
        if self.is_given("checksum") && (self.instance.version == Version::V2 || self.is_ipv6()) {
            self.warn(
                &["checksum"],
                "has a checksum option, which only VRRPv3 over IPv4 has",
                "leave it out: there is but one form here",
            );
        }
    }

    fn unasked(&self) {
        let instance = self.instance;
        if instance.probe.is_none() && matches!(instance.authentication, Authentication::Hmac { .. }) {
            self.warn(
                &["probe"],
                "signs or checks adverts, and has probe: off: while clocks differ, a backup is a second master again and again",
                "leave probe out: an answer for the address is what tells a master with another clock from a recording",
            );
        }
    }

    fn trackers(&self) {
        let track = &self.instance.track;
        let is_lbd = |tracker: &Tracker| matches!(tracker.target, TrackTarget::Lbd { .. });
        if self.is_given("track") && !track.is_empty() && !track.iter().any(is_lbd) {
            self.warn(
                &["track"],
                "does not track lbd: a node without a load balancer keeps the addresses",
                "the list replaces the default; add lbd to it",
            );
        }
        for (index, tracker) in track.iter().enumerate() {
            let index = index.to_string();
            let weight = ["track", index.as_str(), "weight"];
            let name = quoted(&tracker.name);
            if tracker.weight != Weight::Fault {
                let number = tracker.weight.number();
                if matches!(tracker.weight, Weight::WhileGood(_)) && self.instance.priority == Priority::MAX {
                    self.warn(
                        &weight,
                        format_args!("tracks {name} with weight {number}, but 254 is the highest priority"),
                        "a weight that is added has no effect here; use a negative one, or leave it out",
                    );
                } else if self.instance.preemption == Preemption::Off {
                    self.warn(
                        &weight,
                        format_args!("tracks {name} with weight {number}, and has preempt: false"),
                        "a backup with preempt: false never takes over from a lower priority; leave the weight out, so \
                         that a failure gives the address up",
                    );
                } else if is_lbd(tracker) {
                    self.warn(
                        &weight,
                        format_args!("tracks lbd with weight {number}"),
                        "the address stays here, with nobody listening, until the other node's patience ends; without a \
                         weight it leaves in milliseconds",
                    );
                }
            }
        }
        stray_results(track, |path, doubt| {
            self.warn(path, doubt, "one stray result moves the address; 2 is usual");
        });
    }

    /// Two instances of one node.
    fn compare(&self, earlier: &Instance) {
        let instance = self.instance;
        let all = |instance: &Instance| {
            let addresses = instance.addresses.iter().chain(&instance.excluded);
            addresses.map(|address| address.ip).collect::<Vec<_>>()
        };
        let theirs = all(earlier);
        if let Some(shared) = all(instance).into_iter().find(|ip| !is_link_local(*ip) && theirs.contains(ip))
        {
            self.warn(
                &["virtual_addresses"],
                format_args!("has {shared}, as instance {} has", quoted(&earlier.name)),
                "when one of them is no longer master it takes the address from the other",
            );
        }
        let same_id = instance.virtual_router_id == earlier.virtual_router_id
            && self.is_ipv6() == earlier.addresses.first().is_some_and(|address| address.ip.is_ipv6());
        if same_id && instance.interface.is_some() != earlier.interface.is_some() {
            self.warn(
                &["virtual_router_id"],
                format_args!(
                    "has the virtual_router_id {} of instance {}",
                    instance.virtual_router_id,
                    quoted(&earlier.name)
                ),
                "on one interface each needs its own; name the interface of both",
            );
        }
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
