//! What a request is known by: made here, or taken over from the client.

use crate::FieldName;

/// The longest that is taken over, in bytes.
pub const ID_MAX: usize = 128;

/// What a client calls its request in a field, of which there has to be one, with 1 to [`ID_MAX`] letters, digits and marks that
/// mean nothing in a line of a log. `lines` are the field lines of a head.
pub fn accepted_id<'h>(lines: &'h [u8], field: &FieldName) -> Option<&'h [u8]> {
    let mut found = lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
        field.is(name).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    });
    let id = found.next()?;
    let usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
    let is_sane = (1..=ID_MAX).contains(&id.len()) && id.iter().all(usual);
    (is_sane && found.next().is_none()).then_some(id)
}

/// Appends a UUID of version 4 (RFC 9562 section 5.4) with these random bits.
pub fn push_id(random: u128, out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let version = 0x4_u128 << 76;
    let variant = 0b10_u128 << 62;
    let bits = random & !(0xf << 76) & !(0b11 << 62) | version | variant;
    for place in 0..32_u32 {
        if matches!(place, 8 | 12 | 16 | 20) {
            out.push(b'-');
        }
        let digit = usize::try_from(bits >> (124 - 4 * place) & 0xf).unwrap_or_default();
        out.extend(DIGITS.get(digit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_where_it_is_one() {
        let field = FieldName::parse("X-Request-ID").unwrap();
        let id = |lines: &str| {
            accepted_id(lines.as_bytes(), &field).map(|id| String::from_utf8_lossy(id).into_owned())
        };
        assert_eq!(id("Host: a\r\nx-request-id:  a-1.b \r\n").as_deref(), Some("a-1.b"));
        for wrong in [
            "Host: a\r\n",
            "X-Request-ID:\r\n",
            "X-Request-ID: a b\r\n",
            "X-Request-ID: a\"b\r\n",
            "X-Request-ID: a{b}\r\n",
            "X-Request-ID: \u{e4}\r\n",
            "X-Request-ID: a\r\nX_Request_ID: b\r\n",
        ] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
        assert_eq!(id(&format!("X-Request-ID: {}\r\n", "a".repeat(128))).map(|id| id.len()), Some(128));
        assert_eq!(id(&format!("X-Request-ID: {}\r\n", "a".repeat(129))), None);
    }

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let text = |random| {
            let mut out = Vec::new();
            push_id(random, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(text(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(text(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), "01234567-89ab-4def-8123-456789abcdef");
    }
}
