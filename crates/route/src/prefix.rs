//! Starts of paths, and what follows them.

use crate::PatternError;
use crate::hex::encoded;
use crate::path::{Kind, PathPattern};

/// A start of paths that ends with a segment: `/v1`, which `/v1` and `/v1/a` have, and `/v10` does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPrefix {
    text: String,
    canonical: Box<[u8]>,
}

impl PathPrefix {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let Ok(PathPattern { kind: Kind::Exact(canonical), .. }) = PathPattern::parse(text) else {
            return PatternError::because("a prefix is a path such as /v1, without \"*\", \"?\" and \"#\"");
        };
        if let Some(text) = text.strip_suffix('/') {
            return PatternError::because(match text {
                "" => "every path starts with \"/\"".to_owned(),
                _ => format!("a prefix ends with a segment; did you mean \"{text}\"?"),
            });
        }
        if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return PatternError::because("only visible ASCII stands in a path, the rest is percent-encoded");
        }
        Ok(Self { text: text.to_owned(), canonical })
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What follows the prefix in a path that has it, compared as paths are: nothing, or a slash, however it is written, and more.
    pub fn strip<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let mut rest = path;
        let mut after_slash = false;
        for expected in &*self.canonical {
            loop {
                let (byte, others) = first(rest)?;
                if byte == b'/' && after_slash {
                    rest = others;
                    continue;
                }
                if byte != *expected {
                    return None;
                }
                after_slash = byte == b'/';
                rest = others;
                break;
            }
        }
        first(rest).is_none_or(|(byte, _)| byte == b'/').then_some(rest)
    }
}

/// The first byte of a path as it is compared, and what follows it.
fn first(path: &[u8]) -> Option<(u8, &[u8])> {
    let (byte, rest) = match encoded(path) {
        Some(byte) => (byte, &path[3..]),
        None => path.split_first().map(|(byte, rest)| (*byte, rest))?,
    };
    Some((if byte == b'\\' { b'/' } else { byte }, rest))
}

/// A path's slashes at its start, in whatever way they are written, taken off.
pub fn without_slashes(mut path: &[u8]) -> &[u8] {
    while let Some((b'/', rest)) = first(path) {
        path = rest;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_with_a_segment() {
        let prefix = PathPrefix::parse("/v1/a").unwrap();
        for (path, rest) in [
            ("/v1/a", Some("")),
            ("/v1/a/", Some("/")),
            ("/v1/a/b", Some("/b")),
            ("//v1//a//b", Some("//b")),
            ("/%761%2Fa%2fb", Some("%2fb")),
            ("\\v1/a\\b", Some("\\b")),
            ("/v1/ab", None),
            ("/v1", None),
            ("/v1/", None),
            ("", None),
            ("/x/v1/a", None),
        ] {
            let found = prefix.strip(path.as_bytes());
            assert_eq!(found, rest.map(str::as_bytes), "{path}");
        }
        for text in ["", "/", "/v1/", "v1", "/v1*", "/a?b", "/a/../b", "/a b", "/\u{e4}"] {
            assert!(PathPrefix::parse(text).is_err(), "{text}");
        }
        assert_eq!(without_slashes(b"//%2F\\%5ca/"), b"a/");
    }
}
