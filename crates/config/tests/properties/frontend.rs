//! Frontends, their routes and edits.

use super::{maxconn, name, networks, plain, timeout, tls};
use config::{
    AccessLog, Action, Bind, ClientTimeouts, Edits, ForwardedFor, Frontend, Mode, Page, Redirect, RequestId,
    RequestLimits, Respond, Route, Routes, Scheme,
};
use edit::{FieldEdits, FieldName, FieldNames, PathEdits, Place, Replacement, RequestEdits, Template};
use http1::{ForwardedField, ForwardedFields};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::{Index, select};
use proptest::{option, prop_oneof};
use route::{Conditions, FieldPattern, HostPattern, PathPattern, PathPrefix};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn frontend() -> impl Strategy<Value = Frontend> {
    let timeouts = (timeout(), timeout(), timeout(), timeout()).prop_map(
        |(request_head, keep_alive, client, tunnel)| ClientTimeouts {
            request_head,
            client_hello: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            keep_alive,
            client,
            tunnel,
            client_fin: None,
        },
    );
    let limits = (1024..=32_768_usize, any::<Index>(), 16..=256_usize, option::of(1024..=1_u64 << 40))
        .prop_map(|(head, line, fields, body)| RequestLimits {
            request_line: 256 + line.index(head - 255),
            head,
            fields,
            body,
        });
    let forwarded_for = (
        select(vec![ForwardedFor::Append, ForwardedFor::Replace]),
        vec(select(ForwardedField::ALL.to_vec()), 1..7).prop_map(|fields| fields.into_iter().collect()),
    );
    let forwarded_for = prop_oneof![forwarded_for, Just((ForwardedFor::Off, ForwardedFields::USUAL))];
    let request_id = ("[A-Za-z0-9_-]{0,8}".prop_map(|name| field(&format!("X-{name}"))), any::<bool>())
        .prop_map(|(field, accept)| RequestId { field, accept });
    let forwarded_for = (forwarded_for, option::of(request_id), edits());
    let access_log = select(vec![AccessLog::Httplog, AccessLog::Json, AccessLog::Off]);
    let bind = vec((any::<SocketAddr>().prop_map(plain), option::of(tls())), 1..4)
        .prop_map(|binds| binds.into_iter().map(|(address, tls)| Bind { address, tls }).collect());
    let clients = (option::of(maxconn()), networks(), any::<bool>());
    (name(), bind, timeouts, limits, forwarded_for, access_log, clients).prop_map(
        |(name, bind, timeouts, limits, (forwarded, request_id, edits), access_log, clients)| {
            let (forwarded_for, forwarded) = forwarded;
            let (maxconn, accept_proxy, http2) = clients;
            let fields = limits.fields;
            Frontend {
                name,
                mode: Mode::Http,
                bind,
                accept_proxy,
                http2,
                routes: Routes::default(),
                backend: None,
                errors: [404, 503]
                    .into_iter()
                    .take(fields % 3)
                    .map(|status| (status, Page { file: Some(format!("{status}.html")), content: [].into() }))
                    .collect(),
                timeouts,
                limits,
                forwarded_for,
                forwarded,
                request_id,
                edits,
                access_log,
                maxconn,
            }
        },
    )
}

pub(super) fn route() -> impl Strategy<Value = Route> {
    let not = vec(conditions().prop_filter("one is not empty", |one| !one.is_empty()), 0..3);
    (option::of(name()), conditions(), not, action(), edits()).prop_map(|(name, when, not, action, edits)| {
        let edits = edits.filter(|_| matches!(action, Action::Backend(_)));
        Route { name: name.map(|name| format!("r{name}")), when, not, action, edits }
    })
}

fn field(name: &str) -> FieldName {
    FieldName::parse(name).expect("it may be edited")
}

pub(super) fn edits() -> impl Strategy<Value = Option<Arc<Edits>>> {
    let prefix = |text: &str| PathPrefix::parse(text).expect("it is one");
    let prefixes = || option::of(select(vec!["/v1", "/a/b", "/%7e", "/{x}"]));
    let replaced = option::of(select(vec![("^/a/(.*)$", "/b/$1"), ("x", "$$y{host}"), ("[${]", "{{/$0")]));
    let path = (prefixes(), replaced, prefixes()).prop_map(move |(strip, replaced, add)| PathEdits {
        strip_prefix: strip.map(prefix),
        replace: replaced.map(|(pattern, with)| replacement(pattern, with, Place::Path)),
        add_prefix: add.map(prefix),
    });
    let host = option::of(select(vec!["a.example", "[2001:db8::1]:80", "no"]))
        .prop_map(|host| host.map(str::to_owned));
    let request =
        (field_edits(), host, path).prop_map(|(fields, host, path)| RequestEdits { fields, host, path });
    let edits = (request, field_edits()).prop_map(|(request, response)| Edits { request, response });
    option::of(edits.prop_filter_map("it has some", |edits| (!edits.is_empty()).then(|| Arc::new(edits))))
}

