//! Each mistake has its message, word for word: `tests/data/mistakes.txt` and `vrrp-mistakes.txt` hold both.
//!
//! A case is a title after `###`, the text of a file, a line `---->`, and what is said about it. With `BLESS=1` in the
//! environment the file is written anew with what is said today; the difference is for the author to judge.
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

use std::fmt::Write as _;
use std::path::PathBuf;

use config::KeyFile;

const TITLE: &str = "### ";
const ARROW: &str = "---->\n";

struct Case {
    title: String,
    file: String,
    said: String,
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in format!("\n{text}").split("\n### ").skip(1) {
        let (title, rest) = part.split_once('\n').unwrap_or((part, ""));
        let (file, said) = rest.split_once(ARROW).unwrap_or((rest, ""));
        cases.push(Case { title: title.to_owned(), file: file.to_owned(), said: said.trim().to_owned() });
    }
    cases
}

fn said_about(name: &str, file: &str) -> String {
    // Tabs, control characters and the like are written as escapes, so that the data stay plain text.
    let text = file.replace("<TAB>", "\t").replace("<CR>", "\r").replace("<BOM>", "\u{feff}");
    let warnings = if name == "lb.yaml" {
        config::parse(name, &text).map(|loaded| loaded.warnings)
    } else {
        config::parse_vrrp(name, &text, &key_file).map(|loaded| loaded.warnings)
    };
    match warnings {
        Err(invalid) => invalid.to_string(),
        Ok(warnings) if warnings.is_empty() => "nothing".to_owned(),
        Ok(warnings) => warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

fn key_file(name: &str) -> Result<KeyFile, String> {
    match name {
        "key" => Ok(KeyFile { bytes: vec![b'k'; 32], exposed: false }),
        "open-key" => Ok(KeyFile { bytes: vec![b'k'; 32], exposed: true }),
        "short-key" => Ok(KeyFile { bytes: vec![b'k'; 8], exposed: false }),
        _ => Err(format!("{name}: there is no such file")),
    }
}

#[test]
fn every_mistake_is_told_in_its_words() {
    every_case("lb.yaml", "mistakes.txt", 40);
}

#[test]
fn every_mistake_in_a_vrrp_yaml_is_told_in_its_words() {
    every_case("vrrp.yaml", "vrrp-mistakes.txt", 30);
}

fn every_case(name: &str, data_file: &str, least: usize) {
    let path = data(data_file);
    let text = std::fs::read_to_string(&path).expect("the cases are there");
    let cases = cases(&text);
    assert!(cases.len() >= least, "{} cases", cases.len());

    if std::env::var_os("BLESS").is_some() {
        let mut blessed = text.split(TITLE).next().unwrap_or_default().to_owned();
        for Case { title, file, .. } in &cases {
            write!(blessed, "{TITLE}{title}\n{file}{ARROW}{}\n\n", said_about(name, file))
                .expect("a string grows");
        }
        std::fs::write(&path, blessed.trim_end().to_owned() + "\n").expect("the cases can be written");
        return;
    }
    let mut wrong = String::new();
    for Case { title, file, said } in &cases {
        let now = said_about(name, file);
        if now != *said {
            write!(wrong, "\n{TITLE}{title}\nexpected:\n{said}\nfound:\n{now}\n").expect("a string grows");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn ten_mistakes_give_ten_good_messages() {
    let path = data("ten-mistakes.yaml");
    let invalid = config::load(&path).expect_err("it has mistakes");
    assert_eq!(invalid.diagnostics.len(), 10, "{invalid}");
    let text = std::fs::read_to_string(&path).expect("it can be read");
    for diagnostic in &invalid.diagnostics {
        // Each mistake stands in the file beside a comment that quotes the essence of its message.
        let line = text.lines().nth(diagnostic.line - 1).expect("the line is in the file");
        let (_, essence) = line.split_once("# ").expect("the line has a comment");
        assert!(diagnostic.message.contains(essence), "{diagnostic}\n{line}");
    }
}

#[test]
fn many_mistakes_are_cut_off() {
    let unknown = (0..200).map(|n| format!("unknown{n}: 1\n")).collect::<String>();
    let invalid = config::parse("lb.yaml", &unknown).expect_err("it has mistakes");
    assert_eq!(invalid.diagnostics.len(), 51);
    assert_eq!(
        invalid.diagnostics.last().map(ToString::to_string).as_deref(),
        Some("lb.yaml: error: and 152 more")
    );
}
