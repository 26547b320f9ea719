//! What is allowed in `anycast`, but probably not meant.

use crate::instance::stray_results;
use crate::read::{Report, quoted};
use crate::yaml::Node;
use crate::{Anycast, TrackTarget, Tracker, VrrpConfig};

/// Remarks on a file in which nothing is wrong.
pub(crate) fn remark(report: &Report, file: &Node, config: &VrrpConfig) {
    for (index, service) in config.anycast.iter().enumerate() {
        let warn = |path: &[&str], doubt: String, help: &str| {
            let path = [&["anycast", service.name.as_str()], path].concat();
            let doubt = format!("service {} {doubt}", quoted(&service.name));
            report.warning(file.mark(&path), doubt, help);
        };
        addresses(service, &config.anycast[..index], config, warn);
        trackers(service, warn);
    }
}

fn addresses(
    service: &Anycast,
    earlier: &[Anycast],
    config: &VrrpConfig,
    warn: impl Fn(&[&str], String, &str),
) {
    if let Some(wide) =
        service.addresses.iter().find(|one| one.prefix != if one.ip.is_ipv6() { 128 } else { 32 })
    {
        let only = if wide.ip.is_ipv6() { 128 } else { 32 };
        warn(
            &["addresses"],
            format!("has {wide}: routers would be told that the whole subnet is here"),
            &format!("leave the length of the prefix out, or write {}/{only}", wide.ip),
        );
    }
    let in_instance = config.instances.iter().find_map(|instance| {
        let mut own = instance.addresses.iter().chain(&instance.excluded);
        let shared = own.find(|own| service.addresses.iter().any(|one| one.ip == own.ip))?;
        Some((shared.ip, "instance", &instance.name))
    });
    let in_service = || {
        earlier.iter().find_map(|other| {
            let shared =
                other.addresses.iter().find(|own| service.addresses.iter().any(|one| one.ip == own.ip))?;
            Some((shared.ip, "service", &other.name))
        })
    };
    if let Some((shared, kind, other)) = in_instance.or_else(in_service) {
        warn(
            &["addresses"],
            format!("has {shared}, as {kind} {} has", quoted(other)),
            "each of them would take the address from the other, or leave it where it should not be; give each its own",
        );
    }
}

fn trackers(service: &Anycast, warn: impl Fn(&[&str], String, &str)) {
    let follows_lbd =
        |one: &Tracker| matches!(one.target, TrackTarget::Lbd { .. } | TrackTarget::Backend { .. });
    if service.track.is_empty() {
        warn(
            &["track"],
            "tracks nothing: it is announced whether anything serves it or not".to_owned(),
            "leave track out, and it follows lbd",
        );
    } else if !service.track.iter().any(follows_lbd) {
        warn(
            &["track"],
            "does not track lbd: a node without a load balancer is announced".to_owned(),
            "the list replaces the default; add lbd to it",
        );
    }
    stray_results(&service.track, |path, doubt| {
        warn(path, doubt, "one stray result has every router spread connections anew; 2 is usual");
    });
}
