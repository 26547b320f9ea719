//! Syntax errors in words that say what to do.

use std::net::Ipv6Addr;

use saphyr_parser::ScanError;

use super::Mark;

/// Where the text stops being YAML, and why, in plain words. `open` is the start of the innermost list or mapping.
pub(super) fn explain(error: &ScanError, text: &str, open: Option<Mark>) -> (Mark, String) {
    let at = Mark::from(*error.marker());
    if let Some(column) = indenting_tab(text, at.line) {
        return (
            Mark { line: at.line, column },
            "a tab indents this line; YAML allows only spaces there".to_owned(),
        );
    }
    if let Some(column) = bare_brackets(text, at.line) {
        return (Mark { line: at.line, column }, BRACKETS.to_owned());
    }
    if let Some((line, column)) = missing_blank(text, at.line) {
        return (Mark { line, column }, "a blank is missing after the \":\" of a key".to_owned());
    }
    let info = error.info();
    let mut message = PLAIN
        .iter()
        .find(|(part, _)| info.contains(part))
        .map_or_else(|| format!("not valid YAML: {info}"), |(_, plain)| (*plain).to_owned());
    if let Some(Mark { line, column }) = open.filter(|_| info.contains("flow")) {
        message = format!("{message}; the opening one is on line {line}, column {column}");
    }
    (at, message)
}

/// What to do about an IPv6 address that YAML takes for a list.
pub(super) const BRACKETS: &str = "YAML takes brackets for a list; quote the address, as in \"[::]:80\"";

/// The column of the first IPv6 address in brackets, with a port, that stands there without quotes.
pub(super) fn bare_brackets(text: &str, line: usize) -> Option<usize> {
    let line = text.lines().nth(line.checked_sub(1)?)?;
    let starts = line.match_indices('[').filter(|(start, _)| !line[..*start].ends_with(['"', '\'']));
    starts.into_iter().find_map(|(start, _)| {
        let (address, rest) = line.get(start + 1..)?.split_once(']')?;
        let is_address = address.parse::<Ipv6Addr>().is_ok() && rest.starts_with(':');
        is_address.then(|| line[..start].chars().count() + 1)
    })
}

/// Where a key and its value stand together without a blank, `balance:roundrobin`, on a line that an error is on, or on the
/// last one before it: for YAML that is a text, which goes on until something there cannot belong to it.
fn missing_blank(text: &str, line: usize) -> Option<(usize, usize)> {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let says_something = |line: &&str| !matches!(line.trim_start().chars().next(), None | Some('#'));
    let numbered = lines.iter().enumerate().rev().filter(|(_, line)| says_something(line)).take(2);
    numbered.into_iter().find_map(|(index, line)| {
        let (key, value) = line.trim_start().split_once(':')?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_key = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(is_word);
        let together = !value.is_empty() && !value.starts_with(char::is_whitespace) && !value.contains(": ");
        (is_key && together).then(|| (index + 1, line.len() - line.trim_start().len() + 1))
    })
}

/// The column of the first tab among the white space that a line starts with.
fn indenting_tab(text: &str, line: usize) -> Option<usize> {
    let line = text.lines().nth(line.checked_sub(1)?)?;
    let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
    line.get(..indent)?.find('\t').map(|index| index + 1)
}

/// What the parser says, and what it means to the person who wrote the file. The first that fits counts.
const PLAIN: &[(&str, &str)] = &[
    (
        "mapping values are not allowed",
        "a \":\" is not expected here; check the lines before for a missing \":\" or a wrong indentation, and quote a text that contains \": \"",
    ),
    ("tab", "a tab is not allowed here; use spaces"),
    ("unexpected end of stream", "a quoted text is never closed"),
    (
        "trailing content after double-quoted",
        "something follows the closing quote; quote the whole text, or none of it",
    ),
    ("unexpected document indicator", "a quoted text is not closed before the \"---\" or \"...\""),
    (
        "unknown escape",
        "an unknown escape in double quotes; write \"\\\\\" for a backslash, or use single quotes",
    ),
    ("hexadecimal", "an escape in double quotes lacks its hexadecimal digits"),
    ("Unicode character escape", "an escape in double quotes is no character"),
    ("flow mapping, did not find expected", "expected a \",\" or a closing \"}\""),
    ("flow sequence, expected", "expected a \",\" or a closing \"]\""),
    ("misplaced bracket", "a closing bracket without an opening one"),
    (
        "block mapping, did not find expected key",
        "expected a key here, indented as the others; check the indentation",
    ),
    (
        "block collection, did not find expected '-'",
        "expected a \"-\" here, indented as the others; check the indentation",
    ),
    (
        "block sequence entries are not allowed",
        "a \"-\" entry is not expected here; start it on a line of its own",
    ),
    ("simple key expect", "expected a \":\" after this key"),
    ("did not find expected node content", "expected a value here"),
    (
        "did not find expected <document",
        "expected the end of the file here; check the indentation and the brackets",
    ),
    (
        "unknown anchor",
        "this alias stands for nothing, as no anchor of that name comes before it; quote a text that starts with \"*\"",
    ),
    ("anchor or alias", "a name is missing after the \"&\" or \"*\"; quote a text that starts with it"),
    ("a tag", "a \"!\" starts a tag, which means nothing here; quote a text that starts with it"),
    ("unexpected character", "a text cannot start with this character; quote it"),
    ("plain scalar cannot start", "a text cannot start with \"-\" before a bracket or comma; quote it"),
    ("unprintable character", "an unprintable character"),
    ("byte order mark", "a byte order mark inside the file; remove it"),
    ("recursion limit", "nested too deeply"),
    ("indentation", "the indentation does not fit the lines before"),
    ("wrongly indented", "the indentation does not fit the lines before"),
    ("comment intercepting", "a comment interrupts a text of several lines"),
    ("directive", "directives (\"%...\") are not supported; quote a text that starts with \"%\""),
];
