//! What only shows when several files are read together.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::instance::{joined, unknown_backend, unserved};
use crate::read::quoted;
use crate::{Anycast, Checked, Content, Diagnostic, LbConfig, Severity};

/// A service whose addresses are not the same on all nodes.
pub(crate) fn differences(files: &[Checked], found: &mut Vec<Diagnostic>) {
    let services = files.iter().filter_map(|file| match &file.content {
        Content::Vrrp(config) => Some((file, &config.anycast)),
        Content::Lb(_) => None,
    });
    let mut seen: Vec<(&Checked, &Anycast)> = Vec::new();
    for (file, service) in services.flat_map(|(file, all)| all.iter().map(move |one| (file, one))) {
        if let Some((other, there)) = seen.iter().find(|(_, there)| there.name == service.name) {
            let ips = |one: &Anycast| one.addresses.iter().map(|address| address.ip).collect::<BTreeSet<_>>();
            let (ours, theirs) = (ips(service), ips(there));
            let apart: Vec<&IpAddr> = ours.symmetric_difference(&theirs).collect();
            if !apart.is_empty() {
                let doubt = format!("has other addresses than in {}: {}", other.file(), joined(&apart));
                let help = "connections to an address that some nodes lack are spread over fewer";
                found.push(about(file, service, Severity::Warning, &["addresses"], &doubt, help));
            }
        }
        seen.push((file, service));
    }
}

/// What the services of a file have to do with the `lb.yaml` given.
pub(crate) fn compare(
    file: &Checked,
    services: &[Anycast],
    balancers: &[(&str, &LbConfig)],
    found: &mut Vec<Diagnostic>,
) {
    for service in services {
        if let Some((doubt, help)) = unserved(&service.addresses, balancers) {
            found.push(about(file, service, Severity::Warning, &["addresses"], &doubt, help));
        }
        for (index, tracker) in service.track.iter().enumerate() {
            if let Some((problem, help)) = unknown_backend(&tracker.target, balancers) {
                let path = ["track", &index.to_string(), "backend"];
                found.push(about(file, service, Severity::Error, &path, &problem, &help));
            }
        }
    }
}

fn about(
    file: &Checked,
    service: &Anycast,
    severity: Severity,
    path: &[&str],
    what: &str,
    help: &str,
) -> Diagnostic {
    let path = [&["anycast", service.name.as_str()], path].concat();
    file.remark(severity, &path, format!("service {} {what}", quoted(&service.name)), help)
}
