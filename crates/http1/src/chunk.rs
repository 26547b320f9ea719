//! Writing the chunked transfer coding, for a body that came without a length (RFC 9112 section 7.1).

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk, without trailer fields: the body is whole.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends what precedes the data of a chunk; `len` is not 0, which would end the body.
pub fn begin_chunk(len: usize, out: &mut Vec<u8>) {
    debug_assert!(len > 0, "an empty chunk is the last one");
    let digits = len.max(1).ilog2() / 4;
    for place in (0..=digits).rev() {
        out.push(b"0123456789abcdef"[len >> (4 * place) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_hexadecimal_without_zeros_in_front() {
        for len in [1, 9, 10, 15, 16, 255, 256, 4095, 4096, 65536, 0x1234_5678, usize::MAX] {
            let mut out = Vec::new();
            begin_chunk(len, &mut out);
            assert_eq!(out, format!("{len:x}\r\n").into_bytes());
        }
    }
}
