//! From a path or a text to a configuration.

use std::path::Path;

use crate::checked::{without_passwords, without_secrets};
use crate::digest::digest;
use crate::files::{EXPOSED, Files, MAX_BYTES, key_file, read, unreadable};
use crate::keys::Subject;
use crate::read::{Report, Value};
use crate::yaml::{Mark, Node};
use crate::{
    Diagnostic, Invalid, LbConfig, Member, Severity, VrrpConfig, effective_vrrp_yaml, effective_yaml,
    environment, foreign, instance, lb, yaml,
};

/// A file that can be used, and what is doubtful about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<C = LbConfig> {
    /// The configuration, with every default filled in.
    pub config: C,
    /// Lints, in the order of the file.
    pub warnings: Vec<Diagnostic>,
    /// Tells this configuration from others: equal where all that it means is.
    pub digest: String,
}

/// Reads and parses an `lb.yaml` of at most 1 MiB, and the files that it names, by paths that start at its directory.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Invalid> {
    parse_lb(&path.display().to_string(), &text(path)?.0, Files::all_of(path))
}

/// The same with no other files than it takes to connect to servers, for those who only check them, and must not need the keys of
/// listeners.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load_for_checks(path: &Path) -> Result<Loaded, Invalid> {
    parse_lb(&path.display().to_string(), &text(path)?.0, Files::for_checks_of(path))
}

/// Reads and parses a `vrrp.yaml` of at most 1 MiB, and the key files that it names, by paths that start at its directory.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load_vrrp(path: &Path) -> Result<Loaded<VrrpConfig>, Invalid> {
    parse_vrrp(&path.display().to_string(), &text(path)?.0, &|name| key_file(path, name))
}

/// Reads and parses a file in which servers are found, of at most 1 MiB.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load_members(path: &Path) -> Result<Vec<Member>, Invalid> {
    parse_members(&path.display().to_string(), &text(path)?.0)
}

/// Parses the text of a file in which servers are found; `file_name` is only for its messages. It may name no server.
///
/// # Errors
/// All that is wrong with it.
pub fn parse_members(file_name: &str, text: &str) -> Result<Vec<Member>, Invalid> {
    let report = Report::needing(file_name, "servers");
    let tree = yaml::tree(text, &report);
    let (_, members, _) =
        usable(report, tree, |node, report| lb::discover::members(&Value::root(node, report)))?;
    Ok(members)
}

/// The content of a key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The key, and perhaps a line's end.
    pub bytes: Vec<u8>,
    /// Whether every user of the machine may read or replace it.
    pub exposed: bool,
}

/// The text of a configuration file, and whether every user of the machine may read or replace it.
pub(crate) fn text(path: &Path) -> Result<(String, bool), Invalid> {
    let name = path.display().to_string();
    let (bytes, mode) = match read(path) {
        Ok(read) => read,
        Err(error) => return Err(refused(&name, Mark::default(), unreadable(&error))),
    };
    if bytes.len() > MAX_BYTES {
        return Err(refused(&name, Mark::default(), "larger than 1 MiB; this is hardly a configuration"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let at = end_of(&String::from_utf8_lossy(good));
        refused(&name, at, "not UTF-8 from here on; save the file as UTF-8")
    })?;
    Ok((text, mode & EXPOSED != 0))
}

/// Parses the text of an `lb.yaml`; `file_name` is only for its messages. Files that it names are taken for empty ones.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(file_name: &str, text: &str) -> Result<Loaded, Invalid> {
    parse_lb(file_name, text, Files::NONE)
}

fn parse_lb(file_name: &str, text: &str, files: Files<'_>) -> Result<Loaded, Invalid> {
    parse_with(
        file_name,
        text,
        Subject::Lb,
        |root| lb::read(root, files),
        |config| effective_yaml(&without_secrets(config.clone())),
    )
}

/// Parses the text of a `vrrp.yaml`; `file_name` is only for its messages, and `key_file` reads the key files that it names.
///
/// # Errors
/// All that is wrong with it.
pub fn parse_vrrp(
    file_name: &str,
    text: &str,
    key_file: &dyn Fn(&str) -> Result<KeyFile, String>,
) -> Result<Loaded<VrrpConfig>, Invalid> {
    parse_with(
        file_name,
        text,
        Subject::Vrrp,
        |root| instance::read(root, key_file),
        |config| effective_vrrp_yaml(&without_passwords(config.clone())),
    )
}

fn parse_with<C>(
    file_name: &str,
    text: &str,
    subject: Subject,
    read: impl FnOnce(&Value<'_>) -> C,
    effective: impl FnOnce(&C) -> String,
) -> Result<Loaded<C>, Invalid> {
    let report = Report::new(file_name, Some(subject));
    let tree = tree(text, &report).filter(|tree| {
        let misfit = subject.misfit(tree);
        misfit.iter().for_each(|misfit| report.error(tree.at, misfit));
        misfit.is_none()
    });
    let (_, config, warnings) = usable(report, tree, |node, report| read(&Value::root(node, report)))?;
    let digest = digest(&effective(&config));
    Ok(Loaded { config, warnings, digest })
}

/// A file's tree, with what the variables in it stand for.
pub(crate) fn tree(text: &str, report: &Report) -> Option<Node> {
    if let Some((at, told)) = foreign::file_of(text) {
        report.error(at, told);
        return None;
    }
    yaml::tree(text, report).map(|tree| environment::expand(tree, &environment::of_process, report))
}

/// A tree, what is read of it, and warnings; unless there is an error.
pub(crate) fn usable<C>(
    report: Report,
    tree: Option<Node>,
    read: impl FnOnce(&Node, &Report) -> C,
) -> Result<(Node, C, Vec<Diagnostic>), Invalid> {
    let config = tree.as_ref().map(|node| read(node, &report));
    let file = report.file().to_owned();
    let warnings = report.finish()?;
    match tree.zip(config) {
        Some((tree, config)) => Ok((tree, config, warnings)),
        None => Err(refused(&file, Mark::default(), "cannot be understood")),
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
