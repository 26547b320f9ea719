//! An interface: good while it is up and has carrier.

use std::convert::Infallible;
use std::time::Duration;

use super::{Reporter, TrackerId};
use crate::net::{Link, Netlink};

/// When to try again to ask the kernel.
const RETRY: Duration = Duration::from_secs(1);

/// Watches an interface for ever.
pub(super) async fn watch(id: TrackerId, name: String, mut reporter: Reporter) {
    loop {
        let error = match follow(&id, &name, &mut reporter).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        reporter.report(&id, false, format!("cannot look at interfaces: {error:#}")).await;
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(id: &TrackerId, name: &str, reporter: &mut Reporter) -> anyhow::Result<Infallible> {
    let (netlink, mut changes) = Netlink::open()?;
    loop {
        let (good, text) = judge(name, &netlink.links().await?);
        reporter.report(id, good, text).await;
        changes.next().await;
    }
}

fn judge(name: &str, links: &[Link]) -> (bool, String) {
    match links.iter().find(|link| link.name == name) {
        None => (false, format!("there is no interface {name}")),
        Some(link) if link.running => (true, format!("{name} is up")),
        Some(_) => (false, format!("{name} is down, or has no carrier")),
    }
}
