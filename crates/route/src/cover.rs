//! Whether all that one route takes another takes too. What is hard to decide is denied.

use crate::network::Network;
use crate::path::Kind;
use crate::{Conditions, FieldPattern, HostPattern, PathPattern, Route, host};

/// Beyond so many comparisons nobody has written these lists by hand, and nobody needs to be told of them.
const COMPARISONS: usize = 1 << 20;

/// Whether every request that `later` would take fits `earlier`.
pub(crate) fn covers(earlier: &Route, later: &Route) -> bool {
    let excluded_too = |not: &Conditions| later.not.iter().any(|own| own.covers(not));
    earlier.when.covers(&later.when) && earlier.not.iter().all(excluded_too)
}

impl Conditions {
    /// Whether these hold whenever the others do.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let has = |all: &[(String, Vec<FieldPattern>)],
                   wanted: &(String, Vec<FieldPattern>),
                   equal: fn(&str, &str) -> bool| {
            all.iter().any(|(name, values)| equal(name, &wanted.0) && lists(&wanted.1, values, value))
        };
        lists(&self.host, &other.host, host)
            && lists(&self.path, &other.path, path)
            && lists(&self.method, &other.method, String::eq)
            && lists(&self.source, &other.source, network)
            && (self.tls.is_none() || self.tls == other.tls)
            && self.header.iter().all(|wanted| has(&other.header, wanted, str::eq_ignore_ascii_case))
            && self.query.iter().all(|wanted| has(&other.query, wanted, |a, b| a == b))
    }
}

/// Whether the first list is met by all that meets the other.
fn lists<T>(all: &[T], other: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    all.is_empty()
        || !other.is_empty()
            && all.len().saturating_mul(other.len()) <= COMPARISONS
            && other.iter().all(|one| all.iter().any(|pattern| covers(pattern, one)))
}

fn host(pattern: &HostPattern, other: &HostPattern) -> bool {
    match (pattern, other) {
        (HostPattern::Exact(_), _) => pattern == other,
        (HostPattern::Below(domain), HostPattern::Exact(name)) => {
            host::is_below(name.as_bytes(), domain.as_bytes())
        }
        (HostPattern::Below(domain), HostPattern::Below(inner)) => {
            domain == inner || host::is_below(inner.as_bytes(), domain.as_bytes())
        }
    }
}

fn path(pattern: &PathPattern, other: &PathPattern) -> bool {
    match (&pattern.kind, &other.kind) {
        (kind, Kind::Exact(path)) if !matches!(kind, Kind::Regular(_)) => kind.holds(path),
        (Kind::Around { start, end }, Kind::Around { start: inner_start, end: inner_end }) => {
            inner_start.starts_with(start) && inner_end.ends_with(end)
        }
        (kind, other) => kind == other,
    }
}

fn network(network: &Network, other: &Network) -> bool {
    let ((first, last), (other_first, other_last)) = (network.range(), other.range());
    first <= other_first && other_last <= last
}

fn value(pattern: &FieldPattern, other: &FieldPattern) -> bool {
    *pattern == FieldPattern::Present || pattern == other
}
