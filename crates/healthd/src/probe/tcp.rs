//! The TCP check: whether the server accepts a connection, which is closed at once.

use std::net::SocketAddr;

use health::CheckCode;
use tokio::net::TcpStream;

use super::{Finding, Limits};

pub(super) async fn probe(address: SocketAddr, limits: Limits) -> Finding {
    match tokio::time::timeout(limits.connect, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Finding::new(CheckCode::L4Ok, "connected"),
        Ok(Err(error)) => Finding::not_connected(&error, limits),
        Err(_) => Finding::connect_timeout(limits),
    }
}
