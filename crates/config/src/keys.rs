//! The keys of `lb.yaml`, as its readers ask for them.

use std::sync::LazyLock;

use crate::read::{Report, Value};
use crate::{lb, yaml};

/// One key that the readers of `lb.yaml` ask for.
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
    const EVERYTHING: &str = "{frontends: {NAME: {}}, backends: {NAME: {servers: {NAME: {}}}}}";
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let report = Report::noting_keys();
        if let Some(node) = yaml::tree(EVERYTHING, &report) {
            lb::read(&Value::root(&node, &report));
        }
        report.into_keys()
    });
    &KEYS
}

/// The sections that have a key of this name.
pub(crate) fn homes_of(key: &str) -> Vec<&'static str> {
    keys()
        .iter()
        .filter_map(|known| match known.path.rsplit_once('.') {
            Some((home, last)) if last == key => Some(home),
            None if known.path == key => Some("the top level"),
            _ => None,
        })
        .collect()
}
