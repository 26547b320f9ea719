//! A value that is to be read, whether or not it stands in the file.

use super::{Place, Report, Section, quoted};
use crate::keys::Key;
use crate::scalar::{Problem, boolean};
use crate::yaml::{Kind, Mark, Node};

/// A value that is to be read, whether or not it stands in the file.
pub(crate) struct Value<'a> {
    pub(super) report: &'a Report,
    /// None if it does not stand in the file.
    pub(super) node: Option<&'a Node>,
    /// Where it is, or where it would belong.
    pub(super) at: Mark,
    /// Where its key is, or where it would belong.
    pub(super) key_at: Mark,
    pub(super) place: Place,
    /// What is expected, with its article: `a number from 1 to 10`.
    pub(super) expected: String,
    /// Whether an error has been reported that makes its absence no error.
    pub(super) excused: bool,
}

impl<'a> Value<'a> {
    /// The whole file.
    pub(crate) fn root(node: &'a Node, report: &'a Report) -> Self {
        Self {
            report,
            node: Some(node),
            at: node.at,
            key_at: node.at,
            place: Place::default(),
            expected: format!("a mapping with {}", report.needs()),
            excused: false,
        }
    }

    /// Looks for what is doubtful in a whole in which nothing is wrong.
    pub(crate) fn lint(&self, remark: impl FnOnce(&Report, &Node)) {
        if let Some(node) = self.node
            && self.report.errors() == 0
        {
            remark(self.report, node);
        }
    }

    /// Where it is, or where it would belong.
    pub(crate) fn at(&self) -> Mark {
        self.at
    }

    /// Where its key is, or where it would belong.
    pub(crate) fn key_at(&self) -> Mark {
        self.key_at
    }

