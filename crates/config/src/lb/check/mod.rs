//! `backends.NAME.check`, and what servers have of their own

mod http;
mod protocols;
mod steps;

use std::ops::RangeInclusive;
use std::time::Duration;

use health::Timing;
use proxy_protocol::Version;

use crate::read::Section;
use crate::{Check, CheckProxy, CheckTls, Mode, Probe, ServerCheck, scalar};

/// The check of a backend; none if it is off.
pub(super) fn read(backend: &mut Section<'_>, mode: Mode) -> Option<Check> {
    let value = backend.value(
        "check",
        "off, or a mapping with one of http, tcp, tls, mysql, postgres, redis, smtp",
        "GET / answers 200, in mode tcp a connection",
    );
    if value.is_off() {
        return None;
    }
    Some(value.section(|s| Check {
        probe: probe(s, mode),
        timing: timing(s),
        port: s.number_or_none("port", "the server's port", 1..=u16::MAX),
        send_proxy: s.word("send_proxy", CheckProxy::Auto, &PROXY),
        over_tls: s.word("over_tls", CheckTls::Auto, &CheckTls::ALL.map(|choice| (choice.word(), choice))),
    }))
}

const PROXY: [(&str, CheckProxy); 4] = [
    word(CheckProxy::Auto),
    word(CheckProxy::Off),
    word(CheckProxy::Always(Version::V1)),
    word(CheckProxy::Always(Version::V2)),
];

const fn word(choice: CheckProxy) -> (&'static str, CheckProxy) {
    (choice.word(), choice)
}

/// What is a server's own in its checks; none if it has none.
pub(super) fn of_server(server: &mut Section<'_>) -> Option<ServerCheck> {
    let value = server.value("check", "off, or a mapping", "as in the backend");
    if value.is_off() {
        return None;
    }
    Some(value.section(|s| {
        ServerCheck {
            port: s.number_or_none("port", "the backend's choice", 1..=u16::MAX),
            host: s
                .value("host", "a host name such as www.example.org", "the backend's choice")
                .scalar(scalar::host),
        }
    }))
}

fn probe(s: &mut Section<'_>, mode: Mode) -> Probe {
    const NONE: &str = "none";
    const TCP: usize = 1;
    let mut kind = |key, expected, default, read: Reader| (key, s.optional(key, expected, default), read);
    let kinds = [
        kind("http", "a mapping", "as below", |s| Probe::Http(http::read(s))),
        kind("tcp", "a mapping", "not set: an HTTP check, in mode tcp this one", steps::read),
        kind("tls", "a mapping", NONE, protocols::tls),
        kind("mysql", "a mapping", NONE, protocols::mysql),
        kind("postgres", "a mapping with user", NONE, protocols::postgres),
        kind("redis", "a mapping", NONE, protocols::redis),
        kind("smtp", "a mapping", NONE, protocols::smtp),
    ];
    let given: Vec<usize> =
        kinds.iter().enumerate().filter(|(_, (_, value, _))| value.is_given()).map(|(at, _)| at).collect();
    if given.len() > 1 {
        let names = kinds.iter().filter(|(_, value, _)| value.is_given()).map(|(key, ..)| *key);
        let names: Vec<&str> = names.collect();
        s.error([], format_args!("has {} together; a check does one of them", names.join(" and ")));
    }
    let usual = if mode == Mode::Tcp { TCP } else { 0 };
    let chosen = given.first().copied().unwrap_or(usual);
    // All are read: for the list of keys, and for what is wrong in them.
    let mut probes: Vec<Probe> = kinds.iter().map(|(_, value, read)| value.section(*read)).collect();
    probes.swap_remove(chosen)
}

/// Reads one kind of check.
type Reader = fn(&mut Section<'_>) -> Probe;

fn timing(s: &mut Section<'_>) -> Timing {
    const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60 * 60);
    const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10 * 60);
    let default = Timing::default();
    let interval = s.duration("interval", default.interval, INTERVAL);
    Timing {
        interval,
        fast_interval: s.duration_or("fast_interval", interval, "interval", INTERVAL),
        down_interval: s.duration_or("down_interval", interval, "interval", INTERVAL),
        timeout: s.duration("timeout", default.timeout, TIMEOUT),
        rise: s.number("rise", default.rise, 1..=100),
        fall: s.number("fall", default.fall, 1..=100),
    }
}
