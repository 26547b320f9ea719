//! Configuration files of either kind, read to be checked: each alone, and all of them together.

use std::path::Path;

use vrrp::Authentication;

use crate::file::{self, key_file, page_file};
use crate::keys::Subject;
use crate::read::{Report, Value, quoted};
use crate::yaml::{Mark, Node};
use crate::{
    Diagnostic, Instance, Invalid, LbConfig, Severity, VrrpConfig, effective_vrrp_yaml, effective_yaml,
    instance, lb,
};

/// A configuration file that can be used, of either kind, with its places for further remarks.
#[derive(Debug)]
pub struct Checked {
    file: String,
    /// What it says.
    pub content: Content,
    /// Its own lints, in the order of the file.
    pub warnings: Vec<Diagnostic>,
    tree: Node,
}

/// What a configuration file says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// An `lb.yaml`.
    Lb(LbConfig),
    /// A `vrrp.yaml`.
    Vrrp(VrrpConfig),
}

impl Checked {
    /// Reads a file of at most 1 MiB, and the key files that it names. Its top-level keys tell which kind it is.
    ///
    /// # Errors
    /// All that is wrong with it, or why it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Invalid> {
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
            let root = Value::root(node, report);
            match subject {
                Some(Subject::Lb) => Some(Content::Lb(lb::read(&root, &|name| page_file(path, name)))),
                Some(Subject::Vrrp) => {
                    Some(Content::Vrrp(instance::read(&root, &|name| key_file(path, name))))
                }
                None => None,
            }
        })?;
        match content {
            Some(content) => {
                let mut checked = Self { file, content, warnings, tree };
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

    /// The configuration as a file with every default filled in. It is shown to people, so passwords are not in it.
    pub fn effective_yaml(&self) -> String {
        match &self.content {
            Content::Lb(config) => effective_yaml(config),
            Content::Vrrp(config) => effective_vrrp_yaml(&without_secrets(config.clone())),
        }
    }

    /// The passwords of a file that everybody may read or replace.
    fn exposed_passwords(&self) -> Vec<Diagnostic> {
        let Content::Vrrp(config) = &self.content else { return Vec::new() };
        let has_password =
            |instance: &&Instance| matches!(instance.authentication, Authentication::Password(_));
        let remark = |instance: &Instance| {
            let path = ["instances", instance.name.as_str(), "authentication", "pass"];
            let doubt = format!(
                "instance {} has its password in a file that every user of this machine can read, or its group replace",
                quoted(&instance.name)
            );
            self.remark(Severity::Warning, &path, doubt, "chmod 640, and the group of the daemon's user")
        };
        config.instances.iter().filter(has_password).map(remark).collect()
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

/// With another password of its form. Keys stay in their files anyway.
fn without_secrets(mut config: VrrpConfig) -> VrrpConfig {
    for instance in &mut config.instances {
        if let Authentication::Password(password) = &mut instance.authentication {
            password.fill(b'*');
        }
    }
    config
}
