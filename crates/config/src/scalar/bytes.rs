//! What is sent to servers, and looked for in what they send: texts, and bytes in hexadecimal digits.

use super::Problem;

/// The longest of them, in bytes.
const LONGEST: usize = 1024;

/// A text that is sent or looked for.
pub(crate) fn wanted(text: &str) -> Result<String, Problem> {
    if (1..=LONGEST).contains(&text.len()) { Ok(text.to_owned()) } else { Err(Problem::Unexpected) }
}

/// Bytes as hexadecimal digits, two each; spaces make no difference.
pub(crate) fn hex(text: &str) -> Result<Vec<u8>, Problem> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let Some(digits) = digits else { return Err(Problem::Unexpected) };
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Problem::because("a byte has two hexadecimal digits; one is missing");
    }
    if !(1..=LONGEST).contains(&pairs.len()) {
        return Err(Problem::Unexpected);
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_hexadecimal_digits() {
        assert_eq!(hex("50 49\n4E47 0d0a"), Ok(b"PING\r\n".to_vec()));
        for text in ["", " ", "5", "505", "0x50", "5g"] {
            assert!(hex(text).is_err(), "{text}");
        }
        assert!(hex(&"00".repeat(1024)).is_ok() && hex(&"00".repeat(1025)).is_err());
    }
}
