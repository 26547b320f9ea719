//! A `vrrp.yaml` on this machine: whether its commands may be run here, and for `vrrpd --check`, whether it is for this node.

use std::net::IpAddr;
use std::path::Path;

use config::{Checked, Diagnostic, Invalid, Loaded, VirtualAddress, VrrpConfig};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use crate::net::rules::{self, Lack};
use crate::trust;

/// Reads a `vrrp.yaml` whose commands are to be run here.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded<VrrpConfig>, Invalid> {
    let mut loaded = config::load_vrrp(path)?;
    let checked = Checked::load(path)?;
    let judge = |program: &Path| trust::judge(program).map_err(|distrust| (distrust.why, distrust.help));
    let refused = checked.refused_programs(judge);
    loaded.warnings = checked.warnings;
    if refused.is_empty() { Ok(loaded) } else { Err(Invalid { diagnostics: refused }) }
}

/// Checks a `vrrp.yaml`; its warnings, and those that only the node itself can know of.
///
/// # Errors
/// All that is wrong with it.
pub fn check(path: &Path) -> Result<Vec<Diagnostic>, Invalid> {
    let mut warnings = load(path)?.warnings;
    let Ok(checked) = Checked::load(path) else { return Ok(warnings) };
    // Without the interfaces nothing is known of them.
    if let Ok(interfaces) = getifaddrs() {
        let interfaces: Vec<InterfaceAddress> = interfaces.collect();
        let links = interfaces.iter().filter(|one| !one.flags.contains(InterfaceFlags::IFF_LOOPBACK));
        warnings.extend(checked.off_link(&links.filter_map(own).collect::<Vec<_>>()));
        let names = interfaces.iter().map(|one| one.interface_name.clone()).collect();
        warnings.extend(checked.absent_interfaces(&names));
    }
    if checked.keeps_connections() {
        match rules::probe() {
            // Who may not set rules does not learn whether vrrpd could.
            Ok(()) | Err(Lack::Right) => {}
            Err(lack) => warnings.extend(checked.unable_to_keep(&lack)),
        }
    }
    Ok(warnings)
}

/// An interface's address and the length of its prefix.
fn own(interface: &InterfaceAddress) -> Option<VirtualAddress> {
    let (ip, mask) = (ip(interface.address.as_ref()?)?, ip(interface.netmask.as_ref()?)?);
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    };
    Some(VirtualAddress { ip, prefix: u8::try_from(ones).ok()? })
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}
