//! Paths stripped, replaced and extended.

use route::{Path, PathPrefix, without_slashes};

use crate::context::split_query;
use crate::replacement::Replacer;
use crate::{Context, Placeholder, Refused, Replacement, bounded};

/// What becomes of a request's path: first a prefix is taken off, then it is replaced, then another prefix is put in front.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathEdits {
    /// What is taken off, where the path has it.
    pub strip_prefix: Option<PathPrefix>,
    /// What takes the path's place, where a pattern is found in it.
    pub replace: Option<Replacement>,
    /// What is put in front.
    pub add_prefix: Option<PathPrefix>,
}

impl PathEdits {
    /// Whether nothing becomes of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the new path holds a placeholder.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.replace.as_ref().is_some_and(|replacement| replacement.with().uses(placeholder))
    }
}

/// The edits of several places, one after the other.
#[derive(Debug)]
pub(crate) struct Layers(Box<[Layer]>);

#[derive(Debug)]
struct Layer {
    edits: PathEdits,
    replacer: Option<Replacer>,
}

impl Layers {
    pub(crate) fn new<'e>(edits: impl IntoIterator<Item = &'e PathEdits>) -> Self {
        let layer = |edits: &PathEdits| Layer {
            edits: edits.clone(),
            replacer: edits.replace.as_ref().map(Replacer::new),
        };
        Self(edits.into_iter().filter(|edits| !edits.is_empty()).map(layer).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends what becomes of a target. One without a path, `*`, stays what it is; the query stays in any case.
    pub(crate) fn write_target(
        &self,
        target: &[u8],
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let (path, query) = split_query(target);
        let base = out.len();
        out.extend_from_slice(path);
        if path.starts_with(b"/") {
            for Layer { edits, replacer } in &self.0 {
                if let Some(prefix) = &edits.strip_prefix {
                    strip(prefix, base, out);
                }
                if let Some(replacer) = replacer {
                    let whole = base..out.len();
                    if replacer.replace(whole, context, out)? {
                        root(base, out);
                    }
                }
                if let Some(prefix) = &edits.add_prefix {
                    out.extend_from_slice(prefix.as_str().as_bytes());
                    out.get_mut(base..).unwrap_or_default().rotate_right(prefix.as_str().len());
                }
                bounded(out)?;
            }
            // What leads elsewhere would lead out of the prefix, or around the pattern.
            Path::check(out.get(base..).unwrap_or_default()).map_err(|_| Refused::AmbiguousPath)?;
        }
        out.extend_from_slice(query);
        bounded(out)
    }
}

/// Takes a prefix off the path from `base` on.
fn strip(prefix: &PathPrefix, base: usize, out: &mut Vec<u8>) {
    let path = out.get(base..).unwrap_or_default();
    if let Some(rest) = prefix.strip(path) {
        let rest = out.len() - rest.len();
        out.copy_within(rest.., base);
        out.truncate(base + out.len() - rest);
        root(base, out);
    }
}

// RFC 3986 section 3.3: "the path cannot begin with two slash characters"
/// Lets the path from `base` on begin with one slash: several would make a host of its first segment for whoever takes it for a
/// link, and without one it is no path.
fn root(base: usize, out: &mut Vec<u8>) {
    let rest = without_slashes(out.get(base..).unwrap_or_default()).len();
    let rest = out.len() - rest;
    out.push(b'/');
    out.get_mut(rest..).unwrap_or_default().rotate_right(1);
    out.copy_within(rest.., base);
    out.truncate(base + out.len() - rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    fn edits(strip: &str, replace: (&str, &str), add: &str) -> PathEdits {
        let prefix = |text: &str| PathPrefix::parse(text).ok();
        let replacement =
            |(pattern, with): (&str, &str)| Replacement::parse(pattern, with, Place::Path).unwrap();
        PathEdits {
            strip_prefix: prefix(strip),
            replace: (!replace.0.is_empty()).then(|| replacement(replace)),
            add_prefix: prefix(add),
        }
    }

    fn edited(edits: &[PathEdits], target: &str) -> Result<String, Refused> {
        let layers = Layers::new(edits);
        let context = Context { server: "s1", ..Context::of(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n") };
        let mut out = b"GET ".to_vec();
        layers.write_target(target.as_bytes(), &context, &mut out)?;
        Ok(String::from_utf8(out.split_off(4)).unwrap())
    }

    #[test]
    fn a_prefix_is_taken_off_between_segments() {
        for (target, expected) in [
            ("/v1", "/"),
            ("/v1/", "/"),
            ("/v1?a=/v1", "/?a=/v1"),
            ("/v1/a?b", "/a?b"),
            ("/v10/a", "/v10/a"),
            ("/x/v1", "/x/v1"),
            ("/%761//a", "/a"),
            ("/v1//evil.example/x", "/evil.example/x"),
            ("/v1/%2F%5c\\a", "/a"),
            ("*", "*"),
        ] {
            assert_eq!(edited(&[edits("/v1", ("", ""), "")], target).as_deref(), Ok(expected), "{target}");
        }
    }

    #[test]
    fn a_path_is_replaced_as_a_whole() {
        for (pattern, with, target, expected) in [
            ("^/old/(.*)$", "/new/$1", "/old/a/b?c=d", "/new/a/b?c=d"),
            ("^/old/(.*)$", "/new/$1", "/older", "/older"),
            ("/([0-9]+)/([a-z]+)", "/$2/$1", "/x/12/ab/y", "/ab/12"),
            ("(.*)", "$1/foo", "/bar?q=1", "/bar/foo?q=1"),
            ("(.*)", "/{host}/{server}$0", "/x", "/a.example/s1/x"),
            ("^/a(.*)", "$1", "/a//b", "/b"),
            ("^/a(b)?", "$1", "/ac", "/"),
            ("a", "x$$", "/a", "/x$"),
        ] {
            let edits = [edits("", (pattern, with), "")];
            assert_eq!(edited(&edits, target).as_deref(), Ok(expected), "{pattern} {with} {target}");
        }
    }

    #[test]
    fn places_follow_each_other() {
        let first = edits("/api", ("^/v1(.*)", "/v2$1"), "/x");
        let second = edits("/x/v2", ("", ""), "/y");
        assert_eq!(edited(std::slice::from_ref(&first), "/api/v1/a").as_deref(), Ok("/x/v2/a"));
        assert_eq!(edited(&[first.clone(), second], "/api/v1/a?b").as_deref(), Ok("/y/a?b"));
        assert_eq!(edited(&[first], "/").as_deref(), Ok("/x/"));
    }

    #[test]
    fn no_path_leads_out_of_its_prefix() {
        let inside = [edits("", ("", ""), "/tenant")];
        for target in ["/../other", "/a/%2e%2E/..", "/..%2fother", "/x/..;y/", "/.", "/a%00"] {
            assert_eq!(edited(&inside, target), Err(Refused::AmbiguousPath), "{target}");
        }
        // The pieces are harmless, and the whole is not.
        let joined = [edits("", ("^/(.)x(.)$", "/$1$2/a"), "")];
        assert_eq!(edited(&joined, "/.x."), Err(Refused::AmbiguousPath));
        assert_eq!(edited(&joined, "/axb").as_deref(), Ok("/ab/a"));
        assert_eq!(edited(&inside, "/?../.."), Ok("/tenant/?../..".to_owned()));
    }

    #[test]
    fn a_path_grows_within_bounds() {
        let doubled = edits("", ("(.*)", "$0$0$0$0$0$0$0$0$0$0"), "");
        let target = format!("/{}", "a".repeat(7000));
        assert_eq!(edited(&[doubled], &target), Err(Refused::TooLarge));
    }
}
