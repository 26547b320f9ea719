//! What a check does, written out.

use std::ops::RangeInclusive;

use health::dialogue::Step;
use serde_yaml::Value;

use super::{list, map, named, text};
use crate::{ExpectedBody, HttpProbe, Probe, TlsProbe};

/// The key of a kind of check, and its section.
pub(super) fn written(probe: &Probe) -> (&'static str, Value) {
    match probe {
        Probe::Tcp => ("tcp", map([])),
        Probe::Steps(steps) => ("tcp", map([("steps", list(steps, step))])),
        Probe::Http(probe) => ("http", http(probe)),
        Probe::Tls(probe) => ("tls", tls(probe)),
        Probe::Mysql { user } => ("mysql", map(user.iter().map(|user| ("user", text(user))))),
        Probe::Postgres { user, database } => {
            let database = database.iter().map(|database| ("database", text(database)));
            ("postgres", map([("user", text(user))].into_iter().chain(database)))
        }
        Probe::Redis { role } => ("redis", map([("role", text(role.map_or("any", |role| role.word())))])),
        Probe::Smtp { domain } => ("smtp", map([("domain", text(domain))])),
    }
}

/// As text where that can be read and written by people.
fn step(step: &Step) -> Value {
    let (bytes, as_text, as_hex) = match step {
        Step::Send(bytes) => (bytes, "send", "send_hex"),
        Step::Expect(bytes) => (bytes, "expect", "expect_hex"),
    };
    let usual = |c: char| !c.is_control() || matches!(c, '\r' | '\n' | '\t');
    match str::from_utf8(bytes) {
        Ok(words) if words.chars().all(usual) => map([(as_text, text(words))]),
        _ => map([(as_hex, text(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))]),
    }
}

fn http(probe: &HttpProbe) -> Value {
    let mut keys = vec![("method", text(&probe.method)), ("path", text(&probe.path))];
    keys.extend(probe.host.as_ref().map(|host| ("host", text(host))));
    keys.push(("headers", named(&probe.headers, |(name, value)| (name, text(value)))));
    keys.push(("expect", list(&probe.expect.0, status)));
    keys.extend(probe.body.as_ref().map(|body| match body {
        ExpectedBody::Contains(words) => ("body", text(words)),
        ExpectedBody::Matches(pattern) => ("body_matches", text(pattern)),
    }));
    map(keys)
}

fn status(range: &RangeInclusive<u16>) -> Value {
    if range.start() == range.end() {
        (*range.start()).into()
    } else {
        text(format_args!("{}-{}", range.start(), range.end()))
    }
}

fn tls(probe: &TlsProbe) -> Value {
    let name = probe.name.iter().map(|name| ("name", text(name)));
    let ca_file = probe.ca_file.iter().map(|file| ("ca_file", text(file.display())));
    map(name.chain(ca_file))
}
