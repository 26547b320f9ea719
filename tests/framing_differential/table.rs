//! The table of differences: a data file that `FRAMING_BLESS=1` writes anew, for review. Groups keep their reasons.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A case on which the proxies differ.
pub(crate) struct Row {
    /// What lbd's part in it is.
    pub(crate) group: String,
    /// Why that is right, if it need not be said by hand.
    pub(crate) reason: Option<String>,
    /// The case.
    pub(crate) case: String,
    /// What each proxy made of it.
    pub(crate) outcomes: [String; 3],
}

/// Compares with the file, or writes it. A group without a reason is an error in either case.
pub(crate) fn check(name: &str, mut rows: Vec<Row>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("framing_differential").join(name);
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let preface: String =
        kept.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let mut reasons = BTreeMap::new();
    let mut lines = kept.lines();
    while let Some(line) = lines.next() {
        if let Some(group) = line.strip_prefix("== ") {
            reasons.insert(group.to_owned(), lines.next().unwrap_or_default().to_owned());
        }
    }
    rows.sort_by(|a, b| (&a.group, &a.case).cmp(&(&b.group, &b.case)));
    let mut text = preface;
    let mut missing = Vec::new();
    for group in rows.chunk_by(|a, b| a.group == b.group) {
        let Row { group: title, reason, .. } = &group[0];
        let known = reasons.get(title).filter(|reason| !reason.is_empty() && *reason != "?");
        let reason = reason.clone().or_else(|| known.cloned()).unwrap_or_else(|| "?".to_owned());
        if reason == "?" {
            missing.push(title.clone());
        }
        writeln!(text, "\n== {title}\n{reason}").expect("writing to memory");
        for Row { case, outcomes: [lbd, haproxy, nginx], .. } in group {
            writeln!(text, "- {case}\n    lbd: {lbd}\n    haproxy: {haproxy}\n    nginx: {nginx}")
                .expect("writing to memory");
        }
    }
    if std::env::var_os("FRAMING_BLESS").is_some() {
        fs::write(&path, &text).expect("a file of this repository");
    } else if text != kept {
        let new: Vec<_> = text.lines().filter(|line| !kept.lines().any(|known| known == *line)).collect();
        panic!("{name} is not what is seen; FRAMING_BLESS=1 writes it. New lines:\n{}", new.join("\n"));
    }
    assert!(missing.is_empty(), "give these groups a reason in {name}: {missing:?}");
}
