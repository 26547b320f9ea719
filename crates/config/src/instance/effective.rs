//! A `vrrp.yaml` written out with every default.

use serde_yaml::Value;
use vrrp::packet::ChecksumForm;
use vrrp::{AddressMismatch, Authentication, HmacMode, Preemption};

use crate::effective::{admin, duration, list, map, named, text, written};
use crate::{Instance, Notify, TrackTarget, TrackTiming, Tracker, VrrpConfig, anycast};

/// The configuration as a file with every default filled in: parsing it gives an equal configuration.
///
/// Durations are cut to milliseconds, the finest that a file can hold.
pub fn effective_vrrp_yaml(config: &VrrpConfig) -> String {
    let process = &config.vrrpd;
    let mut vrrpd = vec![("lock_memory", process.lock_memory.into())];
    vrrpd.extend(process.realtime.map(|priority| ("realtime", priority.into())));
    let mut file = Vec::new();
    if !config.instances.is_empty() {
        file.push(("instances", named(&config.instances, |one| (&one.name, instance(one)))));
    }
    if !config.anycast.is_empty() {
        file.push(("anycast", named(&config.anycast, |one| (&one.name, anycast::written(one)))));
    }
    file.extend([("admin", admin(process.admin, &config.access)), ("vrrpd", map(vrrpd))]);
    written(&map(file))
}

fn instance(instance: &Instance) -> Value {
    let mut keys = Vec::new();
    keys.extend(instance.interface.as_ref().map(|interface| ("interface", text(interface))));
    keys.extend([
        ("version", instance.version.number().into()),
        ("virtual_router_id", instance.virtual_router_id.get().into()),
        ("priority", instance.priority.get().into()),
        ("advert_interval", duration(instance.interval.duration())),
        ("virtual_addresses", list(&instance.addresses, |address| text(address))),
    ]);
    if !instance.excluded.is_empty() {
        keys.push(("excluded_addresses", list(&instance.excluded, |address| text(address))));
    }
    keys.push((
        "preempt",
        match instance.preemption {
            Preemption::Off => false.into(),
            Preemption::After(delay) if delay.is_zero() => true.into(),
            Preemption::After(delay) => duration(delay),
        },
    ));
    keys.push(("strict", instance.strict.into()));
    keys.extend(instance.unicast.as_ref().map(|unicast| {
        let mut keys = vec![("peers", list(&unicast.peers, |peer| text(peer)))];
        keys.extend(unicast.source.map(|source| ("source", text(source))));
        keys.push(("min_ttl", unicast.min_ttl.into()));
        ("unicast", map(keys))
    }));
    keys.push(("authentication", authentication(instance)));
    keys.push((
        "checksum",
        text(match instance.checksum {
            ChecksumForm::PseudoHeader => "pseudo_header",
            ChecksumForm::MessageOnly => "message_only",
        }),
    ));
    keys.push((
        "address_mismatch",
        text(match instance.address_mismatch {
            AddressMismatch::Warn => "warn",
            AddressMismatch::Discard => "discard",
        }),
    ));
    keys.push(("track", list(&instance.track, weighted)));
    let gratuitous = &instance.gratuitous;
    keys.push((
        "gratuitous",
        map([
            ("repeat", gratuitous.repeat.into()),
            ("interval", duration(gratuitous.interval)),
            ("delay", gratuitous.delay.map_or_else(|| text("off"), duration)),
            ("refresh", gratuitous.refresh.map_or_else(|| text("off"), duration)),
        ]),
    ));
    keys.push(("probe", instance.probe.map_or_else(|| text("off"), duration)));
    keys.push(("keep_connections", instance.keep_connections.map_or_else(|| text("off"), duration)));
    keys.extend(instance.notify.as_ref().map(|one| ("notify", notify(one))));
    map(keys)
}

pub(crate) fn notify(notify: &Notify) -> Value {
    map([
        ("command", list(&notify.command.argv, |word| text(word))),
        ("timeout", duration(notify.timeout)),
        ("fault_after", notify.fault_after.map_or_else(|| text("off"), duration)),
        ("privileged", notify.command.privileged.into()),
    ])
}

fn authentication(instance: &Instance) -> Value {
    match &instance.authentication {
        Authentication::None => text("off"),
        Authentication::Password(password) => {
            let password = String::from_utf8_lossy(password);
            map([("pass", text(password.trim_end_matches('\0')))])
        }
        Authentication::Hmac { window, mode, .. } => {
            let mut files = instance.key_files.iter();
            let mut keys = Vec::new();
            if let Some((id, file)) = files.next() {
                keys.extend([("key_file", text(file)), ("key_id", (*id).into())]);
            }
            let accepted: Vec<(String, &String)> = files.map(|(id, file)| (id.to_string(), file)).collect();
            if !accepted.is_empty() {
                keys.push(("accept", named(&accepted, |(id, file)| (id, text(file)))));
            }
            keys.push(("window", window.map_or_else(|| text("off"), duration)));
            let mode = match mode {
                HmacMode::ReceiveOnly => "receive_only",
                HmacMode::Send => "send",
                HmacMode::Require => "require",
            };
            keys.push(("mode", text(mode)));
            map([("hmac", map(keys))])
        }
    }
}

/// A tracker with its weight.
fn weighted(one: &Tracker) -> Value {
    let mut keys = tracker(one);
    keys.push(("weight", one.weight.number().into()));
    map(keys)
}

pub(crate) fn tracker(tracker: &Tracker) -> Vec<(&'static str, Value)> {
    let mut keys = match &tracker.target {
        TrackTarget::Lbd { hung_after } => vec![("lbd", map([("hung_after", duration(*hung_after))]))],
        TrackTarget::Backend { name, at_least } => {
            vec![("backend", text(name)), ("at_least", (*at_least).into())]
        }
        TrackTarget::Interface(interface) => vec![("interface", text(interface))],
        TrackTarget::Command { command, timing } => {
            let mut keys = timed(("command", list(&command.argv, |word| text(word))), timing);
            keys.push(("privileged", command.privileged.into()));
            keys
        }
        TrackTarget::Gateway { address, timing } => {
            timed(("gateway", address.map_or_else(|| text("default"), text)), timing)
        }
    };
    if tracker.name != tracker.target.usual_name() {
        keys.push(("name", text(&tracker.name)));
    }
    keys
}

fn timed(what: (&'static str, Value), timing: &TrackTiming) -> Vec<(&'static str, Value)> {
    vec![
        what,
        ("interval", duration(timing.interval)),
        ("timeout", duration(timing.timeout)),
        ("rise", timing.rise.into()),
        ("fall", timing.fall.into()),
    ]
}
