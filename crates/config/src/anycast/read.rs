//! The section, service by service.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Anycast;
use crate::Instance;
use crate::instance::{HUNG_AFTER, Manner, TIME, addresses, interface, notify, read_trackers};
use crate::read::{Section, quoted};
use crate::scalar;

const WITHDRAW: Duration = Duration::from_secs(2);
const HOLD_DOWN: Duration = Duration::from_secs(5);
/// A handover waits for so long, and so does whoever asked for it.
const SHORT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
const LONG: RangeInclusive<Duration> = Duration::ZERO..=*TIME.end();
const LOOPBACK: &str = "lo";

/// Reads `anycast`. On the socket a name is an instance's or a service's.
pub(crate) fn read(s: &mut Section<'_>, instances: &[Instance]) -> Vec<Anycast> {
    let value = s.value("anycast", "a mapping of names to what each is", "none");
    value.at_least_one("service", "a mapping with addresses", |name, value| {
        if let Err(problem) = scalar::name(name) {
            value.key_error(problem);
        }
        if instances.iter().any(|instance| instance.name == name) {
            value.key_error(format_args!(
                "has the name of instance {}; `tandemctl handover` knows both by their names",
                quoted(name)
            ));
        }
        Some(value.section(|s| service(name, s)))
    })
}

fn service(name: &str, s: &mut Section<'_>) -> Anycast {
    let addresses =
        addresses(s.required("addresses", "an address such as 192.0.2.100/32, or a list of them"));
    let interface = s.value("interface", "an interface's name", LOOPBACK).scalar(interface);
    let track = read_trackers(s, Manner { hung_after: (HUNG_AFTER, "300ms"), weights: false });
    Anycast {
        name: name.to_owned(),
        addresses,
        interface: interface.unwrap_or_else(|| LOOPBACK.to_owned()),
        track,
        withdraw: s.duration("withdraw", WITHDRAW, SHORT),
        hold_down: s.duration("hold_down", HOLD_DOWN, LONG),
        notify: notify(s),
    }
}
