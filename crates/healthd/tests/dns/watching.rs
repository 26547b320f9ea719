//! Names as their users see them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::Resolvers;
use healthd::resolve::{Group, NameWatch, Resolved, SystemFiles};
use prometheus::{IntCounterVec, Opts};
use tempfile::TempDir;
use testkit::PATIENCE;

/// Names are asked for often, at these servers.
pub(crate) fn config(nameservers: &[SocketAddr]) -> Resolvers {
    Resolvers {
        nameservers: nameservers.to_vec(),
        timeout: Duration::from_millis(500),
        min_ttl: Duration::from_millis(100),
        max_ttl: Duration::from_millis(500),
        hold: Duration::from_secs(30),
    }
}

pub(crate) fn files(dir: &TempDir) -> SystemFiles {
    SystemFiles { resolv_conf: dir.path().join("resolv.conf"), hosts: dir.path().join("hosts") }
}

pub(crate) fn counter() -> IntCounterVec {
    IntCounterVec::new(Opts::new("queries", "Questions by outcome"), &["outcome"]).unwrap()
}

pub(crate) fn group() -> Group {
    Group { backend: "app".into(), port: 80 }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Waits until the name means what the condition says.
pub(crate) async fn until(
    watch: &mut NameWatch,
    what: &str,
    condition: impl Fn(&Resolved) -> bool,
) -> Resolved {
    let mut seen = watch.resolved();
    let wait = async {
        while !condition(&seen) {
            seen = watch.other_than(&seen).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(()) => seen,
        Err(_) => panic!("waited in vain: {what}; {:?}", watch.resolved()),
    }
}

pub(crate) async fn until_address(watch: &mut NameWatch, address: &str) -> Resolved {
    until(watch, address, |resolved| resolved.address == Some(ip(address)) && resolved.error.is_none()).await
}

/// Waits until the name does not resolve, and says why.
pub(crate) async fn until_error(watch: &mut NameWatch) -> String {
    let resolved = until(watch, "an error", |resolved| resolved.error.is_some()).await;
    resolved.error.unwrap().to_string()
}
