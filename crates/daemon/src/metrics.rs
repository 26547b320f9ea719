//! Metrics for Prometheus.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::{Encoder, Gauge, Opts, Registry, TextEncoder};

use crate::families::Family;

/// The type of the text that [`Exposition`] makes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Scrapes that begin within this time of another, which still goes on, tell what that one has seen.
const SHARED: Duration = Duration::from_secs(1);

/// What a daemon tells Prometheus.
#[derive(Clone)]
pub struct Exposition {
    /// What is counted as it happens.
    counted: Registry,
    /// Begins a scrape.
    scrape: Arc<dyn Fn() -> Pieces + Send + Sync>,
}

/// The text of a scrape, piece by piece.
pub type Pieces = Box<dyn Iterator<Item = String> + Send>;

impl Exposition {
    /// What `counted` holds, and then `families`, whose values are in what `look` returns.
    pub fn new<S: Send + Sync + 'static>(
        counted: Registry,
        families: &'static [Family<S>],
        look: impl Fn() -> S + Send + Sync + 'static,
    ) -> Self {
        let latest = Mutex::new((Weak::new(), Instant::now()));
        let scrape = move || {
            let seen = recent(&latest, &look);
            Box::new(families.iter().map(move |family| family.write(&seen))) as Pieces
        };
        Self { counted, scrape: Arc::new(scrape) }
    }

    /// The text of a scrape that begins now, piece by piece.
    pub fn pieces(&self) -> Pieces {
        let pieces = std::iter::once(encode(&self.counted)).chain((self.scrape)());
        Box::new(pieces.filter(|piece| !piece.is_empty()))
    }
}

/// What was seen a moment ago, as long as somebody holds it, or what is seen now: so scrapes at once cost the memory of one.
fn recent<S>(latest: &Mutex<(Weak<S>, Instant)>, look: impl Fn() -> S) -> Arc<S> {
    let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(seen) = latest.0.upgrade().filter(|_| latest.1.elapsed() < SHARED) {
        return seen;
    }
    let seen = Arc::new(look());
    *latest = (Arc::downgrade(&seen), Instant::now());
    seen
}

/// A registry that holds what every daemon tells of itself.
///
/// # Errors
/// Never for names and labels that follow Prometheus's rules, as these do.
pub fn registry(daemon: &str) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let info = Opts::new("tandem_build_info", "The daemon and its version; always 1.")
        .const_label("daemon", daemon)
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let info = Gauge::with_opts(info)?;
    info.set(1.0);
    let started = Gauge::with_opts(
        Opts::new("tandem_start_time_seconds", "When the daemon started, in seconds since 1970.")
            .const_label("daemon", daemon),
    )?;
    started.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    registry.register(Box::new(info))?;
    registry.register(Box::new(started))?;
    Ok(registry)
}

/// Everything that a registry holds, as text.
pub fn encode(registry: &Registry) -> String {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut text) {
        tracing::error!(%error, "cannot encode metrics");
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Labels that Prometheus gives every target. It would rename ours to `exported_...`.
const RESERVED: [&str; 2] = ["instance=\"", "job=\""];

/// The names in a text that break the rules every Tandem metric follows: the prefix, a help text that is a sentence, and no
/// label of Prometheus's own.
pub fn misnamed(text: &str) -> Vec<String> {
    let families = text.split("# HELP ").skip(1);
    let bad = families.filter_map(|family| {
        let (help, samples) = family.split_once('\n')?;
        let (name, help) = help.split_once(' ')?;
        let has_reserved = RESERVED
            .iter()
            .any(|label| samples.contains(&format!("{{{label}")) || samples.contains(&format!(",{label}")));
        let good = name.starts_with("tandem_") && help.len() > 10 && help.ends_with('.') && !has_reserved;
        (!good).then(|| name.to_owned())
    });
    bad.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::{gauge, number, one};

    #[test]
    fn every_daemon_tells_its_version() {
        let registry = registry("lbd").unwrap();
        let text = encode(&registry);
        assert!(text.contains("tandem_build_info{daemon=\"lbd\",version=\""));
        assert_eq!(misnamed(&text), Vec::<String>::new());
    }

    #[test]
    fn scrapes_at_once_share_what_they_see() {
        const LOOKS: &[Family<u64>] = &[gauge("tandem_looks", "How often.", &[], |n| one(number(*n)))];
        let looks = Arc::new(Mutex::new(0));
        let look = move || {
            let mut looks = looks.lock().unwrap();
            *looks += 1;
            *looks
        };
        let exposition = Exposition::new(Registry::new(), LOOKS, look);
        let (first, second) = (exposition.pieces(), exposition.pieces());
        assert_eq!(first.collect::<String>(), second.collect::<String>());
        assert!(exposition.pieces().collect::<String>().contains("tandem_looks 2\n"), "they have ended");
    }
}
