//! Frames (RFC 9113 section 4).

use crate::code::Code;

/// How long a frame's head is.
pub(crate) const HEAD: usize = 9;
/// The longest payload that we take, and that everybody takes (RFC 9113 section 4.2).
pub(crate) const PAYLOAD: usize = 16 * 1024;

/// Types of frames (RFC 9113 section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0x0;
    pub(crate) const HEADERS: u8 = 0x1;
    pub(crate) const PRIORITY: u8 = 0x2;
    pub(crate) const RST_STREAM: u8 = 0x3;
    pub(crate) const SETTINGS: u8 = 0x4;
    pub(crate) const PING: u8 = 0x6;
    pub(crate) const GOAWAY: u8 = 0x7;
    pub(crate) const WINDOW_UPDATE: u8 = 0x8;
    pub(crate) const CONTINUATION: u8 = 0x9;
}

/// Their flags.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Head {
    /// The one that these bytes begin with, if there are enough of them.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, stream @ ..] = bytes.first_chunk::<HEAD>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        // RFC 9113 section 4.1: "the bit MUST remain unset (0x00) when sending and MUST be ignored when receiving."
        Some(Self { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff })
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn bytes(self) -> [u8; HEAD] {
        let Self { length, kind, flags, stream } = self;
        debug_assert!(length < 1 << 24, "a frame is longer than its head can say");
        let [.., a, b, c] = length.to_be_bytes();
        let [d, e, f, g] = stream.to_be_bytes();
        [a, b, c, kind, flags, d, e, f, g]
    }
}

/// Writes a frame of a few bytes.
pub(crate) fn write(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Head { length: payload.len(), kind, flags, stream }.bytes());
    out.extend_from_slice(payload);
}

pub(crate) fn rst_stream(stream: u32, code: Code, out: &mut Vec<u8>) {
    write(kind::RST_STREAM, 0, stream, &(code as u32).to_be_bytes(), out);
}

pub(crate) fn window_update(stream: u32, bytes: u32, out: &mut Vec<u8>) {
    write(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes(), out);
}

pub(crate) fn goaway(last: u32, code: Code, out: &mut Vec<u8>) {
    let [a, b, c, d] = last.to_be_bytes();
    let [e, f, g, h] = (code as u32).to_be_bytes();
    write(kind::GOAWAY, 0, 0, &[a, b, c, d, e, f, g, h], out);
}

// RFC 9113 section 6.1: "If the length of the padding is the length of the frame payload or greater, the recipient MUST treat this as a connection error of type PROTOCOL_ERROR."
/// What a payload of that length carries beside its padding: where it begins, and where it ends. The first byte is the padding's length.
pub(crate) fn unpadded(length: usize, padding: u8) -> Result<(usize, usize), Code> {
    match usize::from(padding) {
        padding if padding < length => Ok((1, length - padding)),
        _ => Err(Code::ProtocolError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = Head { length: 0x01_02_03, kind: 4, flags: 5, stream: 0x0607_0809 };
        let mut out = head.bytes();
        assert_eq!(out, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!((Head::read(&out), Head::read(&out[..8])), (Some(head), None));
        out[5] |= 0x80;
        assert_eq!(Head::read(&out), Some(head), "the reserved bit counts");
    }

    #[test]
    fn padding_is_shorter_than_its_frame() {
        assert_eq!([unpadded(5, 0), unpadded(5, 4)], [Ok((1, 5)), Ok((1, 1))]);
        assert_eq!([unpadded(5, 5), unpadded(1, 1)], [Err(Code::ProtocolError); 2]);
    }
}
