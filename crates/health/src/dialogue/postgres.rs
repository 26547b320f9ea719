//! PostgreSQL's protocol 3: a session is asked for, and the answer says whether the server gives any.
//!
//! A request for a password shows a server that works, and nothing more is asked of it: no password is ever sent.

use super::{Dialogue, Verdict, plain, shown};

/// The version of the protocol, 3.0, in a startup message.
const PROTOCOL: u32 = 3 << 16;
/// The longest message that is read: errors have a few hundred bytes.
const LONGEST: usize = 8 * 1024;

/// Asks a server for a session.
#[derive(Debug)]
pub struct Postgres<'a> {
    user: &'a str,
    database: Option<&'a str>,
    /// The session was granted, and is being made.
    granted: bool,
}

impl<'a> Postgres<'a> {
    /// As that user, in that database; without one in that of the user's name.
    pub const fn new(user: &'a str, database: Option<&'a str>) -> Self {
        Self { user, database, granted: false }
    }

    fn message(&mut self, kind: u8, body: &[u8], say: &mut Vec<u8>) -> Option<Verdict> {
        match kind {
            b'R' => match body.first_chunk().map(|code| u32::from_be_bytes(*code)) {
                Some(0) => {
                    self.granted = true;
                    None
                }
                Some(2..=12) if !self.granted => Some(Verdict::good("asks for a password")),
                _ => Some(Verdict::invalid(format!(
                    "not a PostgreSQL authentication request: {}",
                    shown(body)
                ))),
            },
            b'E' => Some(self.refusal(&Refusal::read(body))),
            // Ready for queries: a session is there, and ends here.
            b'Z' if self.granted => {
                say.extend_from_slice(b"X\0\0\0\x04");
                Some(Verdict::good("session granted"))
            }
            // A notice, a parameter, the key for cancelling, other options of the protocol.
            b'N' | b'S' | b'K' | b'v' => None,
            _ => {
                Some(Verdict::invalid(format!("not a PostgreSQL message of this moment: {}", shown(&[kind]))))
            }
        }
    }

    fn refusal(&self, refusal: &Refusal) -> Verdict {
        let text = refusal.to_string();
        // Authentication has passed: what the check's user or its unnamed database lacks is not the server's fault.
        let is_users =
            refusal.state.starts_with(b"28") || refusal.state.starts_with(b"3D") && self.database.is_none();
        if self.granted && is_users { Verdict::good(text) } else { Verdict::refused(text) }
    }
}

impl Dialogue for Postgres<'_> {
    fn opening(&mut self) -> Vec<u8> {
        let mut message = vec![0; 4];
        message.extend_from_slice(&PROTOCOL.to_be_bytes());
        for (name, value) in [("user", Some(self.user)), ("database", self.database)] {
            let Some(value) = value else { continue };
            for word in [name, value] {
                message.extend_from_slice(word.as_bytes());
                message.push(0);
            }
        }
        message.push(0);
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        if let Some(start) = message.first_chunk_mut() {
            *start = length.to_be_bytes();
        }
        message
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Option<Verdict> {
        while let Some((&kind, rest)) = heard.split_first() {
            if !kind.is_ascii_alphabetic() {
                return Some(Verdict::invalid(format!("not a PostgreSQL server: {}", shown(heard))));
            }
            let length = rest.first_chunk().map(|length| u32::from_be_bytes(*length))?;
            // The length counts itself. A server that cannot start a session sends a text instead.
            let body = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
            let Some(body) = body.filter(|body| *body <= LONGEST) else {
                return Some(Verdict::invalid(format!("not a PostgreSQL message: {}", shown(heard))));
            };
            let message: Vec<u8> = rest.get(4..4 + body)?.to_vec();
            heard.drain(..5 + body);
            if let Some(verdict) = self.message(kind, &message, say) {
                return Some(verdict);
            }
        }
        None
    }

    fn awaited(&self) -> String {
        if self.granted { "ready for queries" } else { "an answer to the startup message" }.to_owned()
    }
}

/// An error message: severity, SQLSTATE and text among its fields.
#[derive(Debug, Default)]
struct Refusal<'a> {
    severity: &'a [u8],
    state: &'a [u8],
    text: &'a [u8],
}

