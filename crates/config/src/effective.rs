//! A configuration written out with every default.

mod discover;
mod edits;
mod probe;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use proxy_protocol::Version;
use route::{Conditions, FieldPattern};
use serde_yaml::{Mapping, Value};

use crate::environment::literal;
use crate::lb::mode::{useless_to_backend, useless_to_frontend};
use crate::scalar::{show_duration, show_size};
use crate::{
    Access, AccessLog, Action, Backend, Balance, Check, ForwardedFor, Frontend, HashKey, LbConfig, Mode,
    OnDown, OnUp, Page, Redirect, Respond, Route, Secret, Server, ServerCheck, Sticky, WhenAllDown,
};

/// The configuration as a file with every default filled in: parsing it gives an equal configuration.
///
/// Durations are cut to milliseconds, the finest that a file can hold.
pub fn effective_yaml(config: &LbConfig) -> String {
    written(&map([
        ("frontends", named(&config.frontends, |frontend| (&frontend.name, self::frontend(frontend)))),
        ("backends", named(&config.backends, |backend| (&backend.name, self::backend(backend)))),
        ("resolvers", resolvers(config)),
        ("admin", admin(config.lbd.admin, &config.lbd.access)),
        (
            "lbd",
            map([
                ("workers", config.lbd.workers.into()),
                ("stop_timeout", duration(config.lbd.stop_timeout)),
                ("handover_timeout", duration(config.lbd.handover_timeout)),
                ("verdict_wait", duration(config.lbd.verdict_wait)),
            ]
            .into_iter()
            .chain(config.lbd.maxconn.map(|maxconn| ("maxconn", maxconn.into())))),
        ),
        ("healthd", map([("admin", admin(config.healthd.admin, &config.healthd.access))])),
    ]))
}

/// Where admin pages are, and who may see them.
pub(crate) fn admin(bind: SocketAddr, access: &Access) -> Value {
    let mut keys = vec![("bind", text(bind))];
    if !access.users.is_empty() {
        let user = |(name, hash): &(String, Secret)| (name.clone(), text(hash.expose()));
        let users: Vec<_> = access.users.iter().map(user).collect();
        keys.push(("users", map(users.iter().map(|(name, hash)| (name.as_str(), hash.clone())))));
    }
    keys.push(("open", list(&access.open, |path| text(path.word()))));
    map(keys)
}

/// A tree of plain values as text.
#[expect(clippy::expect_used, reason = "writing plain values with text keys into a string cannot fail")]
pub(crate) fn written(file: &Value) -> String {
    serde_yaml::to_string(file).expect("plain values can be written")
}

fn frontend(frontend: &Frontend) -> Value {
    let timeouts = &frontend.timeouts;
    let limits = &frontend.limits;
    let file = |page: &Page| page.file.clone().unwrap_or_default();
    let errors: Vec<_> =
        frontend.errors.iter().map(|(status, page)| (status.to_string(), file(page))).collect();
    let all = [
        ("mode", text(frontend.mode.word())),
        ("bind", list(&frontend.bind, tls::bind)),
        ("accept_proxy", list(&frontend.accept_proxy, |network| text(network))),
        ("http2", frontend.http2.into()),
        ("errors", map(errors.iter().map(|(status, file)| (status.as_str(), text(file))))),
        (
            "timeouts",
            map([
                ("request_head", duration(timeouts.request_head)),
                ("client_hello", duration(timeouts.client_hello)),
                ("handshake", duration(timeouts.handshake)),
                ("keep_alive", duration(timeouts.keep_alive)),
                ("client", duration(timeouts.client)),
                ("tunnel", duration(timeouts.tunnel)),
                ("client_fin", or_off(timeouts.client_fin, duration)),
            ]),
        ),
        (
            "limits",
            map([
                ("request_line", size(limits.request_line as u64)),
                ("head", size(limits.head as u64)),
                ("fields", limits.fields.into()),
                ("body", or_off(limits.body, size)),
            ]),
        ),
        (
            "forwarded_for",
            text(match frontend.forwarded_for {
                ForwardedFor::Append => "append",
                ForwardedFor::Replace => "replace",
                ForwardedFor::Off => "off",
            }),
        ),
        ("forwarded", list(&frontend.forwarded.iter().collect::<Vec<_>>(), |field| text(field.name()))),
        ("request_id", or_off(frontend.request_id.as_ref(), edits::request_id)),
        (
            "access_log",
            text(match frontend.access_log {
                AccessLog::Httplog => "httplog",
                AccessLog::Tcplog => "tcplog",
                AccessLog::Json => "json",
                AccessLog::Off => "off",
            }),
        ),
        ("maxconn", or_off(frontend.maxconn, Value::from)),
    ];
    let routed = frontend.backend.as_ref().map(|backend| ("backend", text(backend)));
    let routes = frontend.routes.list();
    let routes = (!routes.is_empty()).then(|| ("routes", list(routes, |one| route(one, frontend.mode))));
    let edits = edits::written(frontend.edits.as_deref());
    without(map(all.into_iter().chain(edits).chain(routes).chain(routed)), useless_to_frontend(frontend.mode))
}

