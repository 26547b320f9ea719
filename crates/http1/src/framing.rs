//! Where a body ends, as its head's fields say it (RFC 9112 section 6).

use crate::bytes::{is_token, list, trim};
use crate::fault::HeadFault;
use crate::{Body, Version};

/// What Content-Length and Transfer-Encoding say together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Framing {
    length: Option<u64>,
    coding: Option<Coding>,
}

/// The transfer codings so far, over all fields.
#[derive(Clone, Copy, Debug, Default)]
struct Coding {
    /// Chunked was the last one.
    chunked: bool,
    /// There was another one.
    unknown: bool,
}

impl Framing {
    // RFC 9110 section 8.6: "a sender MUST NOT forward a message with a Content-Length header field value that is known to be incorrect"
    /// Takes a Content-Length. Returns false if it only repeats an earlier one, and is not to be sent on.
    pub(crate) fn content_length(&mut self, value: &[u8]) -> Result<bool, HeadFault> {
        let value = parse_length(trim(value))?;
        match self.length.replace(value) {
            None => Ok(true),
            Some(earlier) if earlier == value => Ok(false),
            Some(_) => Err(HeadFault::ContentLengthConflict),
        }
    }

    /// Takes a Transfer-Encoding. Parameters are no codings that we know, and chunked has none.
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        let coding = self.coding.get_or_insert_default();
        for element in list(value) {
            if coding.chunked || !is_token(element) {
                return Err(HeadFault::TransferEncoding);
            }
            coding.chunked = element.eq_ignore_ascii_case(b"chunked");
            coding.unknown |= !coding.chunked;
        }
        Ok(())
    }

    /// The body of a message with these fields; `None` without any of them.
    pub(crate) fn body(self, version: Version) -> Result<Option<Body>, HeadFault> {
        match (self.coding, self.length) {
            (None, None) => Ok(None),
            (None, Some(0)) => Ok(Some(Body::Empty)),
            (None, Some(length)) => Ok(Some(Body::Length(length))),
            (Some(_), Some(_)) => Err(HeadFault::LengthAndCoding),
            (Some(_), None) if version == Version::Http10 => Err(HeadFault::CodingInHttp10),
            (Some(coding), None) if !coding.chunked => Err(HeadFault::FinalCodingNotChunked),
            (Some(coding), None) if coding.unknown => Err(HeadFault::UnknownCoding),
            (Some(_), None) => Ok(Some(Body::Chunked)),
        }
    }
}

/// Decimal digits alone, at most `i64::MAX`, which any server can hold.
fn parse_length(digits: &[u8]) -> Result<u64, HeadFault> {
    if digits.is_empty() {
        return Err(HeadFault::ContentLength);
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit).filter(|value| i64::try_from(*value).is_ok())
    });
    value.ok_or(HeadFault::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_decimal_digits_in_range() {
        for (text, value) in
            [("0", 0), ("5", 5), ("007", 7), ("9223372036854775807", i64::MAX.unsigned_abs())]
        {
            assert_eq!(parse_length(text.as_bytes()), Ok(value), "{text}");
        }
        for text in [
            "",
            "+1",
            "-1",
            "1 2",
            "1,1",
            "0x5",
            "5.0",
            "9223372036854775808",
            "18446744073709551616",
            "\u{664}",
        ] {
            assert_eq!(parse_length(text.as_bytes()), Err(HeadFault::ContentLength), "{text}");
        }
    }

    /// The outcome for a message with these Transfer-Encoding fields.
    fn codings(values: &[&str]) -> Result<Option<Body>, HeadFault> {
        let mut framing = Framing::default();
        for value in values {
            framing.transfer_encoding(value.as_bytes())?;
        }
        framing.body(Version::Http11)
    }

    #[test]
    fn only_chunked_alone_is_taken() {
        for value in ["chunked", "Chunked", "CHUNKED", " chunked ", "\tchunked", "chunked\t"] {
            assert_eq!(codings(&[value]), Ok(Some(Body::Chunked)), "{value}");
        }
        let malformed: [&[&str]; 12] = [
            &[""],
            &[","],
            &["chunked,"],
            &[", chunked"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["chunked, gzip"],
            &["chunked;a=b"],
            &["chunked chunked"],
            &["\"chunked\""],
            &["chunk\ted"],
            &["chunked\u{a0}"],
        ];
        for values in malformed {
            assert_eq!(codings(values), Err(HeadFault::TransferEncoding), "{values:?}");
        }
        for values in [["gzip"], ["xchunked"], ["identity"], ["chunked1"]] {
            assert_eq!(codings(&values), Err(HeadFault::FinalCodingNotChunked), "{values:?}");
        }
        assert_eq!(codings(&["gzip, chunked"]), Err(HeadFault::UnknownCoding));
        assert_eq!(codings(&["gzip", "chunked"]), Err(HeadFault::UnknownCoding));
        assert_eq!(codings(&["identity, chunked"]), Err(HeadFault::UnknownCoding));
    }
}