impl<'a> Refusal<'a> {
    fn read(body: &'a [u8]) -> Self {
        let mut refusal = Self::default();
        for field in body.split(|byte| *byte == 0) {
            match field {
                [b'S', severity @ ..] => refusal.severity = severity,
                [b'C', state @ ..] => refusal.state = state,
                [b'M', text @ ..] => refusal.text = text,
                _ => {}
            }
        }
        refusal
    }
}

impl std::fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", plain(self.severity), plain(self.state), plain(self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::talk;
    use super::*;
    use crate::CheckCode::{self, L7Ok, L7Rsp, L7Sts};

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], length.as_slice(), body].concat()
    }

    fn request(code: u32) -> Vec<u8> {
        message(b'R', &code.to_be_bytes())
    }

    fn error(state: &str) -> Vec<u8> {
        message(b'E', format!("SFATAL\0VFATAL\0C{state}\0Mbecause\0Fx.c\0\0").as_bytes())
    }

    fn found(database: Option<&str>, server: &[u8]) -> (CheckCode, String) {
        let verdict = talk(&mut Postgres::new("lb", database), server).1;
        (verdict.code, verdict.text)
    }

    #[test]
    fn the_startup_message() {
        assert_eq!(Postgres::new("lb", None).opening(), b"\0\0\0\x11\0\x03\0\0user\0lb\0\0");
        let with_database = Postgres::new("lb", Some("d")).opening();
        assert_eq!(with_database, b"\0\0\0\x1c\0\x03\0\0user\0lb\0database\0d\0\0");
    }

    #[test]
    fn whoever_asks_for_a_password_is_well() {
        for code in [2, 3, 5, 7, 9] {
            assert_eq!(found(None, &request(code)), (L7Ok, "asks for a password".into()));
        }
        let scram = [&10_u32.to_be_bytes()[..], b"SCRAM-SHA-256\0\0"].concat();
        assert_eq!(found(None, &message(b'R', &scram)).0, L7Ok);
        assert_eq!(found(None, &request(99)).0, L7Rsp);
        assert_eq!(found(None, &message(b'R', b"")).0, L7Rsp);
    }

    #[test]
    fn a_session_that_is_granted_is_ended() {
        let granted =
            [request(0), message(b'S', b"a\0b\0"), message(b'K', &[0; 8]), message(b'Z', b"I")].concat();
        let (said, verdict) = talk(&mut Postgres::new("lb", None), &granted);
        assert_eq!((verdict.code, verdict.text.as_str()), (L7Ok, "session granted"));
        assert!(said.ends_with(b"X\0\0\0\x04"));
        assert_eq!(found(None, &granted[..granted.len() - 1]).0, L7Rsp, "it has not become ready");
        assert_eq!(found(None, &message(b'Z', b"I")).0, L7Rsp, "it was not granted");
    }

    #[test]
    fn refusals_are_told_in_the_servers_words() {
        assert_eq!(found(None, &error("57P03")), (L7Sts, "FATAL 57P03: because".into()));
        // Nobody has been let in yet: pg_hba.conf does not know the check.
        assert_eq!(found(None, &error("28000")).0, L7Sts);
        let later = |state| [request(0), error(state)].concat();
        assert_eq!(found(None, &later("28000")), (L7Ok, "FATAL 28000: because".into()));
        assert_eq!(found(None, &later("3D000")).0, L7Ok);
        assert_eq!(found(Some("d"), &later("3D000")).0, L7Sts, "the database was asked for by name");
        assert_eq!(found(None, &later("53300")).0, L7Sts);
    }

    #[test]
    fn others_are_not_taken_for_databases() {
        for server in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"220 mail.example.org ESMTP\r\n",
            b"Ecould not fork new process for connection\n\0",
            b"R\0\0\0\x03",
            b"R\xff\xff\xff\xff",
            b"\0\0\0\0",
        ] {
            let (code, text) = found(None, server);
            assert_eq!(code, L7Rsp);
            assert!(text.starts_with("not a PostgreSQL "), "{text}");
        }
    }
}
