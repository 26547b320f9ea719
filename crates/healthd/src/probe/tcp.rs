//! The TCP check: whether the server accepts a connection, which is closed at once.

use std::net::SocketAddr;

use health::CheckCode;

use super::{Finding, Limits};

pub(super) async fn probe(address: SocketAddr, limits: Limits) -> Finding {
    match super::connect(address, &[], limits).await {
        Ok(_) => Finding::new(CheckCode::L4Ok, "connected"),
        Err(finding) => finding,
    }
}
