//! Values and paths in which a pattern is found.

use std::cell::RefCell;
use std::ops::Range;

use regex::bytes::{CaptureLocations, Regex};
use route::{PatternError, Regular};

use crate::{Context, Place, Refused, Template, TemplateError};

/// What takes the place of a value in which a pattern is found: of all of it, as in HAProxy's `replace-header` and nginx's
/// `rewrite`.
#[derive(Clone, Debug)]
pub struct Replacement {
    pattern: Regular,
    regex: Regex,
    with: Template,
}

/// What is wrong with one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplacementError {
    /// The pattern is no regular expression.
    #[error(transparent)]
    Pattern(PatternError),
    /// The text has a mistake.
    #[error(transparent)]
    With(TemplateError),
}

impl Replacement {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the pattern or the text.
    pub fn parse(pattern: &str, with: &str, place: Place) -> Result<Self, ReplacementError> {
        let pattern = Regular::parse(pattern).map_err(ReplacementError::Pattern)?;
        let regex = pattern.compile().map_err(ReplacementError::Pattern)?;
        let groups = regex.captures_len().saturating_sub(1);
        let with = Template::parse(with, place, Some(groups)).map_err(ReplacementError::With)?;
        Ok(Self { pattern, regex, with })
    }

    /// What is looked for.
    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    /// What takes its place.
    pub fn with(&self) -> &Template {
        &self.with
    }
}

/// What is compiled follows from the texts.
impl PartialEq for Replacement {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern && self.with == other.with
    }
}

/// A replacement, and room for what its pattern finds. Whoever applies it has one of their own.
#[derive(Debug)]
pub(crate) struct Replacer {
    regex: Regex,
    with: Template,
    found: RefCell<CaptureLocations>,
}

impl Replacer {
    pub(crate) fn new(replacement: &Replacement) -> Self {
        // A copy has memory of its own, which nobody else waits for.
        let regex = replacement.regex.clone();
        let found = RefCell::new(regex.capture_locations());
        Self { regex, with: replacement.with.clone(), found }
    }

    /// Looks at `value` of `out`. Where the pattern is found the text stands in its place, and is the end of `out`: what
    /// followed the value is gone.
    pub(crate) fn replace(
        &self,
        value: Range<usize>,
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Refused> {
        let mut found = self.found.borrow_mut();
        let searched = out.get(value.clone()).unwrap_or_default();
        if self.regex.captures_read(&mut found, searched).is_none() {
            return Ok(false);
        }
        let start = out.len();
        self.with.write_found(context, Some((&found, value.start)), out)?;
        let len = out.len() - start;
        out.copy_within(start.., value.start);
        out.truncate(value.start + len);
        Ok(true)
    }
}
