//! MySQL's protocol, which MariaDB speaks too: the greeting is read, and answered by a login.
//!
//! A client that reads the greeting and goes is an error in the eyes of the server: after `max_connect_errors` of them it refuses
//! the host, and with it everybody who comes through it. So each check logs in, if only to be refused, which is no such error.

use super::{Dialogue, Verdict, plain, shown};

/// Who a check logs in as that was given no user: there is nobody of this name.
const NOBODY: &str = "tandem-check";
/// The longest packet that is read.
const LONGEST: usize = 8 * 1024;
/// CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION
const CAPABILITIES: u32 = 0x0000_8201;
const PLUGIN_AUTH: u32 = 0x0008_0000;
/// The character set of texts.
const UTF8: u8 = 33;
/// What the password, which is empty, would be scrambled with.
const PLUGIN: &[u8] = b"mysql_native_password\0";
/// An invalid authorization: the server works, and does not know the user.
const NOT_AUTHORIZED: &[u8] = b"28000";

/// Logs in to a server without a password.
#[derive(Debug)]
pub struct Mysql<'a> {
    /// None: it does not matter whether anybody is let in.
    user: Option<&'a str>,
    awaited: Awaited,
    version: String,
}

/// The packet that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Greeting,
    Login,
}

impl<'a> Mysql<'a> {
    /// As that user, who has to be let in without a password; without one, anybody's refusal is good.
    pub const fn new(user: Option<&'a str>) -> Self {
        Self { user, awaited: Awaited::Greeting, version: String::new() }
    }

    fn packet(&mut self, sequence: u8, body: &[u8], say: &mut Vec<u8>) -> Option<Verdict> {
        match (self.awaited, body) {
            (_, [0xff, error @ ..]) => Some(self.refusal(error)),
            (Awaited::Greeting, [10, greeting @ ..]) => {
                let Some(greeting) = Greeting::read(greeting) else {
                    return Some(Verdict::invalid(format!("a cut MySQL greeting: {}", shown(body))));
                };
                self.version = plain(greeting.version);
                self.awaited = Awaited::Login;
                write_packet(sequence.wrapping_add(1), &self.login(greeting.capabilities), say);
                None
            }
            (Awaited::Login, [0x00, ..]) => {
                // COM_QUIT
                write_packet(0, &[1], say);
                Some(Verdict::good(self.version.clone()))
            }
            // Another plugin is to be used for the password, which stays empty.
            (Awaited::Login, [0xfe, ..]) => {
                write_packet(sequence.wrapping_add(1), &[], say);
                None
            }
            // caching_sha2_password: accepted without looking closer, or not.
            (Awaited::Login, [0x01, 0x03]) => None,
            (Awaited::Login, [0x01, ..]) => Some(self.password_wanted()),
            (Awaited::Greeting, [version, ..]) if *version < 10 => {
                Some(Verdict::invalid(format!("MySQL's protocol {version}, expected 10")))
            }
            _ => Some(Verdict::invalid(format!("expected {}, got {}", self.awaited(), shown(body)))),
        }
    }

    fn login(&self, server: u32) -> Vec<u8> {
        const LARGEST_PACKET: u32 = 1 << 24;
        let capabilities = CAPABILITIES | PLUGIN_AUTH & server;
        let mut body = capabilities.to_le_bytes().to_vec();
        body.extend_from_slice(&LARGEST_PACKET.to_le_bytes());
        body.push(UTF8);
        body.extend_from_slice(&[0; 23]);
        body.extend_from_slice(self.user.unwrap_or(NOBODY).as_bytes());
        // The end of the name, and a password of no length.
        body.extend_from_slice(&[0, 0]);
        if capabilities & PLUGIN_AUTH != 0 {
            body.extend_from_slice(PLUGIN);
        }
        body
    }

    fn password_wanted(&self) -> Verdict {
        match self.user {
            Some(user) => Verdict::refused(format!("the user \"{user}\" has a password; a check sends none")),
            None => Verdict::good(self.version.clone()),
        }
    }

    /// An error: its number, perhaps `#` and an SQLSTATE, and a text.
    fn refusal(&self, error: &[u8]) -> Verdict {
        let Some((number, rest)) = error.split_first_chunk() else {
            return Verdict::invalid("a cut MySQL error");
        };
        let number = u16::from_le_bytes(*number);
        let (state, text) = match rest {
            [b'#', rest @ ..] => rest.split_at_checked(5).unwrap_or((&[], rest)),
            text => (&[][..], text),
        };
        let text = format!("error {number}: {}", plain(text));
        if self.user.is_none() && self.awaited == Awaited::Login && state == NOT_AUTHORIZED {
            return Verdict::good(self.version.clone());
        }
        Verdict::refused(text)
    }
}

impl Dialogue for Mysql<'_> {
    fn opening(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Option<Verdict> {
        while let Some(([low, middle, high, sequence], rest)) = heard.split_first_chunk::<4>() {
            let length = usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16;
            if !(1..=LONGEST).contains(&length) {
                return Some(Verdict::invalid(format!("not a MySQL packet: {}", shown(heard))));
            }
            let (sequence, body) = (*sequence, rest.get(..length)?.to_vec());
            heard.drain(..4 + length);
            if let Some(verdict) = self.packet(sequence, &body, say) {
                return Some(verdict);
            }
        }
        None
    }

    fn awaited(&self) -> String {
        match self.awaited {
            Awaited::Greeting => "a MySQL greeting",
            Awaited::Login => "an answer to the login",
        }
        .to_owned()
    }
}

