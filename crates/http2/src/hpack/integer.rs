//! Integers whose first bits share a byte with something else (RFC 7541 section 5.1).

use super::Unreadable;

/// The largest that is read: no length or index comes near it.
const MAX: usize = 1 << 24;

/// Reads one whose first `bits` bits are the last of the first byte, and moves `block` behind it.
pub(super) fn read(block: &mut &[u8], bits: u32) -> Result<usize, Unreadable> {
    let (&first, mut rest) = block.split_first().ok_or(Unreadable)?;
    let prefix = (1_usize << bits) - 1;
    let mut value = usize::from(first) & prefix;
    if value == prefix {
        let mut shift = 0;
        loop {
            let (&byte, behind) = rest.split_first().ok_or(Unreadable)?;
            rest = behind;
            if shift > 21 {
                return Err(Unreadable);
            }
            value += usize::from(byte & 0x7f) << shift;
            if value > MAX {
                return Err(Unreadable);
            }
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// Writes one behind the bits of `first` that are not its own.
pub(super) fn write(first: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let prefix = (1_usize << bits) - 1;
    if value < prefix {
        out.push(first | low_byte(value));
        return;
    }
    out.push(first | low_byte(prefix));
    let mut rest = value - prefix;
    while rest >= 0x80 {
        out.push(0x80 | low_byte(rest & 0x7f));
        rest >>= 7;
    }
    out.push(low_byte(rest));
}

fn low_byte(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7541 appendix C.1
    #[test]
    fn the_examples_of_the_rfc() {
        let examples: [(u32, usize, &[u8]); 3] = [(5, 10, &[10]), (5, 1337, &[31, 154, 10]), (8, 42, &[42])];
        for (bits, value, bytes) in examples {
            let mut out = Vec::new();
            write(0, bits, value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(read(&mut &*bytes, bits), Ok(value));
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_too_long() {
        for bits in 1..=7 {
            for value in (0..300).chain([16_383, 16_384, 65_535, MAX]) {
                let mut out = Vec::new();
                write(0, bits, value, &mut out);
                out.push(7);
                let mut block = &out[..];
                assert_eq!((read(&mut block, bits), block), (Ok(value), &[7][..]));
            }
        }
        for bytes in [
            &[][..],
            &[31],
            &[31, 0x80],
            &[31, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[31, 0x80, 0x80, 0x80, 0x80, 0],
        ] {
            assert_eq!(read(&mut &*bytes, 5), Err(Unreadable), "{bytes:?}");
        }
    }
}
