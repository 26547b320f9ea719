//! Messages of nf_tables (linux/netfilter/nf_tables.h), as bytes.

#[allow(clippy::wildcard_imports, reason = "nothing but numbers, under the kernel's names")]
use super::numbers::*;

/// The header of netlink, and that of netfilter.
const HEADERS: usize = 20;

/// An attribute of a message.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    debug_assert!(usize::from(length) == value.len() + 4);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A number, which nf_tables wants as the network has them.
pub(super) fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

pub(super) fn word(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

pub(super) fn nest(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &attributes.concat())
}

/// One of a list.
pub(super) fn element(attributes: &[Vec<u8>]) -> Vec<u8> {
    nest(NFTA_LIST_ELEM, attributes)
}

/// Messages that the kernel carries out all or none of.
pub(super) struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Batch {
    pub(super) fn begin() -> Self {
        let mut batch = Self { bytes: Vec::new(), sequence: 0 };
        batch.push(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
        batch
    }

    /// Answered when the whole batch is carried out. What fails is answered in any case, and more answers than needed would not fit the
    /// socket.
    pub(super) fn add_table(&mut self, family: u8, attributes: &[Vec<u8>]) {
        self.tables(NFT_MSG_NEWTABLE, family, NLM_F_CREATE | NLM_F_ACK, attributes);
    }

    pub(super) fn delete_table(&mut self, family: u8, attributes: &[Vec<u8>]) {
        self.tables(NFT_MSG_DELTABLE, family, 0, attributes);
    }

    pub(super) fn add_chain(&mut self, family: u8, attributes: &[Vec<u8>]) {
        self.tables(NFT_MSG_NEWCHAIN, family, NLM_F_CREATE, attributes);
    }

    pub(super) fn add_rule(&mut self, family: u8, attributes: &[Vec<u8>]) {
        self.tables(NFT_MSG_NEWRULE, family, NLM_F_CREATE | NLM_F_APPEND, attributes);
    }

    /// All rules of a table.
    pub(super) fn delete_rules(&mut self, family: u8, attributes: &[Vec<u8>]) {
        self.tables(NFT_MSG_DELRULE, family, 0, attributes);
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.push(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
        self.bytes
    }

    fn tables(&mut self, message: u16, family: u8, flags: u16, attributes: &[Vec<u8>]) {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | message;
        self.push(kind, flags, family, 0, attributes);
    }

    fn push(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &[Vec<u8>]) {
        let attributes = attributes.concat();
        let length = u32::try_from(HEADERS + attributes.len()).unwrap_or(u32::MAX);
        self.sequence += 1;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(attributes);
        debug_assert!(self.bytes.len().is_multiple_of(4));
    }
}
