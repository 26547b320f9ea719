//! lbd's metrics for Prometheus.
//!
//! Names follow HAProxy's exporter after the prefix `tandem_`, so that what people know is where they look for it.
//! [`families`] holds every name; `docs/metrics.md` documents them, and a test compares the two.

pub mod families;

use std::time::Duration;

use wire::{Histogram, Info, StatRow};

use super::HealthdLink;
use super::certificates::{CertificateRow, HandshakeRow};
use super::http2::Http2Row;
use super::routes::RouteRow;

/// Everything that is measured, at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// lbd itself.
    pub info: Info,
    /// Frontends, backends and servers.
    pub rows: Vec<StatRow>,
    /// The routes of frontends.
    pub routes: Vec<RouteRow>,
    /// The certificates that are presented.
    pub certificates: Vec<CertificateRow>,
    /// TLS handshakes of frontends, and with servers.
    pub handshakes: Vec<HandshakeRow>,
    /// What of frontends is done in HTTP/2.
    pub http2: Vec<Http2Row>,
    /// How long backends took to answer.
    pub latency: Vec<BackendLatency>,
    /// How lbd stands with healthd.
    pub healthd: HealthdLink,
    /// Since healthd last said anything, pings included; none before it did.
    pub verdict_age: Option<Duration>,
    /// Worker threads.
    pub workers: u64,
    /// Since the slowest worker's last tick.
    pub tick_age: Duration,
    /// Client connections.
    pub connections: u64,
    /// The lbd that finish beside this one, and their client connections.
    pub predecessors: (u64, u64),
    /// Client connections that there may be at once.
    pub maxconn: u64,
    /// Descriptors that lbd may have open.
    pub descriptors: u64,
    /// Access log lines dropped because their reader was too slow.
    pub log_dropped: u64,
    /// Requests that lbd refused, by reason.
    pub refusals: Vec<(String, u64)>,
}

/// How long a backend took, from the whole request head to the response head.
#[derive(Clone, Debug)]
pub struct BackendLatency {
    /// The backend.
    pub backend: String,
    /// Its responses by how long they took.
    pub times: Histogram,
}

#[cfg(test)]
mod tests;
