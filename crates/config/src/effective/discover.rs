//! `backends.NAME.servers.discover`

use serde_yaml::Value;

use super::{duration, map, or_off, send_proxy, server_check, text};
use crate::{Discover, Source};

pub(super) fn written(discover: &Discover) -> Value {
    let source = match &discover.source {
        Source::Srv(name) => ("srv", text(name)),
        Source::Host { name, port } => ("host", text(format_args!("{name}:{port}"))),
        Source::File(path) => ("file", text(path)),
    };
    let keys = [
        source,
        ("max", discover.max.into()),
        ("min", discover.min.into()),
        ("hold", duration(discover.hold)),
        ("weight", discover.weight.get().into()),
        ("maxconn", or_off(discover.maxconn, Value::from)),
        ("slow_start", or_off(discover.slow_start, duration)),
        ("check", or_off(discover.check.as_ref(), server_check)),
        ("send_proxy", send_proxy(discover.send_proxy)),
    ];
    map(keys.into_iter().chain(discover.server_name.iter().map(|name| ("server_name", text(name)))))
}
