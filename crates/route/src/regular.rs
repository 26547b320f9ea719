//! Regular expressions over bytes, searched for in time that is linear in what they are searched in.

use regex::bytes::{Regex, RegexBuilder};

use crate::PatternError;

/// The most memory that a compiled one may take, and its cache in each worker, in bytes.
const MEMORY: usize = 256 * 1024;
/// The longest one, in bytes.
const LONGEST: usize = 4096;

/// A regular expression that can be compiled within bounds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regular(String);

impl Regular {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return PatternError::because("an empty regular expression holds for everything");
        }
        let new = Self(text.to_owned());
        new.compile().map(|_| new)
    }

    /// What searches for it.
    ///
    /// Bytes and not characters are searched, every byte is one that `.` stands for, a line feed too: nothing that is encoded
    /// makes a difference to what was meant by "anything".
    ///
    /// # Errors
    /// What is wrong with it: nothing, once it has been read.
    pub fn compile(&self) -> Result<Regex, PatternError> {
        if self.0.len() > LONGEST {
            return PatternError::because(format!("a regular expression has at most {LONGEST} bytes"));
        }
        let compiled = RegexBuilder::new(&self.0)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(MEMORY)
            .dfa_size_limit(MEMORY)
            .build();
        compiled.map_err(|error| {
            PatternError::Because(match error {
                regex::Error::CompiledTooBig(_) => {
                    format!("the regular expression is too large: compiled it may take {} KiB", MEMORY / 1024)
                }
                error => {
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    format!("no regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
                }
            })
        })
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_explodes_or_is_none_is_refused() {
        let wrong = |text: &str| Regular::parse(text).unwrap_err().to_string();
        assert_eq!(
            wrong("(a{1000}){1000}"),
            "the regular expression is too large: compiled it may take 256 KiB"
        );
        assert_eq!(wrong("a("), "no regular expression: unclosed group");
        assert!(wrong(&"a".repeat(5000)).contains("at most 4096 bytes"));
        assert!(Regular::parse("(?:(?:a*)*)*$").is_ok(), "it is searched for in linear time");
    }

    #[test]
    fn a_dot_is_any_byte() {
        let regex = Regular::parse("^/a.b$").unwrap().compile().unwrap();
        for byte in 0..=u8::MAX {
            assert!(regex.is_match(&[b'/', b'a', byte, b'b']), "{byte}");
        }
    }
}
