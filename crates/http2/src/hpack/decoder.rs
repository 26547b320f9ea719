//! Reading a field block (RFC 7541 section 6).

use super::table::{Dynamic, FIELD_OVERHEAD, STATIC};
use super::{Unreadable, huffman, integer};

/// How large the other side may have our table be: what it is without a word about it (RFC 9113 section 6.5.2).
const TABLE: usize = 4096;
/// How often a block may change the table's size (RFC 7541 section 4.2).
const RESIZES: usize = 2;
/// What is kept for the next field.
const KEPT: usize = 1024;

/// Reads the field blocks of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    dynamic: Dynamic,
    /// A field, where it does not lie in the block as it is.
    scratch: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { dynamic: Dynamic::new(TABLE), scratch: Vec::new() }
    }

    /// Reads a whole block, and has `take` told of its fields, name and value.
    ///
    /// # Errors
    /// When the block cannot be read. Nothing else of the connection can be read then, either.
    pub(crate) fn decode(
        &mut self,
        mut block: &[u8],
        mut take: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Unreadable> {
        let Self { dynamic, scratch } = self;
        let (mut resizes, mut begun) = (0, false);
        while let Some(&first) = block.first() {
            // RFC 7541 section 4.2: "This dynamic table size update MUST occur at the beginning of the first header block following the change to the dynamic table size."
            if first & 0xe0 == 0x20 {
                let size = integer::read(&mut block, 5)?;
                resizes += 1;
                if begun || resizes > RESIZES || size > TABLE {
                    return Err(Unreadable);
                }
                dynamic.resize(size);
                continue;
            }
            begun = true;
            scratch.clear();
            let (bits, remembered) = match first {
                0x80.. => (7, false),
                0x40.. => (6, true),
                _ => (4, false),
            };
            let number = integer::read(&mut block, bits)?;
            let known = STATIC.get(number.wrapping_sub(1));
            let mut name_length = 0;
            if known.is_none() && number > 0 {
                name_length = dynamic.copy(number - STATIC.len() - 1, scratch).ok_or(Unreadable)?;
            }
            if bits == 7 {
                match known {
                    Some((name, value)) => take(name, value),
                    None if number > 0 => take(&scratch[..name_length], &scratch[name_length..]),
                    None => return Err(Unreadable),
                }
                continue;
            }
            let name = match known {
                Some((name, _)) => Some(*name),
                None if number > 0 => {
                    scratch.truncate(name_length);
                    None
                }
                None => string(&mut block, scratch)?,
            };
            name_length = scratch.len();
            let value = string(&mut block, scratch)?;
            let (name_here, value_here) = scratch.split_at(name_length);
            let (name, value) = (name.unwrap_or(name_here), value.unwrap_or(value_here));
            take(name, value);
            if remembered {
                dynamic.add(name, value);
            }
        }
        scratch.clear();
        scratch.shrink_to(KEPT);
        Ok(())
    }
}

/// Reads a string (RFC 7541 section 5.2), and puts it behind `out` where it does not lie in the block as it is.
fn string<'a>(block: &mut &'a [u8], out: &mut Vec<u8>) -> Result<Option<&'a [u8]>, Unreadable> {
    let is_coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::read(block, 7)?;
    let (string, rest) = block.split_at_checked(length).ok_or(Unreadable)?;
    *block = rest;
    match is_coded {
        true => huffman::decode(string, out).map(|()| None),
        false => Ok(Some(string)),
    }
}

/// What a field counts in the size of a list (RFC 9113 section 6.5.2).
pub(crate) fn size(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + FIELD_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<String, Unreadable> {
        let mut said = String::new();
        decoder.decode(block, |name, value| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            said.push_str(&format!("{}={}\n", text(name), text(value)));
        })?;
        Ok(said)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().filter(|c| !c.is_whitespace()).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap()).collect()
    }

    const THREE: [&str; 3] = [
        ":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\n",
        ":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\ncache-control=no-cache\n",
        ":method=GET\n:scheme=https\n:path=/index.html\n:authority=www.example.com\ncustom-key=custom-value\n",
    ];

    // RFC 7541 appendix C.3 and C.4
    #[test]
    fn the_requests_of_the_rfc() {
        let plain = [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ];
        let coded = [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::new();
            for (block, expected) in blocks.iter().zip(THREE) {
                assert_eq!(decoded(&mut decoder, &bytes(block)).as_deref(), Ok(expected));
            }
        }
    }

    // RFC 7541 section 2.3.3: "Indices strictly greater than the sum of the lengths of both tables MUST be treated as a decoding error."
    #[test]
    fn what_is_not_there_cannot_be_read() {
        for block in [
            "80",
            "be",
            "ff00",
            "7e0161",
            "40",
            "4001",
            "400161",
            "40016105",
            "00816101",
            "3fe21f",
            "8220",
            "202020",
            "ffffffffffffff",
        ] {
            assert_eq!(decoded(&mut Decoder::new(), &bytes(block)), Err(Unreadable), "{block}");
        }
    }

    #[test]
    fn a_smaller_table_forgets() {
        let mut decoder = Decoder::new();
        assert_eq!(decoded(&mut decoder, &bytes("400161016200016101 63")).as_deref(), Ok("a=b\na=c\n"));
        assert_eq!(decoded(&mut decoder, &bytes("be")).as_deref(), Ok("a=b\n"));
        assert_eq!(decoded(&mut decoder, &bytes("203fe11f 0001610162")).as_deref(), Ok("a=b\n"));
        assert_eq!(decoded(&mut decoder, &bytes("be")), Err(Unreadable));
    }

    #[test]
    fn no_bytes_at_all_do_harm() {
        proptest::proptest!(|(blocks: Vec<Vec<u8>>)| {
            let mut decoder = Decoder::new();
            for block in blocks {
                let _ = decoded(&mut decoder, &block);
            }
        });
    }
}
