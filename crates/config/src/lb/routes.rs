//! `frontends.NAME.routes`

use std::collections::{HashMap, HashSet};

use route::{Conditions, FieldPattern, HostPattern, Network, PathPattern, PatternError, TooLarge};

use super::{Known, actions, edits};
use crate::files::Files;
use crate::read::{Section, Value, quoted};
use crate::scalar::{self, Problem};
use crate::yaml::Mark;
use crate::{Action, Bind, Mode, Redirect, Route, Routes, Scheme};

/// The most routes of a frontend, and the most elements of a list of values.
const MAX_ROUTES: usize = 20_000;
const MAX_VALUES: usize = 1_000;
/// The keys of conditions, as messages have them.
pub(super) const NONE: &str = "none";

/// The routes of a frontend; none, unless there are some.
pub(super) fn read(
    frontend: &mut Section<'_>,
    mode: Option<Mode>,
    backends: &HashMap<&str, Known>,
    files: Files<'_>,
    binds: &[Bind],
) -> Routes {
    let value = frontend.value("routes", "a list of routes", "none");
    if !value.is_given() {
        // Read all the same, for the list of keys.
        value.section(|s| route(s, mode, backends, files, false));
        return Routes::default();
    }
    let errors = frontend.report.errors();
    if value.is_empty_list() {
        value.error("is an empty list; leave it out where there are no routes");
    }
    let mut names = HashSet::new();
    let mut marks = Vec::new();
    let mut routes: Vec<Route> = Vec::new();
    for item in value.items() {
        let Some(route) = item.section(|s| route(s, mode, backends, files, true)) else { continue };
        if let Some(name) = &route.name
            && !names.insert(name.clone())
        {
            item.error(format_args!("is called {}, as another one before it", quoted(name)));
        }
        marks.push(item.at());
        routes.push(route);
    }
    if routes.len() > MAX_ROUTES {
        value.error(format_args!("has {} elements; at most {MAX_ROUTES} are allowed", routes.len()));
    }
    if frontend.report.errors() > errors {
        return Routes::default();
    }
    match Routes::new(routes) {
        Ok(routes) => {
            lint(frontend, &routes, &marks);
            lint_tls(frontend, &routes, &marks, binds);
            routes
        }
        Err(TooLarge::Pairs { route }) => {
            let at = marks.get(route).copied().unwrap_or_default();
            let problem = format!("{} has a route that is too large", frontend.place);
            let why = format!("{problem}: {}", TooLarge::Pairs { route });
            frontend.report.error(at, why);
            Routes::default()
        }
        Err(error) => {
            value.error(error);
            Routes::default()
        }
    }
}

/// Routes that no request can take, as far as that can be seen.
fn lint(frontend: &Section<'_>, routes: &Routes, marks: &[Mark]) {
    let Some(table) = routes.table() else { return };
    for unreached in table.unreached() {
        let at = |place: usize| marks.get(place).copied().unwrap_or_default();
        let (doubt, help) = match unreached.by {
            Some(by) => (
                format!("{} has a route that no request takes", frontend.place),
                format!("the one on line {}, which comes first, takes all that it could", at(by).line),
            ),
            None => (
                format!("{} has a route that no request takes", frontend.place),
                "its \"not\" excludes all that it is for".to_owned(),
            ),
        };
        frontend.report.warning(at(unreached.route), doubt, &help);
    }
    let takes_all = |route: &Route| route.when.is_empty() && route.not.is_empty();
    if let Some(place) = routes.list().iter().position(takes_all)
        && frontend.has(&["backend"])
    {
        let line = marks.get(place).map_or(0, |mark| mark.line);
        frontend.warning(
            ["backend"],
            "has a backend besides its routes, which take every request",
            &format!("the route on line {line} has no conditions; the backend gets nothing from here"),
        );
    }
}

/// Routes that no request can take because of where the frontend listens, or that lead clients in a circle.
fn lint_tls(frontend: &Section<'_>, routes: &Routes, marks: &[Mark], binds: &[Bind]) {
    if binds.is_empty() {
        return;
    }
    let some = |tls: bool| binds.iter().any(|bind| bind.tls.is_some() == tls);
    for (route, mark) in routes.list().iter().zip(marks) {
        let warning = |doubt: &str, help: &str| {
            frontend.report.warning(*mark, format!("{} {doubt}", frontend.place), help);
        };
        match route.when.tls {
            Some(true) if !some(true) => {
                warning(
                    "has a route that no request takes",
                    "it is for TLS, and no bind of the frontend has tls",
                );
            }
            Some(false) if !some(false) => {
                warning(
                    "has a route that no request takes",
                    "it is for clients without TLS, and every bind of the frontend has tls",
                );
            }
            _ => {}
        }
        let excluded =
            || route.not.iter().any(|not| *not == Conditions { tls: Some(true), ..Conditions::default() });
        if let Action::Redirect(Redirect { scheme: Some(Scheme::Https), host: None, path: None, .. }) =
            &route.action
            && route.when.tls != Some(false)
            && some(true)
            && !excluded()
        {
            warning(
                "redirects to https what comes by TLS already",
                "clients would go round in a circle; give the route \"tls: false\"",
            );
        }
    }
}

