//! Expressions that rules are made of. Each works on the first register, unless it says otherwise.

use std::net::IpAddr;

use super::message::{attribute, element, nest, number, word};
#[allow(clippy::wildcard_imports, reason = "nothing but numbers, under the kernel's names")]
use super::numbers::*;

pub(super) type Expression = Vec<u8>;

/// TCP among the protocols of IP, and where it has its flags.
const TCP: u8 = 6;
const FLAGS: u32 = 13;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

/// A place of the network header: where, and how long.
#[derive(Clone, Copy)]
pub(super) struct Field(u32, u32);

/// ARP for IPv4 over Ethernet: the addresses of who asks, and of who is asked for.
pub(super) const ARP_SENDER: Field = Field(14, 4);
pub(super) const ARP_TARGET: Field = Field(24, 4);

/// Where an IP packet has its source.
pub(super) const fn source(of: IpAddr) -> Field {
    if of.is_ipv4() { Field(12, 4) } else { Field(8, 16) }
}

/// Where it has its destination.
pub(super) const fn destination(of: IpAddr) -> Field {
    if of.is_ipv4() { Field(16, 4) } else { Field(24, 16) }
}

/// The packet has this address there.
pub(super) fn has(field: Field, address: IpAddr) -> Vec<Expression> {
    vec![load(NFT_PAYLOAD_NETWORK_HEADER, field.0, field.1), compare(NFT_CMP_EQ, &octets(address))]
}

/// Of the flags SYN or RST, together with ACK, a packet of TCP has this one alone.
pub(super) fn is_bare(flag: u8) -> Vec<Expression> {
    flags(flag, NFT_CMP_EQ)
}

/// It has not.
pub(super) fn is_not_bare(flag: u8) -> Vec<Expression> {
    flags(flag, NFT_CMP_NEQ)
}

/// The packet is of a socket of this machine that is open. The kernel has looked for those of connections, and not for listeners, before
/// the hook for packets that arrive (`tcp_early_demux`).
pub(super) fn has_socket() -> Expression {
    meta(NFT_META_SKUID)
}

pub(super) fn accept() -> Expression {
    verdict(NF_ACCEPT)
}

pub(super) fn discard() -> Expression {
    verdict(NF_DROP)
}

/// Changes the packet.
pub(super) fn write(field: Field, address: IpAddr) -> [Expression; 2] {
    let place = [
        number(NFTA_PAYLOAD_SREG, NFT_REG_1),
        number(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER),
        number(NFTA_PAYLOAD_OFFSET, field.0),
        number(NFTA_PAYLOAD_LEN, field.1),
    ];
    [value(NFT_REG_1, &octets(address)), expression("payload", &place)]
}

/// Sends a copy of the packet to a neighbour.
pub(super) fn copy_to(neighbour: IpAddr, interface: u32) -> [Expression; 3] {
    let copy = [number(NFTA_DUP_SREG_ADDR, NFT_REG_1), number(NFTA_DUP_SREG_DEV, NFT_REG_2)];
    [
        value(NFT_REG_1, &octets(neighbour)),
        value(NFT_REG_2, &interface.to_ne_bytes()),
        expression("dup", &copy),
    ]
}

fn flags(flag: u8, comparison: u32) -> Vec<Expression> {
    vec![
        meta(NFT_META_L4PROTO),
        compare(NFT_CMP_EQ, &[TCP]),
        load(NFT_PAYLOAD_TRANSPORT_HEADER, FLAGS, 1),
        mask(flag | ACK),
        compare(comparison, &[flag]),
    ]
}

fn load(base: u32, offset: u32, length: u32) -> Expression {
    let place = [
        number(NFTA_PAYLOAD_DREG, NFT_REG_1),
        number(NFTA_PAYLOAD_BASE, base),
        number(NFTA_PAYLOAD_OFFSET, offset),
        number(NFTA_PAYLOAD_LEN, length),
    ];
    expression("payload", &place)
}

fn meta(key: u32) -> Expression {
    let key = [number(NFTA_META_DREG, NFT_REG_1), number(NFTA_META_KEY, key)];
    expression("meta", &key)
}

fn compare(comparison: u32, with: &[u8]) -> Expression {
    let terms =
        [number(NFTA_CMP_SREG, NFT_REG_1), number(NFTA_CMP_OP, comparison), data(NFTA_CMP_DATA, with)];
    expression("cmp", &terms)
}

fn mask(bits: u8) -> Expression {
    let terms = [
        number(NFTA_BITWISE_SREG, NFT_REG_1),
        number(NFTA_BITWISE_DREG, NFT_REG_1),
        number(NFTA_BITWISE_LEN, 1),
        data(NFTA_BITWISE_MASK, &[bits]),
        data(NFTA_BITWISE_XOR, &[0]),
    ];
    expression("bitwise", &terms)
}

fn value(into: u32, bytes: &[u8]) -> Expression {
    let terms = [number(NFTA_IMMEDIATE_DREG, into), data(NFTA_IMMEDIATE_DATA, bytes)];
    expression("immediate", &terms)
}

fn verdict(code: u32) -> Expression {
    let code = nest(NFTA_DATA_VERDICT, &[number(NFTA_VERDICT_CODE, code)]);
    let terms = [number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT), nest(NFTA_IMMEDIATE_DATA, &[code])];
    expression("immediate", &terms)
}

fn data(kind: u16, bytes: &[u8]) -> Vec<u8> {
    nest(kind, &[attribute(NFTA_DATA_VALUE, bytes)])
}

fn expression(name: &str, attributes: &[Vec<u8>]) -> Expression {
    element(&[word(NFTA_EXPR_NAME, name), nest(NFTA_EXPR_DATA, attributes)])
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
