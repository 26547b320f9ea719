//! The files that a configuration file names, by paths that start at its directory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::{Uid, User};

use crate::KeyFile;

/// The largest file, in bytes.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;
/// The largest key file, in bytes: a key, and perhaps a line's end.
const MAX_KEY: usize = 128;
/// Permission bits of a file that holds no secret: read or written by others, or written by the group.
pub(crate) const EXPOSED: u32 = 0o026;

/// Which of the files that an `lb.yaml` names are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Files<'f> {
    /// The `lb.yaml`; none where no file is read.
    config: Option<&'f Path>,
    /// Whether pages are.
    pages: bool,
    /// Whether certificates and keys of listeners are.
    listeners: bool,
    /// Whether those of connections to servers are.
    servers: bool,
}

impl<'f> Files<'f> {
    /// None of them: each is taken for an empty one.
    pub(crate) const NONE: Self = Self { config: None, pages: false, listeners: false, servers: false };

    /// All of them.
    pub(crate) const fn all_of(config: &'f Path) -> Self {
        Self { config: Some(config), pages: true, listeners: true, servers: true }
    }

    /// All but those with certificates and keys of listeners.
    pub(crate) const fn without_keys_of(config: &'f Path) -> Self {
        Self { listeners: false, ..Self::all_of(config) }
    }

    /// Those that it takes to connect to servers.
    pub(crate) const fn for_checks_of(config: &'f Path) -> Self {
        Self { pages: false, ..Self::without_keys_of(config) }
    }

    /// All but those of TLS.
    pub(crate) const fn pages_of(config: &'f Path) -> Self {
        Self { servers: false, ..Self::without_keys_of(config) }
    }

    /// The content of a file, or at least more of it than is allowed.
    pub(crate) fn page(self, name: &str) -> Result<Vec<u8>, String> {
        self.config.filter(|_| self.pages).map_or_else(|| Ok(Vec::new()), |config| page_file(config, name))
    }

    /// Where the paths of listeners' certificates and keys start, if these are read.
    pub(crate) fn listeners(self) -> Option<PathBuf> {
        self.config.filter(|_| self.listeners).map(directory)
    }

    /// Where the paths of what connections to servers are secured by start, if that is read.
    pub(crate) fn servers(self) -> Option<PathBuf> {
        self.config.filter(|_| self.servers).map(directory)
    }
}

/// Where the paths that a file names start.
pub(crate) fn directory(config: &Path) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).to_owned()
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A key file that a configuration file names.
pub(crate) fn key_file(config: &Path, name: &str) -> Result<KeyFile, String> {
    let path = directory(config).join(name);
    let (bytes, mode) = read(&path).map_err(|error| format!("{}: {}", path.display(), unreadable(&error)))?;
    if bytes.len() > MAX_KEY {
        Err(format!("{} is too long for a key", path.display()))
    } else {
        Ok(KeyFile { bytes, exposed: mode & EXPOSED != 0 })
    }
}

/// The content of a file that a configuration file names, or at least more of it than is allowed.
pub(crate) fn page_file(config: &Path, name: &str) -> Result<Vec<u8>, String> {
    regular(&directory(config).join(name)).map(|(bytes, _)| bytes)
}

/// The content of a file, or at least more of it than is allowed, and who else may read it.
pub(crate) fn regular(path: &Path) -> Result<(Vec<u8>, u32), String> {
    let told = |error: &io::Error| format!("{}: {}", path.display(), unreadable(error));
    // Nobody may have to wait for what a pipe has to say.
    match path.metadata() {
        Ok(metadata) if metadata.is_file() || metadata.is_dir() => {}
        Ok(_) => return Err(format!("{}: this is no file", path.display())),
        Err(error) => return Err(told(&error)),
    }
    read(path).map_err(|error| told(&error))
}

/// At most one byte more than allowed, as a device or a pipe may never end; and who else may do that.
pub(crate) fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, metadata.permissions().mode()))
}

pub(crate) fn unreadable(error: &io::Error) -> String {
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
