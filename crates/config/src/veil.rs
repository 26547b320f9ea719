//! A configuration for people's eyes: what came by variables of the environment, and may be a secret, stays behind their names.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::OsString;

use crate::environment::{self, Environment};
use crate::read::Report;
use crate::yaml::{Kind, Mark, Node};
use crate::{Diagnostic, yaml};

/// Words that stand for variables while a configuration is read and written.
pub(crate) struct Veil {
    stem: String,
    names: RefCell<Vec<String>>,
}

impl Veil {
    /// The configuration of a text, as `read` reads it, with words for all variables but those that have to be a number, an
    /// address or the like: these are told by the errors that a word there gives, and stand as they are.
    pub(crate) fn over<C>(text: &str, read: impl Fn(&Node, &Report) -> Option<C>) -> Option<(C, Self)> {
        let stem = (0_u64..).map(|n| format!("v{n}q")).find(|stem| !text.contains(stem.as_str()))?;
        let veil = Self { stem, names: RefCell::default() };
        let plain = yaml::tree(text, &Report::new("", None))?;
        let word = |name: &str| veil.word(name);
        let [veiled, shown] = [&word as Environment<'_>, &environment::of_process]
            .map(|environment| environment::expand(plain.clone(), environment, &Report::new("", None)));
        let mut bare = HashSet::new();
        loop {
            let mut tree = veiled.clone();
            unveil(&mut tree, &shown, &bare);
            let report = Report::new("", None);
            let config = read(&tree, &report);
            let Err(invalid) = report.finish() else { return Some((config?, veil)) };
            let known = bare.len();
            bare.extend(
                invalid
                    .diagnostics
                    .iter()
                    .map(|Diagnostic { line, column, .. }| Mark { line: *line, column: *column }),
            );
            if bare.len() == known {
                return None;
            }
        }
    }

    /// A word for a variable that is there.
    fn word(&self, name: &str) -> Option<OsString> {
        environment::of_process(name).filter(|value| !value.is_empty())?;
        let mut names = self.names.borrow_mut();
        let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        Some(self.token(index).into())
    }

    fn token(&self, index: usize) -> String {
        format!("{}{index}q", self.stem)
    }

    /// What was written, with the variables for their words.
    pub(crate) fn named(&self, mut written: String) -> String {
        for (index, name) in self.names.borrow().iter().enumerate() {
            written = written.replace(&self.token(index), &format!("${{{name}}}"));
        }
        written
    }
}

/// Puts what is shown in place of what is veiled, at these marks.
fn unveil(veiled: &mut Node, shown: &Node, marks: &HashSet<Mark>) {
    match (&mut veiled.kind, &shown.kind) {
        (Kind::List(veiled), Kind::List(shown)) => {
            veiled.iter_mut().zip(shown).for_each(|(veiled, shown)| unveil(veiled, shown, marks));
        }
        (Kind::Map(veiled), Kind::Map(shown)) => {
            veiled
                .iter_mut()
                .zip(shown)
                .for_each(|(veiled, shown)| unveil(&mut veiled.value, &shown.value, marks));
        }
        (kind, shown) if marks.contains(&veiled.at) => *kind = shown.clone(),
        _ => {}
    }
}
