//! What the next vrrpd has to know of signed adverts: the last sequence that was sent, so that others believe it although the
//! clock was set back, and what was accepted of whom, so that it believes no recording.
//!
//! The election writes it into its record. Every second what is new goes into a file of the run directory, on a thread that
//! may wait for the disk. Nothing waits until it is written: the file is for a vrrpd that follows soon, and does not have to
//! outlive the system.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::Instance;
use daemon::kept_file;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use vrrp::Authentication;
use vrrp::packet::{Sequence, Sequencer};
use wire::human;

use crate::board::Board;

/// The file.
const FILE: &str = "vrrpd.sequences";
/// Between two times that it is written.
const PAUSE: Duration = Duration::from_secs(1);
/// What may have been sent since it was written: the pause, and as much for a thread that is late.
const MARGIN: Duration = Duration::from_secs(2);

/// Of each instance, what is to be known.
pub type Kept = BTreeMap<String, Sequences>;

/// What is known of the signed adverts of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequences {
    /// The last that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sequence>,
    /// The latest that was accepted of each sender, the sender heard latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<(IpAddr, Sequence)>,
}

/// What an earlier vrrpd has left. A file that cannot be understood tells of nothing, and the log of it.
pub fn load(run_dir: &Path) -> Kept {
    kept_file::read(&run_dir.join(FILE)).map(Option::unwrap_or_default).unwrap_or_else(|error| {
        tracing::warn!(
            "what was sent and accepted before is not known: {error:#}; after a clock that was set back others may take this \
             node's adverts for recordings"
        );
        Kept::default()
    })
}

/// The sequences of an instance from now on, `unix` being the wall clock.
pub fn resume(config: &Instance, known: &Sequences, unix: Duration) -> Sequencer {
    let Some(sent) = known.sent else { return Sequencer::default() };
    let behind = sent.milliseconds_ahead_of(Sequence::at(unix));
    if behind >= 0
        && let Authentication::Hmac { window, mode, .. } = &config.authentication
        && mode.signs()
    {
        let what = match window {
            Some(window) if u128::from(behind.unsigned_abs()) > window.as_millis() => {
                "that is beyond `window`, so they follow the clock, and count only while this node answers for an address"
            }
            _ => "they go on from there, as others remember it",
        };
        tracing::warn!(
            instance = config.name,
            "the clock is {} behind the last adverts that this node has signed: it was set back, or was ahead then; {what}",
            human::duration(behind.unsigned_abs())
        );
    }
    Sequencer::resume(sent, MARGIN, unix)
}

/// Keeps what is on the board in the file, which holds `kept` now.
pub async fn keep(run_dir: PathBuf, board: Arc<Board>, mut kept: Kept) {
    let (path, mut fails) = (run_dir.join(FILE), false);
    loop {
        sleep(PAUSE).await;
        let known = board.sequences();
        if known == kept {
            continue;
        }
        let (path, written) = (path.clone(), known.clone());
        let writing = tokio::task::spawn_blocking(move || kept_file::write(&path, &written));
        match writing.await.unwrap_or_else(|died| Err(io::Error::other(died))) {
            Ok(()) => (kept, fails) = (known, false),
            Err(error) => {
                if !std::mem::replace(&mut fails, true) {
                    tracing::error!(%error, "cannot keep what was sent and accepted for the next vrrpd; trying again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn some() -> Kept {
        let sequence = |seconds| Sequence::at(Duration::from_secs(seconds));
        let accepted =
            vec![("10.9.0.2".parse().unwrap(), sequence(7)), ("fe80::1".parse().unwrap(), sequence(5))];
        [("web".to_owned(), Sequences { sent: Some(sequence(1_800_000_000)), accepted })].into()
    }

    #[test]
    fn what_is_written_is_what_the_next_run_reads() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), Kept::default(), "none is no mistake");
        kept_file::write(&dir.path().join(FILE), &some()).unwrap();
        assert_eq!(load(dir.path()), some());
    }

    #[test]
    fn a_file_of_somebody_else_tells_of_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for text in ["eth0 10.9.0.100/24\n", "{\"web\":{\"sent\":-1}}", "{\"web\":{\"seen\":1}}"] {
            fs::write(&path, text).unwrap();
            kept_file::read::<Kept>(&path).unwrap_err();
            assert_eq!(load(dir.path()), Kept::default());
        }
    }
}
