//! A file in which servers are found. It is looked at every second, and read when it has changed: at once if another file has taken its
//! place, which is how it is meant to be written, or else when it has rested for a second, as somebody may still be writing it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Member;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// How long the disk may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file that is watched.
pub(super) struct Watched {
    path: PathBuf,
    known: Known,
    /// A look that the disk has not ended yet.
    under_way: Option<JoinHandle<(Known, Look)>>,
}

/// As the file was when last looked at, and when last read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    seen: Option<Stamp>,
    read: Option<Stamp>,
}

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// It was read.
    Read(Vec<Member>),
    /// Why it cannot be used.
    Failed(String),
}

impl Watched {
    /// Nothing was looked at yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, known: Known::default(), under_way: None }
    }

    /// Looks at it.
    pub(super) async fn look(&mut self) -> Look {
        let (path, known) = (self.path.clone(), self.known);
        let under_way = self.under_way.get_or_insert_with(|| spawn_blocking(move || look(&path, known)));
        match timeout(PATIENCE, under_way).await {
            Err(_) => Look::Failed(format!("{}: the disk does not answer", self.path.display())),
            Ok(ended) => {
                self.under_way = None;
                let (known, look) =
                    ended.unwrap_or_else(|died| (Known::default(), Look::Failed(died.to_string())));
                self.known = known;
                look
            }
        }
    }
}

fn look(path: &Path, known: Known) -> (Known, Look) {
    // What cannot be looked at is read for the reason.
    let seen = fs::metadata(path).ok().map(|found| Stamp {
        file: (found.dev(), found.ino()),
        size: found.size(),
        changed: (found.ctime(), found.ctime_nsec()),
    });
    let is_new = seen.map(|stamp| stamp.file) != known.seen.map(|stamp| stamp.file);
    let rests = is_new || seen == known.seen;
    if seen.is_some() && (seen == known.read || !rests) {
        return (Known { seen, ..known }, Look::Same);
    }
    let look = match config::load_members(path) {
        Ok(members) => Look::Read(members),
        // The first of what is wrong: the rest may follow from it.
        Err(invalid) => Look::Failed(invalid.to_string().lines().next().unwrap_or_default().to_owned()),
    };
    (Known { seen, read: seen }, look)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the next looks find, until nothing is new.
    async fn looks(watched: &mut Watched) -> Vec<String> {
        let mut found = Vec::new();
        for _ in 0..3 {
            found.push(match watched.look().await {
                Look::Same => "same".to_owned(),
                Look::Read(members) => members.iter().map(|one| &*one.name).collect::<Vec<_>>().join(" "),
                Look::Failed(why) => why.rsplit('/').next().unwrap_or_default().to_owned(),
            });
        }
        found
    }

    #[tokio::test]
    async fn a_file_that_takes_its_place_is_read_at_once_and_one_that_is_written_when_it_rests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("servers.yaml");
        let replace = |text: &str| daemon::kept_file::replace(&path, text.as_bytes()).unwrap();
        let mut watched = Watched::new(path.clone());
        let missing = "servers.yaml: error: there is no such file";
        assert_eq!(looks(&mut watched).await, [missing; 3]);
        replace("servers: { a: 'a:80' }");
        assert_eq!(looks(&mut watched).await, ["a", "same", "same"]);
        replace("servers: { b: 'a:80' }");
        assert_eq!(looks(&mut watched).await, ["b", "same", "same"]);
        fs::write(&path, "servers: { b: 'a:80', c: 'c:").unwrap();
        assert!(matches!(watched.look().await, Look::Same), "it may not be whole");
        fs::write(&path, "servers: { b: 'a:80', c: 'c:80' }").unwrap();
        assert_eq!(looks(&mut watched).await, ["same", "b c", "same"]);
        replace("servers: { b: 'a' }");
        let wrong =
            "servers.yaml:1:15: error: server \"b\" is \"a\"; the port is missing: did you mean \"a:80\"?";
        assert_eq!(looks(&mut watched).await, [wrong, "same", "same"]);
        replace("servers: {}");
        assert_eq!(looks(&mut watched).await, ["", "same", "same"]);
        replace("");
        let empty = "servers.yaml:1:1: error: the file is empty; it needs servers";
        assert_eq!(looks(&mut watched).await, [empty, "same", "same"]);
        fs::remove_file(&path).unwrap();
        assert_eq!(looks(&mut watched).await, [missing; 3]);
    }
}
