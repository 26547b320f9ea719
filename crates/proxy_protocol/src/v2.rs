//! Version 2: a signature, what follows and how long it is, addresses, and values of which only a checksum matters here.

use std::net::{IpAddr, SocketAddr};

use crate::{Addresses, Decoded, Fault, Header, Ips, crc32c};

/// What every header begins with.
pub(crate) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header: its values may be certificates, which say nothing here.
pub(crate) const MAX: usize = 16 * 1024;

/// Version and command.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Family and transport.
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// Behind the signature: the two above, and the length of the rest.
const FIXED: usize = SIGNATURE.len() + 4;
/// The addresses of two Unix sockets.
const UNIX_ADDRESSES: usize = 2 * 108;
/// The type of a value that is the checksum of the header.
const CHECKSUM: u8 = 0x03;

/// Reads a header whose signature is there.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Decoded>, Fault> {
    let Some(&command) = bytes.get(12) else { return Ok(None) };
    if !matches!(command, LOCAL | PROXY) {
        return Err(Fault::Command);
    }
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    // What a proxy adds to a connection of its own is to be ignored.
    let family = if command == LOCAL { UNSPECIFIED } else { family };
    let addresses = match family {
        UNSPECIFIED => 0,
        TCP_OVER_IPV4 => 2 * (4 + 2),
        TCP_OVER_IPV6 => 2 * (16 + 2),
        UNIX_STREAM => UNIX_ADDRESSES,
        _ => return Err(Fault::Family),
    };
    let Some(&[high, low]) = bytes.get(14..FIXED) else { return Ok(None) };
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > MAX {
        return Err(Fault::TooLong);
    }
    if len < FIXED + addresses {
        return Err(Fault::Length);
    }
    let Some(whole) = bytes.get(..len) else { return Ok(None) };
    if family != UNSPECIFIED {
        check_values(whole, FIXED + addresses)?;
    }
    let header = match family {
        TCP_OVER_IPV4 => proxied::<4>(whole),
        TCP_OVER_IPV6 => proxied::<16>(whole),
        _ => Some(Header::Local),
    };
    let header = header.ok_or(Fault::Length)?;
    Ok(Some(Decoded { header, len }))
}

fn proxied<const N: usize>(whole: &[u8]) -> Option<Header>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = whole.get(FIXED..)?.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (from, rest) = rest.split_first_chunk()?;
    let (at, _) = rest.split_first_chunk()?;
    let address = |ip: &[u8; N], port: &[u8; 2]| SocketAddr::new((*ip).into(), u16::from_be_bytes(*port));
    Some(Header::Proxied { source: address(source, from), destination: address(destination, at) })
}

/// Looks whether the values end where the header does, and whether a checksum among them is right.
fn check_values(whole: &[u8], start: usize) -> Result<(), Fault> {
    let mut at = start;
    let mut is_checked = false;
    while let Some((&[kind, high, low], rest)) = whole.get(at..).and_then(<[u8]>::split_first_chunk::<3>) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(..len).ok_or(Fault::Length)?;
        at += 3;
        if kind == CHECKSUM {
            let told = u32::from_be_bytes(value.try_into().map_err(|_| Fault::Length)?);
            // It is made over the header with zeros in its own place.
            let (before, after) = (&whole[..at], &whole[at + len..]);
            // One is enough, and each costs a look at the whole header.
            if is_checked || crc32c::of([before, &[0; 4], after]) != told {
                return Err(Fault::Checksum);
            }
            is_checked = true;
        }
        at += len;
    }
    if at == whole.len() { Ok(()) } else { Err(Fault::Length) }
}

pub(crate) fn encode(addresses: Option<Addresses>, to: &mut Vec<u8>) {
    to.extend_from_slice(&SIGNATURE);
    let Some(Addresses { ips, ports }) = addresses else {
        to.extend_from_slice(&[LOCAL, UNSPECIFIED, 0, 0]);
        return;
    };
    match ips {
        Ips::V4(ips) => {
            to.extend_from_slice(&[PROXY, TCP_OVER_IPV4, 0, 12]);
            ips.iter().for_each(|ip| to.extend_from_slice(&ip.octets()));
        }
        Ips::V6(ips) => {
            to.extend_from_slice(&[PROXY, TCP_OVER_IPV6, 0, 36]);
            ips.iter().for_each(|ip| to.extend_from_slice(&ip.octets()));
        }
    }
    ports.iter().for_each(|port| to.extend_from_slice(&port.to_be_bytes()));
}
