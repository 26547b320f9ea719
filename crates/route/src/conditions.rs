//! What a request has to be for a route.

use regex::bytes::Regex;

use crate::network::{Networks, number};
use crate::path::Kind;
use crate::{FieldPattern, HostPattern, Network, PathPattern, PatternError, Request, field, query};

/// A route: what it is for is known to whoever numbers them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// What a request has to be.
    pub when: Conditions,
    /// What it must not be: no request that any of these hold for takes the route.
    pub not: Vec<Conditions>,
}

/// They hold for a request that meets all of them; a list is met by any of its elements, and an empty one by everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The host asked for; in a table for TLS sessions the server name.
    pub host: Vec<HostPattern>,
    /// The path.
    pub path: Vec<PathPattern>,
    /// The method. Methods are case-sensitive (RFC 9110 section 9.1).
    pub method: Vec<String>,
    /// Fields: each has to be there with one of its values.
    pub header: Vec<(String, Vec<FieldPattern>)>,
    /// Parameters of the query: the same. Regular expressions have no meaning here, and never hold.
    pub query: Vec<(String, Vec<FieldPattern>)>,
    /// Where it comes from.
    pub source: Vec<Network>,
    /// Whether it comes by TLS.
    pub tls: Option<bool>,
}

impl Conditions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Conditions, compiled.
#[derive(Debug)]
pub(crate) struct Check {
    host: Box<[HostPattern]>,
    pub(crate) paths: Box<[Kind]>,
    /// The regular expressions among the paths, by their place in the table.
    regular_paths: Box<[usize]>,
    method: Box<[String]>,
    header: Box<[(String, Box<[Value]>)]>,
    query: Box<[(String, Vec<FieldPattern>)]>,
    source: Networks,
    tls: Option<bool>,
}

#[derive(Debug)]
enum Value {
    Present,
    Exact(String),
    Regular(usize),
}

/// A request, and what it is compared by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) request: &'a Request<'a>,
    /// In the form that hosts are compared in.
    pub(crate) host: Option<&'a [u8]>,
}

impl Check {
    /// Compiles conditions; their regular expressions are appended to `regular`.
    pub(crate) fn new(conditions: &Conditions, regular: &mut Vec<Regex>) -> Result<Self, PatternError> {
        let mut compile = |expression: &crate::Regular| {
            regular.push(expression.compile()?);
            Ok::<_, PatternError>(regular.len() - 1)
        };
        let mut regular_paths = Vec::new();
        for path in &conditions.path {
            if let Kind::Regular(expression) = &path.kind {
                regular_paths.push(compile(expression)?);
            }
        }
        let mut header = Vec::new();
        for (name, patterns) in &conditions.header {
            let mut values = Vec::new();
            for pattern in patterns {
                values.push(match pattern {
                    FieldPattern::Present => Value::Present,
                    FieldPattern::Exact(text) => Value::Exact(text.clone()),
                    FieldPattern::Regular(expression) => Value::Regular(compile(expression)?),
                });
            }
            header.push((name.clone(), values.into_boxed_slice()));
        }
        Ok(Self {
            host: conditions.host.clone().into_boxed_slice(),
            paths: conditions.path.iter().map(|path| path.kind.clone()).collect(),
            regular_paths: regular_paths.into_boxed_slice(),
            method: conditions.method.clone().into_boxed_slice(),
            header: header.into_boxed_slice(),
            query: conditions.query.clone().into_boxed_slice(),
            source: Networks::new(&conditions.source),
            tls: conditions.tls,
        })
    }

    /// Whether all hold.
    pub(crate) fn holds(&self, regular: &[Regex], seen: &Seen<'_>) -> bool {
        let host = || seen.host.is_some_and(|host| self.host.iter().any(|pattern| pattern.holds(host)));
        let path = seen.request.path.bytes();
        let path =
            || self.paths.iter().any(|kind| kind.holds(path)) || self.holds_regular_path(regular, seen);
        (self.host.is_empty() || host())
            && (self.paths.is_empty() || path())
            && self.holds_otherwise(regular, seen)
    }

    /// Whether a regular expression for the path holds.
    pub(crate) fn holds_regular_path(&self, regular: &[Regex], seen: &Seen<'_>) -> bool {
        self.regular_paths.iter().any(|&place| regular[place].is_match(seen.request.path.bytes()))
    }

    /// Whether all hold but those of host and path, which were looked up.
    pub(crate) fn holds_otherwise(&self, regular: &[Regex], seen: &Seen<'_>) -> bool {
        let request = seen.request;
        let method = || self.method.iter().any(|method| method.as_bytes() == request.method);
        (self.method.is_empty() || method())
            && self.tls.is_none_or(|tls| tls == request.tls)
            && (self.source.is_empty() || self.source.contain(number(request.source)))
            && self.query.iter().all(|(name, values)| {
                values.iter().any(|value| match value {
                    FieldPattern::Present => query::has(request.query, name, None),
                    FieldPattern::Exact(text) => query::has(request.query, name, Some(text)),
                    FieldPattern::Regular(_) => false,
                })
            })
            && self.header.iter().all(|(name, patterns)| {
                field::values(request.fields, name.as_bytes()).any(|value| {
                    patterns.iter().any(|pattern| match pattern {
                        Value::Present => true,
                        Value::Exact(text) => field::has(value, text.as_bytes()),
                        Value::Regular(place) => regular[*place].is_match(value),
                    })
                })
            })
    }
}
