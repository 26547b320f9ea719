//! Configuration files of either kind, read to be checked: each alone, and all of them together.

use std::path::{Path, PathBuf};

use vrrp::Authentication;

use crate::file;
use crate::file::load_members;
use crate::files::{Files, directory, key_file, page_file};
use crate::keys::Subject;
use crate::read::{Report, Value, quoted};
use crate::veil::Veil;
use crate::yaml::{Mark, Node};
use crate::{
    Access, Backend, Diagnostic, Discover, Instance, Invalid, LbConfig, Probe, Secret, Severity, Source,
    TlsProbe, VrrpConfig, access, effective_vrrp_yaml, effective_yaml, instance, lb,
};

/// A configuration file that can be used, of either kind, with its places for further remarks.
#[derive(Debug)]
pub struct Checked {
    file: String,
    path: PathBuf,
    text: String,
    /// What it says.
    pub content: Content,
    /// Its own lints, in the order of the file.
    pub warnings: Vec<Diagnostic>,
    tree: Node,
}

/// What a configuration file says.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for each file of a node")]
pub enum Content {
    /// An `lb.yaml`.
    Lb(LbConfig),
    /// A `vrrp.yaml`.
    Vrrp(VrrpConfig),
}

/// What to do about a secret that everybody may read.
const EXPOSED_HELP: &str = "chmod 640, and the group of the daemon's user";

impl Checked {
    /// Reads a file of at most 1 MiB, and the files that it names. Its top-level keys tell which kind it is.
    ///
    /// # Errors
    /// All that is wrong with it, or why it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Invalid> {
        Self::load_with(path, Files::all_of(path))
    }

    /// The same without certificates and keys of listeners, for those who have none, and must not need the keys.
    ///
    /// # Errors
    /// All that is wrong with it, or why it cannot be read.
    pub fn load_without_keys(path: &Path) -> Result<Self, Invalid> {
        Self::load_with(path, Files::without_keys_of(path))
    }

    fn load_with(path: &Path, files: Files<'_>) -> Result<Self, Invalid> {
        let (text, exposed) = file::text(path)?;
        let file = path.display().to_string();
        let mut report = Report::new(&file, None);
        let tree = file::tree(&text, &report);
        let subject = tree.as_ref().and_then(Subject::of);
        if let Some(subject) = subject {
            report.is_about(subject);
        } else if let Some(tree) = &tree {
            let needs = report.needs();
            report.error(tree.at, format!("this is no configuration of ours; one has {needs}"));
        }
        let (tree, content, warnings) = file::usable(report, tree, |node, report| {
            Some(read(subject?, path, files, &Value::root(node, report)))
        })?;
        match content {
            Some(content) => {
                let mut checked = Self { file, path: path.to_owned(), text, content, warnings, tree };
                let unusable = checked.unusable_authorities();
                if !unusable.is_empty() {
                    return Err(Invalid { diagnostics: unusable });
                }
                checked.warnings.extend(checked.servers_in_files());
                if exposed {
                    checked.warnings.extend(checked.exposed_passwords());
                }
                Ok(checked)
            }
            // An error has been reported, so that nothing is usable.
            None => Err(Invalid { diagnostics: warnings }),
        }
    }

    /// The file's name as the user gave it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The configuration as a file with every default filled in. It is shown to people, so neither passwords are in it nor what
    /// variables of the environment stand for, where any text could stand.
    pub fn effective_yaml(&self) -> String {
        let subject = match &self.content {
            Content::Lb(_) => Subject::Lb,
            Content::Vrrp(_) => Subject::Vrrp,
        };
        // What certificates say is in none of it.
        let files = Files::pages_of(&self.path);
        let again =
            |node: &Node, report: &Report| Some(read(subject, &self.path, files, &Value::root(node, report)));
        match Veil::over(&self.text, again) {
            Some((content, veil)) => veil.named(content.shown()),
            None => self.content.shown(),
        }
    }

    /// Files of authorities that healthd could not use.
    fn unusable_authorities(&self) -> Vec<Diagnostic> {
        const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
        let Content::Lb(config) = &self.content else { return Vec::new() };
        let unusable = |backend: &Backend| {
            let Some(Probe::Tls(TlsProbe { ca_file: Some(file), .. })) =
                backend.check.as_ref().map(|check| &check.probe)
            else {
                return None;
            };
            let why = match page_file(&self.path, &file.to_string_lossy()) {
                Ok(bytes) if memchr::memmem::find(&bytes, CERTIFICATE).is_some() => return None,
                Ok(_) => format!("{}: no certificate is in it", file.display()),
                Err(why) => why,
            };
            let path = ["backends", backend.name.as_str(), "check", "tls", "ca_file"];
            let problem =
                format!("\"check.tls.ca_file\" of backend {} cannot be used: {why}", quoted(&backend.name));
            Some(self.remark(
                Severity::Error,
                &path,
                problem,
                "it is a file of certificates in PEM, which healthd reads",
            ))
        };
        config.backends.iter().filter_map(unusable).collect()
    }

    /// Files in which servers are to be found, and are not now.
    fn servers_in_files(&self) -> Vec<Diagnostic> {
        let Content::Lb(config) = &self.content else { return Vec::new() };
        let found = |backend: &Backend| {
            let Some(Discover { source: Source::File(file), max, .. }) = &backend.discover else {
                return None;
            };
            let name = quoted(&backend.name);
            let path = ["backends", backend.name.as_str(), "servers", "discover", "file"];
            let (doubt, help) = match load_members(&directory(&self.path).join(file)) {
                Err(invalid) => (
                    format!(
                        "the servers of backend {name} are to be found in a file that cannot be used now: {}",
                        first_line(&invalid)
                    ),
                    "until it can, the backend has the servers that it had before, if any",
                ),
                Ok(members) if members.len() > *max as usize => (
                    format!("the file of backend {name} has {} servers, and \"max\" is {max}", members.len()),
                    "the rest is left out; raise max",
                ),
                Ok(_) => return None,
            };
            Some(self.remark(Severity::Warning, &path, doubt, help))
        };
        config.backends.iter().filter_map(found).collect()
    }

    /// The secrets of a file that everybody may read or replace.
    fn exposed_passwords(&self) -> Vec<Diagnostic> {
        let config = match &self.content {
            Content::Lb(config) => {
                let mut found = self.exposed_keys(config);
                found.extend(self.exposed_users(&config.lbd.access, &["admin", "users"]));
                found.extend(self.exposed_users(&config.healthd.access, &["healthd", "admin", "users"]));
                return found;
            }
            Content::Vrrp(config) => config,
        };
        let has_password =
            |instance: &&Instance| matches!(instance.authentication, Authentication::Password(_));
        let remark = |instance: &Instance| {
            let path = ["instances", instance.name.as_str(), "authentication", "pass"];
            let doubt = format!(
                "instance {} has its password in a file that every user of this machine can read, or its group replace",
                quoted(&instance.name)
            );
            self.remark(Severity::Warning, &path, doubt, EXPOSED_HELP)
        };
        let passwords = config.instances.iter().filter(has_password).map(remark);
        passwords.chain(self.exposed_users(&config.access, &["admin", "users"])).collect()
    }

    fn exposed_users(&self, access: &Access, path: &[&str]) -> Option<Diagnostic> {
        (!access.users.is_empty()).then(|| {
            let doubt = format!(
                "{} are in a file that every user of this machine can read, or its group replace",
                quoted(&path.join("."))
            );
            self.remark(Severity::Warning, path, doubt, EXPOSED_HELP)
        })
    }

    fn exposed_keys(&self, config: &LbConfig) -> Vec<Diagnostic> {
        let has_key = |backend: &&Backend| backend.sticky.as_ref().is_some_and(|sticky| sticky.key.is_some());
        let remark = |backend: &Backend| {
            let path = ["backends", backend.name.as_str(), "sticky", "key"];
            let doubt = format!(
                "backend {} has its key in a file that every user of this machine can read, or its group replace",
                quoted(&backend.name)
            );
            self.remark(Severity::Warning, &path, doubt, EXPOSED_HELP)
        };
        config.backends.iter().filter(has_key).map(remark).collect()
    }

    /// Whether something stands at the end of a path of keys.
    pub(crate) fn has(&self, path: &[&str]) -> bool {
        self.tree.has(path)
    }

    /// A remark on what stands at the end of a path of keys.
    pub(crate) fn remark(
        &self,
        severity: Severity,
        path: &[&str],
        message: String,
        help: &str,
    ) -> Diagnostic {
        let Mark { line, column } = self.tree.mark(path);
        Diagnostic { file: self.file.clone(), line, column, severity, message, help: Some(help.to_owned()) }
    }
}

