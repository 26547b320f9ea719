//! `frontends.NAME`

use std::collections::HashMap;
use std::time::Duration;

use http1::{ForwardedField, ForwardedFields};
use route::Network;

use super::actions::page_file;
use super::listeners::Listeners;
use super::tls::Presented;
use super::{Known, MAXCONN, TIMEOUT, bind, edits, lints, mode, routes};
use crate::files::Files;
use crate::read::{Section, Value, quoted};
use crate::scalar::{self, Problem};
use crate::{AccessLog, ClientTimeouts, ForwardedFor, Frontend, Mode, Page, RequestLimits};

pub(super) fn read(
    name: &str,
    s: &mut Section<'_>,
    backends: &HashMap<&str, Known>,
    files: Files<'_>,
    (listeners, presented): (&mut Listeners, &mut Presented),
) -> Frontend {
    let mode = mode::read(s);
    let bind = bind::read(name, s, listeners, presented);
    let frontend = Frontend {
        name: name.to_owned(),
        mode: mode.unwrap_or(Mode::Http),
        accept_proxy: accept_proxy(s),
        http2: s.yes_or_no("http2", true),
        routes: routes::read(s, mode, backends, files, &bind),
        bind,
        backend: backend(s, mode, backends),
        errors: errors(s, files),
        timeouts: s.section("timeouts", timeouts),
        limits: s.section("limits", limits),
        forwarded_for: s.word(
            "forwarded_for",
            ForwardedFor::Append,
            &[
                ("append", ForwardedFor::Append),
                ("replace", ForwardedFor::Replace),
                ("off", ForwardedFor::Off),
            ],
        ),
        forwarded: forwarded(s),
        request_id: edits::request_id(s),
        edits: edits::read(s),
        access_log: access_log(s, mode),
        maxconn: s.number_or_off("maxconn", "off", 1..=MAXCONN),
    };
    if let Some(mode) = mode {
        lints::useless(s, mode, mode::useless_to_frontend(mode));
    }
    if frontend.forwarded_for == ForwardedFor::Off && s.has(&["forwarded"]) && mode == Some(Mode::Http) {
        s.warning(
            ["forwarded"],
            "has forwarded, but \"forwarded_for: off\"",
            "servers are told nothing; leave one of them out",
        );
    }
    frontend
}

/// Whose connections begin with a PROXY header.
fn accept_proxy(s: &mut Section<'_>) -> Vec<Network> {
    let value =
        s.value("accept_proxy", "an address, a network such as 192.0.2.0/24, or a list of them", "nobody's");
    let networks = value.one_or_more(|text| Network::parse(text).map_err(routes::problem));
    for (at, network) in &networks {
        if network.is_everywhere() {
            let doubt = format!("{} is \"{network}\", from where everybody comes", value.place());
            let help = "whoever connects may claim to be anybody; list the proxies in front, and nobody else";
            s.report.warning(*at, doubt, help);
        }
    }
    networks.into_iter().map(|(_, network)| network).collect()
}

/// The fields that tell servers where a request is from.
fn forwarded(s: &mut Section<'_>) -> ForwardedFields {
    let names = ForwardedField::ALL.map(ForwardedField::name);
    let usual = ForwardedFields::USUAL.iter().map(ForwardedField::name).collect::<Vec<_>>().join(", ");
    let value = s.value("forwarded", format_args!("a list of {}", names.join(", ")), usual);
    if !value.is_given() {
        return ForwardedFields::USUAL;
    }
    if value.is_empty_list() {
        value.error("is an empty list; nothing is told with \"forwarded_for: off\"");
    }
    let fields = value.one_or_more(|text| {
        let known = ForwardedField::ALL.into_iter().find(|field| field.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| Problem::NoneOf { word: text.to_owned(), words: names.to_vec() })
    });
    fields.into_iter().map(|(_, field)| field).collect()
}

/// The pages of some statuses.
fn errors(s: &mut Section<'_>, files: Files<'_>) -> Vec<(u16, Page)> {
    let value = s.value("errors", "a mapping of statuses from 400 to 599 to files", "pages of lbd's own");
    value.entries("status", "a file with a page", |name, value| {
        let Ok(status) = scalar::number(name, &(400..=599)) else {
            value.key_error("is no status from 400 to 599");
            return None;
        };
        let (file, content) = value.scalar(|name| page_file(name, files))?;
        Some((status, Page { file: Some(file), content }))
    })
}

