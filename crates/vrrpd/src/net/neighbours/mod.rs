//! Who has which address: announcements, questions, and foreign claims, over ARP and IPv6 neighbour discovery.

mod arp;
mod discovery;
mod filter;

use std::io;
use std::net::IpAddr;

use arp::Arp;
use discovery::Discovery;

use super::Link;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The sockets of one interface for ARP and for neighbour discovery.
#[derive(Debug)]
pub struct Neighbours {
    arp: Arp,
    /// None where the kernel has no IPv6.
    discovery: Option<Discovery>,
}

/// Somebody else says that an address is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub ip: IpAddr,
    /// Who claims it: never this interface's own hardware address.
    pub mac: Mac,
}

impl Neighbours {
    /// Opens the sockets, within a runtime. Claims are heard only of the addresses of [`Neighbours::watch`].
    ///
    /// # Errors
    /// When the system refuses, or the interface has no Ethernet address: CAP_NET_RAW is needed.
    pub fn open(link: &Link) -> io::Result<Self> {
        let Some(mac) = link.mac else {
            let message =
                format!("{} has no hardware address, so that nobody can be told of addresses", link.name);
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        };
        let arp = Arp::open(link.index, mac)?;
        let discovery = match Discovery::open(link.index, &link.name, mac) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => None,
            opened => Some(opened?),
        };
        Ok(Self { arp, discovery })
    }

    /// From now on claims of these addresses are heard. The kernel drops all others.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch(&self, addresses: &[IpAddr]) -> io::Result<()> {
        self.arp.watch(addresses)?;
        self.discovery.as_ref().map_or(Ok(()), |discovery| discovery.watch(addresses))
    }

    /// Tells the network that an address is here: an ARP request to all with sender and target alike, or an unsolicited
    /// neighbour advertisement that overrides what is known.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn announce(&self, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => self.arp.announce(address),
            IpAddr::V6(address) => self.discovery()?.announce(address),
        }
    }

    /// Asks who has an address, without claiming it: an ARP probe, or a neighbour solicitation.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn probe(&self, address: IpAddr) -> io::Result<()> {
        match address {
            // RFC 5227 section 2.1.1: a sender of 0.0.0.0 changes nobody's table.
            IpAddr::V4(address) => self.arp.ask(address, std::net::Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(address) => self.discovery()?.ask(address),
        }
    }

    /// Asks who has an address, from an address of ours, so that anybody answers.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn ask(&self, address: IpAddr, from: IpAddr) -> io::Result<()> {
        match (address, from) {
            (IpAddr::V4(address), IpAddr::V4(from)) => self.arp.ask(address, from),
            (IpAddr::V6(address), _) => self.discovery()?.ask(address),
            (IpAddr::V4(address), IpAddr::V6(_)) => self.arp.ask(address, std::net::Ipv4Addr::UNSPECIFIED),
        }
    }

    /// The next claim of a watched address by somebody else. Cancel safe.
    ///
    /// # Errors
    /// When the interface is gone.
    pub async fn claim(&self) -> io::Result<Claim> {
        match &self.discovery {
            Some(discovery) => tokio::select! {
                claim = self.arp.claim() => claim,
                claim = discovery.claim() => claim,
            },
            None => self.arp.claim().await,
        }
    }

    fn discovery(&self) -> io::Result<&Discovery> {
        self.discovery.as_ref().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}
