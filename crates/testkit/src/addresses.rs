//! Loopback addresses that belong to one test alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

/// A block of 254 loopback addresses, 127.x.y.1 to 127.x.y.254, held until it is dropped.
///
/// The whole of 127.0.0.0/8 is local, so tests need not hunt for free ports, with the race that it brings: within its
/// block a test uses whatever port it likes. The claim is an abstract Unix socket named after the block. The kernel
/// gives it up with the process, and it is as wide as the addresses themselves: one network namespace.
#[derive(Debug)]
pub struct Addresses {
    second: u8,
    third: u8,
    _claim: UnixListener,
}

impl Addresses {
    const BLOCKS: u32 = 128 * 256;

    /// Claims a block that nobody holds.
    pub fn claim() -> Self {
        let start = std::process::id();
        (0..Self::BLOCKS)
            .find_map(|step| Self::try_claim(start.wrapping_add(step) % Self::BLOCKS))
            .expect("one of 32,768 blocks of loopback addresses is free")
    }

    fn try_claim(block: u32) -> Option<Self> {
        let [_, _, high, third] = block.to_be_bytes();
        let second = high + 64;
        let name = format!("tandem-testkit 127.{second}.{third}.0/24");
        let address = UnixAddr::from_abstract_name(name).expect("a short name is a valid abstract address");
        let claim = UnixListener::bind_addr(&address).ok()?;
        Some(Self { second, third, _claim: claim })
    }

    /// The address 127.x.y.`last`.
    pub fn ip(&self, last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.second, self.third, last))
    }

    /// The address 127.x.y.`last` with a port.
    pub fn socket(&self, last: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(last), port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_never_share_a_block() {
        let (one, two) = (Addresses::claim(), Addresses::claim());
        assert_ne!(one.ip(1), two.ip(1));
    }
}