fn route(route: &Route, mode: Mode) -> Value {
    let mut keys: Vec<_> = route.name.iter().map(|name| ("name", text(name))).collect();
    keys.extend(conditions(&route.when, mode));
    if !route.not.is_empty() {
        keys.push(("not", list(&route.not, |not| map(conditions(not, mode)))));
    }
    keys.extend(edits::written(route.edits.as_deref()));
    keys.push(match &route.action {
        Action::Backend(name) => ("backend", text(name)),
        Action::Redirect(to) => ("redirect", redirect(to)),
        Action::Respond(answer) => ("respond", respond(answer)),
        Action::Deny(status) => ("deny", (*status).into()),
    });
    map(keys)
}

fn redirect(to: &Redirect) -> Value {
    let mut keys: Vec<_> = to.scheme.iter().map(|scheme| ("scheme", text(scheme.word()))).collect();
    keys.extend(to.host.iter().map(|host| ("host", text(host))));
    keys.extend(to.path.iter().map(|path| ("path", text(path))));
    keys.push(("code", to.code.into()));
    keys.push(("query", text(if to.keeps_query { "keep" } else { "drop" })));
    map(keys)
}

fn respond(answer: &Respond) -> Value {
    map([
        ("status", answer.status.into()),
        ("content_type", text(&answer.content_type)),
        match &answer.page.file {
            Some(name) => ("file", text(name)),
            None => ("body", text(String::from_utf8_lossy(&answer.page.content))),
        },
    ])
}

fn conditions(conditions: &Conditions, mode: Mode) -> Vec<(&'static str, Value)> {
    let Conditions { host, path, method, header, query, source, tls } = conditions;
    let named = |fields: &[(String, Vec<FieldPattern>)]| {
        named(fields, |(name, values)| (name, list(values, |value| text(value))))
    };
    let all = [
        (
            host.is_empty(),
            if mode == Mode::Tcp { "sni" } else { "host" },
            list(host, |pattern| text(pattern)),
        ),
        (path.is_empty(), "path", list(path, |pattern| text(pattern))),
        (method.is_empty(), "method", list(method, |method| text(method))),
        (header.is_empty(), "header", named(header)),
        (query.is_empty(), "query", named(query)),
        (source.is_empty(), "source", list(source, |network| text(network))),
        (tls.is_none(), "tls", tls.unwrap_or_default().into()),
    ];
    all.into_iter().filter(|(empty, ..)| !empty).map(|(_, key, value)| (key, value)).collect()
}

fn backend(backend: &Backend) -> Value {
    let all = [
        ("mode", text(backend.mode.word())),
        ("balance", balance(&backend.balance)),
        ("sticky", backend.sticky.as_ref().map_or(Value::Null, sticky)),
        ("check", backend.check.as_ref().map_or_else(|| text("off"), check)),
        ("servers", servers(backend)),
        ("send_proxy", send_proxy(backend.send_proxy)),
        ("tls", backend.tls.as_deref().map_or(Value::Null, tls::servers)),
        ("retries", backend.retries.into()),
        ("retry_budget", text(format_args!("{}%", backend.retry_budget))),
        (
            "timeouts",
            map([
                ("connect", duration(backend.timeouts.connect)),
                ("server", duration(backend.timeouts.server)),
                ("server_fin", or_off(backend.timeouts.server_fin, duration)),
                ("keep_alive", or_off(backend.timeouts.keep_alive, duration)),
            ]),
        ),
        ("queue", map([("timeout", duration(backend.queue.timeout)), ("max", backend.queue.max.into())])),
        ("slow_start", or_off(backend.slow_start, duration)),
        (
            "when_all_down",
            text(match backend.when_all_down {
                WhenAllDown::Reject => "reject",
                WhenAllDown::Try => "try",
            }),
        ),
        (
            "on_down",
            text(match backend.on_down {
                OnDown::KeepSessions => "keep_sessions",
                OnDown::CloseSessions => "close_sessions",
            }),
        ),
        (
            "backups",
            map([
                ("use", text(backend.backups.join)),
                ("min_usable", backend.backups.min_usable.get().into()),
            ]),
        ),
        (
            "on_up",
            text(match backend.on_up {
                OnUp::KeepSessions => "keep_sessions",
                OnUp::CloseBackupSessions => "close_backup_sessions",
            }),
        ),
        ("abort_on_close", text(if backend.abort_on_close { "on" } else { "off" })),
    ];
    let edits = edits::written(backend.edits.as_deref());
    let present = all.into_iter().filter(|(_, value)| !value.is_null());
    without(map(present.chain(edits)), useless_to_backend(backend.mode))
}

