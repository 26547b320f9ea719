//! The field names that mean something to a proxy.

use crate::request::ForwardedField;

/// A field name that means something to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Connection,
    ContentLength,
    Expect,
    /// One that tells where a request is from: X-Forwarded-For, spelled so, another one that we know, in any spelling, or else any
    /// `X-Forwarded-*`.
    Forwarded(Option<ForwardedField>),
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

/// The fields that frame messages, or are between neighbours only: nobody but their parsers and writers may touch them. In lower
/// case.
pub const FRAMING_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

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

/// Whether two names are of one field, to some server: in any case, and with an underscore for a dash.
#[inline]
pub fn is_same_field(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && field_starts_with(a, b)
}

/// Whether a field's name starts so, compared in the same way.
#[inline]
pub fn field_starts_with(name: &[u8], start: &[u8]) -> bool {
    name.len() >= start.len() && name.iter().zip(start).all(|(a, b)| FOLD[*a as usize] == FOLD[*b as usize])
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
            9 if is(name, b"forwarded") => Self::Forwarded(Some(ForwardedField::Forwarded)),
            9 if is(name, b"x-real-ip") => Self::Forwarded(Some(ForwardedField::RealIp)),
            10 if is(name, b"connection") => Self::Connection,
            10 if is(name, b"keep-alive") => Self::HopByHop,
            14 if is(name, b"content-length") && underscored() => Self::FramingLookAlike,
            14 if is(name, b"content-length") => Self::ContentLength,
            14 if is(name, b"http2-settings") => Self::HopByHop,
            15 if is(name, b"x-forwarded-for") && !underscored() => {
                Self::Forwarded(Some(ForwardedField::For))
            }
            16 if is(name, b"proxy-connection") => Self::HopByHop,
            16 if is(name, b"x-forwarded-host") => Self::Forwarded(Some(ForwardedField::Host)),
            16 if is(name, b"x-forwarded-port") => Self::Forwarded(Some(ForwardedField::Port)),
            17 if is(name, b"transfer-encoding") && underscored() => Self::FramingLookAlike,
            17 if is(name, b"transfer-encoding") => Self::TransferEncoding,
            17 if is(name, b"x-forwarded-proto") => Self::Forwarded(Some(ForwardedField::Proto)),
            11.. if starts_with(name, b"x-forwarded") => Self::Forwarded(None),
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
        let cases: [(&str, Name); 23] = [
            ("Connection", Name::Connection),
            ("Content-Length", Name::ContentLength),
            ("Content_Length", Name::FramingLookAlike),
            ("Expect", Name::Expect),
            ("X-Forwarded-For", Name::Forwarded(Some(ForwardedField::For))),
            ("X_Forwarded_For", Name::Forwarded(None)),
            ("X-Forwarded_For", Name::Forwarded(None)),
            ("X-Forwarded-Proto", Name::Forwarded(Some(ForwardedField::Proto))),
            ("X_Forwarded_Proto", Name::Forwarded(Some(ForwardedField::Proto))),
            ("X-Forwarded-Host", Name::Forwarded(Some(ForwardedField::Host))),
            ("X_Forwarded-Port", Name::Forwarded(Some(ForwardedField::Port))),
            ("X-Forwarded", Name::Forwarded(None)),
            ("X-Real-IP", Name::Forwarded(Some(ForwardedField::RealIp))),
            ("Forwarded", Name::Forwarded(Some(ForwardedField::Forwarded))),
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
    fn what_frames_messages_is_known_as_such() {
        for name in FRAMING_FIELDS {
            let known = Name::of(name.as_bytes());
            assert!(
                name == "trailer" || !matches!(known, Name::Other | Name::Forwarded(_)),
                "{name}: {known:?}"
            );
        }
        assert!(is_same_field(b"X_Real-ip", b"x-real_IP") && !is_same_field(b"x-real-ip", b"x-real-i"));
        assert!(field_starts_with(b"X-Debug-Level", b"x_debug-") && !field_starts_with(b"X", b"x-"));
    }

    #[test]
    fn the_essential_names_are_folded_and_sorted() {
        assert!(ESSENTIAL.is_sorted());
        assert!(ESSENTIAL.iter().all(|name| name.iter().all(|byte| FOLD[*byte as usize] == *byte)));
    }
}