fn replacement(pattern: &str, with: &str, place: Place) -> Replacement {
    Replacement::parse(pattern, with, place).expect("it is one")
}

/// Names begin with what tells their kinds apart.
fn field_edits() -> impl Strategy<Value = FieldEdits> {
    let values =
        ["", "off", "1", "{client.ip}:{client.port}", "a {{b}} ${{c}}", "~, \"x\" # y", "{request.id}"];
    let value = move || {
        select(values.to_vec()).prop_map(|text| Template::parse(text, Place::Field, None).expect("it is one"))
    };
    let numbered = |kind: &'static str| move |index: usize| field(&format!("{kind}-{index}"));
    let remove = vec(select(vec!["R-a", "R-*", "R_b", "R-1*"]), 0..3).prop_map(|names| {
        names.into_iter().map(|name| FieldNames::parse(name).expect("it is one")).collect()
    });
    let replace = vec(select(vec![("^a(b)?$", "$1"), ("x", "$$ {path}")]), 0..3).prop_map(move |all| {
        let one = |(pattern, with)| replacement(pattern, with, Place::Field);
        all.into_iter().enumerate().map(|(index, all)| (numbered("P")(index), one(all))).collect()
    });
    let set = vec(value(), 0..3).prop_map(move |values| {
        values.into_iter().enumerate().map(|(index, value)| (numbered("S")(index), value)).collect()
    });
    let add = vec(vec(value(), 1..3), 0..3).prop_map(move |values| {
        values.into_iter().enumerate().map(|(index, values)| (numbered("A")(index), values)).collect()
    });
    (remove, replace, set, add).prop_map(|(remove, replace, set, add)| FieldEdits {
        remove,
        replace,
        set,
        add,
    })
}

fn action() -> impl Strategy<Value = Action> {
    let scheme = option::of(select(vec![Scheme::Http, Scheme::Https]));
    let host = select(vec!["www.example.org", "www.example.org:8443", "[2001:db8::1]", "[2001:db8::1]:80"]);
    let path = option::of("/[a-z0-9]{0,8}");
    let code = select(vec![301, 302, 303, 307, 308]);
    let redirect =
        (scheme, host, path, code, any::<bool>()).prop_map(|(scheme, host, path, code, keeps_query)| {
            Redirect { scheme, host: Some(host.to_owned()), path, code, keeps_query }
        });
    let text = "[ -~\u{e4}\n]{0,40}".prop_map(|text| Page { file: None, content: text.as_bytes().into() });
    // Nobody reads them here.
    let file = "[a-z]{1,8}\\.html".prop_map(|name| Page { file: Some(name), content: [].into() });
    let respond = (200..=203_u16, "[a-z]{1,8}/[a-z; =]{0,8}[a-z]", prop_oneof![text, file])
        .prop_map(|(status, content_type, page)| Respond { status, content_type, page });
    prop_oneof![
        Just(Action::Backend(String::new())),
        redirect.prop_map(Action::Redirect),
        respond.prop_map(Action::Respond),
        (400..=599_u16).prop_map(Action::Deny),
    ]
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let hosts = ["a.example", "*.b.example", "192.0.2.1", "[2001:db8::1]", "no"];
    let paths = ["/", "/a/*", "*.php", "/a*b", "~^/[0-9]+$", "/a%20b", "/\u{e4}"];
    let values = ["*", "x", "a, b", "~^x", "null", "1e3", ""];
    let parameters = ["*", "x", "a b", "null"];
    let named = |name: &'static str, values: Vec<&'static str>| {
        vec(vec(select(values), 1..3), 0..3).prop_map(move |fields| {
            let pattern = |value: &str| FieldPattern::parse(value).expect("it is one");
            let numbered = fields.into_iter().enumerate();
            numbered
                .map(|(index, values)| (format!("{name}{index}"), values.into_iter().map(pattern).collect()))
                .collect::<Vec<_>>()
        })
    };
    (
        vec(select(hosts.to_vec()), 0..3),
        vec(select(paths.to_vec()), 0..3),
        vec("[A-Z]{1,8}", 0..3),
        named("X-", values.to_vec()),
        named("p", parameters.to_vec()),
        networks(),
        option::of(any::<bool>()),
    )
        .prop_map(|(host, path, method, header, query, source, tls)| Conditions {
            host: host.into_iter().map(|text| HostPattern::parse(text).expect("it is one")).collect(),
            path: path.into_iter().map(|text| PathPattern::parse(text).expect("it is one")).collect(),
            method,
            header,
            query,
            source,
            tls,
        })
}
