//! Networks that requests come from.

use std::fmt;
use std::net::IpAddr;

use crate::PatternError;

/// A network: `192.0.2.0/24`, `2001:db8::/32`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads a network.
    ///
    /// # Errors
    /// What it is instead.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let expected =
            || PatternError::Because("expected an address or a network such as 192.0.2.0/24".to_owned());
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let most = bits(address);
        let prefix = match prefix {
            None => most,
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= most).ok_or_else(|| {
                PatternError::Because(format!("a prefix length is a number from 0 to {most}"))
            })?,
        };
        let network = Self { address, prefix };
        let (first, _) = network.range();
        let base = Self { address: from_number(first, address.is_ipv4()), prefix };
        if base == network { Ok(network) } else { Err(PatternError::Meant(base.to_string())) }
    }

    /// Whether all addresses of its family are in it.
    pub fn is_everywhere(&self) -> bool {
        self.prefix == 0
    }

    /// Its first and last address as [`number`]s.
    pub(crate) fn range(self) -> (u128, u128) {
        let at = number(self.address);
        let hosts = u32::from(bits(self.address) - self.prefix);
        let mask = 1_u128.checked_shl(hosts).map_or(u128::MAX, |size| size - 1);
        (at & !mask, at | mask)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if self.prefix == bits(self.address) { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address as a number; an IPv4 address is what it is for an IPv6 socket.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_number(number: u128, v4: bool) -> IpAddr {
    let v6 = std::net::Ipv6Addr::from_bits(number);
    match v6.to_ipv4_mapped() {
        Some(address) if v4 => address.into(),
        _ => v6.into(),
    }
}

/// Many networks, in which an address is found by bisection.
#[derive(Clone, Debug, Default)]
pub struct Networks(Box<[(u128, u128)]>);

impl Networks {
    /// Networks, which may overlap.
    pub fn new(networks: &[Network]) -> Self {
        let mut ranges: Vec<_> = networks.iter().map(|network| network.range()).collect();
        ranges.sort_unstable();
        // Networks lie within each other or apart.
        let mut apart: Vec<(u128, u128)> = Vec::new();
        for range in ranges {
            if apart.last().is_none_or(|last| range.0 > last.1) {
                apart.push(range);
            }
        }
        Self(apart.into_boxed_slice())
    }

    /// Whether an address is in one of them. An IPv4 address is what it is for an IPv6 socket.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.contain(number(address))
    }

    pub(crate) fn contain(&self, number: u128) -> bool {
        let behind = self.0.partition_point(|range| range.0 <= number);
        behind > 0 && number <= self.0[behind - 1].1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_networks() {
        let networks: Vec<_> = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "::1"]
            .map(|text| Network::parse(text).unwrap())
            .to_vec();
        let networks = Networks::new(&networks);
        for (address, expected) in [
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:ffff::", true),
            ("2001:db9::", false),
            ("::1", true),
        ] {
            assert_eq!(networks.contain(number(address.parse().unwrap())), expected, "{address}");
        }
        let all = Networks::new(&[Network::parse("::/0").unwrap()]);
        assert!(all.contain(0) && all.contain(u128::MAX) && !Networks::default().contain(0));
    }

    #[test]
    fn networks_are_written_as_they_are_read() {
        for text in ["10.0.0.0/8", "192.0.2.1", "0.0.0.0/0", "2001:db8::/32", "::1", "::/0"] {
            assert_eq!(Network::parse(text).unwrap().to_string(), text);
        }
        let wrong = |text| Network::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("10.1.2.3/8"), "did you mean \"10.0.0.0/8\"?");
        assert_eq!(wrong("10.0.0.0/33"), "a prefix length is a number from 0 to 32");
        assert_eq!(wrong("a"), "expected an address or a network such as 192.0.2.0/24");
    }
}
