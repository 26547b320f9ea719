//! Values of fields and of the query.

use std::fmt;

use crate::{PatternError, Regular};

/// A value: a text, `*` for any, or `~` and a regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldPattern {
    /// It is there, whatever it is.
    Present,
    /// This one.
    Exact(String),
    /// One in which this is found.
    Regular(Regular),
}

impl FieldPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Ok(match text.strip_prefix('~') {
            Some(regular) => Self::Regular(Regular::parse(regular)?),
            None if text == "*" => Self::Present,
            None => Self::Exact(text.to_owned()),
        })
    }
}

impl fmt::Display for FieldPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("*"),
            Self::Exact(text) => f.write_str(text),
            Self::Regular(regular) => write!(f, "~{}", regular.as_str()),
        }
    }
}

/// The values of a field's lines, in the order of the head. `lines` are as a head has them, each with its CR LF.
pub fn values<'a>(lines: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    lines.split(|&byte| byte == b'\n').filter_map(move |line| {
        let (own, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        own.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// Whether a value is a text, or a list that has it (RFC 9110 section 5.6.1).
pub(crate) fn has(value: &[u8], text: &[u8]) -> bool {
    value == text || value.split(|&byte| byte == b',').any(|element| element.trim_ascii() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_in_any_case() {
        let lines = b"Host: a\r\nX-A: 1\r\nx-ab: 2\r\nx-a:  3, 4 \r\n";
        assert_eq!(values(lines, b"X-a").collect::<Vec<_>>(), [&b"1"[..], b"3, 4"]);
        assert!(has(b"3, 4", b"4") && has(b"3, 4", b"3, 4") && !has(b"34", b"4"));
        assert_eq!(values(lines, b"none").count(), 0);
    }
}
