//! The files of TLS to servers: they are read with the configuration, and anew whenever they change.

use std::path::PathBuf;
use std::time::Duration;

use config::{Renewal, ServerFiles};
use tokio::sync::{mpsc, oneshot};

use crate::control::app::reload::Adoption;
use crate::control::app::{Shared, lock};
use crate::control::stats;

/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_secs(5);

/// Looks after the files for ever. What has changed comes into force as by a reload, and nothing else does: connections that were
/// made by what the files said before are not used again. What cannot be used is told once, and all stays as it is.
pub async fn follow(state: Shared, file: PathBuf, adopt: mpsc::Sender<Adoption>) {
    let mut files = ServerFiles::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let config = lock(&state).declared().clone();
        let (before, beside) = (config.clone(), file.clone());
        // Disks may hang.
        let looked = tokio::task::spawn_blocking(move || {
            let renewal = files.look(&before, &beside, stats::now());
            (files, renewal)
        });
        // It does not panic.
        let renewal;
        (files, renewal) = looked.await.unwrap_or_default();
        let Renewal { config: renewed, doubts, wrong } = renewal;
        for line in wrong {
            tracing::warn!("TLS to servers stays as it is: {line}");
        }
        let Some(renewed) = renewed else { continue };
        let (done, adopted) = oneshot::channel();
        let adoption = Adoption { config: Box::new(renewed), instead_of: Some(config), done };
        if adopt.send(adoption).await.is_err() {
            // lbd stops.
            return;
        }
        // Otherwise a reload has read them as well, or lbd stops.
        if let Ok(Ok(closing)) = adopted.await {
            closing.closed().await;
            tracing::info!("TLS to servers takes what its files say now");
            for doubt in doubts {
                tracing::warn!("{doubt}");
            }
        }
    }
}
