//! `users` and `open` of each `admin`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::Section;
use crate::scalar::Problem;
use crate::{Access, OpenPath, Secret};

/// The rounds of a hash that are wide enough to be safe, and few enough that wrong passwords keep no processor busy.
const ROUNDS: RangeInclusive<u32> = 1_000..=100_000;
/// How many users there may be.
const USERS_MAX: usize = 100;

const MAKE: &str = "\"mkpasswd -m sha-512\" or \"openssl passwd -6\" make one";
const DEFAULT: [OpenPath; 2] = [OpenPath::Health, OpenPath::Ready];

impl Access {
    /// Reads who may see the pages at an address.
    pub(crate) fn read(s: &mut Section<'_>, bind: SocketAddr) -> Self {
        let value = s.value("users", "a mapping of names to hashes of their passwords", "everybody may look");
        let users = value.entries("user", "a hash of a password", |name, value| {
            if !is_name(name) {
                value.key_error(
                    "is no name that a browser could send: 1 to 64 visible characters without \":\"",
                );
            }
            Some((name.to_owned(), value.secret(hash)?))
        });
        if users.len() > USERS_MAX {
            value.error(format_args!("has more than {USERS_MAX} users"));
        }
        let words = OpenPath::ALL.map(OpenPath::word);
        let open =
            s.value("open", format_args!("one of {}, or a list of them", words.join(", ")), "health, ready");
        let listed = open.one_or_more(|text| {
            let found = OpenPath::ALL.into_iter().find(|path| path.word() == text);
            found.ok_or_else(|| Problem::NoneOf { word: text.to_owned(), words: words.to_vec() })
        });
        if value.is_given() && !users.is_empty() && !bind.ip().is_loopback() {
            value.warning(
                format_args!("asks for passwords at {bind}, and they cross the network as they are"),
                "listen on 127.0.0.1 behind something that speaks TLS, or on a network that you trust",
            );
        }
        if open.is_given() && !value.is_given() {
            open.warning(
                "is open to everybody, as all else is",
                "without users nobody is asked for a password",
            );
        }
        let open = match open.is_given() {
            true => listed.into_iter().map(|(_, path)| path).collect(),
            false => DEFAULT.to_vec(),
        };
        Self { users, open }
    }
}

fn is_name(name: &str) -> bool {
    let is_usual = |c: char| !c.is_control() && c != ':';
    (1..=64).contains(&name.len()) && name.chars().all(is_usual)
}

/// A hash as crypt(3) writes it: `$6$SALT$HASH`, `$5$rounds=N$SALT$HASH`. Nothing of it is told when it is wrong.
fn hash(text: &str) -> Result<Secret, Problem> {
    let length = match text.split('$').nth(1).filter(|_| text.starts_with('$')) {
        Some("6") => 86,
        Some("5") => 43,
        Some("y" | "gy" | "7") => {
            return Problem::because(format!("hashes of yescrypt and scrypt are not understood: {MAKE}"));
        }
        Some("2a" | "2b" | "2y") => {
            return Problem::because(format!("hashes of bcrypt are not understood: {MAKE}"));
        }
        Some("1" | "apr1") => return Problem::because(format!("MD5 is no protection any more: {MAKE}")),
        Some(scheme) if scheme.starts_with("argon2") => {
            return Problem::because(format!("hashes of Argon2 are not understood: {MAKE}"));
        }
        _ => return Problem::because(format!("a password does not stand here, but a hash of it: {MAKE}")),
    };
    let mut parts: Vec<&str> = text.split('$').skip(2).collect();
    if let Some(rounds) = parts.first().and_then(|part| part.strip_prefix("rounds=")) {
        if !rounds.parse().is_ok_and(|rounds| ROUNDS.contains(&rounds)) {
            let (least, most) = ROUNDS.into_inner();
            return Problem::because(format!("a hash has {least} to {most} rounds: {MAKE}"));
        }
        parts.remove(0);
    }
    let is_usual =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'));
    match parts[..] {
        [salt, hash] if salt.len() <= 16 && hash.len() == length && is_usual(salt) && is_usual(hash) => {
            Ok(Secret::new(text))
        }
        _ => Problem::because(format!("a part of the hash is missing: {MAKE}")),
    }
}
