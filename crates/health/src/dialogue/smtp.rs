//! SMTP (RFC 5321): a greeting, a hello, and a farewell.

use super::{Dialogue, Verdict, lines, plain, shown};

/// Greets a mail server.
#[derive(Debug)]
pub struct Smtp {
    domain: String,
    awaited: Awaited,
    greeting: String,
}

/// The reply that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Greeting,
    /// To EHLO.
    Extensions,
    /// To HELO, which servers know that do not know EHLO.
    Hello,
    Farewell,
}

impl Smtp {
    /// A client that calls itself by that domain.
    pub fn new(domain: &str) -> Self {
        Self { domain: domain.to_owned(), awaited: Awaited::Greeting, greeting: String::new() }
    }

    /// The last line of a reply.
    fn reply(&mut self, code: u16, line: &[u8], say: &mut Vec<u8>) -> Option<Verdict> {
        // RFC 5321 3.2: a server that does not know EHLO says so, and is greeted with HELO.
        const NOT_KNOWN: [u16; 3] = [500, 502, 504];
        match (self.awaited, code) {
            (Awaited::Greeting, 220) => {
                self.greeting = plain(line);
                self.say("EHLO", Awaited::Extensions, say);
            }
            (Awaited::Extensions, code) if NOT_KNOWN.contains(&code) => self.say("HELO", Awaited::Hello, say),
            (Awaited::Extensions | Awaited::Hello, 250) => {
                say.extend_from_slice(b"QUIT\r\n");
                self.awaited = Awaited::Farewell;
            }
            // Nothing is asked of it any more.
            (Awaited::Farewell, _) => return Some(self.well()),
            (awaited, _) => {
                let expected = if awaited == Awaited::Greeting { 220 } else { 250 };
                return Some(Verdict::refused(format!("expected {expected}, got {}", shown(line))));
            }
        }
        None
    }

    fn say(&mut self, verb: &str, awaited: Awaited, say: &mut Vec<u8>) {
        say.extend_from_slice(format!("{verb} {}\r\n", self.domain).as_bytes());
        self.awaited = awaited;
    }

    fn well(&self) -> Verdict {
        Verdict::good(self.greeting.clone())
    }
}

impl Dialogue for Smtp {
    fn opening(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Option<Verdict> {
        while let Some(line) = lines::take(heard) {
            let verdict = match parse(&line) {
                Some((code, true)) => self.reply(code, &line, say),
                Some((_, false)) => None,
                None => Some(Verdict::invalid(format!("expected {}, got {}", self.awaited(), shown(&line)))),
            };
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }

    fn awaited(&self) -> String {
        match self.awaited {
            Awaited::Greeting => "an SMTP greeting (220)",
            Awaited::Extensions => "an answer to EHLO (250)",
            Awaited::Hello => "an answer to HELO (250)",
            Awaited::Farewell => "an answer to QUIT (221)",
        }
        .to_owned()
    }

    fn ended(&mut self, heard: &[u8]) -> Verdict {
        if self.awaited == Awaited::Farewell {
            return self.well();
        }
        let rest = if heard.is_empty() { String::new() } else { format!(", after {}", shown(heard)) };
        Verdict::invalid(format!("the connection was closed before {}{rest}", self.awaited()))
    }
}

/// The code of a line, and whether it is the last one of its reply (RFC 5321 4.2.1).
fn parse(line: &[u8]) -> Option<(u16, bool)> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::talk;
    use super::*;
    use crate::CheckCode::{L7Ok, L7Rsp, L7Sts};

    #[test]
    fn conversations() {
        const HELLO: &str = "EHLO lb1\r\nQUIT\r\n";
        for (server, said, code, text) in [
            ("220 a ESMTP\r\n250 a\r\n221 bye\r\n", HELLO, L7Ok, "220 a ESMTP"),
            (
                "220-a\r\n220 waits\r\n250-a\r\n250-SIZE 1\r\n250 HELP\r\n221-so\r\n221 long\r\n",
                HELLO,
                L7Ok,
                "220 waits",
            ),
            ("220\n250\n", HELLO, L7Ok, "220"),
            ("220 a\r\n502 what?\r\n250 a\r\n", "EHLO lb1\r\nHELO lb1\r\nQUIT\r\n", L7Ok, "220 a"),
            (
                "220 a\r\n502 what?\r\n502 no\r\n",
                "EHLO lb1\r\nHELO lb1\r\n",
                L7Sts,
                "expected 250, got \"502 no\"",
            ),
            ("554 no\r\n", "", L7Sts, "expected 220, got \"554 no\""),
            ("421 a too busy\r\n", "", L7Sts, "expected 220, got \"421 a too busy\""),
            ("220 a\r\n421 later\r\n", "EHLO lb1\r\n", L7Sts, "expected 250, got \"421 later\""),
            ("SSH-2.0-x\r\n", "", L7Rsp, "expected an SMTP greeting (220), got \"SSH-2.0-x\""),
            ("2200 a\r\n", "", L7Rsp, "expected an SMTP greeting (220), got \"2200 a\""),
            ("22", "", L7Rsp, "the connection was closed before an SMTP greeting (220), after \"22\""),
            ("220 a\r\n", "EHLO lb1\r\n", L7Rsp, "the connection was closed before an answer to EHLO (250)"),
        ] {
            let (heard, verdict) = talk(&mut Smtp::new("lb1"), server.as_bytes());
            assert_eq!((verdict.code, verdict.text.as_str()), (code, text), "{server}");
            assert_eq!(String::from_utf8(heard).unwrap(), said, "{server}");
        }
    }
}
