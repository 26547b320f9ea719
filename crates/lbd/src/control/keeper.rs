//! The file that keeps operators' wishes. One task writes it, apart from everything else: a disk that hangs is waited for by
//! those alone who have just wished something.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use daemon::kept_file;
use tokio::sync::watch;

use crate::control::operator::Wishes;

/// Who writes the wishes down. What is wished while a write is under way is written by the next one, all at once.
#[derive(Debug)]
pub struct Keeper {
    wanted: watch::Sender<Wanted>,
    written: watch::Receiver<Written>,
}

/// The wishes as they are to be kept.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// How many times they have changed.
    number: u64,
    wishes: Wishes,
}

/// The last write.
#[derive(Debug, Default)]
struct Written {
    number: u64,
    failure: Option<Arc<io::Error>>,
}

/// A change of the wishes on its way to the disk.
#[derive(Debug)]
#[must_use = "an operator is answered when the wish is kept"]
pub struct Saving {
    number: u64,
    written: watch::Receiver<Written>,
}

impl Keeper {
    /// Keeps the wishes to come in `file`, whatever it holds now. Must be called within a runtime.
    pub fn start(file: PathBuf) -> Self {
        let (wanted, changes) = watch::channel(Wanted::default());
        let (done, written) = watch::channel(Written::default());
        tokio::spawn(write_each(file, changes, done));
        Self { wanted, written }
    }

    /// Has these wishes written in the place of all earlier ones, and waits for nothing.
    pub fn keep(&self, wishes: &Wishes) -> Saving {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            wanted.number += 1;
            number = wanted.number;
            wanted.wishes.clone_from(wishes);
        });
        Saving { number, written: self.written.clone() }
    }
}

impl Saving {
    /// Waits until these wishes, or later ones, are in the file.
    ///
    /// # Errors
    /// When they are not.
    pub async fn done(mut self) -> Result<(), Arc<io::Error>> {
        let number = self.number;
        let written = self.written.wait_for(|written| written.number >= number).await;
        let written = written.map_err(|_| Arc::new(io::Error::other("lbd ends")))?;
        written.failure.clone().map_or(Ok(()), Err)
    }
}

async fn write_each(file: PathBuf, mut changes: watch::Receiver<Wanted>, done: watch::Sender<Written>) {
    while changes.changed().await.is_ok() {
        let Wanted { number, wishes } = changes.borrow_and_update().clone();
        let file = file.clone();
        let writing = tokio::task::spawn_blocking(move || kept_file::write(&file, &wishes));
        let result = writing.await.unwrap_or_else(|died| Err(io::Error::other(died)));
        if let Err(error) = &result {
            tracing::error!(%error, "cannot save what operators set: it is lost when lbd stops");
        }
        done.send_replace(Written { number, failure: result.err().map(Arc::new) });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use balance::Weight;

    use super::*;
    use crate::control::operator::Wish;

    fn read(file: &Path) -> Wishes {
        kept_file::read(file).unwrap().unwrap_or_default()
    }

    fn wishes(weight: u16) -> Wishes {
        let wish = Wish { weight: Weight::new(weight), ..Wish::default() };
        Wishes::from([("b".into(), [("s".into(), wish)].into())])
    }

    #[tokio::test]
    async fn what_is_done_survives_a_crash_and_the_last_wish_wins() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lbd.servers");
        assert!(read(&file).is_empty());
        let keeper = Keeper::start(file.clone());
        let savings: Vec<Saving> = (1..=100).map(|weight| keeper.keep(&wishes(weight))).collect();
        for saving in savings.into_iter().rev() {
            saving.done().await.unwrap();
            assert_eq!(read(&file), wishes(100));
        }
        keeper.keep(&Wishes::new()).done().await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "{}");
    }

    #[tokio::test]
    async fn a_write_that_fails_is_told_and_the_next_one_is_tried() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("run").join("lbd.servers");
        let keeper = Keeper::start(file.clone());
        let failure = keeper.keep(&wishes(1)).done().await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::NotFound);
        std::fs::create_dir(directory.path().join("run")).unwrap();
        keeper.keep(&wishes(2)).done().await.unwrap();
        assert_eq!(read(&file), wishes(2));
    }
}
