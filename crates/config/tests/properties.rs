//! What holds for every text and for every configuration.
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use balance::{AdminState, Algorithm, BackupLevel, BackupRules, BackupUse, LoadFactor, Weight};
use config::{
    Access, AccessLog, Action, Backend, Balance, Bind, Check, CheckProxy, CheckTls, ClientCertificates,
    ClientTimeouts, Discover, Edits, ExpectedBody, ExpectedStatus, ForwardedFor, Frontend, HashKey, Healthd,
    HttpProbe, LbConfig, Lbd, Mode, OnDown, OnUp, OpenPath, Page, Pattern, Probe, Queue, Redirect, RequestId,
    RequestLimits, Resolvers, Respond, Route, Routes, SameSite, Scheme, Secret, Server, ServerAddress,
    ServerCheck, ServerTimeouts, ServerTls, Source, Sticky, TicketKeys, Tls, TlsProbe, TlsVersion,
    WhenAllDown,
};
use edit::{FieldEdits, FieldName, FieldNames, PathEdits, Place, Replacement, RequestEdits, Template};
use health::Timing;
use health::dialogue::{RedisRole, Step};
use http1::{ForwardedField, ForwardedFields};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::{Index, select};
use proptest::{option, prop_oneof};
use proxy_protocol::Version;
use route::{Conditions, FieldPattern, HostPattern, Network, PathPattern, PathPrefix};

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn what_is_written_out_is_read_back_equal(config in configs()) {
        let yaml = config::effective_yaml(&config);
        let loaded = config::parse("effective.yaml", &yaml);
        prop_assert_eq!(loaded.map(|loaded| loaded.config).map_err(|invalid| format!("{invalid}\n{yaml}")), Ok(config));
    }

    #[test]
    fn a_missing_variable_is_told_once(config in configs(), which in any::<Index>()) {
        told_once(&config, "${TANDEM_NO_SUCH_VARIABLE}", which, |_| true)?;
    }

    #[test]
    fn a_misspelt_mode_is_told_once(config in configs(), which in any::<Index>()) {
        told_once(&config, "tpc", which, |key| key == "mode")?;
    }

    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        answered(&text)?;
    }

    #[test]
    fn any_yaml_like_text_is_answered(tokens in vec(select(TOKENS), 0..60)) {
        answered(&tokens.concat())?;
    }

    #[test]
    fn a_damaged_file_is_answered(config in configs(), damage in vec((any::<Index>(), select(TOKENS), 0..8_usize), 1..6)) {
        let mut text: Vec<char> = config::effective_yaml(&config).chars().collect();
        for (place, insert, removed) in damage {
            let start = place.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, insert.chars());
        }
        answered(&text.into_iter().collect::<String>())?;
    }
}

const TOKENS: &[&str] = &[
    "frontends",
    "backends",
    "servers",
    "check",
    "http",
    "expect",
    "bind",
    "nginx1:80",
    "[::1]:80",
    ":",
    ": ",
    "\n",
    "\n  ",
    "\n    ",
    " ",
    "\t",
    "- ",
    "-",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "!!str ",
    "|",
    ">",
    "\"",
    "'",
    "#",
    " # ",
    "%",
    "@",
    "?",
    "? ",
    "<<",
    "---\n",
    "...\n",
    "~",
    "\\",
    "\u{feff}",
    "\r\n",
    "\0",
    "é",
    "\u{1f600}",
    "0",
    "2s",
    "200-299",
    "off",
    "x",
];

/// One value of some key is replaced by a wrong one: that is one error.
fn told_once(
    config: &LbConfig,
    wrong: &str,
    which: Index,
    of: fn(&str) -> bool,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let mut file: serde_yaml::Value =
        serde_yaml::from_str(&config::effective_yaml(config)).expect("what we write is YAML");
    let mut values = Vec::new();
    single_values(&mut file, "", of, &mut values);
    *values.swap_remove(which.index(values.len())) = wrong.into();
    let text = serde_yaml::to_string(&file).expect("it is what was read");
    let told =
        config::parse("lb.yaml", &text).map_or_else(|invalid| invalid.diagnostics, |loaded| loaded.warnings);
    let errors: Vec<_> = told.iter().filter(|one| one.severity == config::Severity::Error).collect();
    prop_assert_eq!(errors.len(), 1, "{:?}\n{}", errors, text);
    Ok(())
}

