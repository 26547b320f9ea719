//! Who keeps something in a file of the run directory, whenever it has changed. One task writes it, apart from everything else: a disk
//! that hangs is waited for by those alone who have to know that it is written.

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::kept_file;

/// Who writes it down. What changes while a write is under way is written by the next one, all at once.
#[derive(Debug)]
pub struct Keeper<T> {
    wanted: watch::Sender<Wanted<T>>,
    written: watch::Receiver<Written>,
}

/// What is to be kept.
#[derive(Clone, Debug, Default)]
struct Wanted<T> {
    /// How many times it has changed.
    number: u64,
    kept: T,
}

/// The last write.
#[derive(Debug, Default)]
struct Written {
    number: u64,
    failure: Option<Arc<io::Error>>,
}

/// A change on its way to the disk.
#[derive(Debug)]
pub struct Saving {
    number: u64,
    written: watch::Receiver<Written>,
}

impl<T: Clone + Debug + Default + Serialize + Send + Sync + 'static> Keeper<T> {
    /// Keeps what is to come in `file`, whatever it holds now; `what` is that for the log. Must be called within a runtime.
    pub fn start(file: PathBuf, what: &'static str) -> Self {
        let (wanted, changes) = watch::channel(Wanted::default());
        let (done, written) = watch::channel(Written::default());
        tokio::spawn(write_each(file, what, changes, done));
        Self { wanted, written }
    }

    /// Has this written in the place of all earlier, and waits for nothing.
    pub fn keep(&self, kept: &T) -> Saving {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            wanted.number += 1;
            number = wanted.number;
            wanted.kept.clone_from(kept);
        });
        Saving { number, written: self.written.clone() }
    }
}

impl<T> Keeper<T> {
    /// What has been kept so far, on its way to the disk. What could not be written is tried again.
    pub fn saving(&self) -> Saving {
        if self.written.borrow().failure.is_some() {
            self.wanted.send_modify(|wanted| wanted.number += 1);
        }
        Saving { number: self.wanted.borrow().number, written: self.written.clone() }
    }
}

impl Saving {
    /// Waits until this, or something later, is in the file.
    ///
    /// # Errors
    /// When it is not.
    pub async fn done(mut self) -> Result<(), Arc<io::Error>> {
        let number = self.number;
        let written = self.written.wait_for(|written| written.number >= number).await;
        let written = written.map_err(|_| Arc::new(io::Error::other("the daemon ends")))?;
        written.failure.clone().map_or(Ok(()), Err)
    }
}

async fn write_each<T: Clone + Serialize + Send + Sync + 'static>(
    file: PathBuf,
    what: &'static str,
    mut changes: watch::Receiver<Wanted<T>>,
    done: watch::Sender<Written>,
) {
    while changes.changed().await.is_ok() {
        let Wanted { number, kept } = changes.borrow_and_update().clone();
        let file = file.clone();
        let writing = tokio::task::spawn_blocking(move || kept_file::write(&file, &kept));
        let result = writing.await.unwrap_or_else(|died| Err(io::Error::other(died)));
        if let Err(error) = &result {
            tracing::error!(%error, "cannot save {what}: it is lost when this daemon stops");
        }
        done.send_replace(Written { number, failure: result.err().map(Arc::new) });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    type Kept = BTreeMap<String, u16>;

    fn read(file: &Path) -> Kept {
        kept_file::read(file).unwrap().unwrap_or_default()
    }

    fn kept(weight: u16) -> Kept {
        Kept::from([("s".into(), weight)])
    }

    #[tokio::test]
    async fn what_is_done_survives_a_crash_and_the_last_change_wins() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lbd.servers");
        assert!(read(&file).is_empty());
        let keeper = Keeper::start(file.clone(), "weights");
        let savings: Vec<Saving> = (1..=100).map(|weight| keeper.keep(&kept(weight))).collect();
        for saving in savings.into_iter().rev() {
            saving.done().await.unwrap();
            assert_eq!(read(&file), kept(100));
        }
        keeper.keep(&Kept::new()).done().await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "{}");
    }

    #[tokio::test]
    async fn a_write_that_fails_is_told_and_the_next_one_is_tried() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("run").join("lbd.servers");
        let keeper = Keeper::start(file.clone(), "weights");
        let failure = keeper.keep(&kept(1)).done().await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::NotFound);
        std::fs::create_dir(directory.path().join("run")).unwrap();
        keeper.keep(&kept(2)).done().await.unwrap();
        assert_eq!(read(&file), kept(2));
    }
}
