//! Strings in the code of RFC 7541 appendix B.
//!
//! The code is canonical: codes of one length are consecutive numbers, in the order of their symbols. So the lengths are all that
//! has to be known.

use super::Unreadable;

/// How long the code of each symbol is, in bits. The last one ends a string, and is never sent.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, //
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, //
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, //
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, //
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
/// The longest code.
const LONGEST: usize = 30;
/// Codes of so many bits are looked up, which all of those are that fields are made of.
const QUICK: usize = 8;
const EOS: u16 = 256;

/// The code, ordered.
struct Code {
    /// All symbols, by the length of their codes.
    symbols: [u16; 257],
    /// For each length where its symbols begin in that.
    begin: [u16; LONGEST + 2],
    /// For each length its first code, at the upper end of 32 bits.
    first: [u32; LONGEST + 2],
    /// For the first bits of a string the symbol and its length; nothing where that is longer.
    quick: [(u8, u8); 1 << QUICK],
}

static CODE: Code = order();

#[expect(clippy::cast_possible_truncation, reason = "symbols, their number, and the bits of a byte")]
const fn order() -> Code {
    let mut code = Code {
        symbols: [0; 257],
        begin: [0; LONGEST + 2],
        first: [0; LONGEST + 2],
        quick: [(0, 0); 1 << QUICK],
    };
    let (mut next, mut number, mut length) = (0_u16, 0_u64, 1);
    while length <= LONGEST {
        number <<= 1;
        code.begin[length] = next;
        code.first[length] = high(number, length);
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[next as usize] = symbol as u16;
                if length <= QUICK {
                    let mut at = (number as usize) << (QUICK - length);
                    let end = (number as usize + 1) << (QUICK - length);
                    while at < end {
                        code.quick[at] = (symbol as u8, length as u8);
                        at += 1;
                    }
                }
                next += 1;
                number += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    code.begin[LONGEST + 1] = next;
    code.first[LONGEST + 1] = u32::MAX;
    code
}

/// A code at the upper end of 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "a code has as many bits as its length says")]
const fn high(number: u64, length: usize) -> u32 {
    (number << (32 - length)) as u32
}

/// Puts what a string stands for behind `out`.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let (mut bits, mut held) = (0_u64, 0);
    let mut rest = bytes;
    loop {
        while held <= 56
            && let Some((&byte, behind)) = rest.split_first()
        {
            bits |= u64::from(byte) << (56 - held);
            held += 8;
            rest = behind;
        }
        let [a, b, c, d, ..] = bits.to_be_bytes();
        let (symbol, length) = match CODE.quick[usize::from(a)] {
            (_, 0) => longer(u32::from_be_bytes([a, b, c, d]))?,
            (symbol, length) => (symbol, usize::from(length)),
        };
        if length > held {
            break;
        }
        out.push(symbol);
        bits <<= length;
        held -= length;
    }
    // RFC 7541 section 5.2: "A padding strictly longer than 7 bits MUST be treated as a decoding error. A padding not corresponding to the most significant bits of the code for the EOS symbol MUST be treated as a decoding error."
    match held < 8 && bits.leading_ones() as usize >= held {
        true => Ok(()),
        false => Err(Unreadable),
    }
}

/// The symbol that these bits begin with, whose code is longer than what is looked up.
fn longer(bits: u32) -> Result<(u8, usize), Unreadable> {
    let mut length = QUICK + 1;
    while length < LONGEST && bits >= CODE.first[length + 1] {
        length += 1;
    }
    let at = usize::from(CODE.begin[length]) + ((bits - CODE.first[length]) >> (32 - length)) as usize;
    match CODE.symbols.get(at) {
        // RFC 7541 section 5.2: "A Huffman-encoded string literal containing the EOS symbol MUST be treated as a decoding error."
        Some(&EOS) | None => Err(Unreadable),
        Some(&symbol) => Ok((symbol.to_le_bytes()[0], length)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a string is in the code, by its definition.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for &byte in text {
            let length = usize::from(LENGTHS[usize::from(byte)]);
            let of_length = &CODE.symbols[usize::from(CODE.begin[length])..];
            let at = of_length.iter().position(|&symbol| symbol == u16::from(byte)).unwrap();
            let code = (CODE.first[length] >> (32 - length)) as usize + at;
            bits.push_str(&format!("{code:0length$b}"));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let byte = |at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap();
        (0..bits.len()).step_by(8).map(byte).collect()
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut out = Vec::new();
        decode(bytes, &mut out).map(|()| out)
    }

    // RFC 7541 appendix C.4 and C.6
    #[test]
    fn the_examples_of_the_rfc() {
        let examples: [(&str, &[u8]); 4] = [
            ("www.example.com", &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            ("custom-value", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]),
            ("302", &[0x64, 0x02]),
        ];
        for (text, bytes) in examples {
            assert_eq!(decoded(bytes), Ok(text.as_bytes().to_vec()));
            assert_eq!(encode(text.as_bytes()), bytes);
        }
    }

    proptest! {
        #[test]
        fn every_string_is_read_as_it_was_written(text: Vec<u8>) {
            prop_assert_eq!(decoded(&encode(&text)), Ok(text));
        }

        #[test]
        fn whatever_is_no_string_is_an_error(bytes: Vec<u8>) {
            if let Ok(text) = decoded(&bytes) {
                prop_assert_eq!(encode(&text), bytes);
            }
        }
    }

    #[test]
    fn padding_is_short_and_of_ones() {
        assert_eq!(decoded(&[]), Ok(vec![]));
        for bytes in [
            &[0xff][..],
            &[0x07, 0xff],
            &[0x00],
            &[0x06],
            &[0xff, 0xff, 0xff, 0xff],
            &[0xff, 0xff, 0xff, 0xfc],
        ] {
            assert_eq!(decoded(bytes), Err(Unreadable), "{bytes:x?}");
        }
    }
}
