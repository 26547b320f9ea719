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
