//! The files by which checks are secured: they are read with the configuration, and anew whenever they change.

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, SystemTime};

use config::{Renewal, ServerFiles};
use tracing::{error, info, warn};

use crate::fleet::Fleet;

/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_secs(5);

/// Looks after the files for ever. What has changed counts from the next check on; what cannot be used is told once, and all stays
/// as it is. `file` is the `lb.yaml` that names them.
pub(crate) async fn follow(fleet: &Fleet, file: &Path) -> Infallible {
    let mut files = ServerFiles::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(config) = fleet.config() else { continue };
        let (before, beside) = (config.clone(), file.to_owned());
        // Disks may hang.
        let looked = tokio::task::spawn_blocking(move || {
            let renewal = files.look(&before, &beside, now());
            (files, renewal)
        });
        // It does not panic.
        let renewal;
        (files, renewal) = looked.await.unwrap_or_default();
        let Renewal { config: renewed, doubts, wrong } = renewal;
        for line in wrong {
            warn!("TLS to servers stays as it is: {line}");
        }
        let Some(renewed) = renewed else { continue };
        match fleet.replace(&config, renewed) {
            Ok(true) => {
                info!("TLS to servers takes what its files say now");
                doubts.into_iter().for_each(|doubt| warn!("{doubt}"));
            }
            // A reload has read them as well.
            Ok(false) => {}
            Err(error) => error!("TLS to servers stays as it is: {error}"),
        }
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
