//! From a path or a text to a configuration.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::read::{Report, Value};
use crate::yaml::Mark;
use crate::{Diagnostic, Invalid, LbConfig, Severity, lb, yaml};

/// The largest file, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// A file that can be used, and what is doubtful about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration, with every default filled in.
    pub config: LbConfig,
    /// Lints, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and parses a file of at most 1 MiB.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Invalid> {
    let name = path.display().to_string();
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(refused(&name, Mark::default(), unreadable(&error))),
    };
    if bytes.len() > MAX_BYTES {
        return Err(refused(&name, Mark::default(), "larger than 1 MiB; this is hardly a configuration"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(&name, text),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            Err(refused(
                &name,
                end_of(&String::from_utf8_lossy(good)),
                "not UTF-8 from here on; save the file as UTF-8",
            ))
        }
    }
}

/// Parses the text of a file; `file_name` is only for its messages.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(file_name: &str, text: &str) -> Result<Loaded, Invalid> {
    let report = Report::new(file_name);
    let config = yaml::tree(text, &report).map(|node| lb::read(&Value::root(&node, &report)));
    let warnings = report.finish()?;
    match config {
        Some(config) => Ok(Loaded { config, warnings }),
        None => Err(refused(file_name, Mark::default(), "cannot be understood")),
    }
}

/// At most one byte more than allowed: a device or a pipe may never end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        io::ErrorKind::IsADirectory => "this is a directory, not a file".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The place just after a text.
fn end_of(text: &str) -> Mark {
    let line = text.matches('\n').count() + 1;
    let column = text.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Mark { line, column }
}

fn refused(file: &str, at: Mark, message: impl Into<String>) -> Invalid {
    let Mark { line, column } = at;
    let (file, message) = (file.to_owned(), message.into());
    Invalid {
        diagnostics: vec![Diagnostic { file, line, column, severity: Severity::Error, message, help: None }],
    }
}
