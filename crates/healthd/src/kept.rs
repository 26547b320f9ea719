//! Since when servers are as they are, for the next healthd: one that follows soon goes on from there.
//!
//! Every second what is new goes into a file of the run directory, on a thread that may wait for the disk. Nothing waits until it
//! is written, and nothing is decided by it.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemon::kept_file;
use health::{Moment, Status};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::fleet::Fleet;
use crate::record::{ServerKey, millis};

/// The file.
const FILE: &str = "healthd.since";
/// Between two looks whether there is something new.
const PAUSE: Duration = Duration::from_secs(1);
/// So often it is written in any case, so that the next healthd knows how long nobody has looked.
const REFRESH: Duration = Duration::from_secs(10);
/// What was so when nobody looked for so long says nothing of the present.
const GAP_MAX: Duration = Duration::from_secs(60);
/// Servers as they were, and for how long.
pub type Kept = HashMap<ServerKey, (Status, Duration)>;

/// Servers as they are, and since when.
pub type Standing = Vec<(ServerKey, Status, Moment)>;

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    /// When it was written, by the wall clock.
    unix_ms: u64,
    /// By backend and server.
    servers: BTreeMap<String, BTreeMap<String, Held>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    status: Status,
    for_ms: u64,
}

/// What an earlier healthd has left a moment ago. A file that cannot be understood tells of nothing, and the log of it.
pub fn load(dir: &Path) -> Kept {
    read(&dir.join(FILE), unix()).unwrap_or_else(|error| {
        tracing::warn!("since when servers have been up or down is not known: {error:#}");
        Kept::default()
    })
}

fn read(path: &Path, now: Duration) -> anyhow::Result<Kept> {
    let Some(Text { unix_ms, servers }) = kept_file::read(path)? else { return Ok(Kept::default()) };
    // A clock that was set back tells as little as a file that is old.
    let Some(gap) = now.checked_sub(Duration::from_millis(unix_ms)).filter(|gap| *gap <= GAP_MAX) else {
        return Ok(Kept::default());
    };
    let mut kept = Kept::default();
    for (backend, servers) in servers {
        for (server, Held { status, for_ms }) in servers {
            let key = (backend.as_str().into(), server.into());
            kept.insert(key, (status, gap.saturating_add(Duration::from_millis(for_ms))));
        }
    }
    Ok(kept)
}

/// Keeps how servers stand in the file, for ever.
pub async fn keep(dir: PathBuf, fleet: &Fleet) -> Infallible {
    let path = dir.join(FILE);
    let (mut written, mut at, mut fails) = (Standing::new(), None, false);
    loop {
        sleep(PAUSE).await;
        let (standing, now) = fleet.standing();
        if standing == written && at.is_some_and(|at: Instant| at.elapsed() < REFRESH) {
            continue;
        }
        let text = text(&standing, now, unix());
        let path = path.clone();
        let writing = tokio::task::spawn_blocking(move || kept_file::write(&path, &text));
        match writing.await.unwrap_or_else(|died| Err(io::Error::other(died))) {
            Ok(()) => (written, at, fails) = (standing, Some(Instant::now()), false),
            Err(error) => {
                if !std::mem::replace(&mut fails, true) {
                    tracing::error!(%error, "cannot keep since when servers are up or down; trying again");
                }
            }
        }
    }
}

fn text(standing: &Standing, now: Moment, unix: Duration) -> Text {
    let mut servers: BTreeMap<String, BTreeMap<String, Held>> = BTreeMap::new();
    for ((backend, server), status, since) in standing {
        let held = Held { status: *status, for_ms: millis(now.saturating_sub(*since)) };
        servers.entry(backend.to_string()).or_default().insert(server.to_string(), held);
    }
    Text { unix_ms: millis(unix), servers }
}

/// The wall clock.
fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const WRITTEN: Duration = Duration::from_secs(1_800_000_000);

    fn key(server: &str) -> ServerKey {
        ("app".into(), server.into())
    }

    /// A file in which a server is up for 30 s, and another one down for 10 s.
    fn some() -> Text {
        let at = Duration::from_secs;
        let standing = vec![(key("s1"), Status::Up, at(10)), (key("s2"), Status::Down, at(30))];
        text(&standing, at(40), WRITTEN)
    }

    #[test]
    fn what_is_written_is_what_the_next_run_reads_unless_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let after = |seconds| WRITTEN + Duration::from_secs(seconds);
        assert_eq!(read(&path, after(0)).unwrap(), Kept::default(), "none is no mistake");
        kept_file::write(&path, &some()).unwrap();
        let held = |status, seconds| (status, Duration::from_secs(seconds));
        let kept = [(key("s1"), held(Status::Up, 35)), (key("s2"), held(Status::Down, 15))];
        assert_eq!(read(&path, after(5)).unwrap(), kept.into());
        assert_eq!(read(&path, after(61)).unwrap(), Kept::default());
        assert_eq!(read(&path, Duration::ZERO).unwrap(), Kept::default(), "the clock was set back");
    }

    #[test]
    fn a_file_of_somebody_else_tells_of_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, "s1 up\n").unwrap();
        assert_eq!(load(dir.path()), Kept::default());
        for text in ["{\"unix_ms\":-1,\"servers\":{}}", "{\"unix_ms\":1,\"servers\":1}", "{\"servers\":{}}"] {
            fs::write(&path, text).unwrap();
            read(&path, WRITTEN).unwrap_err();
        }
    }
}
