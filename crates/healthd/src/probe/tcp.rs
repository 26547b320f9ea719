//! The TCP check: whether the server accepts a connection, which is closed at once.

use std::net::SocketAddr;

use health::CheckCode;
use tokio::time::Instant;

use super::{Finding, Limits};

pub(super) async fn probe(address: SocketAddr, limits: Limits, started: Instant) -> Finding {
    match super::connect(address, &[], limits, started).await {
        Ok(_) => Finding::new(CheckCode::L4Ok, "connected"),
        Err(finding) => finding,
    }
}
