//! Distinguished names as texts (RFC 4514).
//!
//! Types have the words that OpenSSL has for them, so that a name reads as in HAProxy and nginx. Every byte that is not printable ASCII
//! is escaped: such a text fits into a field of a head, and into a line of a log.

use std::fmt::Write;

use x509_parser::asn1_rs::{Any, Tag, ToDer as _};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// A name, as RFC 4514 section 2 writes it: what stands last in the certificate comes first.
pub(crate) fn text(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (place, part) in parts.into_iter().rev().enumerate() {
        let attributes: Vec<_> = part.iter().collect();
        for (index, attribute) in attributes.into_iter().rev().enumerate() {
            match (place, index) {
                (0, 0) => {}
                (_, 0) => out.push(','),
                _ => out.push('+'),
            }
            push(attribute, &mut out);
        }
    }
    out
}

fn push(attribute: &AttributeTypeAndValue<'_>, out: &mut String) {
    let id = attribute.attr_type().to_id_string();
    let value = attribute.attr_value();
    match (word(&id), characters(value)) {
        (Some(word), Some(text)) => {
            out.push_str(word);
            out.push('=');
            push_escaped(&text, out);
        }
        // RFC 4514 section 2.4: what has no word, or is no text, is written as its encoding.
        (word, _) => {
            out.push_str(word.unwrap_or(&id));
            out.push_str("=#");
            for byte in value.to_der_vec().unwrap_or_default() {
                // A String takes everything.
                _ = write!(out, "{byte:02X}");
            }
        }
    }
}

/// OpenSSL's word for a type: that of RFC 4514 section 3 where there is one.
fn word(id: &str) -> Option<&'static str> {
    Some(match id {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.15" => "businessCategory",
        "2.5.4.17" => "postalCode",
        "2.5.4.41" => "name",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "2.5.4.97" => "organizationIdentifier",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "1.3.6.1.4.1.311.60.2.1.1" => "jurisdictionL",
        "1.3.6.1.4.1.311.60.2.1.2" => "jurisdictionST",
        "1.3.6.1.4.1.311.60.2.1.3" => "jurisdictionC",
        _ => return None,
    })
}

/// The characters of a value; none if it is no text, or not the text that it says it is.
fn characters(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::NumericString | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => {
            bytes.is_ascii().then(|| bytes.iter().copied().map(char::from).collect())
        }
        // Everybody takes it for Latin-1, whatever ITU-T T.61 says.
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            let text: Result<String, _> = char::decode_utf16(units).collect();
            text.ok().filter(|_| rest.is_empty())
        }
        Tag::UniversalString => {
            let (units, rest) = bytes.as_chunks::<4>();
            let text = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect();
            rest.is_empty().then_some(text).flatten()
        }
        _ => None,
    }
}

/// RFC 4514 section 2.4.
fn push_escaped(text: &str, out: &mut String) {
    let last = text.chars().count().saturating_sub(1);
    for (place, c) in text.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', c]),
            '#' if place == 0 => out.push_str("\\#"),
            ' ' if place == 0 || place == last => out.push_str("\\ "),
            ' '..='~' => out.push(c),
            _ => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    _ = write!(out, "\\{byte:02X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attribute of a type whose last number is given, beside 2.5.4.
    fn attribute(id: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let value = [&[tag, u8::try_from(value.len()).unwrap()], value].concat();
        sequence(0x30, &[&[6, 3, 85, 4, id][..], &value].concat())
    }

    fn sequence(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    /// The text of a name, each of whose parts has some attributes.
    fn written(parts: &[&[Vec<u8>]]) -> String {
        let parts: Vec<_> = parts.iter().map(|part| sequence(0x31, &part.concat())).collect();
        let der = sequence(0x30, &parts.concat());
        let (_, name) = <X509Name<'_> as x509_parser::prelude::FromDer<'_, _>>::from_der(&der).unwrap();
        text(&name)
    }

    #[test]
    fn the_last_part_comes_first() {
        let name = written(&[
            &[attribute(6, 19, b"DE")],
            &[attribute(11, 12, b"a"), attribute(11, 12, b"b")],
            &[attribute(3, 12, b"one")],
        ]);
        assert_eq!(name, "CN=one,OU=b+OU=a,C=DE");
        assert_eq!(written(&[]), "");
    }

    #[test]
    fn texts_of_every_kind_are_read() {
        let of = |tag, value: &[u8]| written(&[&[attribute(3, tag, value)]]);
        for (tag, value) in
            [(12, &b"M\xc3\xbc"[..]), (20, b"M\xfc"), (30, b"\0M\0\xfc"), (28, b"\0\0\0M\0\0\0\xfc")]
        {
            assert_eq!(of(tag, value), "CN=M\\C3\\BC", "tag {tag}");
        }
        for tag in [12, 18, 19, 22, 26] {
            assert_eq!(of(tag, b"1 2"), "CN=1 2", "tag {tag}");
        }
        // An INTEGER is none, and neither is half a character.
        assert_eq!(of(2, &[5]), "CN=#020105");
        assert_eq!(of(30, b"\0M\0"), "CN=#1E03004D00");
        assert_eq!(written(&[&[attribute(100, 12, b"a")]]), "2.5.4.100=#0C0161");
    }

    #[test]
    fn nothing_in_it_ends_a_part_or_a_line() {
        let of = |value: &str| written(&[&[attribute(10, 12, value.as_bytes())]]);
        assert_eq!(of("a,b+c\"d\\e<f>g;h=i"), "O=a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=i");
        assert_eq!(of(" a  b "), "O=\\ a  b\\ ");
        assert_eq!(of(" "), "O=\\ ");
        assert_eq!(of("#1#"), "O=\\#1#");
        assert_eq!(of("a\r\nX: 1\0\t\u{7f}"), "O=a\\0D\\0AX: 1\\00\\09\\7F");
        assert_eq!(of(""), "O=");
    }
}
