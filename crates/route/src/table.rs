//! Routes, compiled.

use std::sync::Arc;

use regex::bytes::Regex;

use crate::conditions::{Check, Seen};
use crate::cover::covers;
use crate::host::{self, HOST_MAX};
use crate::index::{Candidate, Index, PathOf};
use crate::{Conditions, HostPattern, PatternError, Request, Route};

/// The most pairs of a host and a path that the routes of a table may have, each route's hosts times its paths: what the table
/// takes in memory goes by them.
pub const PAIRS_MAX: usize = 1 << 19;

/// Routes, compiled: immutable, and looked up in without allocation.
///
/// What a choice costs does not depend on how many hosts there are, and on how many paths only by their logarithm. Routes that differ
/// neither in the host nor in what paths start with, as those for fields, methods or ends of paths, are tried one after the other.
///
/// A clone shares everything but what regular expressions remember of their last search. That is behind a lock in one that several
/// threads use: each thread has a clone.
#[derive(Clone, Debug)]
pub struct Table {
    compiled: Arc<Compiled>,
    regular: Box<[Regex]>,
}

#[derive(Debug)]
struct Compiled {
    index: Index,
    checks: Box<[Checks]>,
    routes: Box<[Route]>,
    needs_host: bool,
    needs_path: bool,
}

#[derive(Debug)]
struct Checks {
    when: Check,
    not: Box<[Check]>,
}

/// Why routes are no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// With this route there are more pairs of hosts and paths than [`PAIRS_MAX`].
    #[error("with it there are more than {PAIRS_MAX} pairs of a host and a path")]
    Pairs {
        /// Its number.
        route: usize,
    },
    /// A regular expression.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// A route that no request can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// Its number.
    pub route: usize,
    /// The earlier route that takes all that it could; if none, it excludes all that it is for.
    pub by: Option<usize>,
}

impl Table {
    /// Compiles routes, of which the first that fits is to be chosen.
    ///
    /// # Errors
    /// When they would take too much memory.
    pub fn new(routes: &[Route]) -> Result<Self, TooLarge> {
        let mut pairs = 0_usize;
        for (number, Route { when, .. }) in routes.iter().enumerate() {
            pairs = pairs.saturating_add(when.host.len().max(1).saturating_mul(when.path.len().max(1)));
            if pairs > PAIRS_MAX {
                return Err(TooLarge::Pairs { route: number });
            }
        }
        let mut regular = Vec::new();
        let mut checks = Vec::with_capacity(routes.len());
        for Route { when, not } in routes {
            let when = Check::new(when, &mut regular)?;
            let not = not.iter().map(|not| Check::new(not, &mut regular)).collect::<Result<_, _>>()?;
            checks.push(Checks { when, not });
        }
        let any = |needs: fn(&Conditions) -> bool| {
            routes.iter().any(|route| needs(&route.when) || route.not.iter().any(needs))
        };
        let compiled = Compiled {
            index: Index::new(routes),
            checks: checks.into_boxed_slice(),
            routes: routes.into(),
            needs_host: any(|conditions| !conditions.host.is_empty()),
            needs_path: any(|conditions| !conditions.path.is_empty()),
        };
        Ok(Self { compiled: Arc::new(compiled), regular: regular.into_boxed_slice() })
    }

    /// The routes it was made of.
    pub fn routes(&self) -> &[Route] {
        &self.compiled.routes
    }

    /// Whether any route asks for the host, or the server name.
    pub fn needs_host(&self) -> bool {
        self.compiled.needs_host
    }

    /// Whether any route asks for the path. If not, a request's may be left out.
    pub fn needs_path(&self) -> bool {
        self.compiled.needs_path
    }

    /// The number of the first route that fits.
    pub fn choose(&self, request: &Request<'_>) -> Option<usize> {
        let Compiled { index, checks, needs_host, .. } = &*self.compiled;
        let mut room = [0; HOST_MAX];
        let host = request.host.filter(|_| *needs_host).and_then(|host| host::canonical(host, &mut room));
        let seen = Seen { request, host };
        let mut first = checks.len();
        index.visit(host, request.path.bytes(), |candidates| {
            // In the order of the routes: behind the first that fits there is no better one.
            let better = candidates.iter().take_while(|candidate| (candidate.route as usize) < first);
            if let Some(found) = better.into_iter().find(|candidate| self.fits(candidate, &seen)) {
                first = found.route as usize;
            }
        });
        let chosen = (first < checks.len()).then_some(first);
        debug_assert_eq!(chosen, checks.iter().position(|checks| self.all_hold(checks, &seen)));
        chosen
    }

    /// Whether a candidate's route holds; its host does.
    fn fits(&self, candidate: &Candidate, seen: &Seen<'_>) -> bool {
        let Checks { when, not } = &self.compiled.checks[candidate.route as usize];
        let path = match candidate.path {
            PathOf::None => true,
            PathOf::Pattern(place) => when.paths[place as usize].holds(seen.request.path.bytes()),
            PathOf::Regular => when.holds_regular_path(&self.regular, seen),
        };
        path && when.holds_otherwise(&self.regular, seen)
            && !not.iter().any(|not| not.holds(&self.regular, seen))
    }

    fn all_hold(&self, Checks { when, not }: &Checks, seen: &Seen<'_>) -> bool {
        when.holds(&self.regular, seen) && !not.iter().any(|not| not.holds(&self.regular, seen))
    }

    /// The routes that no request can take, as far as one earlier route takes all that they could.
    pub fn unreached(&self) -> Vec<Unreached> {
        let routes = &self.compiled.routes;
        let mut found = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            if route.not.iter().any(|not| not.covers(&route.when)) {
                found.push(Unreached { route: number, by: None });
                continue;
            }
            // Whoever takes all of it takes its first host and its first path.
            let host: Option<String> = route.when.host.first().map(|host| match host {
                HostPattern::Exact(name) => name.clone(),
                // No host is called so.
                HostPattern::Below(domain) => format!("*.{domain}"),
            });
            let path = route.when.path.first().map_or(&b""[..], |path| path.literal());
            let mut first = number;
            self.compiled.index.visit(host.as_deref().map(str::as_bytes), path, |candidates| {
                let earlier = candidates
                    .iter()
                    .map(|candidate| candidate.route as usize)
                    .take_while(|earlier| *earlier < first);
                if let Some(by) = earlier.into_iter().find(|&earlier| covers(&routes[earlier], route)) {
                    first = by;
                }
            });
            if first < number {
                found.push(Unreached { route: number, by: Some(first) });
            }
        }
        found
    }
}
