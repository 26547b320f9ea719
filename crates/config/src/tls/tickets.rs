//! The keys by which sessions are resumed: a line each, in hexadecimal digits or base64.

use std::fmt;

use base64ct::{Base64, Encoding as _};

use crate::SecretBytes;
use crate::scalar::hex;

/// The least bytes of a key, and the most.
const LEAST: usize = 32;
const MOST: usize = 512;
/// The most keys: each is tried.
const MAX_KEYS: usize = 16;

/// What is wrong, after the name of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    None,
    Unclear(usize),
    Short(usize),
    Twice(usize),
    Many,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str(": no key is in it; \"openssl rand -hex 64\" makes one"),
            Self::Unclear(line) => write!(
                f,
                ":{line}: this is no key in hexadecimal digits or base64; \"openssl rand -hex 64\" makes one"
            ),
            Self::Short(line) => {
                write!(f, ":{line}: a key has {LEAST} to {MOST} bytes; \"openssl rand -hex 64\" makes one")
            }
            Self::Twice(line) => write!(f, ":{line}: this key stands there before"),
            Self::Many => write!(f, ": it has more than {MAX_KEYS} keys; remove the old ones"),
        }
    }
}

/// The keys of a file. Empty lines and those that begin with `#` count for nothing.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<SecretBytes>, Problem> {
    let mut keys = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if keys.len() == MAX_KEYS {
            return Err(Problem::Many);
        }
        let key = key(line, index + 1)?;
        if keys.contains(&key) {
            return Err(Problem::Twice(index + 1));
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(Problem::None) } else { Ok(keys) }
}

fn key(line: &[u8], number: usize) -> Result<SecretBytes, Problem> {
    if line.len() > 2 * MOST {
        return Err(Problem::Short(number));
    }
    let text = std::str::from_utf8(line).map_err(|_| Problem::Unclear(number))?;
    let mut buffer = [0; 2 * MOST];
    let key = match hex(text) {
        Ok(bytes) => bytes,
        Err(_) => Base64::decode(text, &mut buffer).map_err(|_| Problem::Unclear(number))?.to_vec(),
    };
    if (LEAST..=MOST).contains(&key.len()) { Ok(SecretBytes::new(key)) } else { Err(Problem::Short(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Result<Vec<usize>, Problem> {
        parse(text.as_bytes()).map(|keys| keys.iter().map(|key| key.expose().len()).collect())
    }

    #[test]
    fn a_line_is_a_key() {
        let (hex, base64) = ("0f".repeat(32), format!("{}==", "A".repeat(86)));
        assert_eq!(lengths(&format!("# the first\n{hex}\r\n\n  {base64}  \n")), Ok(vec![32, 64]));
        assert_eq!(lengths(&"Ab".repeat(512)), Ok(vec![512]));
        let keys = parse(hex.as_bytes()).unwrap();
        assert!(keys[0].expose().iter().all(|byte| *byte == 0x0f));
    }

    #[test]
    fn what_is_no_key_is_told_by_its_line() {
        let key = "0f".repeat(32);
        assert_eq!(lengths("# nothing\n"), Err(Problem::None));
        assert_eq!(lengths(&format!("{key}\nsecret!\n")), Err(Problem::Unclear(2)));
        assert_eq!(lengths("\u{e4}"), Err(Problem::Unclear(1)));
        assert_eq!(lengths(&"0f".repeat(31)), Err(Problem::Short(1)));
        assert_eq!(lengths(&"0f".repeat(600)), Err(Problem::Short(1)));
        assert_eq!(lengths("QUJD"), Err(Problem::Short(1)));
        assert_eq!(lengths(&format!("{key}\n{}\n", key.to_uppercase())), Err(Problem::Twice(2)));
        let many: String = (0..17).map(|n| format!("{n:02x}{}\n", "0f".repeat(31))).collect();
        assert_eq!(lengths(&many), Err(Problem::Many));
    }
}
