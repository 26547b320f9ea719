//! The file that keeps operators' wishes. One task writes it, apart from everything else: a disk that hangs is waited for by
//! those alone who have just wished something.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
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

/// Reads the wishes that an earlier lbd left. No file means no wishes.
///
/// # Errors
/// When the file exists and cannot be read or understood.
pub fn read(file: &Path) -> anyhow::Result<Wishes> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| {
            format!("{} is not what lbd wrote; remove it to start with the configured states", file.display())
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Wishes::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

async fn write_each(file: PathBuf, mut changes: watch::Receiver<Wanted>, done: watch::Sender<Written>) {
    while changes.changed().await.is_ok() {
        let Wanted { number, wishes } = changes.borrow_and_update().clone();
        let file = file.clone();
        let writing = tokio::task::spawn_blocking(move || write(&file, &wishes));
        let result = writing.await.unwrap_or_else(|died| Err(io::Error::other(died)));
        if let Err(error) = &result {
            tracing::error!(%error, "cannot save what operators set: it is lost when lbd stops");
        }
        done.send_replace(Written { number, failure: result.err().map(Arc::new) });
    }
}

/// Writes beside the file and renames, so that a crash leaves the old wishes or the new ones.
fn write(file: &Path, wishes: &Wishes) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut out = std::fs::File::create(&new)?;
    serde_json::to_writer_pretty(&mut out, wishes)?;
    out.write_all(b"\n")?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use balance::Weight;

    use super::*;
    use crate::control::operator::Wish;

    fn wishes(weight: u16) -> Wishes {
        let wish = Wish { weight: Weight::new(weight), ..Wish::default() };
        Wishes::from([("b".into(), [("s".into(), wish)].into())])
    }

    #[tokio::test]
    async fn what_is_done_survives_a_crash_and_the_last_wish_wins() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lbd.servers");
        assert!(read(&file).unwrap().is_empty());
        let keeper = Keeper::start(file.clone());
        let savings: Vec<Saving> = (1..=100).map(|weight| keeper.keep(&wishes(weight))).collect();
        for saving in savings.into_iter().rev() {
            saving.done().await.unwrap();
            assert_eq!(read(&file).unwrap(), wishes(100));
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
        assert_eq!(read(&file).unwrap(), wishes(2));
    }

    #[test]
    fn a_damaged_file_is_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lbd.servers");
        std::fs::write(&file, "{").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("remove it"));
    }
}
