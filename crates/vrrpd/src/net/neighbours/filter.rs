//! The kernel drops what is not asked for, so that floods of ARP cost little.

use socket2::SockFilter;

use crate::net::bpf::{JUMP_IF_EQUAL, LOAD_BYTE, LOAD_WORD, drop, drop_unless, load, pass_if_equal};

/// A filter that passes packets whose word at `offset` is one of `words`, provided that the bytes at some places have
/// certain values.
pub(super) fn passing(bytes: &[(u32, u8)], offset: u32, words: impl Iterator<Item = u32>) -> Vec<SockFilter> {
    let mut filter = Vec::new();
    for (place, value) in bytes {
        filter.push(load(LOAD_BYTE, *place));
        filter.extend(drop_unless(JUMP_IF_EQUAL, (*value).into()));
    }
    filter.push(load(LOAD_WORD, offset));
    filter.extend(words.flat_map(pass_if_equal));
    filter.push(drop());
    filter
}
