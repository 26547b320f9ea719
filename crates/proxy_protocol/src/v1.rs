//! Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 50000 443`, and the end of the line.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::{Addresses, Decoded, Fault, Header, Ips};

/// What every line begins with.
pub(crate) const START: &[u8] = b"PROXY ";
/// The longest line, with its end.
const MAX: usize = 107;

/// Reads a line that begins as it has to.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Decoded>, Fault> {
    let within = &bytes[..bytes.len().min(MAX)];
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if within.len() < MAX { Ok(None) } else { Err(Fault::TooLong) };
    };
    match within[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if within.len() < MAX => return Ok(None),
        [b'\r'] => return Err(Fault::TooLong),
        _ => return Err(Fault::Line),
    }
    let line = std::str::from_utf8(&within[START.len()..end]).map_err(|_| Fault::Line)?;
    let header = header(line).ok_or(Fault::Line)?;
    Ok(Some(Decoded { header, len: end + 2 }))
}

fn header(line: &str) -> Option<Header> {
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        // Whatever follows says nothing.
        "UNKNOWN" => Some(Header::Local),
        "TCP4" => proxied::<Ipv4Addr>(rest),
        "TCP6" => proxied::<Ipv6Addr>(rest),
        _ => None,
    }
}

fn proxied<A: FromStr + Into<IpAddr>>(text: &str) -> Option<Header> {
    let mut words = text.split(' ');
    let mut ip = || words.next()?.parse::<A>().ok().map(Into::into);
    let (source, destination) = (ip()?, ip()?);
    let mut port = || words.next().and_then(port);
    let (source, destination) = (SocketAddr::new(source, port()?), SocketAddr::new(destination, port()?));
    words.next().is_none().then_some(Header::Proxied { source, destination })
}

/// A number without sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

pub(crate) fn encode(addresses: Option<Addresses>, to: &mut Vec<u8>) {
    // Memory takes whatever is written to it.
    let _ = match addresses {
        None => Text(to).write_str("PROXY UNKNOWN\r\n"),
        Some(Addresses { ips, ports: [from, at] }) => match ips {
            Ips::V4([source, destination]) => {
                write!(Text(to), "PROXY TCP4 {source} {destination} {from} {at}\r\n")
            }
            Ips::V6([source, destination]) => {
                write!(Text(to), "PROXY TCP6 {source} {destination} {from} {at}\r\n")
            }
        },
    };
}

struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
