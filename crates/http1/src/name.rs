//! The field names that mean something to a proxy.

/// A field name that means something to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Connection,
    ContentLength,
    Expect,
    /// X-Forwarded-For, spelled so.
    ForwardedFor,
    /// X-Forwarded-Proto, in any spelling.
    ForwardedProto,
    /// Forwarded, X-Real-IP, any other `X-Forwarded-*`, and these in any spelling.
    Forwarding,
    /// Content-Length or Transfer-Encoding spelled with an underscore.
    FramingLookAlike,
    /// Keep-Alive, Proxy-Connection, HTTP2-Settings: for the next hop only, and of no use to us.
    HopByHop,
    Host,
    Te,
    TransferEncoding,
    Upgrade,
    /// Anything else.
    Other,
}

/// Fields that decide how a message is routed, authenticated or processed, besides those of [`Name`] and `content-*`.
///
/// They cannot be named away by Connection (RFC 9110 section 7.6.1), nor come late, as a trailer (section 6.5.1).
const ESSENTIAL: [&[u8]; 36] = [
    b"age",
    b"authentication-info",
    b"authorization",
    b"cache-control",
    b"cookie",
    b"date",
    b"expires",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"max-forwards",
    b"origin",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authentication-info",
    b"proxy-authorization",
    b"range",
    b"referer",
    b"retry-after",
    b"set-cookie",
    b"set-cookie2",
    b"strict-transport-security",
    b"trailer",
    b"true-client-ip",
    b"user-agent",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
    b"x-client-ip",
    b"x-http-method-override",
    b"x-original-url",
    b"x-rewrite-url",
];

/// Lower case, and a dash for an underscore, as servers that hand fields over as CGI variables read a name.
const FOLD: [u8; 256] = fold();

const fn fold() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

/// Whether `name` is the field `known` (lower case, dashes), in any case and with underscores for dashes.
#[inline]
fn is(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len() && starts_with(name, known)
}

#[inline]
fn starts_with(name: &[u8], known: &[u8]) -> bool {
    name.len() >= known.len() && name.iter().zip(known).all(|(a, b)| FOLD[*a as usize] == *b)
}

impl Name {
    /// What a field name means to a proxy.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Self {
        let underscored = || name.contains(&b'_');
        match name.len() {
            2 if is(name, b"te") => Self::Te,
            4 if is(name, b"host") => Self::Host,
            6 if is(name, b"expect") => Self::Expect,
            7 if is(name, b"upgrade") => Self::Upgrade,
            9 if is(name, b"forwarded") || is(name, b"x-real-ip") => Self::Forwarding,
            10 if is(name, b"connection") => Self::Connection,
            10 if is(name, b"keep-alive") => Self::HopByHop,
            14 if is(name, b"content-length") && underscored() => Self::FramingLookAlike,
            14 if is(name, b"content-length") => Self::ContentLength,
            14 if is(name, b"http2-settings") => Self::HopByHop,
            15 if is(name, b"x-forwarded-for") && !underscored() => Self::ForwardedFor,
            16 if is(name, b"proxy-connection") => Self::HopByHop,
            17 if is(name, b"transfer-encoding") && underscored() => Self::FramingLookAlike,
            17 if is(name, b"transfer-encoding") => Self::TransferEncoding,
            17 if is(name, b"x-forwarded-proto") => Self::ForwardedProto,
            11.. if starts_with(name, b"x-forwarded") => Self::Forwarding,
            _ => Self::Other,
        }
    }
}

/// Whether a field decides how a message is framed, routed, authenticated or processed.
pub(crate) fn is_essential(name: &[u8]) -> bool {
    Name::of(name) != Name::Other
        || starts_with(name, b"content-")
        || ESSENTIAL.iter().any(|essential| is(name, essential))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        let cases: [(&str, Name); 22] = [
            ("Connection", Name::Connection),
            ("Content-Length", Name::ContentLength),
            ("Content_Length", Name::FramingLookAlike),
            ("Expect", Name::Expect),
            ("X-Forwarded-For", Name::ForwardedFor),
            ("X_Forwarded_For", Name::Forwarding),
            ("X-Forwarded_For", Name::Forwarding),
            ("X-Forwarded-Proto", Name::ForwardedProto),
            ("X_Forwarded_Proto", Name::ForwardedProto),
            ("X-Forwarded-Host", Name::Forwarding),
            ("X-Forwarded", Name::Forwarding),
            ("X-Real-IP", Name::Forwarding),
            ("Forwarded", Name::Forwarding),
            ("Keep-Alive", Name::HopByHop),
            ("Proxy-Connection", Name::HopByHop),
            ("HTTP2-Settings", Name::HopByHop),
            ("Host", Name::Host),
            ("TE", Name::Te),
            ("Transfer-Encoding", Name::TransferEncoding),
            ("Transfer_Encoding", Name::FramingLookAlike),
            ("Upgrade", Name::Upgrade),
            ("X-Request-Id", Name::Other),
        ];
        for (text, name) in cases {
            assert_eq!(Name::of(text.as_bytes()), name, "{text}");
            assert_eq!(Name::of(text.to_ascii_lowercase().as_bytes()), name, "{text} in lower case");
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), name, "{text} in upper case");
        }
    }

    #[test]
    fn essential_fields_are_recognised_in_any_spelling() {
        for name in ["Authorization", "SET_COOKIE", "content-type", "Host", "x-forwarded-for", "Via", "TE"] {
            assert!(is_essential(name.as_bytes()), "{name}");
        }
        for name in ["X-Checksum", "Server-Timing", "Grpc-Status", "contentment", "Digest"] {
            assert!(!is_essential(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_essential_names_are_folded_and_sorted() {
        assert!(ESSENTIAL.is_sorted());
        assert!(ESSENTIAL.iter().all(|name| name.iter().all(|byte| FOLD[*byte as usize] == *byte)));
    }
}
