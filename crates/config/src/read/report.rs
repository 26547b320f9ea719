//! The collected remarks about one file.

use std::cell::RefCell;

use crate::keys::{self, Key, Subject};
use crate::yaml::Mark;
use crate::{Diagnostic, Invalid, Severity};

/// How many errors, and how many warnings, are kept: who has more repairs these first.
const MAX_KEPT: usize = 50;

/// Collects remarks instead of stopping at the first. Shared by all readers of a file.
#[derive(Debug, Default)]
pub(crate) struct Report {
    file: String,
    remarks: RefCell<Remarks>,
    /// What the file is about; none until that is known.
    subject: Option<Subject>,
    /// What the file has to have, where it is about something else.
    other: Option<&'static str>,
    /// The keys that readers asked for, if somebody wants to know.
    keys: Option<RefCell<Vec<Key>>>,
}

#[derive(Debug, Default)]
struct Remarks {
    errors: Kept,
    warnings: Kept,
}

#[derive(Debug, Default)]
struct Kept {
    first: Vec<Diagnostic>,
    more: usize,
}

impl Report {
    pub(crate) fn new(file: &str, subject: Option<Subject>) -> Self {
        Self { file: file.to_owned(), subject, ..Self::default() }
    }

    /// For a file of another kind, which has to have this.
    pub(crate) fn needing(file: &str, other: &'static str) -> Self {
        Self { file: file.to_owned(), other: Some(other), ..Self::default() }
    }

    /// Tells what the file is about.
    pub(crate) fn is_about(&mut self, subject: Subject) {
        self.subject = Some(subject);
    }

    /// The file's name.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// What the file has to have, in words.
    pub(crate) fn needs(&self) -> String {
        match (self.other, self.subject) {
            (Some(other), _) => other.to_owned(),
            (None, Some(subject)) => subject.needs().to_owned(),
            (None, None) => {
                format!("{} (lb.yaml), or {} (vrrp.yaml)", Subject::Lb.needs(), Subject::Vrrp.needs())
            }
        }
    }

    /// What the file is about; none until that is known.
    pub(crate) fn subject(&self) -> Option<Subject> {
        self.subject
    }

    /// The sections of such a file that have a key of this name.
    pub(crate) fn homes_of(&self, key: &str) -> Vec<&'static str> {
        self.subject.map_or_else(Vec::new, |subject| keys::homes_of(subject.keys(), key))
    }

    /// A report that also notes which keys the readers ask for.
    pub(crate) fn noting_keys() -> Self {
        Self { keys: Some(RefCell::default()), ..Self::default() }
    }

    /// Notes that a reader asks for a key.
    pub(crate) fn note(&self, key: impl FnOnce() -> Key) {
        if let Some(keys) = &self.keys {
            keys.borrow_mut().push(key());
        }
    }

    /// The keys noted, in the order in which they were asked for.
    pub(crate) fn into_keys(self) -> Vec<Key> {
        self.keys.map(RefCell::into_inner).unwrap_or_default()
    }

    pub(crate) fn error(&self, at: Mark, message: impl Into<String>) {
        let error = self.diagnostic(at, Severity::Error, message.into(), None);
        self.remarks.borrow_mut().errors.push(error);
    }

    pub(crate) fn warning(&self, at: Mark, message: impl Into<String>, help: &str) {
        let warning = self.diagnostic(at, Severity::Warning, message.into(), Some(help.to_owned()));
        self.remarks.borrow_mut().warnings.push(warning);
    }

    fn diagnostic(&self, at: Mark, severity: Severity, message: String, help: Option<String>) -> Diagnostic {
        Diagnostic { file: self.file.clone(), line: at.line, column: at.column, severity, message, help }
    }

    /// How many errors there are so far, kept or not.
    pub(crate) fn errors(&self) -> usize {
        let remarks = self.remarks.borrow();
        remarks.errors.first.len() + remarks.errors.more
    }

    /// The nearest of some words, as long as it can still be told to somebody.
    pub(crate) fn nearest<'w>(
        &self,
        word: &str,
        words: impl IntoIterator<Item = &'w str>,
    ) -> Option<&'w str> {
        (self.errors() < MAX_KEPT).then(|| crate::nearest(word, words)).flatten()
    }

    /// The warnings, or everything if there is an error.
    pub(crate) fn finish(self) -> Result<Vec<Diagnostic>, Invalid> {
        let Remarks { errors, warnings } = self.remarks.into_inner();
        let valid = errors.first.is_empty();
        let mut diagnostics = Vec::new();
        let mut left_out = Vec::new();
        for (kept, severity) in [(errors, Severity::Error), (warnings, Severity::Warning)] {
            diagnostics.extend(kept.first);
            if kept.more > 0 {
                left_out.push(Diagnostic {
                    file: self.file.clone(),
                    line: 0,
                    column: 0,
                    severity,
                    message: format!("and {} more", kept.more),
                    help: None,
                });
            }
        }
        diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        diagnostics.append(&mut left_out);
        if valid { Ok(diagnostics) } else { Err(Invalid { diagnostics }) }
    }
}

impl Kept {
    fn push(&mut self, diagnostic: Diagnostic) {
        if self.first.len() < MAX_KEPT {
            self.first.push(diagnostic);
        } else {
            self.more += 1;
        }
    }
}
