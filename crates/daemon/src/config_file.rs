//! The configuration file of a daemon: loaded at the start, and again when asked to.

use std::fs::FileType;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use config::{Diagnostic, Invalid, LbConfig, Loaded, Severity};

/// Checks an `lb.yaml`; its warnings.
///
/// # Errors
/// All that is wrong with it.
pub fn check(path: &Path) -> Result<Vec<Diagnostic>, Invalid> {
    config::load(path).map(|loaded| loaded.warnings)
}

/// Reads and parses a file.
pub type Parse<C> = fn(&Path) -> Result<Loaded<C>, Invalid>;

/// A configuration file and how loading it went.
#[derive(Debug)]
pub struct ConfigFile<C = LbConfig> {
    path: PathBuf,
    parse: Parse<C>,
    generation: u64,
    digest: String,
    error: Option<String>,
}

impl ConfigFile {
    /// Loads an `lb.yaml` for the first time, and logs every diagnostic.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(path: &Path) -> Result<(Self, LbConfig), Invalid> {
        Self::open_with(path, config::load)
    }
}

impl<C> ConfigFile<C> {
    /// Loads a file for the first time, and logs every diagnostic.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open_with(path: &Path, parse: Parse<C>) -> Result<(Self, C), Invalid> {
        let Loaded { config, digest, .. } = load_with(path, parse)?;
        Ok((Self { path: path.to_owned(), parse, generation: 1, digest, error: None }, config))
    }

    /// How the file is parsed, to load it again with [`load_with`]. What is in force is not touched by that; tell the outcome
    /// with [`ConfigFile::adopted`] or [`ConfigFile::refused`].
    pub(crate) const fn parse(&self) -> Parse<C> {
        self.parse
    }

    /// What was loaded, with this digest, is in force now.
    pub fn adopted(&mut self, digest: String) {
        self.generation += 1;
        self.digest = digest;
        self.error = None;
        tracing::info!(config = %self.path.display(), generation = self.generation, "configuration reloaded");
    }

    /// What was loaded, or could not be, is not: the old configuration stays in force, for this reason.
    pub fn refused(&mut self, reason: &str) {
        let why = reason.lines().next().unwrap_or_default();
        tracing::error!(
            config = %self.path.display(), why, "reload refused, the old configuration stays in force"
        );
        self.error = Some(reason.to_owned());
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Successful loads, the first included.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Tells the configuration in force from others.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Why the last reload was refused, until one succeeds.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

/// Loads an `lb.yaml`, and logs every diagnostic.
///
/// # Errors
/// When it cannot be used.
pub fn load(path: &Path) -> Result<Loaded, Invalid> {
    load_with(path, config::load)
}

/// Loads a file, and logs every diagnostic.
///
/// # Errors
/// When it cannot be used. A daemon takes only what can be read without waiting for somebody: no pipe, and no socket.
pub fn load_with<C>(path: &Path, parse: Parse<C>) -> Result<Loaded<C>, Invalid> {
    let waits = |kind: FileType| kind.is_fifo() || kind.is_socket();
    let loaded = match std::fs::metadata(path) {
        Ok(metadata) if waits(metadata.file_type()) => {
            let message = "is a pipe or a socket; the configuration must be a file".to_owned();
            let file = path.display().to_string();
            let error =
                Diagnostic { file, line: 0, column: 0, severity: Severity::Error, message, help: None };
            Err(Invalid { diagnostics: vec![error] })
        }
        _ => parse(path),
    };
    match loaded {
        Ok(loaded) => {
            log(&loaded.warnings);
            Ok(loaded)
        }
        Err(invalid) => {
            log(&invalid.diagnostics);
            Err(invalid)
        }
    }
}

fn log(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        // An event is one line; the help is on a line of its own.
        let text = diagnostic.to_string().replace("\n  ", "; ");
        match diagnostic.severity {
            Severity::Error => tracing::error!("{text}"),
            Severity::Warning => tracing::warn!("{text}"),
        }
    }
}
