//! The text format of the corpus; its rules are in `corpus/README.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A case: an input and what is expected of it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Comment lines above it.
    pub(crate) comments: Vec<String>,
    /// What it shows.
    pub(crate) name: String,
    /// The settings, `key=value`.
    pub(crate) settings: Vec<String>,
    /// The input as it stands in the file.
    pub(crate) text: Vec<String>,
    /// Everything after `--- `, with the lines below.
    pub(crate) expected: String,
}

impl Case {
    /// The value of a setting.
    pub(crate) fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find_map(|setting| setting.strip_prefix(key)?.strip_prefix('='))
    }

    /// The bytes of the input.
    pub(crate) fn input(&self) -> Vec<u8> {
        bytes(&self.text)
    }
}

/// The files of the corpus, in its folder, whose name begins with `prefix`, with their cases.
pub(crate) fn files(folder: impl AsRef<Path>, prefix: &str) -> Vec<(PathBuf, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), parse(&fs::read_to_string(path).unwrap()))).collect()
}

/// The cases of a file.
fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut comments = Vec::new();
    let mut expecting = false;
    for line in text.lines() {
        if line.starts_with('#') {
            comments.push(line.to_owned());
        } else if let Some(name) = line.strip_prefix("=== ") {
            let comments = std::mem::take(&mut comments);
            let (settings, text, expected) = (Vec::new(), Vec::new(), String::new());
            cases.push(Case { comments, name: name.to_owned(), settings, text, expected });
            expecting = false;
        } else {
            let Some(case) = cases.last_mut() else { continue };
            if let Some(outcome) = line.strip_prefix("--- ") {
                expecting = true;
                outcome.clone_into(&mut case.expected);
            } else if expecting {
                case.expected.push('\n');
                case.expected.push_str(line);
            } else if let Some(settings) = line.strip_prefix("@ ") {
                case.settings = settings.split(' ').map(str::to_owned).collect();
            } else {
                case.text.push(line.to_owned());
            }
        }
    }
    for case in &mut cases {
        while case.text.last().is_some_and(String::is_empty) {
            case.text.pop();
        }
        case.expected.truncate(case.expected.trim_end_matches('\n').len());
    }
    cases
}

/// The file of these cases.
pub(crate) fn render(cases: &[Case]) -> String {
    let mut file = String::new();
    for case in cases {
        for comment in &case.comments {
            writeln!(file, "{comment}").unwrap();
        }
        writeln!(file, "=== {}", case.name).unwrap();
        if !case.settings.is_empty() {
            writeln!(file, "@ {}", case.settings.join(" ")).unwrap();
        }
        for line in &case.text {
            writeln!(file, "{line}").unwrap();
        }
        writeln!(file, "--- {}\n", case.expected).unwrap();
    }
    file.truncate(file.trim_end().len() + 1);
    file
}

/// The bytes that lines of text stand for.
fn bytes(lines: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut open = false;
    for line in lines {
        let text = line.strip_suffix('\\').filter(|text| !text.ends_with('\\'));
        bytes.extend(unescape(text.unwrap_or(line)));
        open = text.is_some();
        if !open {
            bytes.extend(b"\r\n");
        }
    }
    if !open {
        bytes.extend(b"\r\n");
    }
    bytes
}

fn unescape(mut text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((plain, escape)) = text.split_once('\\') {
        bytes.extend(plain.bytes());
        let (escaped, rest) = escape.split_at(1);
        text = rest;
        match escaped {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                let (digits, rest) = rest.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                text = rest;
            }
            "*" => {
                let (count, rest) = rest.split_once('{').unwrap();
                let (repeated, rest) = rest.split_once('}').unwrap();
                bytes.extend(unescape(repeated).repeat(count.parse().unwrap()));
                text = rest;
            }
            other => panic!("unknown escape \\{other}"),
        }
    }
    bytes.extend(text.bytes());
    bytes
}

/// The text that stands for these bytes, one line a line.
pub(crate) fn text(bytes: &[u8]) -> String {
    if let Some(lines) = bytes.strip_suffix(b"\r\n\r\n") {
        return escape(lines);
    }
    format!("{}\\", escape(bytes))
}

/// The text that stands for these bytes, without the rule about its end.
pub(crate) fn escape(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let Some((&byte, rest)) = bytes.split_first() {
        let run = bytes.iter().take_while(|other| **other == byte).count();
        let one = match byte {
            b'\r' if rest.starts_with(b"\n") => {
                text.push('\n');
                bytes = &rest[1..];
                continue;
            }
            b'\r' => "\\r".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b' ' if rest.starts_with(b"\r\n") || rest.is_empty() => "\\x20".to_owned(),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        if run >= 40 {
            write!(text, "\\*{run}{{{one}}}").unwrap();
            bytes = &bytes[run..];
        } else {
            text.push_str(&one);
            bytes = rest;
        }
    }
    text
}
