//! Addresses of a vrrpd that has ended and is not coming back: they are removed without its configuration, by their mark.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, bail};
use config::VirtualAddress;

use super::ledger::Ledger;
use super::plan::steps;
use super::rulebook;
use crate::net::{Link, Netlink};

/// `vrrpd --withdraw`: what was done, in words.
///
/// # Errors
/// When addresses may have stayed.
pub fn run(run_dir: &Path) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let removed = runtime.block_on(withdraw(run_dir))?;
    Ok(if removed.is_empty() {
        "no address of vrrpd's was here".to_owned()
    } else {
        format!("removed {}", removed.join(", "))
    })
}

/// For a vrrpd that cannot start, or go on: two nodes that answer for an address are worse than one.
pub async fn after_failure(run_dir: &Path) {
    match withdraw(run_dir).await {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => {
            tracing::warn!("removed what an earlier run left, as this one fails: {}", removed.join(", "));
        }
        Err(error) => {
            tracing::error!("addresses of an earlier run may have stayed: {error:#}");
        }
    }
}

/// Removes every address with our mark. Which those were.
async fn withdraw(run_dir: &Path) -> anyhow::Result<Vec<String>> {
    if UnixStream::connect(run_dir.join("vrrpd.sock")).is_ok() {
        bail!("a vrrpd runs here, and would put them back: stop it instead");
    }
    let (netlink, _) = Netlink::open()?;
    let mut ledger = Ledger::open(run_dir);
    let mut links = netlink.links().await.context("cannot list interfaces")?;
    ledger.mark(&mut links);
    let (mut removed, mut failure) = (Vec::new(), None);
    for step in steps(&links, &BTreeMap::new()) {
        let address = step.address();
        let Some(link) = links.iter().find(|link| link.index == step.index()) else { continue };
        match remove(&netlink, link, address).await {
            Ok(()) => {
                ledger.strike(&link.name, address).context("cannot forget an address")?;
                removed.push(format!("{address} from {}", link.name));
            }
            Err(error) => failure = Some(error.context(link.name.clone())),
        }
    }
    // After the addresses: on `lo` they are deaf by them.
    if rulebook::withdraw(run_dir).context("cannot remove the rules for packets")? {
        removed.push("rules for packets".to_owned());
    }
    failure.map_or(Ok(removed), Err)
}

/// Removes an address, and no other. The kernel would take along what was added to its subnet later, unless told not to; and
/// what that is may be newer than what is known.
pub(super) async fn remove(netlink: &Netlink, link: &Link, address: VirtualAddress) -> anyhow::Result<()> {
    if address.ip.is_ipv4()
        && address.prefix < 32
        && !link.promotes
        && let Err(error) = netlink.promote_secondaries(link.index).await
    {
        // On two nodes it would do more harm than others of its subnet that are missing here.
        tracing::warn!(
            interface = link.name,
            "{error:#}: other addresses of its subnet may go with {address}"
        );
    }
    netlink.remove_address(link.index, address).await
}