/// What a greeting says of the server, after the protocol's version.
struct Greeting<'a> {
    version: &'a [u8],
    capabilities: u32,
}

impl<'a> Greeting<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let (version, rest) = bytes.split_at_checked(end)?;
        // The end of the version, a thread's number, half of a salt, and a filler.
        let rest = rest.get(1 + 4 + 8 + 1..)?;
        let (lower, rest) = rest.split_first_chunk()?;
        // A character set and a status; servers older than 4.1 end before them.
        let upper =
            rest.get(3..).and_then(|rest| rest.first_chunk()).map_or(0, |upper| u16::from_le_bytes(*upper));
        let capabilities = u32::from(upper) << 16 | u32::from(u16::from_le_bytes(*lower));
        Some(Self { version, capabilities })
    }
}

fn write_packet(sequence: u8, body: &[u8], say: &mut Vec<u8>) {
    let [low, middle, high, _] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    say.extend_from_slice(&[low, middle, high, sequence]);
    say.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::super::talk;
    use super::*;
    use crate::CheckCode::{self, L7Ok, L7Rsp, L7Sts};

    fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        write_packet(sequence, body, &mut packet);
        packet
    }

    fn greeting() -> Vec<u8> {
        let mut body = b"\x0a10.11.4-MariaDB\0".to_vec();
        body.extend_from_slice(&[1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
        body.extend_from_slice(&[0xff, 0xf7, 45, 2, 0, 0xff, 0x81, 21]);
        packet(0, &body)
    }

    fn error(number: u16, state: &str) -> Vec<u8> {
        let [low, high] = number.to_le_bytes();
        packet(2, &[&[0xff, low, high][..], state.as_bytes(), b"because"].concat())
    }

    fn found(user: Option<&str>, server: &[Vec<u8>]) -> (CheckCode, String) {
        let verdict = talk(&mut Mysql::new(user), &server.concat()).1;
        (verdict.code, verdict.text)
    }

    #[test]
    fn a_login_and_a_farewell() {
        let (said, verdict) =
            talk(&mut Mysql::new(Some("lb")), &[greeting(), packet(2, &[0, 0, 0])].concat());
        assert_eq!((verdict.code, verdict.text.as_str()), (L7Ok, "10.11.4-MariaDB"));
        let login = [
            &[58, 0, 0, 1, 0x01, 0x82, 0x08, 0, 0, 0, 0, 1, UTF8][..],
            &[0; 23],
            b"lb\0\0mysql_native_password\0",
            // COM_QUIT
            &[1, 0, 0, 0, 1],
        ];
        assert_eq!(said, login.concat());
    }

    #[test]
    fn a_named_user_has_to_be_let_in() {
        let denied = error(1045, "#28000");
        assert_eq!(found(Some("lb"), &[greeting(), denied.clone()]), (L7Sts, "error 1045: because".into()));
        assert_eq!(found(None, &[greeting(), denied]), (L7Ok, "10.11.4-MariaDB".into()));
        let wants_more = packet(2, &[1, 4]);
        assert_eq!(found(Some("lb"), &[greeting(), wants_more.clone()]).0, L7Sts);
        assert_eq!(found(None, &[greeting(), wants_more]).0, L7Ok);
    }

    #[test]
    fn an_overloaded_or_blocking_server_is_not_well() {
        for user in [Some("lb"), None] {
            assert_eq!(found(user, &[error(1129, "#HY000")]), (L7Sts, "error 1129: because".into()));
            assert_eq!(found(user, &[error(1040, "")]), (L7Sts, "error 1040: because".into()));
            assert_eq!(found(user, &[greeting(), error(1040, "#08004")]).0, L7Sts);
            assert_eq!(found(user, &[error(1045, "#28000")]).0, L7Sts, "nobody has tried to log in");
        }
    }

    #[test]
    fn another_plugin_gets_no_password_either() {
        let switch = packet(2, b"\xfecaching_sha2_password\0salt\0");
        let conversation = [greeting(), switch, packet(4, &[1, 3]), packet(5, &[0, 0, 0])].concat();
        let (said, verdict) = talk(&mut Mysql::new(Some("lb")), &conversation);
        assert_eq!(verdict.code, L7Ok);
        assert!(said.ends_with(&[0, 0, 0, 3, 1, 0, 0, 0, 1]), "{said:?}");
    }

    #[test]
    fn others_are_not_taken_for_databases() {
        for (server, text) in [
            (b"SSH-2.0-OpenSSH\r\n".to_vec(), "not a MySQL packet: \"SSH-"),
            (b"220 mail.example.org ESMTP\r\n".to_vec(), "not a MySQL packet: \"220 "),
            (packet(0, &[9, b'3', 0]), "MySQL's protocol 9, expected 10"),
            (packet(0, b"\x0a10.11"), "a cut MySQL greeting"),
            (packet(0, &[0xff, 1]), "a cut MySQL error"),
            (packet(0, &[200]), "expected a MySQL greeting, got \"\\xc8\""),
            (packet(0, &[]), "not a MySQL packet"),
            (greeting()[..20].to_vec(), "the connection was closed before a MySQL greeting, after"),
            (greeting(), "the connection was closed before an answer to the login"),
            ([greeting(), packet(2, &[7])].concat(), "expected an answer to the login, got"),
        ] {
            let (code, found) = found(Some("lb"), &[server]);
            assert_eq!(code, L7Rsp);
            assert!(found.starts_with(text), "{found}");
        }
    }
}
