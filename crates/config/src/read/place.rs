//! Where in the configuration a value stands, in words for people.

use std::fmt;

use super::quoted;

/// The place of a value: `"check.interval" of backend "nginx"`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The named things around it, innermost first: `server "a" of backend "b"`. Empty outside of all.
    owner: String,
    /// The keys from there, with dots.
    keys: String,
    /// Whether it is an element of the list there.
    element: bool,
    /// The keys from the top, with `NAME` for every name.
    pattern: String,
}

impl Place {
    /// The value of a key of the mapping here.
    pub(crate) fn key(&self, key: &str) -> Self {
        Self {
            owner: self.owner.clone(),
            keys: joined(&self.keys, key),
            element: false,
            pattern: joined(&self.pattern, key),
        }
    }

    /// A thing of some kind that the user has named.
    pub(crate) fn named(&self, kind: &str, name: &str) -> Self {
        let mut owner = format!("{kind} {}", quoted(name));
        if !self.owner.is_empty() {
            owner = format!("{owner} of {}", self.owner);
        }
        Self { owner, keys: String::new(), element: false, pattern: joined(&self.pattern, "NAME") }
    }

    /// An element of the list here.
    pub(crate) fn element(&self) -> Self {
        Self { element: true, ..self.clone() }
    }

    /// The keys from the top, with `NAME` for every name: `backends.NAME.check`. Empty for the file itself.
    pub(crate) fn pattern(&self) -> &str {
        &self.pattern
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.element {
            f.write_str("an element of ")?;
        }
        match (self.keys.as_str(), self.owner.as_str()) {
            ("", "") => f.write_str("the file"),
            (keys, "") => write!(f, "\"{keys}\""),
            ("", owner) => f.write_str(owner),
            (keys, owner) => write!(f, "\"{keys}\" of {owner}"),
        }
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
