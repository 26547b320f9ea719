//! Small files of the run directory, in which a daemon keeps what the next one of its kind has to know.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// More is not read: tens of thousands of servers have less.
const LIMIT: u64 = 16 << 20;

/// What an earlier daemon has kept, if it has.
///
/// # Errors
/// When the file cannot be read, or is not what a daemon has written.
pub fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(cannot)?,
    };
    let mut text = Vec::new();
    let length = file.take(LIMIT + 1).read_to_end(&mut text).with_context(cannot)?;
    if length as u64 > LIMIT {
        bail!("{} is longer than what a daemon writes", path.display());
    }
    let kept = serde_json::from_slice(&text);
    kept.map(Some).with_context(|| format!("{} is not what a daemon wrote", path.display()))
}

/// Keeps this, and no more what was kept before.
///
/// # Errors
/// When the system refuses; then what was kept before still is.
pub fn write(path: &Path, kept: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(kept)?;
    text.push(b'\n');
    replace(path, &text)
}

/// Gives a file another content as a whole: it is written beside the file and renamed, so that a crash leaves the old content or
/// the new one.
///
/// # Errors
/// When the system refuses; then the file is as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    // Two lbd may be at work, one of which is about to take the other's place.
    new.push(format!(".{}.new", std::process::id()));
    let written = fs::write(&new, content).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Kept = BTreeMap<String, u32>;

    #[test]
    fn what_is_written_is_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("healthd.since");
        assert_eq!(read::<Kept>(&path).unwrap(), None, "none is no mistake");
        for number in [1, 2] {
            let kept: Kept = [("s1".to_owned(), number)].into();
            write(&path, &kept).unwrap();
            assert_eq!(read(&path).unwrap(), Some(kept));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing stays beside it");
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("healthd.since");
        fs::write(&path, "{\"s1\":1}").unwrap();
        fs::create_dir(dir.path().join(format!("healthd.since.{}.new", std::process::id()))).unwrap();
        assert!(write(&path, &Kept::new()).is_err());
        assert_eq!(read::<Kept>(&path).unwrap().unwrap().len(), 1);
    }

    #[test]
    fn what_somebody_else_wrote_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("healthd.since");
        let long = vec![b' '; usize::try_from(LIMIT).unwrap() + 1];
        for (text, told) in [
            (&b""[..], "not what a daemon wrote"),
            (b"{\"s1\":", "not what a daemon wrote"),
            (b"s1 up\n", "not what a daemon wrote"),
            (b"{\"s1\":-1}", "not what a daemon wrote"),
            (&long, "longer than what a daemon writes"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read::<Kept>(&path).unwrap_err().to_string();
            assert!(error.contains("healthd.since is ") && error.ends_with(told), "{error}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read::<Kept>(&path).unwrap_err().to_string().starts_with("cannot read "));
    }
}
