//! What holds for every text and for every configuration.
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

mod backend;
mod check;
mod frontend;

use backend::backend;
use config::{
    Access, Action, ClientCertificates, Healthd, LbConfig, Lbd, OpenPath, Resolvers, Routes, Secret,
    ServerTls, TicketKeys, Tls, TlsVersion,
};
use frontend::{frontend, route};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::{Index, select};
use proptest::{option, prop_oneof};
use proxy_protocol::Version;
use route::Network;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

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
