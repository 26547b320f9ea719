//! Rules for packets of addresses whose connections are on several nodes, in a table of nf_tables for each family.
//!
//! Rules change nothing but what they are for, and need nothing of conntrack, whose table a busy balancer fills. A new master tells its
//! own packets by their sockets; of the others it passes a copy on, and its kernel may look at them as well, which would answer with a reset:
//! that, and no reset that a program asks for, comes without ACK (RFC 9293 section 3.10.7.1), and is dropped. So a handshake, which has
//! no socket yet, goes through, and so does one with SYN cookies.

mod expression;
mod message;
mod numbers;

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::sockopt::SndBufForce;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, setsockopt, socket,
};
use serde::{Deserialize, Serialize};
use socket2::Socket;
use thiserror::Error;

use expression::{
    ARP_SENDER, ARP_TARGET, Expression, RST, SYN, accept, copy_to, destination, discard, has, has_socket,
    is_bare, is_not_bare, source, write,
};
use message::{Batch, nest, number, word};
#[allow(clippy::wildcard_imports, reason = "nothing but numbers, under the kernel's names")]
use numbers::*;

/// The name of the tables, and of those with which it is tried whether there can be some.
const TABLE: &str = "tandem-vrrpd";
const TRIAL: &str = "tandem-vrrpd-trial";
const IN: &str = "in";
const OUT: &str = "out";
/// Room for the rules of the most addresses.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// What becomes of packets of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The address.
    pub address: IpAddr,
    /// What this node is to it. In any case it resets no connection that it does not know.
    pub part: Part,
}

/// What a node is to an address whose connections are on several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// Another node has the address. This one takes no new connection, and neighbours do not hear of it: those who ask are not answered, and
    /// what it asks itself it asks as this address of its own.
    Keeps {
        /// An address of the interface.
        own: IpAddr,
    },
    /// It has the address, and passes on to neighbours what is not its own.
    Passes {
        /// The interface.
        interface: u32,
        /// Their addresses.
        to: Vec<IpAddr>,
    },
}

/// Puts these rules in place of all that were set before, or removes all.
///
/// # Errors
/// When the kernel refuses, or cannot: then nothing has changed.
pub fn set(rules: &[Rule]) -> io::Result<()> {
    transact(&batch(TABLE, rules))
}

/// What is needed of a kernel, as its configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Tables of each family.
    Tables,
    /// Copies for neighbours of IPv4.
    Dup4,
    /// Copies for those of IPv6.
    Dup6,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tables => "nf_tables for IPv4, IPv6 and ARP (NF_TABLES, NF_TABLES_ARP)",
            Self::Dup4 => "dup of nf_tables for IPv4 (NFT_DUP_IPV4)",
            Self::Dup6 => "dup of nf_tables for IPv6 (NFT_DUP_IPV6)",
        })
    }
}

/// Why there can be no rules.
#[derive(Debug, Error)]
pub enum Lack {
    /// Whoever asks may set none, whatever the kernel has.
    #[error("rules of nf_tables take CAP_NET_ADMIN")]
    Right,
    /// The kernel has not all that they are made of.
    #[error("there is no {0}: {1}")]
    Means(Need, io::Error),
}

/// Whether the kernel has all that is needed, and this process the right to use it. Changes nothing.
///
/// # Errors
/// What is missing.
pub fn probe() -> Result<(), Lack> {
    let (v4, v6) =
        (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    let keeps = |address| Rule { address, part: Part::Keeps { own: address } };
    let passes = |address| Rule { address, part: Part::Passes { interface: 1, to: vec![address] } };
    let needs = [
        (Need::Tables, vec![keeps(v4), keeps(v6)]),
        (Need::Dup4, vec![passes(v4)]),
        (Need::Dup6, vec![passes(v6)]),
    ];
    for (need, rules) in needs {
        transact(&batch(TRIAL, &rules)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Lack::Right,
            _ => Lack::Means(need, error),
        })?;
    }
    Ok(())
}

