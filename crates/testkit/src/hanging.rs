//! A file that holds up whoever reads it, as one on a network's file system that hangs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::pty::{OpenptyResult, openpty};
use nix::unistd::ttyname;

use crate::wait_until;

/// A file in whose place a terminal stands: what is read there is what somebody types, and nobody does.
#[derive(Debug)]
pub struct HangingFile {
    path: PathBuf,
    text: String,
    terminal: OpenptyResult,
}

impl HangingFile {
    /// Has a file hang.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn instead_of(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("the file is there");
        let terminal = openpty(None, None).expect("there are terminals");
        fs::remove_file(path).expect("the file can be removed");
        symlink(ttyname(&terminal.slave).expect("it has a name"), path).expect("its place is free");
        Self { path: path.to_owned(), text, terminal }
    }

    /// Waits until a process reads it.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_until_read_by(&self, process: u32) {
        let name = ttyname(&self.terminal.slave).expect("it has a name");
        wait_until("somebody reads the file", || {
            let files = fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs");
            files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).any(|open| open == name)
        });
    }

    /// Whoever reads it now gets nothing, and whoever reads it later what was there before.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn mend(self) {
        drop(self.terminal);
        fs::remove_file(&self.path).expect("it is there");
        fs::write(&self.path, self.text).expect("there is room");
    }
}