fn single_values<'v>(
    value: &'v mut serde_yaml::Value,
    key: &str,
    of: fn(&str) -> bool,
    found: &mut Vec<&'v mut serde_yaml::Value>,
) {
    match value {
        serde_yaml::Value::Sequence(items) => {
            items.iter_mut().for_each(|item| single_values(item, key, of, found));
        }
        serde_yaml::Value::Mapping(keys) => {
            keys.iter_mut()
                .for_each(|(key, value)| single_values(value, key.as_str().unwrap_or_default(), of, found));
        }
        single if of(key) => found.push(single),
        _ => {}
    }
}

/// Every answer is a configuration or at least one error, and every remark has its place in the text.
fn answered(text: &str) -> Result<(), proptest::test_runner::TestCaseError> {
    let diagnostics = match config::parse("lb.yaml", text) {
        Ok(loaded) => {
            prop_assert!(loaded.warnings.iter().all(|warning| warning.severity == config::Severity::Warning));
            loaded.warnings
        }
        Err(invalid) => {
            prop_assert!(
                invalid.diagnostics.iter().any(|diagnostic| diagnostic.severity == config::Severity::Error)
            );
            invalid.diagnostics
        }
    };
    let lines = text.split(['\n', '\r']).count() + 1;
    for diagnostic in diagnostics {
        let summary = diagnostic.line == 0 && diagnostic.message.starts_with("and ");
        prop_assert!(summary || (1..=lines).contains(&diagnostic.line), "{diagnostic:?}");
        prop_assert!(summary || diagnostic.column >= 1, "{diagnostic:?}");
        prop_assert!(!diagnostic.message.chars().any(char::is_control), "{diagnostic:?}");
    }
    Ok(())
}

fn configs() -> impl Strategy<Value = LbConfig> {
    let backends = vec(backend(), 1..4).prop_map(|mut backends| {
        for (index, backend) in backends.iter_mut().enumerate() {
            backend.name = unique(&backend.name, index);
        }
        backends
    });
    let routes = prop_oneof![Just(Vec::new()), vec((route(), any::<Index>()), 1..5)];
    let frontends = vec((frontend(), (routes, option::of(any::<Index>()))), 1..4);
    (
        backends,
        frontends,
        resolvers(),
        (1..=256_usize, option::of(maxconn()), wait(), handover_wait(), wait()),
        1..=10_000_u16,
        (access(), access()),
    )
        .prop_map(
            |(
                backends,
                frontends,
                resolvers,
                (workers, maxconn, stop_timeout, handover_timeout, verdict_wait),
                port,
                (access, healthd_access),
            )| {
                let frontends = frontends.into_iter().enumerate().map(|(index, (mut frontend, backend))| {
                    frontend.name = unique(&frontend.name, index);
                    let backend_at = |backend: &Index| backends[backend.index(backends.len())].name.clone();
                    let (routes, default) = backend;
                    let routes = routes.into_iter().enumerate().map(|(index, (mut route, backend))| {
                        route.name = route.name.map(|name| unique(&name, index));
                        if let Action::Backend(name) = &mut route.action {
                            *name = backend_at(&backend);
                        }
                        route
                    });
                    frontend.routes = Routes::new(routes.collect()).expect("there are few");
                    frontend.backend = default.map(|backend| backend_at(&backend));
                    if frontend.routes.list().is_empty() {
                        frontend.backend.get_or_insert_with(|| backends[0].name.clone());
                    }
                    for (number, bind) in frontend.bind.iter_mut().enumerate() {
                        bind.address
                            .set_port(u16::try_from(10_001 + 10 * index + number).expect("few addresses"));
                    }
                    frontend
                });
                LbConfig {
                    frontends: frontends.collect(),
                    resolvers,
                    lbd: Lbd {
                        admin: SocketAddr::new([127, 0, 0, 1].into(), port),
                        access,
                        workers,
                        maxconn,
                        stop_timeout,
                        handover_timeout,
                        verdict_wait,
                    },
                    healthd: Healthd {
                        admin: SocketAddr::new([127, 0, 0, 2].into(), port),
                        access: healthd_access,
                    },
                    backends,
                }
            },
        )
}

