//! What a check says and hears on its connection: an engine for each protocol, without the connection.
//!
//! The driver connects, says the [`Dialogue::opening`], hands over what arrives, and says what it is given to say, until there is
//! a [`Verdict`]. It bounds how long that may take and how much may arrive. What a server sends is untrusted: it comes into
//! verdicts only as [`shown`].

mod lines;
mod mysql;
mod postgres;
mod redis;
mod smtp;
mod steps;

pub use mysql::Mysql;
pub use postgres::Postgres;
pub use redis::{Redis, RedisRole};
pub use smtp::Smtp;
pub use steps::{Step, Steps};

use crate::CheckCode;

/// The most bytes that a server may send in a check, unless its protocol has another bound.
pub const MOST: u64 = 16 * 1024;

/// One check's conversation with a server.
pub trait Dialogue: Send {
    /// What is said before anything is heard; empty where the server speaks first.
    fn opening(&mut self) -> Vec<u8>;

    /// Takes what it can of the bytes heard: those that it left before, and new ones behind them. What is to be said now is added
    /// to `say`; together with a verdict it is a farewell.
    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Option<Verdict>;

    /// What is waited for, in words: `the greeting`.
    fn awaited(&self) -> String;

    /// The server has ended its side. `heard` is what was left.
    fn ended(&mut self, heard: &[u8]) -> Verdict {
        let text = match heard {
            [] => format!("the connection was closed before {}", self.awaited()),
            _ => format!("the connection was closed before {}, after {}", self.awaited(), shown(heard)),
        };
        Verdict::invalid(text)
    }

    /// Time is over. `heard` is what was left, `patience` how long it was waited in words.
    fn late(&self, heard: &[u8], patience: &str) -> String {
        match heard {
            [] => format!("connected, but not {} within {patience}", self.awaited()),
            _ => format!("connected, but not {} within {patience}, only {}", self.awaited(), shown(heard)),
        }
    }

    /// Where the protocol stands.
    fn layer(&self) -> Layer {
        Layer::Application
    }

    /// How many bytes the server may send until there is a verdict.
    fn most(&self) -> u64 {
        MOST
    }

    /// How many bytes may come next at once.
    fn room(&self) -> usize {
        1024
    }
}

/// Where a protocol stands, in HAProxy's counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// TLS: layer 6.
    Session,
    /// What is spoken by applications: layer 7.
    Application,
}

impl Layer {
    /// No whole answer in time.
    pub const fn late(self) -> CheckCode {
        match self {
            Self::Session => CheckCode::L6Tout,
            Self::Application => CheckCode::L7Tout,
        }
    }

    /// No answer of the protocol.
    pub const fn invalid(self) -> CheckCode {
        match self {
            Self::Session => CheckCode::L6Rsp,
            Self::Application => CheckCode::L7Rsp,
        }
    }
}

/// What came of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub code: CheckCode,
    /// The HTTP status of the answer, if there was one.
    pub http_status: Option<u16>,
    /// One line for people.
    pub text: String,
}

impl Verdict {
    /// The server is well.
    pub fn good(text: impl Into<String>) -> Self {
        Self::new(CheckCode::L7Ok, text)
    }

    /// An answer of the protocol, but not the one that was wanted.
    pub fn refused(text: impl Into<String>) -> Self {
        Self::new(CheckCode::L7Sts, text)
    }

    /// No answer of the protocol.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(CheckCode::L7Rsp, text)
    }

    /// With that code, and without an HTTP status.
    pub fn new(code: CheckCode, text: impl Into<String>) -> Self {
        Self { code, http_status: None, text: text.into() }
    }
}

/// Bytes of a server for people: in quotes, what is not printable escaped, and not too long.
pub fn shown(bytes: &[u8]) -> String {
    let (start, more) = start(bytes);
    format!("\"{}{more}\"", start.escape_ascii())
}

/// The same without quotes, for what is a text by its protocol: quotes stay as they are.
fn plain(bytes: &[u8]) -> String {
    let (start, more) = start(bytes);
    let mut text = String::new();
    for byte in start {
        match byte {
            b'"' | b'\'' => text.push(char::from(*byte)),
            _ => text.extend(byte.escape_ascii().map(char::from)),
        }
    }
    text + more
}

/// What is shown of bytes, and what stands for the rest.
fn start(bytes: &[u8]) -> (&[u8], &'static str) {
    const LONGEST: usize = 100;
    match bytes.get(..LONGEST) {
        Some(start) if bytes.len() > LONGEST => (start, "..."),
        _ => (bytes, ""),
    }
}

/// A conversation in which a server says all this, byte by byte, and then ends its side: what it was told, and the verdict.
#[cfg(test)]
fn talk(dialogue: &mut dyn Dialogue, server: &[u8]) -> (Vec<u8>, Verdict) {
    let mut said = dialogue.opening();
    let mut heard = Vec::new();
    for byte in server {
        heard.push(*byte);
        if let Some(verdict) = dialogue.hear(&mut heard, &mut said) {
            return (said, verdict);
        }
    }
    (said, dialogue.ended(&heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_send_is_shown_on_one_line_and_bounded() {
        assert_eq!(shown(b"a\r\n\x1b[1m\"\xff"), r#""a\r\n\x1b[1m\"\xff""#);
        assert_eq!(plain(b"user 'a'@\"b\"\n"), r#"user 'a'@"b"\n"#);
        assert_eq!(shown(&[b'x'; 100]).len(), 102);
        assert_eq!(shown(&[b'x'; 1000]).len(), 105);
    }
}
