//! Where a daemon is found: its socket's path and its admin address. A successor takes both while its predecessor lives, which is
//! found beside from then on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::admin::Gate;

/// A file that this process has made, told from one that somebody puts in its place.
#[derive(Debug)]
pub struct OwnFile {
    path: PathBuf,
    file: Option<(u64, u64)>,
}

impl OwnFile {
    /// What is there now, which this process has just made.
    pub fn at(path: PathBuf) -> Self {
        Self { file: file(&path).ok(), path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nobody has removed it, or put another in its place.
    pub fn is_ours(&self) -> bool {
        self.file.is_some() && file(&self.path).ok() == self.file
    }

    /// Removes it, unless it is another one's by now.
    pub fn remove(&self) {
        if self.is_ours() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Where one daemon is found.
#[derive(Debug)]
pub struct Entrance {
    /// Where everybody looks.
    path: PathBuf,
    /// Where its own socket is.
    socket: Mutex<OwnFile>,
    gate: watch::Sender<Gate>,
}

impl Entrance {
    pub(crate) fn new(path: PathBuf, socket: PathBuf, gate: Gate) -> Self {
        Self { path, socket: Mutex::new(OwnFile::at(socket)), gate: watch::Sender::new(gate) }
    }

    pub(crate) fn gate(&self) -> watch::Receiver<Gate> {
        self.gate.subscribe()
    }

    /// Takes the place of whoever is found: from now on this daemon is.
    ///
    /// # Errors
    /// When the system refuses; then nothing has changed.
    pub fn take(&self) -> io::Result<()> {
        let mut socket = self.socket();
        fs::rename(socket.path(), &self.path)?;
        *socket = OwnFile::at(self.path.clone());
        drop(socket);
        self.gate.send_replace(Gate::Open);
        Ok(())
    }

    /// Has this daemon be found at `beside` as well, before a successor takes its place.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open_beside(&self, beside: &Path) -> io::Result<()> {
        match fs::remove_file(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::hard_link(self.socket().path(), beside)
    }

    /// A successor has failed: takes the place again, which it may have had for a moment.
    pub fn retake(&self, beside: &Path) {
        let socket = self.socket();
        let done = match socket.is_ours() {
            true => fs::remove_file(beside),
            false => fs::rename(beside, &self.path),
        };
        if let Err(error) = done {
            tracing::error!(%error, "{} is not as it was", self.path.display());
        }
    }

    /// A successor has the place: this daemon is found at `beside` alone, and lets nobody in at the admin address any more.
    pub fn leave(&self, beside: PathBuf) {
        *self.socket() = OwnFile::at(beside);
        self.gate.send_replace(Gate::Left);
    }

    /// A socket that nobody answers on would only be in the way.
    pub(crate) fn remove(&self) {
        self.socket().remove();
    }

    fn socket(&self) -> MutexGuard<'_, OwnFile> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn inode(path: &Path) -> Option<(u64, u64)> {
        file(path).ok()
    }

    #[test]
    fn a_successor_takes_the_place_and_each_removes_its_own_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lbd.sock");
        let (new, beside) = (dir.path().join("lbd.sock.new"), dir.path().join("lbd.1.sock"));
        let _old = UnixListener::bind(&path).unwrap();
        let old = Entrance::new(path.clone(), path.clone(), Gate::Open);
        let _new = UnixListener::bind(&new).unwrap();
        let successor = Entrance::new(path.clone(), new.clone(), Gate::Shut);
        let (first, second) = (inode(&path), inode(&new));

        // A successor that fails, having taken the place or not.
        old.open_beside(&beside).unwrap();
        old.retake(&beside);
        assert_eq!((inode(&path), inode(&beside)), (first, None));
        old.open_beside(&beside).unwrap();
        fs::rename(&path, dir.path().join("gone")).unwrap();
        old.retake(&beside);
        assert_eq!((inode(&path), inode(&beside)), (first, None));

        old.open_beside(&beside).unwrap();
        successor.take().unwrap();
        old.leave(beside.clone());
        assert_eq!((inode(&path), inode(&beside)), (second, first));
        assert_eq!((*old.gate().borrow(), *successor.gate().borrow()), (Gate::Left, Gate::Open));
        old.remove();
        assert_eq!((inode(&path), inode(&beside)), (second, None));
        successor.remove();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "what was set aside alone");
    }
}
