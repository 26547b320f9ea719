//! Which routes a request may take, by its host and the start of its path.
//!
//! Routes stand in groups: those for one host, those for all below one domain, and those for every host. A request's host names a
//! few groups, found by hashing, however many there are. In a group the texts that paths start with are sorted, and each knows the
//! longest other one that it starts with itself. Of all texts that a path starts with the longest is the last one not behind the
//! path, or one that this one starts with in turn: one bisection, and a walk as long as texts are nested.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use crate::{HostPattern, Route};

/// Without a random start: whoever asks for hosts cannot add any.
type Map = HashMap<Box<[u8]>, usize, BuildHasherDefault<DefaultHasher>>;

/// A route that a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) route: u32,
    /// Which of its patterns the path is to be compared with.
    pub(crate) path: PathOf,
}

/// What of a route's paths a candidate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathOf {
    /// It has none.
    None,
    /// That one of its patterns.
    Pattern(u32),
    /// Its regular expressions.
    Regular,
}

/// The groups, and who is in them.
#[derive(Debug)]
pub(crate) struct Index {
    exact: Map,
    below: Map,
    /// The keys of each group; the first is for every host.
    groups: Box<[(u32, u32)]>,
    /// Sorted in each group.
    keys: Box<[Key]>,
    text: Box<[u8]>,
    /// Of each key in the order of the routes.
    candidates: Box<[Candidate]>,
}

/// A text that paths start with.
#[derive(Clone, Copy, Debug)]
struct Key {
    text: (u32, u32),
    candidates: (u32, u32),
    /// The longest other key that this one starts with.
    parent: Option<u32>,
}

impl Index {
    pub(crate) fn new(routes: &[Route]) -> Self {
        let (mut exact, mut below) = (Map::default(), Map::default());
        let mut groups: Vec<BTreeMap<&[u8], Vec<Candidate>>> = vec![BTreeMap::new()];
        for (number, route) in routes.iter().enumerate() {
            let mut places = Vec::new();
            for host in &route.when.host {
                let (map, name) = match host {
                    HostPattern::Exact(name) => (&mut exact, name),
                    HostPattern::Below(domain) => (&mut below, domain),
                };
                let place = *map.entry(name.as_bytes().into()).or_insert_with(|| {
                    groups.push(BTreeMap::new());
                    groups.len() - 1
                });
                places.push(place);
            }
            if route.when.host.is_empty() {
                places.push(0);
            }
            places.sort_unstable();
            places.dedup();
            for place in places {
                for (literal, path) in starts(route) {
                    let of_key = groups[place].entry(literal).or_default();
                    let candidate = Candidate { route: short(number), path };
                    if of_key.last() != Some(&candidate) {
                        of_key.push(candidate);
                    }
                }
            }
        }
        let mut index = Self {
            exact,
            below,
            groups: Box::default(),
            keys: Box::default(),
            text: Box::default(),
            candidates: Box::default(),
        };
        index.lay_out(&groups);
        index
    }

    fn lay_out(&mut self, groups: &[BTreeMap<&[u8], Vec<Candidate>>]) {
        let (mut ranges, mut keys, mut text, mut candidates) =
            (Vec::new(), Vec::<Key>::new(), Vec::new(), Vec::new());
        for group in groups {
            let first = keys.len();
            let mut around: Vec<(usize, &[u8])> = Vec::new();
            for (literal, own) in group {
                while around.pop_if(|(_, outer)| !literal.starts_with(outer)).is_some() {}
                let parent = around.last().map(|(place, _)| short(*place));
                around.push((keys.len(), literal));
                let at = (text.len(), candidates.len());
                text.extend_from_slice(literal);
                candidates.extend_from_slice(own);
                keys.push(Key {
                    text: (short(at.0), short(text.len())),
                    candidates: (short(at.1), short(candidates.len())),
                    parent,
                });
            }
            ranges.push((short(first), short(keys.len())));
        }
        self.groups = ranges.into_boxed_slice();
        self.keys = keys.into_boxed_slice();
        self.text = text.into_boxed_slice();
        self.candidates = candidates.into_boxed_slice();
    }

    /// The candidates for a host and a path, in runs that are each in the order of the routes.
    pub(crate) fn visit<'i>(
        &'i self,
        host: Option<&[u8]>,
        path: &[u8],
        mut run: impl FnMut(&'i [Candidate]),
    ) {
        if let Some(host) = host {
            if let Some(&group) = self.exact.get(host) {
                self.visit_group(group, path, &mut run);
            }
            if !self.below.is_empty() {
                for dot in (1..host.len()).filter(|&at| host[at] == b'.') {
                    if let Some(&group) = self.below.get(&host[dot + 1..]) {
                        self.visit_group(group, path, &mut run);
                    }
                }
            }
        }
        self.visit_group(0, path, &mut run);
    }

    fn visit_group<'i>(&'i self, group: usize, path: &[u8], run: &mut impl FnMut(&'i [Candidate])) {
        let (first, end) = self.groups[group];
        let keys = &self.keys[first as usize..end as usize];
        let behind = keys.partition_point(|key| self.text(key) <= path);
        let Some(mut key) = behind.checked_sub(1).map(|last| &keys[last]) else { return };
        let common = self.text(key).iter().zip(path).take_while(|(a, b)| a == b).count();
        loop {
            if self.text(key).len() <= common {
                run(&self.candidates[key.candidates.0 as usize..key.candidates.1 as usize]);
            }
            let Some(parent) = key.parent else { return };
            key = &self.keys[parent as usize];
        }
    }

    fn text(&self, key: &Key) -> &[u8] {
        &self.text[key.text.0 as usize..key.text.1 as usize]
    }
}

/// The texts that paths of a route start with.
fn starts(route: &Route) -> Vec<(&[u8], PathOf)> {
    let paths = &route.when.path;
    if paths.is_empty() {
        return vec![(b"", PathOf::None)];
    }
    let mut starts: Vec<_> = paths
        .iter()
        .enumerate()
        .map(|(place, path)| match path.kind {
            crate::path::Kind::Regular(_) => (&b""[..], PathOf::Regular),
            _ => (path.literal(), PathOf::Pattern(short(place))),
        })
        .collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// A number of something that is bounded far below 2^32.
fn short(number: usize) -> u32 {
    debug_assert!(u32::try_from(number).is_ok());
    u32::try_from(number).unwrap_or(u32::MAX)
}
