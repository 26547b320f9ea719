//! A table chooses as somebody would who tries one route after the other.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the failure message")]

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
use proptest::sample::select;
use route::{
    Conditions, FieldPattern, HostPattern, Network, Path, PathPattern, Request, Route, Table, TooLarge,
};

const HOSTS: [&str; 8] = [
    "a.example",
    "b.example",
    "x.a.example",
    "*.example",
    "*.a.example",
    "*.b",
    "[2001:db8::1]",
    "192.0.2.1",
];
const PATHS: [&str; 14] = [
    "/", "/a", "/a/", "/a/*", "/a*", "/a/b", "/a/b/*", "/ab", "/ab*", "*.php", "/a/*.php", "*/b", "~^/a+/b$",
    "~php",
];
const ASKED: [&str; 9] = [
    "a.example",
    "A.example:80",
    "x.A.example.",
    "y.x.a.example",
    "b",
    "c.b",
    "[2001:DB8::1]:80",
    "192.0.2.1",
    "other",
];
const SENT: [&str; 12] =
    ["/", "/a", "/%61", "/a/", "//a//b", "/a/b", "/a/b/c", "/ab", "/a/x.php", "/x.php", "/aa/b", "/a%2fb"];

/// What a request is made of.
#[derive(Clone, Debug)]
struct Sent {
    host: Option<&'static str>,
    path: &'static str,
    method: &'static str,
    query: &'static str,
    fields: &'static str,
    source: IpAddr,
    tls: bool,
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let few = |texts: &'static [&'static str]| vec(select(texts), 0..3);
    let fields = vec((select(vec!["X-A", "x-b"]), vec(select(vec!["*", "1", "~^[0-9]$"]), 1..3)), 0..2);
    let query = vec((select(vec!["p", "q"]), vec(select(vec!["*", "1"]), 1..2)), 0..2);
    (
        few(&HOSTS),
        few(&PATHS),
        few(&["GET", "POST"]),
        few(&["10.0.0.0/8", "192.0.2.1", "::/0"]),
        fields,
        query,
        select(vec![None, None, Some(false), Some(true)]),
    )
        .prop_map(|(host, path, method, source, header, query, tls)| {
            let values = |(name, values): (&str, Vec<&str>)| {
                (
                    name.to_owned(),
                    values.iter().map(|value| FieldPattern::parse(value).unwrap()).collect::<Vec<_>>(),
                )
            };
            Conditions {
                host: host.iter().map(|text| HostPattern::parse(text).unwrap()).collect(),
                path: path.iter().map(|text| PathPattern::parse(text).unwrap()).collect(),
                method: method.iter().map(|text| (*text).to_owned()).collect(),
                source: source.iter().map(|text| Network::parse(text).unwrap()).collect(),
                header: header.into_iter().map(values).collect(),
                query: query.into_iter().map(values).collect(),
                tls,
            }
        })
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    vec((conditions(), vec(conditions(), 0..2)).prop_map(|(when, not)| Route { when, not }), 0..12)
}

fn sent() -> impl Strategy<Value = Sent> {
    let fields = select(vec!["", "X-A: 1\r\n", "x-a: 2, 1\r\nX-B: b\r\n", "X-B: 7\r\nX-AB: 1\r\n"]);
    let source = select(vec!["10.1.2.3", "192.0.2.1", "::ffff:10.0.0.1", "2001:db8::1"]);
    (
        any::<bool>(),
        select(&ASKED[..]),
        select(&SENT[..]),
        select(vec!["GET", "POST", "get"]),
        select(vec!["", "p=1", "q&p=2"]),
        fields,
        source,
        any::<bool>(),
    )
        .prop_map(|(has_host, host, path, method, query, fields, source, tls)| Sent {
            host: has_host.then_some(host),
            path,
            method,
            query,
            fields,
            source: source.parse().unwrap(),
            tls,
        })
}

/// The same, told in another way: by texts alone, one after the other.
mod naive {
    use super::{Conditions, FieldPattern, Route, Sent};

