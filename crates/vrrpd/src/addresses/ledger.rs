//! Which addresses are vrrpd's where the kernel keeps no mark, as Linux before 5.18: a file of the run directory knows.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use config::VirtualAddress;
use daemon::kept_file;

use crate::net::Link;

/// The file. Each line has an interface and an address.
const FILE: &str = "vrrpd.addresses";

#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    lines: BTreeSet<(String, VirtualAddress)>,
    /// The kernel was seen to keep no mark.
    needed: bool,
}

impl Ledger {
    /// What an earlier run has written. A file that cannot be read tells of nothing.
    pub(crate) fn open(run_dir: &Path) -> Self {
        let path = run_dir.join(FILE);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: BTreeSet<_> = text.lines().filter_map(entry).collect();
        Self { path, needed: !lines.is_empty(), lines }
    }

    pub(super) const fn is_needed(&self) -> bool {
        self.needed
    }

    /// Marks what the kernel does not.
    pub(super) fn mark(&self, links: &mut [Link]) {
        for link in links {
            for own in &mut link.addresses {
                let address = VirtualAddress { ip: own.ip, prefix: own.prefix };
                own.ours |= self.lines.contains(&(link.name.clone(), address));
            }
        }
    }

    /// An address is vrrpd's from now on.
    pub(super) fn note(&mut self, interface: &str, address: VirtualAddress) -> io::Result<()> {
        self.needed = true;
        if self.lines.insert((interface.to_owned(), address)) { self.write() } else { Ok(()) }
    }

    /// An address is gone.
    pub(super) fn strike(&mut self, interface: &str, address: VirtualAddress) -> io::Result<()> {
        if self.lines.remove(&(interface.to_owned(), address)) { self.write() } else { Ok(()) }
    }

    fn write(&self) -> io::Result<()> {
        if self.lines.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
        }
        let text: String = self.lines.iter().map(|(name, address)| format!("{name} {address}\n")).collect();
        kept_file::replace(&self.path, text.as_bytes())
    }
}

fn entry(line: &str) -> Option<(String, VirtualAddress)> {
    let (name, address) = line.split_once(' ')?;
    let (ip, prefix) = address.split_once('/')?;
    Some((name.to_owned(), VirtualAddress { ip: ip.parse().ok()?, prefix: prefix.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::LinkAddress;

    #[test]
    fn what_is_noted_is_ours_for_the_next_run_too() {
        let dir = tempfile::tempdir().unwrap();
        let address = |text: &str| VirtualAddress { ip: text.parse().unwrap(), prefix: 24 };
        let mut ledger = Ledger::open(dir.path());
        assert!(!ledger.is_needed());
        ledger.note("eth0", address("10.9.0.100")).unwrap();
        ledger.note("eth0", address("10.9.0.101")).unwrap();
        ledger.strike("eth0", address("10.9.0.101")).unwrap();

        let mut next = Ledger::open(dir.path());
        assert!(next.is_needed());
        let own =
            |text: &str| LinkAddress { ip: text.parse().unwrap(), prefix: 24, ours: false, usable: true };
        let addresses = vec![own("10.9.0.100"), own("10.9.0.101")];
        let link = |name: &str| Link {
            index: 2,
            name: name.to_owned(),
            running: true,
            mac: None,
            carrier_ups: 1,
            promotes: false,
            addresses: addresses.clone(),
        };
        let mut links = [link("eth0"), link("eth1")];
        next.mark(&mut links);
        let ours = links.iter().flat_map(|link| &link.addresses).map(|own| own.ours);
        assert_eq!(ours.collect::<Vec<_>>(), [true, false, false, false]);
        next.strike("eth0", address("10.9.0.100")).unwrap();
        assert!(!dir.path().join(FILE).exists());
    }
}
