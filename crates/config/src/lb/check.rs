//! `backends.NAME.check`

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use health::Timing;

use crate::read::Section;
use crate::{Check, ExpectedStatus, HttpProbe, Mode, Probe, scalar};

/// The most fields and statuses: a check's request is small.
const MAX_ELEMENTS: usize = 32;

/// The check of a backend; none if it is off.
pub(super) fn read(backend: &mut Section<'_>, mode: Mode) -> Option<Check> {
    let value = backend.value(
        "check",
        "off, or a mapping with http or tcp",
        "GET / answers 200, in mode tcp a connection",
    );
    if value.is_off() {
        return None;
    }
    Some(value.section(|s| Check {
        probe: probe(s, mode),
        timing: timing(s),
        port: s.number_or_none("port", "the server's port", 1..=u16::MAX),
    }))
}

fn probe(s: &mut Section<'_>, mode: Mode) -> Probe {
    let http = s.value("http", "a mapping", "as below");
    let tcp = s.value("tcp", "an empty mapping", "not set: an HTTP check, in mode tcp this one");
    if http.is_given() && tcp.is_given() {
        s.error([], "has both http and tcp; a check does one of them");
    }
    let is_tcp = tcp.is_given() || mode == Mode::Tcp && !http.is_given();
    if is_tcp { tcp.section(|_| Probe::Tcp) } else { Probe::Http(http.section(http_probe)) }
}

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

fn http_probe(s: &mut Section<'_>) -> HttpProbe {
    HttpProbe {
        method: s
            .value("method", "a method in capitals such as GET", "GET")
            .scalar(scalar::method)
            .unwrap_or_else(|| "GET".to_owned()),
        path: s
            .value("path", "a path such as /health", "/")
            .scalar(scalar::path)
            .unwrap_or_else(|| "/".to_owned()),
        host: s
            .value("host", "a host name such as www.example.org", "the server's address")
            .scalar(scalar::host),
        headers: headers(s),
        expect: expect(s),
    }
}

/// The fields in the order of the file. Their names are compared without case (RFC 9110 5.1).
fn headers(s: &mut Section<'_>) -> Vec<(String, String)> {
    let value = s.value("headers", "a mapping of field names to texts", "none");
    let mut lines = HashMap::new();
    let headers = value.entries("field", "a text", |name, value| {
        if let Err(problem) = scalar::field_name(name) {
            value.key_error(problem);
        }
        if let Some(line) = lines.insert(name.to_ascii_lowercase(), value.key_at().line) {
            value.key_error(format_args!("is given twice, first on line {line}; case makes no difference"));
        }
        Some((name.to_owned(), value.scalar(scalar::field_value)?))
    });
    if headers.len() > MAX_ELEMENTS {
        value.error(format_args!("has {} fields; at most {MAX_ELEMENTS} are allowed", headers.len()));
    }
    headers
}

fn expect(s: &mut Section<'_>) -> ExpectedStatus {
    let value =
        s.value("expect", "a status from 100 to 599, a range such as 200-299, or a list of them", "200");
    if !value.is_given() {
        return ExpectedStatus(vec![200..=200]);
    }
    if value.is_empty_list() {
        value.error("is an empty list; then no check could ever be good");
    }
    let found = value.one_or_more(scalar::expected_status);
    if found.len() > MAX_ELEMENTS {
        value.error(format_args!("has {} elements; at most {MAX_ELEMENTS} are allowed", found.len()));
    }
    ExpectedStatus(found.into_iter().map(|(_, range)| range).collect())
}
