//! Paths: how they are compared, and patterns of them.

use std::fmt;

use crate::hex::decoded;
use crate::{PatternError, Regular};

/// A path as it is compared: percent-encodings are decoded, once, a backslash is a slash, and several slashes are one. So it is what
/// servers make of it, in whatever way it was written.
///
/// The default is the path of a request that nobody asks for the path of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<'a>(&'a [u8]);

/// Why a path is not one that everybody understands in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// A segment is `.` or `..`, in whatever way it is written. Clients resolve these (RFC 3986 section 5.2.4); of those servers that
    /// do it, each has its own way.
    #[error("the path has a segment \".\" or \"..\"")]
    DotSegment,
    /// There is a NUL, where some servers take the path to end.
    #[error("the path has a NUL")]
    Nul,
}

impl<'a> Path<'a> {
    /// Reads the path of a request, without its query. `scratch` is where it is written if it is not in that form already.
    ///
    /// # Errors
    /// When servers would understand it in different ways.
    pub fn read(raw: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Self, Ambiguous> {
        let plain =
            !raw.iter().any(|byte| matches!(byte, b'%' | b'\\')) && !raw.windows(2).any(|pair| pair == b"//");
        let path = if plain {
            raw
        } else {
            scratch.clear();
            push_decoded(raw, scratch);
            &scratch[..]
        };
        if path.contains(&0) {
            return Err(Ambiguous::Nul);
        }
        if path.split(|&byte| byte == b'/').any(is_dots) {
            return Err(Ambiguous::DotSegment);
        }
        Ok(Self(path))
    }

    /// Whether a path, without its query, is one that everybody understands in the same way; for those who do not compare it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(raw: &[u8]) -> Result<(), Ambiguous> {
        // How many dots a segment has so far, unless it has something else.
        let mut dots = Some(0_usize);
        for byte in decoded(raw).chain([b'/']) {
            match byte {
                0 => return Err(Ambiguous::Nul),
                b'/' | b'\\' | b';' if matches!(dots, Some(1 | 2)) => return Err(Ambiguous::DotSegment),
                b'/' | b'\\' => dots = Some(0),
                b'.' => dots = dots.map(|dots| dots + 1),
                _ => dots = None,
            }
        }
        Ok(())
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Also with parameters behind it, which some servers cut off first.
fn is_dots(segment: &[u8]) -> bool {
    matches!(segment.split(|&byte| byte == b';').next(), Some(b"." | b".."))
}

fn push_decoded(raw: &[u8], out: &mut Vec<u8>) {
    for byte in decoded(raw) {
        let byte = if byte == b'\\' { b'/' } else { byte };
        if byte != b'/' || out.last() != Some(&b'/') {
            out.push(byte);
        }
    }
}

/// Paths: `/a`, `/a/*`, `*.php`, `/a/*.php`, where the star is any text, or `~` and a regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: String,
    pub(crate) kind: Kind,
}

/// What paths a pattern holds for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// This path.
    Exact(Box<[u8]>),
    /// What starts and ends so, with anything between.
    Around {
        start: Box<[u8]>,
        end: Box<[u8]>,
    },
    Regular(Regular),
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let kind = match text.strip_prefix('~') {
            Some(regular) => Kind::Regular(Regular::parse(regular)?),
            None => glob(text)?,
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// The text that a path has to start with: of an exact one, all of it.
    pub(crate) fn literal(&self) -> &[u8] {
        match &self.kind {
            Kind::Exact(literal) | Kind::Around { start: literal, .. } => literal,
            Kind::Regular(_) => b"",
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Kind {
    /// Whether it holds for a path; not for regular expressions, which are compiled elsewhere.
    pub(crate) fn holds(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Around { start, end } => {
                path.len() >= start.len() + end.len() && path.starts_with(start) && path.ends_with(end)
            }
            Self::Regular(_) => false,
        }
    }
}

fn glob(text: &str) -> Result<Kind, PatternError> {
    match text {
        "*" | "/*" => return PatternError::because("every path is such a path; leave the condition out"),
        _ if text.contains(['?', '#']) => {
            return PatternError::because(
                "a path ends before \"?\" and \"#\"; a query has a condition of its own",
            );
        }
        _ if text.contains("://") || !text.starts_with(['/', '*']) => {
            return PatternError::because(
                "a path starts with \"/\", a pattern with \"/\" or \"*\", a regular expression with \"~\"",
            );
        }
        _ => {}
    }
    let mut parts = text.splitn(3, '*');
    let start = parts.next().unwrap_or_default();
    match (parts.next(), parts.next()) {
        (None, _) => {
            let exact = canonical(start);
            possible(exact.split(|&byte| byte == b'/'))?;
            Ok(Kind::Exact(exact))
        }
        (Some(end), None) => {
            let (start, end) = (canonical(start), canonical(end));
            // A segment that the star continues is no whole one.
            possible(start.rsplit(|&byte| byte == b'/').skip(1))?;
            possible(end.split(|&byte| byte == b'/').skip(1))?;
            Ok(Kind::Around { start, end })
        }
        (Some(_), Some(_)) => PatternError::because(
            "a pattern has one \"*\"; more is said by a regular expression: \"~^/a/.*/b\"",
        ),
    }
}

/// A part of a pattern, written as paths are compared.
fn canonical(text: &str) -> Box<[u8]> {
    let mut out = Vec::new();
    push_decoded(text.as_bytes(), &mut out);
    out.into_boxed_slice()
}

/// Whether paths can have such segments.
fn possible<'s>(mut segments: impl Iterator<Item = &'s [u8]>) -> Result<(), PatternError> {
    if segments.any(|segment| is_dots(segment) || segment.contains(&0)) {
        return PatternError::because(
            "no path has a NUL, or a segment \".\" or \"..\": such requests are refused",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Result<String, Ambiguous> {
        let mut scratch = Vec::new();
        Path::read(raw.as_bytes(), &mut scratch)
            .map(|path| String::from_utf8_lossy(path.bytes()).into_owned())
    }

    #[test]
    fn one_path_has_one_form() {
        for (raw, form) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/%61dmin", "/admin"),
            ("/admin%2Fx", "/admin/x"),
            ("//admin///x", "/admin/x"),
            ("/%2Fadmin", "/admin"),
            ("/a%5cb", "/a/b"),
            ("/a\\b", "/a/b"),
            ("/%2561", "/%61"),
            ("/100%", "/100%"),
            ("/a%4", "/a%4"),
            ("/a%zz", "/a%zz"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a.", "/a."),
        ] {
            assert_eq!(read(raw).as_deref(), Ok(form), "{raw}");
        }
    }

    #[test]
    fn what_servers_disagree_about_is_none() {
        for raw in [
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a/..;x=1/b",
            "/a/..%3b/b",
            "/%2e",
        ] {
            assert_eq!(read(raw), Err(Ambiguous::DotSegment), "{raw}");
        }
        assert_eq!(read("/a%00.png"), Err(Ambiguous::Nul));
    }

    #[test]
    fn whoever_does_not_compare_a_path_finds_the_same_wrong_with_it() {
        let parts = ["/", "//", ".", "..", "%2e", "%2F", "\\", ";x", "%3b", "a", "%00", "%", "..."];
        let mut paths = vec![String::new()];
        for _ in 0..4 {
            paths = paths.iter().flat_map(|path| parts.map(|part| format!("{path}{part}"))).collect();
            for path in &paths {
                assert_eq!(Path::check(path.as_bytes()).is_ok(), read(path).is_ok(), "{path}");
            }
        }
    }

    #[test]
    fn patterns_have_one_star() {
        let holds =
            |pattern: &str, path: &str| PathPattern::parse(pattern).unwrap().kind.holds(path.as_bytes());
        for (pattern, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a/*", "/a/", true),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a", false),
            ("/a*", "/ab", true),
            ("*.php", "/x.php", true),
            ("*.php", "/x.php/y", false),
            ("/a/*.php", "/a/.php", true),
            ("/aa*aa", "/aaa", false),
            ("/%61", "/a", true),
            ("/a b", "/a b", true),
            ("/a%2Ab", "/a*b", true),
            ("/a//b", "/a/b", true),
            ("/.*", "/.git/config", true),
            ("*.", "/a.", true),
        ] {
            assert_eq!(holds(pattern, path), expected, "{pattern} {path}");
        }
        for pattern in [
            "",
            "*",
            "/*",
            "a",
            "/a*b*c",
            "/a?b",
            "http://a/b",
            "/a/../b",
            "/a/%2e%2e",
            "/../*",
            "*/./b",
            "/%00",
            "~",
            "~(",
        ] {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
