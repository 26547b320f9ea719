//! TLS listeners: what they present is read with the configuration, and anew whenever its files change.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use config::{LbConfig, Reread, Stamp};

use crate::control::app::{Shared, lock};
use crate::control::stats;
use crate::shared::routing::Terminators;
use crate::shared::tls::{Protocols, Terminator, TicketKey};

/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_secs(5);
/// How long a key of tickets seals that no file gives. For as long again it opens.
const KEY_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// The TLS listeners of a configuration.
#[derive(Debug, Default)]
pub struct TlsListeners {
    terminators: Terminators,
    own: OwnKeys,
}

/// The keys of tickets that no file gives: the first seals, each opens. None is known beyond this process.
#[derive(Debug, Default)]
struct OwnKeys {
    keys: Vec<TicketKey>,
    since: Option<Instant>,
}

impl OwnKeys {
    /// Makes up another one when it is time. Whether there is another one now.
    fn rotate(&mut self, now: Instant) -> bool {
        if self.since.is_some_and(|since| now.duration_since(since) < KEY_LIFE) {
            return false;
        }
        let mut key = [0; 32];
        if rand::fill(&mut key).is_ok() {
            self.keys.insert(0, key);
            self.keys.truncate(2);
        }
        self.since = Some(now);
        true
    }
}

impl TlsListeners {
    /// Those of a configuration, which come into force with it. Sessions of now are resumed by them.
    ///
    /// # Errors
    /// Why there can be none like that.
    pub fn prepare(&mut self, config: &LbConfig, now: Instant) -> Result<Terminators, String> {
        if self.own.keys.is_empty() {
            self.own.rotate(now);
        }
        let mut terminators = HashMap::new();
        for frontend in &config.frontends {
            for bind in &frontend.bind {
                let Some(tls) = &bind.tls else { continue };
                let terminator =
                    Terminator::new(tls.clone(), protocols(frontend), &self.own.keys).map_err(|error| {
                        format!("TLS at {} of frontend \"{}\": {error}", bind.address, frontend.name)
                    })?;
                terminators.insert(bind.address, Arc::new(terminator));
            }
        }
        Ok(Arc::new(terminators))
    }

    /// Those of the configuration in force.
    pub fn terminators(&self) -> &Terminators {
        &self.terminators
    }

    /// Takes prepared ones into force.
    pub fn adopt(&mut self, terminators: Terminators) {
        self.terminators = terminators;
    }

    /// Has tickets sealed with another key when it is time.
    pub fn rotate(&mut self, now: Instant) {
        if self.own.rotate(now) {
            for (address, terminator) in self.terminators.iter() {
                if let Err(error) = terminator.rekey(&self.own.keys) {
                    tracing::error!(%address, %error, "the key of sessions' tickets stays as it is");
                }
            }
        }
    }
}

/// What clients of a frontend may speak inside of TLS.
fn protocols(frontend: &config::Frontend) -> Protocols {
    match (frontend.mode, frontend.http2) {
        (config::Mode::Http, true) => &[b"h2", b"http/1.1"],
        (config::Mode::Http, false) => &[b"http/1.1"],
        (config::Mode::Tcp, _) => &[],
    }
}

/// What is known of the files of a listener.
struct Known {
    terminator: Arc<Terminator>,
    stamp: Stamp,
    /// What was last wrong with them.
    wrong: Vec<String>,
}

/// Looks after the files of all listeners for ever. What has changed is presented to whoever comes from then on; where it cannot be
/// used, that is told once, and all stays as it is.
pub async fn follow_files(state: Shared, config: PathBuf) {
    let mut known: HashMap<SocketAddr, Known> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let terminators = lock(&state).renewable(Instant::now());
        let config = config.clone();
        // Disks may hang.
        let looked = tokio::task::spawn_blocking(move || {
            let mut known = known;
            known.retain(|address, _| terminators.contains_key(address));
            for (address, terminator) in terminators.iter() {
                let before = known.remove(address).filter(|one| Arc::ptr_eq(&one.terminator, terminator));
                known.insert(*address, look_at(*address, terminator, before, &config));
            }
            known
        });
        // It does not panic.
        known = looked.await.unwrap_or_default();
    }
}

fn look_at(address: SocketAddr, terminator: &Arc<Terminator>, before: Option<Known>, config: &Path) -> Known {
    let tls = terminator.tls();
    // Before they are read: what changes meanwhile is seen the next time.
    let stamp = tls.stamp(config);
    let now = stats::now();
    let mut wrong = match before {
        Some(known) if known.stamp == stamp && !tls.store.is_due(now) => return known,
        Some(known) => known.wrong,
        None => Vec::new(),
    };
    let reread = tls.reread(config, now);
    let renewed = reread.and_then(|reread| match reread.tls == *tls {
        true => Ok(()),
        false => renew(address, terminator, reread).map_err(|error| vec![error.to_string()]),
    });
    if renewed.is_err() && tls.store.is_due(now) {
        // What cannot be read anew must not be presented for longer than it counts.
        if let Err(error) = terminator.renew(Arc::new(tls.without_staples())) {
            tracing::error!(%address, %error, "staples are presented that have ended");
        }
    }
    match renewed {
        Ok(()) => wrong.clear(),
        Err(now) if now == wrong => {}
        Err(now) => {
            for line in &now {
                tracing::warn!(%address, "TLS stays as it is: {line}");
            }
            wrong = now;
        }
    }
    Known { terminator: terminator.clone(), stamp, wrong }
}

fn renew(address: SocketAddr, terminator: &Terminator, reread: Reread) -> Result<(), rustls::Error> {
    let Reread { tls, doubts } = reread;
    let certificates = tls.store.certificates().len();
    terminator.renew(Arc::new(tls))?;
    tracing::info!(%address, certificates, "TLS presents what its files say now");
    for doubt in doubts {
        tracing::warn!(%address, "{doubt}");
    }
    Ok(())
}
