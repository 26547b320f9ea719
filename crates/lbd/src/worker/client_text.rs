//! A client's address as text, which its requests and their log lines need.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// Room for the longest IPv4 address with its port.
const LONGEST: usize = "255.255.255.255:65535".len();

/// A client's address, formatted once a connection, alone and with its port. An IPv4 address that came in through an IPv6
/// socket is one.
#[derive(Debug)]
pub(crate) struct ClientText {
    text: String,
    ip: Range<usize>,
}

impl ClientText {
    pub(crate) fn new(client: SocketAddr) -> Self {
        let IpAddr::V4(ip) = client.ip().to_canonical() else {
            let text = client.to_string();
            let end = text.find(['%', ']']).unwrap_or(text.len());
            return Self { text, ip: 1..end };
        };
        // By hand: formatting is a tenth of what a short connection costs.
        let mut text = String::with_capacity(LONGEST);
        let mut number = itoa::Buffer::new();
        for (place, octet) in ip.octets().into_iter().enumerate() {
            if place > 0 {
                text.push('.');
            }
            text.push_str(number.format(octet));
        }
        let ip = 0..text.len();
        text.push(':');
        text.push_str(number.format(client.port()));
        Self { text, ip }
    }

    /// The address alone.
    pub(crate) fn ip(&self) -> &str {
        &self.text[self.ip.clone()]
    }

    /// The port alone.
    pub(crate) fn port(&self) -> &str {
        self.text.rsplit(':').next().unwrap_or_default()
    }

    /// With its port, as it stands in the log.
    pub(crate) fn with_port(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_everywhere() {
        let cases = [
            ("192.0.2.7:5123", "192.0.2.7", "192.0.2.7:5123"),
            ("0.0.0.0:0", "0.0.0.0", "0.0.0.0:0"),
            ("255.255.255.255:65535", "255.255.255.255", "255.255.255.255:65535"),
            ("[2001:db8::1]:80", "2001:db8::1", "[2001:db8::1]:80"),
            ("[fe80::1%3]:80", "fe80::1", "[fe80::1%3]:80"),
            ("[::ffff:192.0.2.7]:80", "192.0.2.7", "192.0.2.7:80"),
        ];
        for (address, ip, with_port) in cases {
            let text = ClientText::new(address.parse().unwrap());
            assert_eq!((text.ip(), text.with_port()), (ip, with_port));
            assert!(with_port.ends_with(&format!(":{}", text.port())), "{with_port}");
        }
    }
}