/// All rules, in the place of others. Those of the trial are gone at its end.
fn batch(name: &str, rules: &[Rule]) -> Vec<u8> {
    let mut batch = Batch::begin();
    for family in [NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_ARP] {
        let table = [word(NFTA_TABLE_NAME, name)];
        // What is not there cannot be deleted. What is there is not made anew: between a chain that goes and one that comes a packet
        // can pass both.
        batch.add_table(family, &table);
        let lines = lines(family, rules);
        if lines.is_empty() {
            batch.delete_table(family, &table);
            continue;
        }
        let [incoming, outgoing] = match family {
            NFPROTO_ARP => [NF_ARP_IN, NF_ARP_OUT],
            _ => [NF_INET_LOCAL_IN, NF_INET_LOCAL_OUT],
        };
        for (chain, hook) in [(IN, incoming), (OUT, outgoing)] {
            let hook =
                [number(NFTA_HOOK_HOOKNUM, hook), number(NFTA_HOOK_PRIORITY, NF_IP_PRI_RAW.cast_unsigned())];
            batch.add_chain(
                family,
                &[
                    word(NFTA_CHAIN_TABLE, name),
                    word(NFTA_CHAIN_NAME, chain),
                    nest(NFTA_CHAIN_HOOK, &hook),
                    word(NFTA_CHAIN_TYPE, "filter"),
                ],
            );
        }
        batch.delete_rules(family, &[word(NFTA_RULE_TABLE, name)]);
        for (chain, expressions) in lines {
            let rule = [
                word(NFTA_RULE_TABLE, name),
                word(NFTA_RULE_CHAIN, chain),
                nest(NFTA_RULE_EXPRESSIONS, &expressions),
            ];
            batch.add_rule(family, &rule);
        }
        if name == TRIAL {
            batch.delete_table(family, &table);
        }
    }
    batch.end()
}

/// The rules of a family: their chains, and what they are made of.
fn lines(family: u8, rules: &[Rule]) -> Vec<(&'static str, Vec<Expression>)> {
    let of = |ip: IpAddr| if ip.is_ipv4() { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
    rules
        .iter()
        .flat_map(|rule| match &rule.part {
            Part::Keeps { own } if family == NFPROTO_ARP && rule.address.is_ipv4() => {
                deaf(rule.address, *own)
            }
            _ if of(rule.address) != family => Vec::new(),
            Part::Keeps { .. } => keeping(rule.address),
            Part::Passes { interface, to } => passing(rule.address, *interface, to),
        })
        .collect()
}

/// Unknown to the neighbours. Those of IPv6 are answered only for addresses of the interface, which this is not on.
fn deaf(address: IpAddr, own: IpAddr) -> Vec<(&'static str, Vec<Expression>)> {
    let mut asked = has(ARP_TARGET, address);
    asked.push(discard());
    let mut asking = has(ARP_SENDER, address);
    asking.extend(write(ARP_SENDER, own));
    vec![(IN, asked), (OUT, asking)]
}

fn keeping(address: IpAddr) -> Vec<(&'static str, Vec<Expression>)> {
    let mut new = has(destination(address), address);
    new.extend(is_bare(SYN));
    new.push(discard());
    vec![(IN, new), resets(address)]
}

fn passing(address: IpAddr, interface: u32, to: &[IpAddr]) -> Vec<(&'static str, Vec<Expression>)> {
    let mut rules = Vec::new();
    if !to.is_empty() {
        let mut others = has(destination(address), address);
        others.extend(is_not_bare(SYN));
        let mut own = others.clone();
        own.extend([has_socket(), accept()]);
        for neighbour in to {
            others.extend(copy_to(*neighbour, interface));
        }
        rules.extend([(IN, own), (IN, others)]);
    }
    rules.push(resets(address));
    rules
}

/// Resets of connections that the kernel does not know.
fn resets(address: IpAddr) -> (&'static str, Vec<Expression>) {
    let mut resets = has(source(address), address);
    resets.extend(is_bare(RST));
    resets.push(discard());
    (OUT, resets)
}

/// Has the kernel carry out a batch, while it is sent, and reads its answers.
fn transact(batch: &[u8]) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    // Without the right to it, what follows is refused as well.
    let _ = setsockopt(&socket, SndBufForce, &SEND_BUFFER);
    let mut socket = Socket::from(socket);
    if socket.write(batch)? != batch.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut buffer = [0; 8192];
    let mut is_done = false;
    loop {
        match socket.read(&mut buffer) {
            Ok(length) => {
                for code in answers(&buffer[..length]) {
                    is_done = true;
                    if code != 0 {
                        return Err(io::Error::from_raw_os_error(-code));
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_done => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The error codes in an answer; 0 is none.
fn answers(mut bytes: &[u8]) -> Vec<i32> {
    let mut codes = Vec::new();
    while let Some((header, _)) = bytes.split_first_chunk::<20>() {
        let [a, b, c, d, e, f, .., w, x, y, z] = *header;
        if u16::from_ne_bytes([e, f]) == NLMSG_ERROR {
            codes.push(i32::from_ne_bytes([w, x, y, z]));
        }
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        bytes = bytes.get(length.max(20).next_multiple_of(4)..).unwrap_or(&[]);
    }
    codes
}
