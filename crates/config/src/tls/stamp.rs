//! What tells the files of TLS from what they are later, without reading them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use certificates::{key_names, staple_name};

use super::Tls;
use super::files::MAX_ENTRIES;
use crate::LbConfig;

/// Files as they were on the disk: each with what changes when somebody writes to it or puts another in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<Seen>)>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(tls: &Tls, directory: &Path) -> Self {
        let mut stamp = Self::default();
        for name in &tls.certificates {
            let path = directory.join(name);
            stamp.add_all(&path);
            if let Some(file) = path.to_str() {
                key_names(file).into_iter().for_each(|key| stamp.add(key.into()));
                stamp.add(staple_name(file).into());
            }
        }
        if let Some(client) = &tls.client {
            stamp.add(directory.join(&client.ca_file));
            client.crl_file.iter().for_each(|file| stamp.add(directory.join(file)));
        }
        tls.ticket_keys.iter().for_each(|keys| stamp.add(directory.join(&keys.file)));
        stamp
    }

    /// Those of connections to the servers of a configuration.
    pub(super) fn of_servers(config: &LbConfig, directory: &Path) -> Self {
        let mut stamp = Self::default();
        let all = config.backends.iter().filter_map(|backend| backend.tls.as_ref());
        all.flat_map(|tls| tls.files(directory)).for_each(|file| stamp.add(file));
        stamp
    }

    /// A file, or a directory with all that is in it.
    fn add_all(&mut self, path: &Path) {
        self.add(path.to_owned());
        let entries = path.read_dir().into_iter().flatten().take(MAX_ENTRIES).flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        files.into_iter().for_each(|file| self.add(file));
    }

    fn add(&mut self, path: PathBuf) {
        // Links are followed: what they lead to is read.
        let seen = path.metadata().ok().map(|file| Seen {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        });
        self.0.push((path, seen));
    }
}