    /// What messages call it.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it is `[]`.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(self.node, Some(Node { kind: Kind::List(items), .. }) if items.is_empty())
    }

    /// Whether it is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node, Some(Node { kind: Kind::List(_), .. }))
    }

    /// Whether it is a mapping.
    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.node, Some(Node { kind: Kind::Map(_), .. }))
    }

    /// How many errors there are so far in the file.
    pub(crate) fn errors(&self) -> usize {
        self.report.errors()
    }

    /// The nearest of some words.
    pub(crate) fn nearest<'w>(
        &self,
        word: &str,
        words: impl IntoIterator<Item = &'w str>,
    ) -> Option<&'w str> {
        self.report.nearest(word, words)
    }

    /// Whether it stands in the file.
    pub(crate) fn is_given(&self) -> bool {
        self.node.is_some()
    }

    /// Whether it is `off`, or another word for that.
    pub(crate) fn is_off(&self) -> bool {
        matches!(self.node, Some(Node { kind: Kind::Scalar(text), .. }) if boolean(text) == Some(false))
    }

    /// Whether it stands in the file and is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.node, Some(Node { kind: Kind::Null, .. }))
    }

    /// Whether it is a single text, number or word, though perhaps one that nobody knows.
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self.node, Some(Node { kind: Kind::Scalar(_) | Kind::Unknown, .. }))
    }

    /// A single text, number or word.
    pub(crate) fn scalar<T>(&self, parse: impl FnOnce(&str) -> Result<T, Problem>) -> Option<T> {
        match &self.node?.kind {
            Kind::Scalar(text) => parse(text).map_err(|problem| self.wrong(&quoted(text), problem)).ok(),
            Kind::Unknown => None,
            _ => {
                self.wrong_kind();
                None
            }
        }
    }

    /// A single text that is not shown, whatever is wrong with it.
    pub(crate) fn secret<T>(&self, parse: impl FnOnce(&str) -> Result<T, Problem>) -> Option<T> {
        match &self.node?.kind {
            Kind::Scalar(text) => parse(text).map_err(|problem| self.wrong("unusable", problem)).ok(),
            Kind::Unknown => None,
            _ => {
                self.wrong_kind();
                None
            }
        }
    }

    /// One scalar, or a list of them.
    pub(crate) fn one_or_more<T>(&self, mut parse: impl FnMut(&str) -> Result<T, Problem>) -> Vec<(Mark, T)> {
        match self.node {
            Some(Node { kind: Kind::List(items), .. }) => items
                .iter()
                .filter_map(|item| Some((item.at, self.element(item).scalar(&mut parse)?)))
                .collect(),
            _ => self.scalar(parse).map(|one| (self.at, one)).into_iter().collect(),
        }
    }

    /// The elements of a list, of whatever kind.
    pub(crate) fn items(&self) -> Vec<Self> {
        match self.node {
            Some(Node { kind: Kind::List(items), .. }) => {
                items.iter().map(|item| self.element(item)).collect()
            }
            Some(Node { kind: Kind::Unknown, .. }) => Vec::new(),
            _ => {
                self.wrong_kind();
                Vec::new()
            }
        }
    }

    /// The elements of a list, or whatever stands there instead of one.
    pub(crate) fn each(&self) -> Vec<Self> {
        match self.node {
            Some(Node { kind: Kind::List(items), .. }) => {
                items.iter().map(|item| self.element(item)).collect()
            }
            node => vec![Self {
                report: self.report,
                node,
                at: self.at,
                key_at: self.key_at,
                place: self.place.clone(),
                expected: self.expected.clone(),
                excused: self.excused && node.is_none(),
            }],
        }
    }

    /// A mapping with known keys. Read even when it is absent, for its defaults.
    pub(crate) fn section<T>(&self, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let (entries, excused): (&[_], _) = match self.node.map(|node| &node.kind) {
            None => (&[], self.excused),
            Some(Kind::Map(entries)) => (entries, self.excused),
            Some(Kind::Null) => (&[], self.excused),
            Some(Kind::Unknown) => (&[], true),
            Some(Kind::Scalar(_) | Kind::List(_)) => {
                self.wrong_kind();
                (&[], true)
            }
        };
        let mut section = Section::new(self.report, entries, self.key_at, self.place.clone(), excused);
        let result = read(&mut section);
        section.finish();
        result
    }

    /// A mapping with keys of the user's: `kind` is what each of them names.
    pub(crate) fn entries<T>(
        &self,
        kind: &str,
        expected: &str,
        mut read: impl FnMut(&'a str, Value<'a>) -> Option<T>,
    ) -> Vec<T> {
        match self.node.map(|node| &node.kind) {
            None | Some(Kind::Null | Kind::Unknown) => Vec::new(),
            Some(Kind::Map(entries)) => entries
                .iter()
                .filter_map(|entry| {
                    let value = Value {
                        report: self.report,
                        node: Some(&entry.value),
                        at: entry.shown_at(),
                        key_at: entry.at,
                        place: self.place.named(kind, &entry.key),
                        expected: expected.to_owned(),
                        excused: false,
                    };
                    read(&entry.key, value)
                })
                .collect(),
            Some(Kind::Scalar(_) | Kind::List(_)) => {
                self.wrong_kind();
                Vec::new()
            }
        }
    }

    /// Whether it is a mapping with this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        matches!(self.node, Some(Node { kind: Kind::Map(entries), .. }) if entries.iter().any(|entry| entry.key == key))
    }

    /// The value of a key that stands among those of the user's, if it is there.
    pub(crate) fn known_entry(&self, key: &'static str, expected: &str, default: &str) -> Option<Self> {
        let Some(Kind::Map(entries)) = self.node.map(|node| &node.kind) else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        let place = self.place.key(key);
        self.report.note(|| Key {
            path: place.pattern().to_owned(),
            takes: expected.to_owned(),
            default: default.to_owned(),
        });
        Some(Self {
            report: self.report,
            node: Some(&entry.value),
            at: entry.shown_at(),
            key_at: entry.at,
            place,
            expected: expected.to_owned(),
            excused: false,
        })
    }

    /// As [`Value::entries`], with at least one entry.
    pub(crate) fn at_least_one<T>(
        &self,
        kind: &str,
        expected: &str,
        read: impl FnMut(&'a str, Value<'a>) -> Option<T>,
    ) -> Vec<T> {
        let empty = match self.node.map(|node| &node.kind) {
            Some(Kind::Null) => true,
            Some(Kind::Map(entries)) => entries.is_empty(),
            _ => false,
        };
        if empty {
            self.report.error(self.at, format!("{} is empty; it needs at least one {kind}", self.place));
        }
        self.entries(kind, expected, read)
    }

    /// Reports what is wrong with the value, whatever it is.
    pub(crate) fn error(&self, problem: impl std::fmt::Display) {
        self.report.error(self.at, format!("{} {problem}", self.place));
    }

    /// Remarks on something doubtful about the value.
    pub(crate) fn warning(&self, doubt: impl std::fmt::Display, help: &str) {
        self.report.warning(self.at, format!("{} {doubt}", self.place), help);
    }

    /// Reports what is wrong with its key.
    pub(crate) fn key_error(&self, problem: impl std::fmt::Display) {
        self.report.error(self.key_at, format!("{} {problem}", self.place));
    }

    fn element(&self, node: &'a Node) -> Self {
        Self {
            report: self.report,
            node: Some(node),
            at: node.at,
            key_at: node.at,
            place: self.place.element(),
            expected: self.expected.clone(),
            excused: false,
        }
    }

    fn wrong_kind(&self) {
        if let Some(Kind::Scalar(text)) = self.node.map(|node| &node.kind)
            && let Some((key, _)) = text.split_once(':')
            && !self.report.homes_of(key).is_empty()
        {
            return self.error(format_args!("is {}; a blank is missing after the \":\"", quoted(text)));
        }
        let found = match self.node.map(|node| &node.kind) {
            None | Some(Kind::Null | Kind::Unknown) => "empty",
            Some(Kind::Scalar(text)) => &quoted(text),
            Some(Kind::List(_)) => "a list",
            Some(Kind::Map(_)) => "a mapping",
        };
        self.wrong(found, Problem::Unexpected);
    }

    fn wrong(&self, found: &str, problem: Problem) {
        let problem = match problem {
            Problem::Unexpected => format!("expected {}", self.expected),
            Problem::Because(reason) => reason,
            Problem::NoneOf { word, words } => match self.report.nearest(&word, words.iter().copied()) {
                Some(nearest) => format!("did you mean \"{nearest}\"?"),
                None => format!("expected {}", self.expected),
            },
        };
        let variable = if has_bare_variable(found) { "; variables are written \"${NAME}\"" } else { "" };
        self.error(format_args!("is {found}; {problem}{variable}"));
    }
}

/// Whether a text has a variable as shells write it, without braces.
fn has_bare_variable(text: &str) -> bool {
    text.split('$').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase() || c == '_'))
}
