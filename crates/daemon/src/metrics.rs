//! Metrics for Prometheus.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricFamily};
use prometheus::{Encoder, Gauge, Opts, Registry, TextEncoder};

/// The type of the text that [`encode`] makes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

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
const RESERVED: [&str; 2] = ["instance", "job"];

/// The names that break the rules every Tandem metric follows: the prefix, a help text that is a sentence, and no label of
/// Prometheus's own.
pub fn misnamed(families: &[MetricFamily]) -> Vec<String> {
    let labels = |family: &MetricFamily| -> Vec<String> {
        family.get_metric().iter().flat_map(Metric::get_label).map(|label| label.name().to_owned()).collect()
    };
    let good = |family: &&MetricFamily| {
        family.name().starts_with("tandem_")
            && family.help().len() > 10
            && family.help().ends_with('.')
            && labels(family).iter().all(|label| !RESERVED.contains(&label.as_str()))
    };
    families.iter().filter(|family| !good(family)).map(|family| family.name().to_owned()).collect()
}

/// Registers a collector, and logs if that fails: a daemon without one of its metrics is better than none.
pub fn register(registry: &Registry, collector: impl Collector + 'static) {
    if let Err(error) = registry.register(Box::new(collector)) {
        tracing::error!(%error, "cannot register metrics");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_daemon_tells_its_version() {
        let registry = registry("lbd").unwrap();
        assert!(encode(&registry).contains("tandem_build_info{daemon=\"lbd\",version=\""));
        assert_eq!(misnamed(&registry.gather()), Vec::<String>::new());
    }
}
