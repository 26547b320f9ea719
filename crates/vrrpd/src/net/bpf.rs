//! The instructions of classic BPF that the filters of sockets are made of.

use socket2::SockFilter;

/// A byte of the network header is found from here on (SKF_NET_OFF of Linux).
pub(super) const NETWORK_HEADER: u32 = 0xfff0_0000;

pub(super) const LOAD_BYTE: u16 = 0x30;
/// A byte behind the index register.
pub(super) const LOAD_BYTE_BEHIND: u16 = 0x50;
pub(super) const LOAD_WORD: u16 = 0x20;
/// The length of the IPv4 header that begins there, into the index register.
pub(super) const INDEX_IPV4_HEADER: u16 = 0xb1;
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// An instruction that goes on with the next one.
pub(super) const fn load(code: u16, place: u32) -> SockFilter {
    SockFilter::new(code, 0, 0, place)
}

/// The packet is passed, whole.
pub(super) const fn pass() -> SockFilter {
    SockFilter::new(RETURN, 0, 0, u32::MAX)
}

/// The packet is dropped.
pub(super) const fn drop() -> SockFilter {
    SockFilter::new(RETURN, 0, 0, 0)
}

/// Drops the packet unless what was loaded is as it should be.
pub(super) const fn drop_unless(code: u16, value: u32) -> [SockFilter; 2] {
    [SockFilter::new(code, 1, 0, value), drop()]
}

/// Passes the packet if what was loaded is this.
pub(super) const fn pass_if_equal(value: u32) -> [SockFilter; 2] {
    [SockFilter::new(JUMP_IF_EQUAL, 0, 1, value), pass()]
}
