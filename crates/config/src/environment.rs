//! Variables of the environment in values: `${NAME}`, and `${NAME:-default}` where it is missing or empty.
//!
//! Only the text of a value is replaced, when the file has been understood: no variable can add a key or an element. A `$` that no
//! `{` follows is itself, and `$${` stands for `${`.

use std::ffi::OsString;

use crate::read::{Report, quoted};
use crate::yaml::{Kind, Node};

/// What all variables of a file may come to, in bytes.
const MOST: usize = 1024 * 1024;

/// Where variables come from.
pub(crate) type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
pub(crate) fn of_process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The same tree with what the variables in it stand for. What is wrong with them is reported.
pub(crate) fn expand(mut tree: Node, environment: Environment<'_>, report: &Report) -> Node {
    Expansion { environment, report, left: MOST }.node(&mut tree);
    tree
}

/// A text as it has to stand in a file to be read as it is.
pub(crate) fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

struct Expansion<'e> {
    environment: Environment<'e>,
    report: &'e Report,
    /// How much more variables may come to.
    left: usize,
}

impl Expansion<'_> {
    fn node(&mut self, node: &mut Node) {
        match &mut node.kind {
            Kind::Null | Kind::Unknown => {}
            Kind::Scalar(text) if text.contains("${") => match self.text(text) {
                Ok(expanded) => *text = expanded,
                Err(problem) => {
                    self.report.error(node.at, problem);
                    node.kind = Kind::Unknown;
                }
            },
            Kind::Scalar(_) => {}
            Kind::List(items) => items.iter_mut().for_each(|item| self.node(item)),
            Kind::Map(entries) => entries.iter_mut().for_each(|entry| self.node(&mut entry.value)),
        }
    }

    fn text(&mut self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, reference) = rest.split_at(start);
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str("${");
                rest = reference.get(2..).unwrap_or_default();
                continue;
            }
            expanded.push_str(before);
            let Some((inside, after)) = reference.get(2..).and_then(|inside| inside.split_once('}')) else {
                return Err(malformed(reference));
            };
            expanded.push_str(&self.variable(inside)?);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// What stands between the braces.
    fn variable(&mut self, inside: &str) -> Result<String, String> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let usual = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(usual) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(malformed(&format!("${{{inside}}}")));
        }
        let value = (self.environment)(name).filter(|value| default.is_none() || !value.is_empty());
        let value = match (value, default) {
            (Some(value), _) => value
                .into_string()
                .map_err(|_| format!("the variable {name} of the environment is not UTF-8"))?,
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                return Err(format!(
                    "the environment has no variable {name}; \"${{{name}:-...}}\" has a default for that"
                ));
            }
        };
        self.left = self
            .left
            .checked_sub(value.len())
            .ok_or_else(|| format!("the variables come to more than {MOST} bytes"))?;
        Ok(value)
    }
}

fn malformed(reference: &str) -> String {
    format!(
        "{} is no variable such as \"${{NAME}}\" or \"${{NAME:-default}}\"; for the characters themselves write \"$${{\"",
        quoted(reference)
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;
    use crate::yaml::{self, Mark};

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "PORT" => Some("8080".into()),
            "EMPTY" => Some("".into()),
            "EVIL" => Some("a\nb: [c, {d: e}] # ${PORT} $${ ".into()),
            "LATIN1" => Some(OsString::from_vec(vec![0xe4])),
            "LARGE" => Some("x".repeat(MOST / 2).into()),
            _ => None,
        }
    }

    /// A value, as a scalar of a file.
    fn expanded(text: &str) -> Result<String, String> {
        let report = Report::new("file", None);
        let at = Mark { line: 3, column: 5 };
        let tree = expand(Node { at, kind: Kind::Scalar(text.to_owned()) }, &environment, &report);
        report.finish().map_err(|invalid| invalid.to_string())?;
        match tree.kind {
            Kind::Scalar(text) => Ok(text),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn variables_and_defaults() {
        for (text, value) in [
            ("0.0.0.0:${PORT}", "0.0.0.0:8080"),
            ("${PORT}${PORT}", "80808080"),
            ("${PORT:-1}", "8080"),
            ("${NOBODY:-1}", "1"),
            ("${NOBODY:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-1}", "1"),
            ("${NOBODY:-a:-b}", "a:-b"),
            ("$PORT ^a$ $$ {PORT}", "$PORT ^a$ $$ {PORT}"),
            ("$${PORT} $$${PORT}", "${PORT} $${PORT}"),
            ("${EVIL}", "a\nb: [c, {d: e}] # ${PORT} $${ "),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_told_with_its_place() {
        let start = "file:3:5: error: ";
        for (text, problem) in [
            (
                "a${NOBODY}b",
                "the environment has no variable NOBODY; \"${NOBODY:-...}\" has a default for that",
            ),
            ("${LATIN1}", "the variable LATIN1 of the environment is not UTF-8"),
            ("${LARGE}${LARGE}${PORT}", "the variables come to more than 1048576 bytes"),
            ("${", "\"${\" is no variable"),
            ("${PORT", "\"${PORT\" is no variable"),
            ("${}", "\"${}\" is no variable"),
            ("${PO RT}", "\"${PO RT}\" is no variable"),
            ("${1}", "\"${1}\" is no variable"),
            ("${PORT-1}", "\"${PORT-1}\" is no variable"),
        ] {
            let error = expanded(text).unwrap_err();
            assert!(error.starts_with(&format!("{start}{problem}")), "{text}: {error}");
        }
    }

    #[test]
    fn only_values_are_replaced() {
        let report = Report::new("file", None);
        let tree = yaml::tree("\"${PORT}\": [\"${PORT}\", {a: '${PORT}'}]", &report).unwrap();
        let tree = format!("{:?}", expand(tree, &environment, &report));
        assert_eq!(tree.matches("\"${PORT}\"").count(), 1, "{tree}");
        assert_eq!(tree.matches("Scalar(\"8080\")").count(), 2, "{tree}");
    }

    #[test]
    fn every_text_can_be_written() {
        for text in ["${PORT}", "$${PORT}", "$$${", "${${", "$", "a${"] {
            assert_eq!(expanded(&literal(text)).as_deref(), Ok(text));
        }
    }
}
