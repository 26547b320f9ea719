//! `anycast` of a `vrrp.yaml`: services that this node announces beside others.

mod lints;
mod model;
mod nodes;
mod read;

pub(crate) use lints::remark;
pub use model::Anycast;
pub(crate) use nodes::{compare, differences};
pub(crate) use read::read;

use serde_yaml::Value;

use crate::effective::{duration, list, map, text};
use crate::instance::{notify_written, tracker_written};

/// A service with every default filled in.
pub(crate) fn written(service: &Anycast) -> Value {
    let mut keys = vec![
        ("addresses", list(&service.addresses, |address| text(address))),
        ("interface", text(&service.interface)),
        ("track", list(&service.track, |tracker| map(tracker_written(tracker)))),
        ("withdraw", duration(service.withdraw)),
        ("hold_down", duration(service.hold_down)),
    ];
    keys.extend(service.notify.as_ref().map(|notify| ("notify", notify_written(notify))));
    map(keys)
}
