//! Classic BPF: the kernel drops what is not asked for, so that floods of ARP cost little.

use socket2::SockFilter;

const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// A byte of the network header is found from here on (SKF_NET_OFF of Linux).
pub(super) const NETWORK_HEADER: u32 = 0xfff0_0000;

/// A filter that passes packets whose word at `offset` is one of `words`, provided that the bytes at some places have
/// certain values.
pub(super) fn passing(bytes: &[(u32, u8)], offset: u32, words: impl Iterator<Item = u32>) -> Vec<SockFilter> {
    let mut filter = Vec::new();
    for (place, value) in bytes {
        filter.extend([
            SockFilter::new(LOAD_BYTE, 0, 0, *place),
            SockFilter::new(JUMP_IF_EQUAL, 1, 0, (*value).into()),
            SockFilter::new(RETURN, 0, 0, 0),
        ]);
    }
    filter.push(SockFilter::new(LOAD_WORD, 0, 0, offset));
    for word in words {
        filter.extend([SockFilter::new(JUMP_IF_EQUAL, 0, 1, word), SockFilter::new(RETURN, 0, 0, u32::MAX)]);
    }
    filter.push(SockFilter::new(RETURN, 0, 0, 0));
    filter
}
