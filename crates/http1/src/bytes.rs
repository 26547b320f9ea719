//! Classes of bytes, and the scan that every received byte goes through once.

/// A character of a token (RFC 9110 section 5.6.2): names of methods, fields, codings and options.
const TOKEN: u8 = 1;
/// A character of a request target: visible ASCII without `#`, which no target holds (RFC 9112 section 3.2).
const TARGET: u8 = 2;
/// A character of a host name: the unreserved ones and the sub-delimiters of RFC 3986 section 2.
const HOST: u8 = 4;
/// A character that RFC 3986 has in a path or a query (sections 3.3 and 3.4), where it is not encoded.
const URI: u8 = 8;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        let mut class = 0;
        if byte != b'#' {
            class |= TARGET;
        }
        if byte.is_ascii_alphanumeric() {
            class |= TOKEN | HOST;
        }
        if matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        ) {
            class |= TOKEN;
        }
        if matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        ) {
            class |= HOST;
        }
        if class & HOST != 0 || matches!(byte, b':' | b'@' | b'/' | b'?') {
            class |= URI;
        }
        table[byte as usize] = class;
        byte += 1;
    }
    table
}

/// How many bytes at the start of `bytes` are of a class.
#[inline]
fn prefix(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|&byte| CLASSES[byte as usize] & class == 0).unwrap_or(bytes.len())
}

/// How many bytes at the start are characters of a token.
#[inline]
pub(crate) fn token_prefix(bytes: &[u8]) -> usize {
    prefix(bytes, TOKEN)
}

/// How many bytes at the start are characters of a request target.
#[inline]
pub(crate) fn target_prefix(bytes: &[u8]) -> usize {
    prefix(bytes, TARGET)
}

/// Whether the bytes are a token.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_prefix(bytes) == bytes.len()
}

/// How many bytes at the start are characters of a host name that stand for themselves.
pub(crate) fn host_prefix(bytes: &[u8]) -> usize {
    prefix(bytes, HOST)
}

/// Whether the bytes are a path and a query as RFC 3986 has them, each `%` before two hexadecimal digits (section 2.1).
pub(crate) fn is_uri(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        rest = &rest[prefix(rest, URI)..];
        match rest {
            [] => return true,
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
            }
            _ => return false,
        }
    }
}

/// Without the white space, blanks and tabs, around it (RFC 9110 section 5.6.3).
#[inline]
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list, trimmed, the empty ones too.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// Where the first control character is: below 0x20, tab among them, or 0x7f.
///
/// Eight bytes at a time: a byte below 0x20 borrows when 0x20 is subtracted, a 0x7f becomes 0 and borrows likewise. A
/// borrow may flag bytes above it wrongly, never below, so that the lowest flag is right.
#[inline]
fn find_control(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let delete = word ^ (ONES * 0x7f);
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        let flags = (below | (delete.wrapping_sub(ONES) & !delete)) & HIGHS;
        if flags != 0 {
            return Some(index * 8 + flags.trailing_zeros() as usize / 8);
        }
    }
    let rest = tail.iter().position(|byte| byte.is_ascii_control())?;
    Some(words.len() * 8 + rest)
}

/// What a scan for the end of a line found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// The line's CR LF begins there.
    End(usize),
    /// No end yet; there is nothing to see before that offset.
    More(usize),
}

/// A byte that no line may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFault {
    /// LF without CR.
    BareLf,
    /// CR without LF.
    BareCr,
    /// Another control character than a tab.
    Control,
}

/// Looks for CR LF from offset `from` on, and at every byte on the way.
#[inline]
pub(crate) fn scan_line(bytes: &[u8], mut from: usize) -> Result<Scan, LineFault> {
    loop {
        let Some(at) = bytes.get(from..).and_then(find_control).map(|offset| from + offset) else {
            return Ok(Scan::More(bytes.len()));
        };
        match bytes[at] {
            b'\r' => {
                return match bytes.get(at + 1) {
                    Some(b'\n') => Ok(Scan::End(at)),
                    Some(_) => Err(LineFault::BareCr),
                    None => Ok(Scan::More(at)),
                };
            }
            b'\t' => from = at + 1,
            b'\n' => return Err(LineFault::BareLf),
            _ => return Err(LineFault::Control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_is_found_at_every_offset() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                for filler in [b'a', 0xff, 0x80, b' '] {
                    let mut bytes = [filler; 20];
                    bytes[at] = byte;
                    let expected = byte.is_ascii_control().then_some(at);
                    assert_eq!(find_control(&bytes), expected, "byte {byte:#x} at {at} among {filler:#x}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_two_control_characters_is_found() {
        for first in 0..16 {
            for second in first + 1..16 {
                for (a, b) in [(0x7f, 0x00), (0x1f, 0x7f), (b'\r', b'\n'), (b'\t', b'\t')] {
                    let mut bytes = [b'x'; 16];
                    bytes[first] = a;
                    bytes[second] = b;
                    assert_eq!(find_control(&bytes), Some(first));
                }
            }
        }
    }

    #[test]
    fn classes_agree_with_the_grammars() {
        for byte in 0..=u8::MAX {
            let alphanumeric = byte.is_ascii_alphanumeric();
            assert_eq!(is_token(&[byte]), alphanumeric || b"!#$%&'*+-.^_`|~".contains(&byte), "{byte:#x}");
            assert_eq!(
                host_prefix(&[byte]) == 1,
                alphanumeric || b"-._~!$&'()*+,;=".contains(&byte),
                "{byte:#x}"
            );
            assert_eq!(target_prefix(&[byte]) == 1, byte.is_ascii_graphic() && byte != b'#', "{byte:#x}");
            assert_eq!(is_uri(&[byte]), alphanumeric || b"-._~!$&'()*+,;=:@/?".contains(&byte), "{byte:#x}");
        }
    }

    #[test]
    fn a_percent_sign_stands_before_two_hexadecimal_digits() {
        for (uri, expected) in [
            ("", true),
            ("/a/b;c=d?e=f&g", true),
            ("/%2f%C3%a9?%00", true),
            ("/100%", false),
            ("/%2", false),
            ("/%2g/%20", false),
            ("/%20/%zz", false),
            ("/{id}", false),
            ("/a|b", false),
            ("/%20^", false),
        ] {
            assert_eq!(is_uri(uri.as_bytes()), expected, "{uri}");
        }
    }
}
