//! The keys of the files, as their readers ask for them.

use std::sync::LazyLock;

use crate::files::Files;
use crate::read::{Report, Value};
use crate::yaml::{Kind, Node};
use crate::{instance, lb, yaml};

/// What a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `lb.yaml`
    Lb,
    /// `vrrp.yaml`
    Vrrp,
}

impl Subject {
    const ALL: [Self; 2] = [Self::Lb, Self::Vrrp];

    /// What such a file has to have, in words.
    pub(crate) const fn needs(self) -> &'static str {
        match self {
            Self::Lb => "frontends and backends",
            Self::Vrrp => "instances or anycast",
        }
    }

    /// Every key of such a file.
    pub(crate) fn keys(self) -> &'static [Key] {
        match self {
            Self::Lb => keys(),
            Self::Vrrp => vrrp_keys(),
        }
    }

    fn sections(self) -> impl Iterator<Item = &'static str> {
        self.keys().iter().map(|key| key.path.as_str()).filter(|path| !path.contains('.'))
    }

    /// What such a file is called, and who reads it.
    const fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Lb => ("an lb.yaml", "lbd and healthd read"),
            Self::Vrrp => ("a vrrp.yaml", "vrrpd reads"),
        }
    }

    /// Why a file cannot be about this: it has sections of another one alone.
    pub(crate) fn misfit(self, file: &Node) -> Option<String> {
        let Kind::Map(entries) = &file.kind else { return None };
        let has_own = |subject: Self| entries.iter().any(|entry| subject.owns(&entry.key));
        let other = Self::ALL.into_iter().find(|other| *other != self && has_own(*other))?;
        let ((is, _), (reads, readers)) = (other.described(), self.described());
        (!has_own(self)).then(|| format!("this is {is}; {readers} {reads}, with {}", self.needs()))
    }

    /// Whether it alone has such a section.
    fn owns(self, section: &str) -> bool {
        let has = |subject: Self| subject.sections().any(|one| one == section);
        has(self) && !Self::ALL.into_iter().any(|other| other != self && has(other))
    }

    /// What a file is about, by the sections that only one of the two has, or else by the nearest of them.
    pub(crate) fn of(file: &Node) -> Option<Self> {
        let Kind::Map(entries) = &file.kind else { return None };
        let owner = |section: &str| Self::ALL.into_iter().find(|subject| subject.owns(section));
        let all = || Self::ALL.into_iter().flat_map(Self::sections);
        let exact = entries.iter().find_map(|entry| owner(&entry.key));
        exact.or_else(|| entries.iter().find_map(|entry| owner(crate::nearest(&entry.key, all())?)))
    }
}

/// One key that the readers of a file ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The keys from the top, with `NAME` for every name that the user gives: `backends.NAME.balance`.
    pub path: String,
    /// What it takes, in words: `a number from 0 to 256`.
    pub takes: String,
    /// The value, or the meaning, of its absence; `required` if it must be given.
    pub default: String,
}

/// Every key of `lb.yaml`, in the order in which the readers ask for them.
pub fn keys() -> &'static [Key] {
    // Sections are read for their defaults even when they are absent; only named things have to be there once.
    const EVERYTHING: &str = "{frontends: {NAME: {}}, backends: {NAME: {servers: {NAME: {}, discover: {}}}}}";
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let report = Report::noting_keys();
        if let Some(node) = yaml::tree(EVERYTHING, &report) {
            lb::read(&Value::root(&node, &report), Files::NONE);
        }
        report.into_keys()
    });
    &KEYS
}

/// Every key of `vrrp.yaml`, in the order in which the readers ask for them.
pub fn vrrp_keys() -> &'static [Key] {
    const EVERYTHING: &str = "{instances: {NAME: {}}, anycast: {NAME: {}}}";
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let report = Report::noting_keys();
        if let Some(node) = yaml::tree(EVERYTHING, &report) {
            instance::read(&Value::root(&node, &report), &|_| Err(String::new()));
        }
        report.into_keys()
    });
    &KEYS
}

/// The sections that have a key of this name.
pub(crate) fn homes_of(keys: &'static [Key], key: &str) -> Vec<&'static str> {
    keys.iter()
        .filter_map(|known| match known.path.rsplit_once('.') {
            Some((home, last)) if last == key => Some(home),
            None if known.path == key => Some("the top level"),
            _ => None,
        })
        .collect()
}