fn access() -> impl Strategy<Value = Access> {
    let hash = prop_oneof![
        "\\$6\\$(rounds=[1-9][0-9]{3}\\$)?[A-Za-z0-9./]{0,16}\\$[A-Za-z0-9./]{86}",
        "\\$5\\$(rounds=[1-9][0-9]{4}\\$)?[A-Za-z0-9./]{0,16}\\$[A-Za-z0-9./]{43}",
    ];
    let users = vec(("[ -9;-~\u{e4}]{1,10}", hash), 0..4).prop_map(|users| {
        let numbered = users.into_iter().enumerate();
        numbered.map(|(index, (name, hash))| (unique(&name, index), Secret::new(hash))).collect()
    });
    let open = vec(select(OpenPath::ALL.to_vec()), 0..3);
    (users, open).prop_map(|(users, open)| Access { users, open })
}

/// Names may look like numbers or words of YAML.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_.-]{1,20}",
        select(vec!["on", "no", "null", "1", "1e3", "0x10", "-", ".", "true"]).prop_map(str::to_owned)
    ]
}

fn unique(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}.{index}") }
}

fn milliseconds(range: RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    prop_oneof![range.clone(), range.prop_map(|ms| (ms / 1000).max(1) * 1000)].prop_map(Duration::from_millis)
}

fn timeout() -> impl Strategy<Value = Duration> {
    milliseconds(10..=24 * 60 * 60 * 1000)
}

fn wait() -> impl Strategy<Value = Duration> {
    milliseconds(0..=60 * 60 * 1000)
}

fn handover_wait() -> impl Strategy<Value = Duration> {
    milliseconds(0..=5000)
}

fn slow_start() -> impl Strategy<Value = Duration> {
    milliseconds(1000..=60 * 60 * 1000)
}

fn maxconn() -> impl Strategy<Value = u32> {
    1..=1_000_000_000_u32
}

fn tls() -> impl Strategy<Value = Arc<Tls>> {
    let path = || "[ -~\u{e4}]{1,20}";
    let clients = (path(), any::<bool>(), option::of(path())).prop_map(|(ca_file, required, crl_file)| {
        ClientCertificates { ca_file, required, crl_file, clients: None }
    });
    let tickets = path().prop_map(|file| TicketKeys { file, keys: Vec::new() });
    let version = select(TlsVersion::ALL.to_vec());
    (vec(path(), 1..3), version, any::<bool>(), option::of(clients), option::of(tickets)).prop_map(
        |(certificates, min_version, strict_sni, client, ticket_keys)| {
            let store = Arc::default();
            Arc::new(Tls { certificates, min_version, strict_sni, client, ticket_keys, store })
        },
    )
}

/// Hosts of servers may be no names that a certificate can be for.
fn server_tls() -> impl Strategy<Value = Arc<ServerTls>> {
    let path = || option::of("[ -~\u{e4}]{1,20}");
    let version = select(TlsVersion::ALL.to_vec());
    (any::<bool>(), path(), path(), host_name(), path(), version).prop_map(
        |(verify, server_ca, server_crl, server_name, certificate, min_version)| {
            let (server_name, alpn) = (Some(server_name), Vec::new());
            Arc::new(ServerTls {
                verify,
                server_crl: server_crl.filter(|_| server_ca.is_some()),
                server_ca,
                server_name,
                certificate,
                min_version,
                alpn,
                servers: None,
            })
        },
    )
}

fn host_name() -> &'static str {
    "[a-z][a-z0-9]{0,10}(\\.[a-z]{1,10}){0,2}"
}