    pub(super) fn choose(routes: &[Route], sent: &Sent) -> Option<usize> {
        routes
            .iter()
            .position(|route| holds(&route.when, sent) && !route.not.iter().any(|not| holds(not, sent)))
    }

    fn holds(conditions: &Conditions, sent: &Sent) -> bool {
        let host = sent.host.map(|host| {
            let host = host.to_lowercase();
            let host = if host.starts_with('[') {
                host.split(']').next().unwrap().to_owned() + "]"
            } else {
                host.split(':').next().unwrap().to_owned()
            };
            host.trim_end_matches('.').to_owned()
        });
        let path = sent.path.replace("%61", "a").replace("%2f", "/").replace("//", "/");
        let any = |empty: bool, found: bool| empty || found;
        any(
            conditions.host.is_empty(),
            conditions.host.iter().any(|pattern| {
                let (pattern, host) = (pattern.to_string(), host.clone().unwrap_or_default());
                match pattern.strip_prefix('*') {
                    Some(end) => host.len() > end.len() && host.ends_with(end),
                    None => pattern == host,
                }
            }),
        ) && any(
            conditions.path.is_empty(),
            conditions.path.iter().any(|pattern| {
                let pattern = pattern.to_string();
                if let Some(expression) = pattern.strip_prefix('~') {
                    return regex::Regex::new(expression).unwrap().is_match(&path);
                }
                let expression = format!("^{}$", regex::escape(&pattern).replace("\\*", ".*"));
                regex::Regex::new(&expression).unwrap().is_match(&path)
            }),
        ) && any(conditions.method.is_empty(), conditions.method.iter().any(|method| method == sent.method))
            && any(conditions.tls.is_none(), conditions.tls == Some(sent.tls))
            && any(
                conditions.source.is_empty(),
                conditions.source.iter().any(|network| {
                    let source = sent.source.to_canonical();
                    match network.to_string().as_str() {
                        "10.0.0.0/8" => source.to_string().starts_with("10."),
                        "::/0" => true,
                        single => source.to_string() == single,
                    }
                }),
            )
            && conditions.header.iter().all(|(name, values)| {
                sent.fields.lines().any(|line| {
                    let (own, value) = line.split_once(": ").unwrap();
                    own.to_lowercase() == name.to_lowercase()
                        && values.iter().any(|pattern| match pattern {
                            FieldPattern::Present => true,
                            FieldPattern::Exact(text) => value.split(", ").any(|element| element == text),
                            FieldPattern::Regular(expression) => {
                                regex::Regex::new(expression.as_str()).unwrap().is_match(value)
                            }
                        })
                })
            })
            && conditions.query.iter().all(|(name, values)| {
                sent.query.split('&').any(|parameter| {
                    let (own, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                    own == name
                        && values.iter().any(|pattern| match pattern {
                            FieldPattern::Exact(text) => value == text,
                            _ => true,
                        })
                })
            })
    }
}

fn choose(table: &Table, sent: &Sent) -> Option<usize> {
    let mut scratch = Vec::new();
    table.choose(&Request {
        source: sent.source,
        tls: sent.tls,
        host: sent.host.map(str::as_bytes),
        method: sent.method.as_bytes(),
        path: Path::read(sent.path.as_bytes(), &mut scratch).unwrap(),
        query: sent.query.as_bytes(),
        fields: sent.fields.as_bytes(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_first_that_fits_is_chosen(routes in routes(), sent in vec(sent(), 1..8)) {
        let table = Table::new(&routes).unwrap();
        for sent in sent {
            prop_assert_eq!(choose(&table, &sent), naive::choose(&routes, &sent), "{:?}", sent);
        }
    }

    #[test]
    fn what_is_never_reached_is_never_chosen(routes in routes(), sent in vec(sent(), 1..8)) {
        let table = Table::new(&routes).unwrap();
        let unreached: Vec<usize> = table.unreached().iter().map(|one| one.route).collect();
        for sent in sent {
            let chosen = choose(&table, &sent);
            prop_assert_eq!(chosen.filter(|chosen| unreached.contains(chosen)), None, "{:?}", sent);
        }
    }
}

fn route(host: &[&str], path: &[&str]) -> Route {
    let when = Conditions {
        host: host.iter().map(|text| HostPattern::parse(text).unwrap()).collect(),
        path: path.iter().map(|text| PathPattern::parse(text).unwrap()).collect(),
        ..Conditions::default()
    };
    Route { when, not: Vec::new() }
}

#[test]
fn thousands_of_hosts_and_paths_are_found() {
    let mut routes: Vec<Route> = (0..10_000).map(|n| route(&[&format!("h{n}.example")], &[])).collect();
    routes.extend((0..1000).map(|n| route(&["many.example"], &[&format!("/p{n}/*")])));
    routes.push(route(&[], &["/last"]));
    let table = Table::new(&routes).unwrap();
    let ask = |host: &str, path: &'static str| {
        let host: &'static str = host.to_owned().leak();
        choose(
            &table,
            &Sent {
                host: Some(host),
                path,
                method: "GET",
                query: "",
                fields: "",
                source: [192, 0, 2, 1].into(),
                tls: false,
            },
        )
    };
    assert_eq!(ask("h0.example", "/x"), Some(0));
    assert_eq!(ask("h9999.example", "/last"), Some(9999));
    assert_eq!(ask("many.example", "/p77/x"), Some(10_077));
    assert_eq!(ask("many.example", "/p77"), None);
    assert_eq!(ask("many.example", "/last"), Some(11_000));
    assert_eq!(table.unreached(), []);
}

#[test]
fn what_would_take_too_much_memory_is_refused() {
    let hosts: Vec<String> = (0..1000).map(|n| format!("h{n}.example")).collect();
    let paths: Vec<String> = (0..600).map(|n| format!("/p{n}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let (small, large) = (route(&hosts, &paths[..500]), route(&hosts, &paths));
    assert!(Table::new(std::slice::from_ref(&small)).is_ok());
    assert_eq!(Table::new(&[small, large]).unwrap_err(), TooLarge::Pairs { route: 1 });
}

#[test]
fn routes_that_others_leave_nothing_for_are_found() {
    let not = |mut route: Route, not: Route| {
        route.not.push(not.when);
        route
    };
    let tls = |tls, mut route: Route| {
        route.when.tls = Some(tls);
        route
    };
    let cases: [(Vec<Route>, Option<usize>); 12] = [
        (vec![route(&[], &[]), route(&["a"], &["/x"])], Some(0)),
        (vec![route(&["a"], &[]), route(&["a"], &["/x"])], Some(0)),
        (vec![route(&["*.example"], &[]), route(&["a.example", "b.a.example"], &[])], Some(0)),
        (vec![route(&["*.example"], &[]), route(&["*.a.example"], &[])], Some(0)),
        (vec![route(&[], &["/a*"]), route(&["b"], &["/a/*.php", "/ab"])], Some(0)),
        (
            vec![
                not(route(&[], &["/a*"]), route(&["c"], &[])),
                not(route(&[], &["/a/*"]), route(&["c"], &[])),
            ],
            Some(0),
        ),
        (vec![not(route(&[], &["/a*"]), route(&["c"], &[])), route(&[], &["/a/*"])], None),
        (vec![route(&["a"], &[]), route(&["a", "b"], &[])], None),
        (vec![route(&[], &["/a"]), route(&[], &["/a*"])], None),
        (vec![route(&["a"], &[]), tls(true, route(&["a"], &[]))], Some(0)),
        (vec![tls(true, route(&["a"], &[])), route(&["a"], &[])], None),
        (vec![tls(true, route(&["a"], &[])), tls(false, route(&["a"], &[]))], None),
    ];
    for (routes, by) in cases {
        let found = Table::new(&routes).unwrap().unreached();
        assert_eq!(found.iter().find(|one| one.route == 1).map(|one| one.by), by.map(Some), "{routes:?}");
    }
    let contradiction = not(route(&["a"], &["/x"]), route(&[], &["/x*"]));
    assert_eq!(Table::new(&[contradiction]).unwrap().unreached().len(), 1);
}