fn first_line(invalid: &Invalid) -> String {
    invalid.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Content {
    /// All of it as a file, without its passwords.
    fn shown(&self) -> String {
        match self {
            Self::Lb(config) => effective_yaml(&without_secrets(config.clone())),
            Self::Vrrp(config) => effective_vrrp_yaml(&without_passwords(config.clone())),
        }
    }
}

/// Reads a file of some kind, and those of the files that it names, by paths that start at its directory.
fn read(subject: Subject, path: &Path, files: Files<'_>, root: &Value<'_>) -> Content {
    match subject {
        Subject::Lb => Content::Lb(lb::read(root, files)),
        Subject::Vrrp => Content::Vrrp(instance::read(root, &|name| key_file(path, name))),
    }
}

/// With other secrets, of their form.
pub(crate) fn without_secrets(mut config: LbConfig) -> LbConfig {
    for sticky in config.backends.iter_mut().filter_map(|backend| backend.sticky.as_mut()) {
        sticky.key = sticky.key.as_ref().map(|_| Secret::new("*".repeat(16)));
    }
    mask(&mut config.lbd.access);
    mask(&mut config.healthd.access);
    config
}

fn mask(access: &mut Access) {
    access.users.iter_mut().for_each(|(_, hash)| *hash = access::masked());
}

/// With another password of its form. Keys stay in their files anyway.
pub(crate) fn without_passwords(mut config: VrrpConfig) -> VrrpConfig {
    for instance in &mut config.instances {
        if let Authentication::Password(password) = &mut instance.authentication {
            password.fill(b'*');
        }
    }
    mask(&mut config.access);
    config
}