fn frontend() -> impl Strategy<Value = Frontend> {
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

fn route() -> impl Strategy<Value = Route> {
    let not = vec(conditions().prop_filter("one is not empty", |one| !one.is_empty()), 0..3);
    (option::of(name()), conditions(), not, action(), edits()).prop_map(|(name, when, not, action, edits)| {
        let edits = edits.filter(|_| matches!(action, Action::Backend(_)));
        Route { name: name.map(|name| format!("r{name}")), when, not, action, edits }
    })
}

fn field(name: &str) -> FieldName {
    FieldName::parse(name).expect("it may be edited")
}

fn edits() -> impl Strategy<Value = Option<Arc<Edits>>> {
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

fn networks() -> impl Strategy<Value = Vec<Network>> {
    let networks = ["192.0.2.0/24", "2001:db8::/32", "10.0.0.1", "::/0"];
    vec(select(networks.to_vec()).prop_map(|text| Network::parse(text).expect("it is one")), 0..3)
}

fn proxy() -> impl Strategy<Value = Option<Version>> {
    select(vec![None, Some(Version::V1), Some(Version::V2)])
}

/// Without a flow label and a scope, which no file can give.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().max(1))
}

fn backend() -> impl Strategy<Value = Backend> {
    let timeouts = (timeout(), timeout(), option::of(timeout())).prop_map(|(connect, server, keep_alive)| {
        ServerTimeouts { connect, server, server_fin: None, keep_alive }
    });
    let servers = vec(server(), 1..5).prop_map(|mut servers| {
        for (index, server) in servers.iter_mut().enumerate() {
            server.name = unique(&server.name, index);
        }
        servers
    });
    let servers = prop_oneof![
        servers.prop_map(|servers| (servers, None)),
        discover().prop_map(|discover| (Vec::new(), Some(discover)))
    ];
    let queue = (timeout(), 0..=1_000_000_u32).prop_map(|(timeout, max)| Queue { timeout, max });
    let when_all_down = select(vec![WhenAllDown::Reject, WhenAllDown::Try]);
    let edited = (backups(), edits());
    let wire = (proxy(), option::of(server_tls()));
    let overload = (queue, option::of(slow_start()), when_all_down, any::<bool>(), edited, wire);
    (
        name(),
        (balance(), option::of(sticky())),
        option::of(check()),
        servers,
        0..=10_u32,
        0..=100_u32,
        timeouts,
        overload,
    )
        .prop_map(
            |(
                name,
                (balance, sticky),
                check,
                (servers, discover),
                retries,
                retry_budget,
                timeouts,
                (queue, slow_start, when_all_down, abort_on_close, (backups, edits), (send_proxy, tls)),
            )| Backend {
                name,
                mode: Mode::Http,
                balance,
                sticky,
                check,
                servers,
                discover,
                send_proxy,
                tls,
                retries,
                retry_budget,
                timeouts,
                queue,
                slow_start,
                when_all_down,
                on_down: OnDown::KeepSessions,
                backups,
                on_up: OnUp::KeepSessions,
                abort_on_close,
                edits,
            },
        )
}

fn discover() -> impl Strategy<Value = Discover> {
    let source = prop_oneof![
        host_name().prop_map(Source::Srv),
        (host_name(), 1..=u16::MAX).prop_map(|(name, port)| Source::Host { name, port }),
        "[ -~\u{e4}]{1,20}".prop_map(Source::File),
    ];
    let bounds = (1..=10_000_u32, any::<Index>(), milliseconds(0..=24 * 60 * 60 * 1000));
    let check = option::of((option::of(1..=u16::MAX), option::of(host_name())))
        .prop_map(|own| own.map(|(port, host)| ServerCheck { port, host }));
    let weight = (0..=256_u16).prop_map(|weight| Weight::new(weight).expect("in range"));
    let usual = (weight, option::of(maxconn()), option::of(slow_start()), check, proxy());
    (source, bounds, usual, option::of(host_name())).prop_map(
        |(source, (max, min, hold), (weight, maxconn, slow_start, check, send_proxy), server_name)| {
            Discover {
                source,
                max,
                min: u32::try_from(min.index(max as usize + 1)).expect("no more than max"),
                hold,
                weight,
                maxconn,
                slow_start,
                check,
                send_proxy,
                server_name,
            }
        },
    )
}

fn balance() -> impl Strategy<Value = Balance> {
    let by = select(vec![Algorithm::Roundrobin, Algorithm::Leastconn, Algorithm::Source, Algorithm::Random]);
    let name = "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}";
    let of = prop_oneof![
        Just(HashKey::Host),
        Just(HashKey::Path),
        Just(HashKey::Query),
        name.prop_map(HashKey::Header),
        name.prop_map(HashKey::Cookie),
        "[ -~]{1,10}".prop_map(HashKey::UrlParam),
    ];
    let factor = option::of(
        (LoadFactor::MIN..=LoadFactor::MAX)
            .prop_map(|per_cent| LoadFactor::per_cent(per_cent).expect("within the range")),
    );
    prop_oneof![by.prop_map(Balance::By), (of, factor).prop_map(|(of, factor)| Balance::Hash { of, factor })]
}

fn sticky() -> impl Strategy<Value = Sticky> {
    let seconds = || (1..=8_760 * 60 * 60_u64).prop_map(Duration::from_secs);
    let times = (option::of(seconds()), option::of(seconds())).prop_map(|(idle, life)| match (idle, life) {
        (Some(idle), Some(life)) => (Some(idle.min(life)), Some(idle.max(life))),
        other => other,
    });
    let key = option::of("[ -~]{16,40}".prop_map(Secret::new));
    let same_site = select(vec![None, Some(SameSite::Strict), Some(SameSite::Lax), Some(SameSite::None)]);
    let domain = option::of("[a-z]{1,8}\\.[a-z]{2,5}");
    (
        "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}",
        key,
        times,
        any::<bool>(),
        any::<bool>(),
        same_site,
        domain,
        "/[a-z0-9/]{0,8}",
    )
        .prop_map(|(cookie, key, (max_idle, max_life), secure, http_only, same_site, domain, path)| {
            Sticky {
                cookie,
                key,
                max_idle,
                max_life,
                secure: secure || same_site == Some(SameSite::None),
                http_only,
                same_site,
                domain,
                path,
            }
        })
}

fn backups() -> impl Strategy<Value = BackupRules> {
    let min_usable = (1..=10_000_u32).prop_map(|least| NonZeroU32::new(least).expect("not zero"));
    (min_usable, select(vec![BackupUse::First, BackupUse::All]))
        .prop_map(|(min_usable, join)| BackupRules { min_usable, join })
}

fn server() -> impl Strategy<Value = Server> {
    let ip = any::<SocketAddr>()
        .prop_filter("a server has an address of its own", |a| {
            !a.ip().is_unspecified() && !a.ip().is_multicast()
        })
        .prop_map(|address| ServerAddress {
            host: config::Host::Ip(address.ip()),
            port: address.port().max(1),
        });
    let named = ("[a-z_][a-z0-9_-]{0,10}(\\.[a-z]{1,10}){0,2}\\.?", 1..=u16::MAX)
        .prop_map(|(host, port)| ServerAddress { host: config::Host::Name(host), port });
    let weight = (0..=256_u16).prop_map(|weight| Weight::new(weight).expect("in range"));
    let state = select(vec![AdminState::Ready, AdminState::Drain, AdminState::Maint]);
    let backup = any::<u8>().prop_map(BackupLevel::new);
    let own = (option::of(1..=u16::MAX), option::of("[a-z0-9.:\\[\\]-]{1,20}"));
    let check = option::of(own.prop_map(|(port, host)| ServerCheck { port, host }));
    let bounds = (option::of(maxconn()), option::of(slow_start()));
    let wire = (proxy(), option::of(host_name()));
    (name(), prop_oneof![ip, named], weight, state, bounds, check, backup, wire).prop_map(
        |(name, address, weight, state, (maxconn, slow_start), check, backup, (send_proxy, server_name))| {
            Server {
                name,
                address,
                weight,
                state,
                maxconn,
                slow_start,
                check,
                backup,
                send_proxy,
                server_name,
            }
        },
    )
}

fn check() -> impl Strategy<Value = Check> {
    let interval = || milliseconds(10..=60 * 60 * 1000);
    let timing =
        (interval(), interval(), interval(), milliseconds(10..=10 * 60 * 1000), 1..=100_u32, 1..=100_u32)
            .prop_map(|(interval, fast_interval, down_interval, timeout, rise, fall)| Timing {
                interval,
                fast_interval,
                down_interval,
                timeout,
                rise,
                fall,
            });
    let probe = prop_oneof![http_probe().prop_map(Probe::Http), other_probe()];
    let send_proxy = prop_oneof![
        Just(CheckProxy::Auto),
        proxy().prop_map(|version| version.map_or(CheckProxy::Off, CheckProxy::Always))
    ];
    (probe, timing, option::of(1..=u16::MAX), send_proxy, select(CheckTls::ALL.to_vec())).prop_map(
        |(probe, timing, port, send_proxy, over_tls)| Check { probe, timing, port, send_proxy, over_tls },
    )
}

fn http_probe() -> impl Strategy<Value = HttpProbe> {
    let headers =
        vec(("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}", "([!-~]([ -~]{0,40}[!-~])?)?"), 0..4).prop_map(|headers| {
            let numbered = headers
                .into_iter()
                .enumerate()
                .map(|(index, (name, value))| (format!("{name}-x{index}"), value));
            numbered.collect()
        });
    let status = (100..=599_u16, 100..=599_u16).prop_map(|(a, b)| a.min(b)..=a.max(b));
    (
        "[A-Z]{1,10}",
        "/[!-\"$-~]{0,20}",
        option::of("[a-z0-9.:\\[\\]-]{1,20}"),
        headers,
        vec(status, 1..4),
        option::of(expected_body()),
    )
        .prop_filter("CONNECT is refused", |(method, ..)| method != "CONNECT")
        .prop_map(|(method, path, host, headers, expect, body)| HttpProbe {
            method,
            path,
            host,
            headers,
            expect: ExpectedStatus(expect),
            body,
        })
}

fn expected_body() -> impl Strategy<Value = ExpectedBody> {
    let pattern = "[a-z.*+?^$]{1,10}".prop_filter_map("it is a pattern", |text| Pattern::new(&text).ok());
    prop_oneof![".{1,40}".prop_map(ExpectedBody::Contains), pattern.prop_map(ExpectedBody::Matches)]
}

fn other_probe() -> impl Strategy<Value = Probe> {
    let word = || "[ -~]{1,20}";
    let bytes = || vec(any::<u8>(), 1..20);
    let step = prop_oneof![bytes().prop_map(Step::Send), bytes().prop_map(Step::Expect)];
    let steps = (vec(step, 0..5), bytes()).prop_map(|(mut steps, last)| {
        steps.push(Step::Expect(last));
        Probe::Steps(steps)
    });
    let role = select(vec![None, Some(RedisRole::Master), Some(RedisRole::Replica)]);
    let host = host_name;
    let tls = (option::of(host()), option::of("/[!-~]{1,20}"));
    prop_oneof![
        Just(Probe::Tcp),
        steps,
        option::of(word()).prop_map(|user| Probe::Mysql { user }),
        (word(), option::of(word())).prop_map(|(user, database)| Probe::Postgres { user, database }),
        role.prop_map(|role| Probe::Redis { role }),
        host().prop_map(|domain| Probe::Smtp { domain }),
        tls.prop_map(|(name, ca_file)| Probe::Tls(TlsProbe { name, ca_file: ca_file.map(Into::into) })),
    ]
}

fn resolvers() -> impl Strategy<Value = Resolvers> {
    let ttl = || milliseconds(1000..=24 * 60 * 60 * 1000);
    let nameservers = vec(any::<SocketAddr>().prop_map(plain), 0..4);
    (nameservers, milliseconds(10..=60_000), ttl(), ttl(), milliseconds(0..=24 * 60 * 60 * 1000)).prop_map(
        |(nameservers, timeout, a, b, hold)| Resolvers {
            nameservers,
            timeout,
            min_ttl: a.min(b),
            max_ttl: a.max(b),
            hold,
        },
    )
}
