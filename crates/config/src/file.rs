//! From a path or a text to a configuration.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::{Uid, User};

use crate::checked::{without_passwords, without_secrets};
use crate::digest::digest;
use crate::keys::Subject;
use crate::lb::Files;
use crate::read::{Report, Value};
use crate::yaml::{Mark, Node};
use crate::{
    Diagnostic, Invalid, LbConfig, Severity, VrrpConfig, effective_vrrp_yaml, effective_yaml, environment,
    foreign, instance, lb, yaml,
};

/// The largest file, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// The largest key file, in bytes: a key, and perhaps a line's end.
const MAX_KEY: usize = 128;
/// Permission bits of a file that holds no secret: read or written by others, or written by the group.
const EXPOSED: u32 = 0o026;

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
    parse_lb(&path.display().to_string(), &text(path)?.0, &|name| page_file(path, name))
}

/// The same without the files that it names, for those who answer no requests.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load_alone(path: &Path) -> Result<Loaded, Invalid> {
    parse(&path.display().to_string(), &text(path)?.0)
}

/// Reads and parses a `vrrp.yaml` of at most 1 MiB, and the key files that it names, by paths that start at its directory.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load_vrrp(path: &Path) -> Result<Loaded<VrrpConfig>, Invalid> {
    parse_vrrp(&path.display().to_string(), &text(path)?.0, &|name| key_file(path, name))
}

/// The content of a key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The key, and perhaps a line's end.
    pub bytes: Vec<u8>,
    /// Whether every user of the machine may read or replace it.
    pub exposed: bool,
}

/// A key file that a configuration file names.
pub(crate) fn key_file(config: &Path, name: &str) -> Result<KeyFile, String> {
    let path = config.parent().unwrap_or(Path::new("")).join(name);
    let (bytes, mode) = read(&path).map_err(|error| format!("{}: {}", path.display(), unreadable(&error)))?;
    if bytes.len() > MAX_KEY {
        Err(format!("{} is too long for a key", path.display()))
    } else {
        Ok(KeyFile { bytes, exposed: mode & EXPOSED != 0 })
    }
}

/// The content of a file that a configuration file names, or at least more of it than is allowed.
pub(crate) fn page_file(config: &Path, name: &str) -> Result<Vec<u8>, String> {
    let path = config.parent().unwrap_or(Path::new("")).join(name);
    let told = |error: &io::Error| format!("{}: {}", path.display(), unreadable(error));
    // Nobody may have to wait for what a pipe has to say.
    match path.metadata() {
        Ok(metadata) if metadata.is_file() || metadata.is_dir() => {}
        Ok(_) => return Err(format!("{}: this is no file", path.display())),
        Err(error) => return Err(told(&error)),
    }
    read(&path).map(|(bytes, _)| bytes).map_err(|error| told(&error))
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
    parse_lb(file_name, text, &|_| Ok(Vec::new()))
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

/// At most one byte more than allowed, as a device or a pipe may never end; and who else may do that.
fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, metadata.permissions().mode()))
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => format!("the user {} may not read it", user()),
        io::ErrorKind::IsADirectory => "this is a directory, not a file".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The user of this process, by name where it has one.
fn user() -> String {
    let id = Uid::effective();
    let named = User::from_uid(id).ok().flatten();
    named.map_or_else(|| format!("with the id {id}"), |user| user.name)
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