fn sticky(sticky: &Sticky) -> Value {
    let on = |on: bool| text(if on { "on" } else { "off" });
    let mut keys = vec![("cookie", text(&sticky.cookie))];
    keys.extend(sticky.key.as_ref().map(|key| ("key", text(key.expose()))));
    keys.extend([
        ("max_idle", or_off(sticky.max_idle, duration)),
        ("max_life", or_off(sticky.max_life, duration)),
        ("secure", on(sticky.secure)),
        ("http_only", on(sticky.http_only)),
    ]);
    keys.extend(sticky.same_site.map(|same_site| ("same_site", text(same_site.word()))));
    keys.extend(sticky.domain.as_ref().map(|domain| ("domain", text(domain))));
    keys.push(("path", text(&sticky.path)));
    map(keys)
}

fn balance(balance: &Balance) -> Value {
    let Some(key) = balance.key() else { return text(balance.algorithm()) };
    let hash = match key {
        HashKey::Host => text("host"),
        HashKey::Path => text("path"),
        HashKey::Query => text("query"),
        HashKey::Header(name) => map([("header", text(name))]),
        HashKey::Cookie(name) => map([("cookie", text(name))]),
        HashKey::UrlParam(name) => map([("url_param", text(name))]),
    };
    let factor = balance.factor().map(|factor| ("factor", text(format_args!("{}%", factor.get()))));
    map([("hash", hash)].into_iter().chain(factor))
}

/// The same without keys that have no effect.
fn without(mut all: Value, keys: &[&[&str]]) -> Value {
    for path in keys {
        let mut at = Some(&mut all);
        if let Some((last, homes)) = path.split_last() {
            for home in homes {
                at = at.and_then(|value| value.get_mut(*home));
            }
            if let Some(Value::Mapping(home)) = at {
                home.remove(*last);
            }
        }
    }
    all
}

fn servers(backend: &Backend) -> Value {
    match &backend.discover {
        Some(discover) => map([("discover", discover::written(discover))]),
        None => named(&backend.servers, |server| (&server.name, server_keys(server))),
    }
}

fn server_keys(server: &Server) -> Value {
    let keys = [
        ("address", text(&server.address)),
        ("weight", server.weight.get().into()),
        ("state", text(server.state)),
        ("maxconn", or_off(server.maxconn, Value::from)),
        ("slow_start", or_off(server.slow_start, duration)),
        ("check", or_off(server.check.as_ref(), server_check)),
        ("backup", server.backup.map_or(false.into(), |level| level.get().into())),
        ("send_proxy", send_proxy(server.send_proxy)),
    ];
    map(keys.into_iter().chain(server.server_name.iter().map(|name| ("server_name", text(name)))))
}

fn send_proxy(version: Option<Version>) -> Value {
    text(version.map_or("off", Version::word))
}

fn server_check(check: &ServerCheck) -> Value {
    let port = check.port.map(|port| ("port", port.into()));
    let host = check.host.as_ref().map(|host| ("host", text(host)));
    map(port.into_iter().chain(host))
}

fn check(check: &Check) -> Value {
    let probe = probe::written(&check.probe);
    let timing = &check.timing;
    let mut keys = vec![
        probe,
        ("interval", duration(timing.interval)),
        ("fast_interval", duration(timing.fast_interval)),
        ("down_interval", duration(timing.down_interval)),
        ("timeout", duration(timing.timeout)),
        ("rise", timing.rise.into()),
        ("fall", timing.fall.into()),
        ("send_proxy", text(check.send_proxy.word())),
        ("over_tls", text(check.over_tls.word())),
    ];
    keys.extend(check.port.map(|port| ("port", port.into())));
    map(keys)
}

fn resolvers(config: &LbConfig) -> Value {
    let resolvers = &config.resolvers;
    map([
        ("nameservers", list(&resolvers.nameservers, |address| text(address))),
        ("timeout", duration(resolvers.timeout)),
        ("min_ttl", duration(resolvers.min_ttl)),
        ("max_ttl", duration(resolvers.max_ttl)),
        ("hold", duration(resolvers.hold)),
    ])
}

pub(crate) fn map<'k>(keys: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    Value::Mapping(keys.into_iter().map(|(key, value)| (key.into(), value)).collect::<Mapping>())
}

pub(crate) fn named<'t, T>(things: &'t [T], entry: impl Fn(&'t T) -> (&'t String, Value)) -> Value {
    map(things.iter().map(|thing| {
        let (name, value) = entry(thing);
        (name.as_str(), value)
    }))
}

pub(crate) fn list<T>(things: &[T], element: impl Fn(&T) -> Value) -> Value {
    things.iter().map(element).collect::<Vec<_>>().into()
}

pub(crate) fn text(value: impl std::fmt::Display) -> Value {
    Value::String(literal(&value.to_string()))
}

pub(crate) fn duration(duration: Duration) -> Value {
    text(show_duration(duration))
}

fn or_off<T>(value: Option<T>, write: impl FnOnce(T) -> Value) -> Value {
    value.map_or_else(|| text("off"), write)
}

fn size(bytes: u64) -> Value {
    text(show_size(bytes))
}