fn access_log(s: &mut Section<'_>, mode: Option<Mode>) -> AccessLog {
    const FORMATS: [(&str, AccessLog); 4] = [
        ("httplog", AccessLog::Httplog),
        ("tcplog", AccessLog::Tcplog),
        ("json", AccessLog::Json),
        ("off", AccessLog::Off),
    ];
    let (default, misfit) = match mode {
        Some(Mode::Http) => (AccessLog::Httplog, Some(AccessLog::Tcplog)),
        Some(Mode::Tcp) => (AccessLog::Tcplog, Some(AccessLog::Httplog)),
        None => (AccessLog::Off, None),
    };
    let chosen = s.word_or("access_log", default, "httplog, in mode tcp tcplog", &FORMATS);
    if let Some(mode) = mode
        && misfit == Some(chosen)
    {
        let mode = mode.word();
        s.error(["access_log"], format_args!("is in mode {mode}, whose log is {mode}log, or json"));
    }
    chosen
}

/// The backend of what no route fits. Without routes there has to be one.
fn backend(s: &mut Section<'_>, mode: Option<Mode>, backends: &HashMap<&str, Known>) -> Option<String> {
    const EXPECTED: &str = "the name of a backend";
    const WITH_ROUTES: &str = "none: 404";
    let value = match s.has(&["routes"]) {
        true => s.value("backend", EXPECTED, WITH_ROUTES),
        false => s.required("backend", EXPECTED),
    };
    known_backend(&value, mode, backends)
}

/// The name of a backend that exists, and is in the same mode. Without any backend, their absence is the one error.
pub(super) fn known_backend(
    value: &Value<'_>,
    mode: Option<Mode>,
    backends: &HashMap<&str, Known>,
) -> Option<String> {
    let name = value.scalar(|name| {
        if backends.is_empty() || backends.contains_key(name) {
            return Ok(name.to_owned());
        }
        let mut names: Vec<&str> = backends.keys().copied().collect();
        names.sort_unstable();
        Err(Problem::Because(match value.nearest(name, names) {
            Some(nearest) => format!("there is no such backend; did you mean {}?", quoted(nearest)),
            None => "there is no such backend".to_owned(),
        }))
    })?;
    if let Some(Known { mode: Some(its), line }) = backends.get(name.as_str())
        && let Some(mode) = mode.filter(|mode| mode != its)
    {
        value.error(format_args!(
            "is {}, a backend in mode {} (line {line}), but the frontend is in mode {}; give both the same mode",
            quoted(&name),
            its.word(),
            mode.word()
        ));
    }
    Some(name)
}

fn timeouts(s: &mut Section<'_>) -> ClientTimeouts {
    /// Long-lived connections, such as those of WebSocket, may rest for days.
    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    ClientTimeouts {
        request_head: s.duration("request_head", Duration::from_secs(10), TIMEOUT),
        client_hello: s.duration("client_hello", Duration::from_secs(5), TIMEOUT),
        handshake: s.duration("handshake", Duration::from_secs(10), TIMEOUT),
        keep_alive: s.duration("keep_alive", Duration::from_secs(10), TIMEOUT),
        client: s.duration("client", Duration::from_secs(50), TIMEOUT),
        tunnel: s.duration("tunnel", Duration::from_secs(60 * 60), *TIMEOUT.start()..=WEEK),
        client_fin: s.duration_or_off("client_fin", None, "off", *TIMEOUT.start()..=WEEK),
    }
}

fn limits(s: &mut Section<'_>) -> RequestLimits {
    const KIB: u32 = 1 << 10;
    let limits = RequestLimits {
        request_line: s.size("request_line", 8 * KIB, 256..=32 * KIB),
        head: s.size("head", 16 * KIB, KIB..=32 * KIB),
        fields: s.number("fields", 100, 16..=256),
        body: body(s),
    };
    if limits.request_line > limits.head {
        let RequestLimits { request_line, head, .. } = limits;
        s.error(
            ["request_line"],
            format_args!("allows a request line of {request_line} bytes, but {head} bytes for the head that it is part of"),
        );
    }
    limits
}

/// The largest body, if there is a limit.
fn body(s: &mut Section<'_>) -> Option<u64> {
    const SIZES: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 40;
    let value = s.value("body", "off, or a size from 1KiB to 1024GiB", "off");
    if value.is_off() { None } else { value.scalar(|text| scalar::size(text, &SIZES)) }
}