fn route(
    s: &mut Section<'_>,
    mode: Option<Mode>,
    backends: &HashMap<&str, Known>,
    files: Files<'_>,
    given: bool,
) -> Option<Route> {
    let name = s.value("name", "a name for statistics", "its number").scalar(|text| {
        scalar::name(text).map_err(Problem::Because)?;
        match text {
            "none" => Err(Problem::Because("this stands for what no route fits".to_owned())),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(Problem::Because("numbers are for routes without a name".to_owned()))
            }
            _ => Ok(text.to_owned()),
        }
    });
    let when = conditions(s, mode);
    let not = s.value("not", "a mapping with such conditions, or a list of them", NONE);
    let not = if not.is_given() { exceptions(&not, mode) } else { Vec::new() };
    let edits = edits::read_as_elsewhere(s);
    let action = actions::read(s, mode, backends, files, given)?;
    if !matches!(action, Action::Backend(_)) && edits.is_some() {
        s.error([], "has edits, but no backend: answers of lbd's own are not edited");
    }
    Some(Route { name, when, not, action, edits })
}

/// What requests must not be: each mapping excludes those that meet all of it.
fn exceptions(value: &Value<'_>, mode: Option<Mode>) -> Vec<Conditions> {
    let items = if value.is_list() { value.items() } else { Vec::new() };
    let one = [value];
    let all: Vec<&Value<'_>> = if value.is_list() { items.iter().collect() } else { one.to_vec() };
    if value.is_empty_list() {
        value.error("is an empty list; leave it out where nothing is excluded");
    }
    let mut found = Vec::new();
    for item in all {
        let errors = value.errors();
        let conditions = item.section(|s| conditions(s, mode));
        if conditions.is_empty() && value.errors() == errors {
            item.error("is empty; it would exclude every request");
        }
        found.push(conditions);
    }
    found
}

fn conditions(s: &mut Section<'_>, mode: Option<Mode>) -> Conditions {
    let host =
        s.value("host", "a host such as www.example.org or *.example.org, or a list of them", "every host");
    let path = s.value(
        "path",
        "a path such as /a, a pattern such as /a/* or *.php, ~ and a regular expression, or a list of them",
        "every path",
    );
    let method = s.value("method", "a method in capitals such as GET, or a list of them", "every method");
    let header = s.value("header", "a mapping of field names to values, each one or a list of them", NONE);
    let query = s.value("query", "a mapping of parameters to values, each one or a list of them", NONE);
    let sni = s.value(
        "sni",
        "a server name such as db.example.org or *.example.org, or a list of them",
        "every server name",
    );
    let source =
        s.value("source", "an address, a network such as 192.0.2.0/24, or a list of them", "everywhere");
    let tls = s.value("tls", "true or false", "with and without TLS");
    if mode == Some(Mode::Tcp) {
        for value in
            [&host, &path, &method, &header, &query, &tls].into_iter().filter(|value| value.is_given())
        {
            value.key_error("is about requests, which a frontend in mode tcp knows nothing of");
        }
    }
    if mode == Some(Mode::Http) && sni.is_given() {
        sni.key_error("is about TLS that is carried as it is, in mode tcp; requests have the condition host");
    }
    let host = if mode == Some(Mode::Tcp) { sni } else { host };
    Conditions {
        host: list(&host, |text| HostPattern::parse(text).map_err(problem)),
        path: list(&path, |text| PathPattern::parse(text).map_err(problem)),
        method: list(&method, |text| match text {
            "CONNECT" => {
                Err(Problem::Because("CONNECT asks for a tunnel, and is refused before any route".to_owned()))
            }
            text => scalar::method(text),
        }),
        header: named(&header, "field", true),
        query: named(&query, "parameter", false),
        source: list(&source, |text| Network::parse(text).map_err(problem)),
        tls: tls.scalar(|text| scalar::boolean(text).ok_or(Problem::Unexpected)),
    }
}

/// One or several, of which any will do.
fn list<T>(value: &Value<'_>, parse: impl FnMut(&str) -> Result<T, Problem>) -> Vec<T> {
    if value.is_empty_list() {
        value.error("is an empty list, which no request could meet");
    }
    value.one_or_more(parse).into_iter().map(|(_, one)| one).collect()
}

/// Values of fields, whose names are compared without case (RFC 9110 5.1), or of parameters.
fn named(value: &Value<'_>, kind: &str, fields: bool) -> Vec<(String, Vec<FieldPattern>)> {
    let mut lines = HashMap::new();
    value.entries(kind, "a value, * for any, or a list of them", |name, value| {
        if fields {
            match scalar::token(name) {
                true if name.eq_ignore_ascii_case("host") => {
                    value.key_error("is asked for with the key \"host\" beside \"header\"");
                }
                true => {}
                false => value.key_error("is no field name; a field name has letters, digits and \"-\""),
            }
            if let Some(line) = lines.insert(name.to_ascii_lowercase(), value.key_at().line) {
                value.key_error(format_args!(
                    "is given twice, first on line {line}; case makes no difference"
                ));
            }
        }
        let patterns = list(&value, |text| {
            let pattern = FieldPattern::parse(text).map_err(problem)?;
            match &pattern {
                FieldPattern::Exact(text) if fields => scalar::field_value(text).map(|_| pattern),
                FieldPattern::Regular(_) if !fields => {
                    Err(Problem::Because("a parameter is compared with texts, or \"*\" for any".to_owned()))
                }
                _ => Ok(pattern),
            }
        });
        if patterns.len() > MAX_VALUES {
            value.error(format_args!("has {} elements; at most {MAX_VALUES} are allowed", patterns.len()));
        }
        Some((name.to_owned(), patterns))
    })
}

pub(super) fn problem(error: PatternError) -> Problem {
    Problem::Because(error.to_string())
}
