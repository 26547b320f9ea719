//! The protocol does not change by accident, and not without its specification.
//!
//! Every line of the golden files and every JSON line of `docs/protocol.md` is read and written again identically, and
//! both show every kind of request, answer, item and refusal.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use wire::{ClientLine, DaemonLine};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of the blocks of that language in a Markdown file.
fn blocks<'a>(markdown: &'a str, language: &str) -> Vec<&'a str> {
    let mut lines = Vec::new();
    let mut inside = None;
    for line in markdown.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(_), Some(_)) => inside = None,
            (Some(word), None) => inside = Some(word == language),
            (None, Some(true)) => lines.push(line),
            (None, _) => {}
        }
    }
    lines
}

/// Reads a line as what it looks like and writes it again.
fn again(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let from_client = value.get("request").is_some() || value.pointer("/hello/client").is_some();
    if from_client {
        let parsed: ClientLine = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        serde_json::to_string(&parsed).unwrap()
    } else {
        let parsed: DaemonLine = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        serde_json::to_string(&parsed).unwrap()
    }
}

/// The kinds of message that a line shows, such as `request info` and `item verdict`.
fn kinds(line: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(line).unwrap();
    let word = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let key = |value: &Value| value.as_object().and_then(|object| object.keys().next().cloned());
    let items = value.pointer("/snapshot/items").and_then(Value::as_array);
    let items = items.into_iter().flatten().chain(value.pointer("/event/item"));
    let mut kinds: Vec<String> = items.filter_map(key).map(|kind| format!("item {kind}")).collect();
    kinds.extend(word("/request").map(|kind| format!("request {kind}")));
    kinds.extend(value.get("ok").and_then(key).map(|kind| format!("answer {kind}")));
    kinds.extend(word("/error/code").map(|kind| format!("refusal {kind}")));
    kinds.extend(["hello", "ping"].into_iter().filter(|kind| value.get(kind).is_some()).map(str::to_owned));
    kinds
}

/// The words that serde expects instead of one that it does not know: every variant of an enum.
fn variants<T: serde::de::DeserializeOwned>(unknown: &str) -> Vec<String> {
    let Err(error) = serde_json::from_str::<T>(unknown) else { panic!("{unknown} is known") };
    let message = error.to_string();
    let (_, expected) = message.split_once("expected").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every kind of message that there is.
fn all() -> BTreeSet<String> {
    let named = |what: &str, words: Vec<String>| -> Vec<String> {
        assert!(words.len() > 1, "{what}: {words:?}");
        words.iter().map(|word| format!("{what} {word}")).collect()
    };
    let mut all = vec!["hello".to_owned(), "ping".to_owned()];
    all.extend(named("request", variants::<wire::Request>(r#"{"request":"?"}"#)));
    all.extend(named("answer", variants::<wire::Answer>(r#"{"?":1}"#)));
    all.extend(named("item", variants::<wire::Item>(r#"{"?":1}"#)));
    all.extend(REFUSALS.map(|word| format!("refusal {word}")));
    all.into_iter().collect()
}

/// Serde does not list these, because an unknown one is `other`.
const REFUSALS: [&str; 8] = [
    "bad_line",
    "bad_protocol",
    "unknown_request",
    "bad_request",
    "not_found",
    "forbidden",
    "failed",
    "lagged",
];

fn check(name: &str, lines: &[&str]) {
    for line in lines {
        assert_eq!(again(line), *line, "{name}");
    }
    let shown: BTreeSet<String> = lines.iter().flat_map(|line| kinds(line)).collect();
    let missing: Vec<String> = all().difference(&shown).cloned().collect();
    assert!(missing.is_empty(), "{name} does not show: {missing:?}");
}

#[test]
fn golden_lines_are_read_and_written_identically() {
    let (client, daemon) = (read("tests/golden/client.jsonl"), read("tests/golden/daemon.jsonl"));
    let lines: Vec<&str> = client.lines().chain(daemon.lines()).collect();
    check("tests/golden", &lines);
}

#[test]
fn the_specification_shows_every_message_as_it_is() {
    let specification = read("../../docs/protocol.md");
    check("docs/protocol.md", &blocks(&specification, "json"));
}

#[test]
fn the_specification_names_every_limit() {
    let specification = read("../../docs/protocol.md");
    for refusal in REFUSALS {
        assert!(specification.contains(&format!("`{refusal}`")), "{refusal}");
    }
    assert!(specification.contains(&format!("{} bytes", wire::codec::MAX_LINE)));
    assert!(specification.contains(wire::text::DENIED.trim_end()));
}
