//! Percent-encoding (RFC 3986 section 2.1).

/// The byte that stands encoded at the start of `text`.
pub(crate) fn encoded(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    Some(digit(*high)? << 4 | digit(*low)?)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The bytes of a text, decoded. What is no encoding stands for itself.
pub(crate) fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if let Some(byte) = encoded(rest) {
            rest = &rest[3..];
            return Some(byte);
        }
        let (first, others) = rest.split_first()?;
        rest = others;
        Some(*first)
    })
}
